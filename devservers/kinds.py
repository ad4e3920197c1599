"""The table of kinds: each is a folder of the package, and a name here."""

TYPE_CHECKING = False  # a warm hook reads this table, and imports nothing that it can do without
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from devservers.config import Config
    from devservers.kind import Exports, Kind, OwnServer
    from devservers.spec import ServerSpec
    from devservers.worktree import Worktree

NAMES = ("inngest", "nextjs")  # in the order in which dev.up starts them
HOOKED = NAMES[:1]  # what a hook ensures without being asked


def kind(name: str) -> "Kind":
    """Return the kind of that name, which is one of NAMES."""
    from importlib import import_module  # noqa: PLC0415 - not for a warm hook

    found: Kind = import_module(f"devservers.{name}").KIND
    return found


def every() -> "tuple[Kind, ...]":
    """Return all kinds, in the order of NAMES."""
    return tuple(map(kind, NAMES))


def own_server(config: "Config", here: "Worktree") -> "OwnServer":
    """Return what tells the server of this worktree's app from whoever else holds its port."""
    found = next(one.own_server for one in every() if one.own_server)
    return found(config, here)


def longest_timeout() -> float:
    """Return the seconds in which every kind of server must answer."""
    return max(one.ready_timeout for one in every())


def settings() -> "dict[str, Any]":
    """Return what each kind's section of the configuration may hold, by name: a module."""
    from importlib import import_module  # noqa: PLC0415 - not for a warm hook

    return {name: import_module(f"devservers.{name}.settings") for name in NAMES}


def declared(
    of: "Kind",
    config: "Config",
    here: "Worktree",
    *,
    claim: bool = False,
    stand_in: bool = False,
) -> "ServerSpec":
    """Return the server of that kind as the worktree `here` declares it.

    With `claim` it gets a port to keep; without, nothing is written. Raises UsageError,
    NoPortError, LockTimeoutError, StateUnusableError.
    """
    return of.declare(config, here, of.assign(config, here, claim=claim), stand_in=stand_in)


def exports(config: "Config", here: "Worktree", env: "Mapping[str, str]", name: str) -> "Exports":
    """Return what the server `name` has to know of all others in its worktree."""
    from devservers.kind import Exports  # noqa: PLC0415 - not for a hook

    variables: dict[str, str] = {}
    warnings: list[str] = []
    for other in every():
        if other.exports and other.name != name:
            found = other.exports(config, here, env)
            variables |= found.variables
            warnings += found.warnings
    return Exports(variables, tuple(warnings))
