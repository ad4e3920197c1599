"""The Invoke namespace: `from devservers.tasks import ns` is all that a tasks.py needs."""

from invoke.collection import Collection

from devservers.tasks import inngest as _inngest
from devservers.tasks import nextjs as _nextjs
from devservers.tasks import ports as _ports

inngest = _inngest.collection
nextjs = _nextjs.collection
ports = _ports.collection
ns = Collection(inngest, nextjs, ports)

__all__ = ["inngest", "nextjs", "ns", "ports"]
