"""The `board` section of the configuration, and the server that it declares."""

from typing import TYPE_CHECKING, NamedTuple

from devservers import config_checks

if TYPE_CHECKING:
    from devservers.config import Config
    from devservers.declared.settings import Declared

NAME = "board"


class Settings(NamedTuple):
    """The section."""

    port: int = 8299


CHECKS = {"port": config_checks.port}


def of(config: "Config") -> Settings:
    """Return the section of `config`."""
    return config.section(Settings)


def taken(config: "Config") -> dict[str, tuple[int, ...]]:
    """Return the ports that no other server can have; the default gives way to what others have."""
    return {f"{NAME}.port": (of(config).port,)} if f"{NAME}.port" in config.given else {}


def declared(config: "Config") -> "Declared":
    """Return the server: one for the repository, brought up only where somebody asks for it."""
    from devservers.declared.settings import MACHINE, Declared  # noqa: PLC0415 - where it is asked
    from devservers.spec import Http  # noqa: PLC0415
    from devservers.system import isolated  # noqa: PLC0415

    # Nothing in a checkout decides what runs, so that braces need no doubling: there are none.
    command = isolated.argv("devservers.board.server", "{port}")
    return Declared(
        NAME, command, scope=MACHINE, port=of(config).port, ready=Http("/health"), up=False
    )
