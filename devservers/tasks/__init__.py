"""The Invoke namespace: `from devservers.tasks import ns` is all that a tasks.py needs."""

from devservers.tasks import bytecode

with bytecode.kept():
    from invoke.collection import Collection

    from devservers.tasks import dev as _dev
    from devservers.tasks import hooks as _hooks
    from devservers.tasks import inngest as _inngest
    from devservers.tasks import nextjs as _nextjs
    from devservers.tasks import ports as _ports

dev = _dev.collection
hooks = _hooks.collection
inngest = _inngest.collection
nextjs = _nextjs.collection
ports = _ports.collection
ns = Collection(dev, hooks, inngest, nextjs, ports)

__all__ = ["dev", "hooks", "inngest", "nextjs", "ns", "ports"]
