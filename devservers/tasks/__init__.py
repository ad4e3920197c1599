"""The Invoke namespace: `from devservers.tasks import ns` is all that a tasks.py needs."""

from devservers.tasks import bytecode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from invoke.collection import Collection

with bytecode.kept():
    from invoke.collection import Collection as _Collection

    from devservers import kinds as _kinds
    from devservers.tasks import declared as _declared
    from devservers.tasks import dev as _dev
    from devservers.tasks import factory as _factory
    from devservers.tasks import hooks as _hooks
    from devservers.tasks import ports as _ports

    _of_servers = {kind.name: _factory.collection(kind) for kind in _kinds.every()}
    _of_servers |= {kind.name: _factory.collection(kind) for kind in _declared.here()}

dev = _dev.collection
hooks = _hooks.collection
ports = _ports.collection
ns = _Collection(dev, hooks, *_of_servers.values(), ports)


def __getattr__(name: str) -> "Collection":
    """Return the collection of a server by its name, for projects with tasks of their own."""
    if name in _of_servers:
        return _of_servers[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
