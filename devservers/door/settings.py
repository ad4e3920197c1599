"""The `door` section of the configuration, and the server that it declares."""

from typing import TYPE_CHECKING, NamedTuple

from devservers import config_checks

if TYPE_CHECKING:
    from devservers.config import Config
    from devservers.declared.settings import Declared

NAME = "door"
HEALTH = "/.well-known/devservers-door"  # the one path that is the door's own


class Settings(NamedTuple):
    """The section."""

    enabled: bool = False
    port: int = 3000


CHECKS = {"enabled": config_checks.flag, "port": config_checks.port}


def of(config: "Config") -> Settings:
    """Return the section of `config`."""
    return config.section(Settings)


def taken(config: "Config") -> dict[str, tuple[int, ...]]:
    """Return the ports that no other server can have, where there is a door."""
    return {f"{NAME}.port": (of(config).port,)} if of(config).enabled else {}


def declared(config: "Config") -> "Declared":
    """Return the server: one for the repository, part of `dev.up` where there is to be one."""
    from devservers.declared.settings import MACHINE, Declared  # noqa: PLC0415 - where it is asked
    from devservers.spec import Http  # noqa: PLC0415
    from devservers.system import isolated  # noqa: PLC0415

    own = of(config)
    command = isolated.argv("devservers.door.server", "{port}")
    return Declared(
        NAME,
        command,
        scope=MACHINE,
        port=own.port,
        ready=Http(HEALTH),
        enabled=own.enabled,
        passes_on=True,
    )
