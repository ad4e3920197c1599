"""Places: who listens on each port of this machine, and in which git worktree."""

from typing import NamedTuple

from devservers import ports, whereabouts, worktree
from devservers.worktree import Worktree


class Place(NamedTuple):
    """Who listens on a port, and where."""

    port: int
    pid: int | None
    here: Worktree | None


def listeners_by_port() -> dict[int, Place]:
    """Return who listens on each port of this machine."""
    found: dict[int, Place] = {}
    trees: dict[int | None, Worktree | None] = {None: None}
    for socket in ports.listening():
        if socket.pid is not None and socket.pid not in trees:
            folder = whereabouts.folder(socket.pid)
            trees[socket.pid] = worktree.peek(folder) if folder else None
        found.setdefault(socket.port, Place(socket.port, socket.pid, trees[socket.pid]))
    return found
