"""The `inngest` section of the configuration: its keys, their defaults, what they may hold."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from devservers import config_checks

if TYPE_CHECKING:
    from devservers.config import Config


MACHINE, WORKTREE = "machine", "worktree"
POLL_INTERVAL = 5.0  # seconds from one question to an app to the next; GET /dev tells it
FIRST_PORT = 8401  # of those that worktrees' own servers have by default


class Settings(NamedTuple):
    """The section; `log_max_bytes` 0 means: never rotate."""

    enabled: bool = True
    scope: str = MACHINE
    port: int = 8288
    pid_file: str = "/tmp/flowt-inngest.pid"  # noqa: S108 - others rely on it; state.py guards it
    log_file: str = "inngest-system.log"
    log_max_bytes: int = 10 * 1024 * 1024
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] = ()
    path: str = "/api/inngest"
    host: str | None = None
    ports: tuple[int, ...] | None = None
    """With scope `worktree`: of each slot; None: from FIRST_PORT on."""


CHECKS = {
    "enabled": config_checks.flag,
    "scope": config_checks.one_of(MACHINE, WORKTREE),
    "ports": config_checks.ports,
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


def polls(own: Settings) -> dict[str, float]:
    """Return what the server asks each app for by itself, and every how many seconds."""
    words = [part for word in own.args for part in word.split("=", 1)]
    if "--no-poll" in words:
        return {}
    try:
        return {own.path: float(words[words.index("--poll-interval") + 1])}
    except (ValueError, IndexError):
        return {own.path: POLL_INTERVAL}


def ports_of(config: "Config") -> tuple[int, ...]:
    """Return the port of each slot's own server."""
    given = of(config).ports
    return given or tuple(range(FIRST_PORT, FIRST_PORT + len(config.pool)))


def taken(config: "Config") -> dict[str, tuple[int, ...]]:
    """Return the ports that no other server can have, by key."""
    own = of(config)
    if own.scope == WORKTREE:
        return {"inngest.ports": ports_of(config)}
    return {"inngest.port": (own.port,)}


def faults(config: "Config", main: Path) -> Iterator[str]:
    """Yield what can't be so of keys that are allowed each by itself; `main`: the main worktree."""
    found = of(config)
    shown = config_checks.shown
    if found.scope == WORKTREE:
        for key, path in (("pidFile", found.pid_file), ("logFile", found.log_file)):
            if f"inngest.{key}" in config.given and Path(path).expanduser().is_absolute():
                yield (
                    f'inngest.{key} is {shown(path)}; with inngest.scope "worktree" it must be '
                    "relative: two worktrees can't share it"
                )
        if found.ports and len(found.ports) != len(config.pool):
            yield (
                f"inngest.ports is {shown(found.ports)}; it must have a port for each of "
                f"{config.pool_key}, which are {len(config.pool)}"
            )
    # A log that is a file of the server's state, however either is spelt.
    paths = (main / Path(path).expanduser() for path in (found.pid_file, found.log_file))
    pid_file, log = (os.path.realpath(path).lower() for path in paths)  # macOS knows no case
    state = {pid_file + end for end in ("", ".json", ".lock", ".pin", ".new", ".json.new")}
    if state & {log, f"{log}.1"}:  # the latter is what a log is rotated to
        yield (
            f"inngest.logFile is {shown(found.log_file)}; it must not be the same as "
            f"inngest.pidFile, {shown(found.pid_file)}, or a file beside it"
        )
