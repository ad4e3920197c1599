"""The Invoke namespace: `from devservers.tasks import ns` is all that a tasks.py needs."""

from devservers import bytecode

with bytecode.kept():
    from invoke.collection import Collection

    from devservers.tasks import hooks as _hooks
    from devservers.tasks import inngest as _inngest

hooks = _hooks.collection
inngest = _inngest.collection
ns = Collection(inngest, hooks)

__all__ = ["hooks", "inngest", "ns"]
