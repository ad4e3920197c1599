"""The `inngest` section of the configuration: its keys, their defaults, what they may hold."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from devservers import config_checks

if TYPE_CHECKING:
    from devservers.config import Config


class Settings(NamedTuple):
    """The section; `log_max_bytes` 0 means: never rotate."""

    enabled: bool = True
    port: int = 8288
    pid_file: str = "/tmp/flowt-inngest.pid"  # noqa: S108 - others rely on it; state.py guards it
    log_file: str = "inngest-system.log"
    log_max_bytes: int = 10 * 1024 * 1024
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] = ()
    path: str = "/api/inngest"
    host: str | None = None

    @property
    def taken(self) -> dict[str, tuple[int, ...]]:
        """The ports that no other server can have, by key."""
        return {"inngest.port": (self.port,)}


CHECKS = {
    "enabled": config_checks.flag,
    "port": config_checks.port,
    "pidFile": config_checks.path,
    "logFile": config_checks.path,
    "logMaxBytes": config_checks.size,
    "command": config_checks.command,
    "args": config_checks.without({"--port": "port", "-p": "port", "--host": "host"}, "inngest"),
    "path": config_checks.url_path,
    "host": config_checks.host,
}


def of(config: "Config") -> Settings:
    """Return the section of `config`."""
    return config.section(Settings)


def faults(found: Settings, main: Path) -> Iterator[str]:
    """Yield what can't be so of keys that are allowed each by itself; `main`: the main worktree."""
    # A log that is a file of the server's state, however either is spelt.
    paths = (main / Path(path).expanduser() for path in (found.pid_file, found.log_file))
    pid_file, log = (os.path.realpath(path).lower() for path in paths)  # macOS knows no case
    state = {pid_file + end for end in ("", ".json", ".lock", ".new", ".json.new")}
    if state & {log, f"{log}.1"}:  # the latter is what a log is rotated to
        shown = config_checks.shown
        yield (
            f"inngest.logFile is {shown(found.log_file)}; it must not be the same as "
            f"inngest.pidFile, {shown(found.pid_file)}, or a file beside it"
        )
