"""The `nextjs` section of the configuration: its keys, their defaults, what they may hold."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from devservers import config_checks

if TYPE_CHECKING:
    from devservers.config import Config
    from devservers.worktree import Worktree


class Settings(NamedTuple):
    """The section."""

    ports: tuple[int, ...] = (5001, 5002, 5003, 5004, 5005)
    turbopack: bool = True
    hostname: str = "localhost"
    command: tuple[str, ...] | None = None
    cwd: str = "."
    """The folder of the app inside the worktree."""
    idle: float | None = None
    """Seconds without use after which it is stopped in passing; None: never."""

    @property
    def pool(self) -> tuple[int, ...]:
        """The ports of which each worktree gets one."""
        return self.ports


CHECKS = {
    "ports": config_checks.ports,
    "turbopack": config_checks.flag,
    "hostname": config_checks.host,
    "command": config_checks.command,
    "cwd": config_checks.folder,
    "idle": config_checks.duration,
}


def of(config: "Config") -> Settings:
    """Return the section of `config`."""
    return config.section(Settings)


def app_folder(config: "Config", here: "Worktree") -> Path:
    """Return where the app of the worktree `here` is."""
    cwd = of(config).cwd
    return here.root if cwd == "." else here.root / cwd


def idle(config: "Config") -> float | None:
    """Return the seconds without use after which it is stopped in passing; None: never."""
    return of(config).idle


def taken(config: "Config") -> dict[str, tuple[int, ...]]:
    """Return the ports that no other server can have, by key."""
    return {"nextjs.ports": of(config).ports}
