"""Development servers for people and agents who work in many git worktrees at once.

from devservers import config, inngest, server, worktree

here = worktree.find()
spec = inngest.spec(config.load(here.root, here.main), here)
print(server.ensure(spec).url)
"""

from devservers.errors import DevServerError
from devservers.report import status
from devservers.result import Ensured, LogFile, Status, Stopped
from devservers.server import ensure, restart, stop
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
