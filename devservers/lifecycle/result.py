"""Results: what the lifecycle answers. Plain frozen values, rendered in one place."""

from collections.abc import Mapping
from typing import NamedTuple

STOP_GRACE = 5.0  # seconds between SIGTERM and SIGKILL, unless a caller wants others


class Ensured(NamedTuple):
    """The answer of ensure, start and restart."""

    action: str
    """started, already-running, restarted or starting."""
    port: int | None
    url: str | None
    pid: int | None
    """None for a server of another user, which may not be known."""
    listener_pid: int | None
    log_file: str | None
    urls: tuple[str, ...]
    adopted: bool
    stand_in: bool
    command: tuple[str, ...]
    worktree: str | None
    """The worktree whose call started the server."""
    branch: str | None
    added: tuple[str, ...] = ()
    """URLs that this call made the running server watch."""
    warnings: tuple[str, ...] = ()
    pids_killed: tuple[int, ...] = ()
    """Whom this call ended: a restart, --force, or what an earlier start had left behind."""
    left: tuple[dict[str, object], ...] = ()
    """What the stopped server had opened and that lives on: pid, name, command."""
    facts: Mapping[str, object] = {}
    """What only this kind of server has to say, under the names of docs/reference.md."""

    @property
    def idle(self) -> bool:
        """Whether nothing had to be done."""
        return self.action == "already-running" and not self.added


class Stopped(NamedTuple):
    """The answer of stop."""

    action: str
    """stopped or not-running."""
    port: int | None
    pids_killed: tuple[int, ...]
    port_free: bool | None
    """None for a server without a port."""
    forced: bool
    """SIGKILL was needed."""
    holders: tuple[dict[str, object], ...] = ()
    """Who holds the port still, as docs/reference.md describes one."""
    warnings: tuple[str, ...] = ()
    left: tuple[dict[str, object], ...] = ()
    """What the server had opened and that lives on: pid, name, command."""


class Status(NamedTuple):
    """The answer of status: all from the record and the live system, None where unknown."""

    state: str
    """running, starting, unresponsive, stopped, stale or foreign."""
    port: int | None
    url: str | None
    pid: int | None
    listener_pid: int | None
    pid_file: str
    log_file: str | None
    log_size: int | None
    """Bytes."""
    last_log_line: str | None
    http_status: int | None
    urls: tuple[str, ...]
    started_at: float | None
    """Seconds since the epoch."""
    adopted: bool
    stand_in: bool
    worktree: str | None
    branch: str | None
    holders: tuple[dict[str, object], ...] = ()
    warnings: tuple[str, ...] = ()
    details: Mapping[str, object] = {}
    """What only this kind of server has to say, under the names of docs/reference.md."""
    lines: tuple[str, ...] = ()
    """The same for people."""

    @property
    def running(self) -> bool:
        """Whether a server of this kind is there at all, answering or not."""
        return self.state in {"running", "starting", "unresponsive"}

    @property
    def responsive(self) -> bool:
        """Whether it answers."""
        return self.state == "running"


class LogFile(NamedTuple):
    """Where a server's output is."""

    path: str | None
    """None for an adopted server, whose output goes elsewhere."""
    exists: bool
    size: int | None
    """Bytes."""
