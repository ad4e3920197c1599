"""The `nextjs` section of the configuration: its keys, their defaults, what they may hold."""

from typing import TYPE_CHECKING, NamedTuple

from devservers import config_checks

if TYPE_CHECKING:
    from devservers.config import Config


class Settings(NamedTuple):
    """The section."""

    ports: tuple[int, ...] = (5001, 5002, 5003, 5004, 5005)
    turbopack: bool = True
    hostname: str = "localhost"
    command: tuple[str, ...] | None = None

    @property
    def taken(self) -> dict[str, tuple[int, ...]]:
        """The ports that no other server can have, by key."""
        return {"nextjs.ports": self.ports}

    @property
    def pool(self) -> tuple[int, ...]:
        """The ports of which each worktree gets one."""
        return self.ports


CHECKS = {
    "ports": config_checks.ports,
    "turbopack": config_checks.flag,
    "hostname": config_checks.host,
    "command": config_checks.command,
}


def of(config: "Config") -> Settings:
    """Return the section of `config`."""
    return config.section(Settings)
