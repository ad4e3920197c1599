"""The Invoke namespace: `from devservers.tasks import ns` is all that a tasks.py needs."""

from invoke.collection import Collection

from devservers.tasks import inngest as _inngest

inngest = _inngest.collection
ns = Collection(inngest)

__all__ = ["inngest", "ns"]
