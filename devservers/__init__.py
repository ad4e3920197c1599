"""Development servers for people and agents who work in many git worktrees at once.

from devservers import config, inngest, worktree
from devservers.lifecycle import server

here = worktree.find()
spec = inngest.spec(config.load(here.root, here.main), here)
print(server.ensure(spec).url)
"""

TYPE_CHECKING = False  # typing's own costs as much as all of Python's start, also on each checkout
if TYPE_CHECKING:
    from devservers.errors import DevServerError
    from devservers.lifecycle.result import Ensured, LogFile, Status, Stopped
    from devservers.lifecycle.server import ensure, restart, stop
    from devservers.lifecycle.status import status
    from devservers.spec import ServerSpec

__all__ = [
    "DevServerError",
    "Ensured",
    "LogFile",
    "ServerSpec",
    "Status",
    "Stopped",
    "ensure",
    "restart",
    "status",
    "stop",
]

_HOMES = {
    "DevServerError": "errors",
    "ServerSpec": "spec",
    "ensure": "lifecycle.server",
    "restart": "lifecycle.server",
    "status": "lifecycle.status",
    "stop": "lifecycle.server",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: git hooks need none of them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - only where a name is used

    return getattr(import_module(f"devservers.{_HOMES.get(name, 'lifecycle.result')}"), name)
