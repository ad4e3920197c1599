"""The table of kinds: each is a folder of the package, and a name here."""

TYPE_CHECKING = False  # a warm hook reads this table, and imports nothing that it can do without
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    from devservers.config import Config
    from devservers.kind import Exports, Kind, OwnServer
    from devservers.spec import Restore, ServerSpec
    from devservers.worktree import Worktree

NAMES = ("inngest", "nextjs")  # in the order in which dev.up starts them
BUNDLED = (
    "board",
    "door",
)  # servers that this package declares itself, each a folder with its `settings`
HOOKED = NAMES[:1]  # what a hook ensures without being asked


def kind(name: str) -> "Kind":
    """Return the kind of that name, which is one of NAMES."""
    from importlib import import_module  # noqa: PLC0415 - not for a warm hook

    found: Kind = import_module(f"devservers.{name}").KIND
    return found


def every() -> "tuple[Kind, ...]":
    """Return all kinds, in the order of NAMES."""
    return tuple(map(kind, NAMES))


def of_app() -> "Kind":
    """Return the kind of server that the app of a worktree answers on."""
    return next(one for one in every() if one.serves_app)


def of(config: "Config", bundled: "Collection[str]" = ()) -> "dict[str, Kind]":
    """Return all kinds that a configuration has, by name: those it declares after NAMES.

    Of BUNDLED only those that are named, or that the configuration enables: they are for who asks
    for them.
    """
    found = {one.name: one for one in every()}
    asked = [name for name in BUNDLED if name in bundled or _is_enabled(config, name)]
    if config.servers or asked:
        from importlib import import_module  # noqa: PLC0415 - only where some are declared

        kind_of = import_module("devservers.declared.declaration").kind_of
        found |= {name: kind_of(one) for name, one in config.servers.items()}
        found |= {name: kind_of(_settings(name).declared(config)) for name in asked}
    return found


def _is_enabled(config: "Config", name: str) -> bool:
    key = f"{name}.enabled"
    return key in config.given and config.value(key) is True


def own_server(config: "Config", here: "Worktree") -> "OwnServer":
    """Return what tells the server of this worktree's app from whoever else holds its port."""
    found = next(one.own_server for one in every() if one.own_server)
    return found(config, here)


def keep_served(config: "Config", here: "Worktree") -> "Restore":
    """Return what gives the service back to whom this worktree's app takes it from."""
    from devservers.spec import Restored  # noqa: PLC0415 - not for a hook

    known = [one.keep_served(config, here) for one in every() if one.keep_served]

    def restore(port: int, deadline: float) -> Restored:
        found = [one(port, deadline) for one in known]
        return Restored(warnings=tuple(text for one in found for text in one.warnings))

    return restore


def settings() -> "dict[str, Any]":
    """Return what each kind's section of the configuration may hold, by name: a module."""
    return {name: _settings(name) for name in (*NAMES, *BUNDLED)}


def _settings(name: str) -> "Any":  # noqa: ANN401 - a module
    from importlib import import_module  # noqa: PLC0415 - not for a warm hook

    return import_module(f"devservers.{name}.settings")


def declared_settings() -> "Any":  # noqa: ANN401 - a module
    """Return what the section of declared servers may hold: a module."""
    from importlib import import_module  # noqa: PLC0415 - only where some are declared

    return import_module("devservers.declared.settings")


def declared(  # noqa: PLR0913 - whose, and under which conditions
    which: "Kind",
    config: "Config",
    here: "Worktree",
    *,
    claim: bool = False,
    stand_in: bool = False,
    by_itself: bool = False,
) -> "ServerSpec":
    """Return the server of that kind as the worktree `here` declares it.

    With `claim` it gets a port to keep; without, nothing is written. With `by_itself` the caller's
    environment, whose PORT may be another worktree's, plays no part. Raises UsageError,
    NoPortError, LockTimeoutError, StateUnusableError.
    """
    env: dict[str, Any] = {"env": {}} if by_itself else {}
    assigned = which.assign(config, here, claim=claim, **env)
    return which.declare(config, here, assigned, stand_in=stand_in, **env)


def exports(config: "Config", here: "Worktree", name: str = "") -> "Exports":
    """Return what the server `name` has to know of all others in its worktree."""
    from devservers.kind import Exports  # noqa: PLC0415 - not for a hook

    variables: dict[str, str] = {}
    by_hand: dict[str, str] = {}
    polls: dict[str, float] = {}
    for other in every():
        if other.exports and other.name != name:
            found = other.exports(config, here)
            variables |= found.variables
            by_hand |= found.by_hand
            polls |= found.polls
    return Exports(variables, by_hand, polls)
