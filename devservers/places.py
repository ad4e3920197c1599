"""Places: who listens on each port of this machine, and in which git worktree."""

from pathlib import Path
from typing import NamedTuple

from devservers import ports, worktree
from devservers.worktree import Worktree


class Place(NamedTuple):
    """Who listens on a port, and where."""

    port: int
    pid: int | None
    here: Worktree | None


def listeners_by_port() -> dict[int, Place]:
    """Return who listens on each port of this machine."""
    found: dict[int, Place] = {}
    roots: dict[int | None, Worktree | None] = {None: None}
    for socket in ports.listening():
        if socket.pid not in roots:
            folder = ports.working_directory(socket.pid) if socket.pid else None
            exists = folder is not None and Path(folder).is_dir()
            roots[socket.pid] = worktree.find(Path(folder)) if folder and exists else None
        found.setdefault(socket.port, Place(socket.port, socket.pid, roots[socket.pid]))
    return found
