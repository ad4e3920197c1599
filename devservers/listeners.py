"""Listeners: who listens on each port of this machine, and in which git worktree."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from devservers import worktree
from devservers.system import process_info, sockets
from devservers.system.identity import Socket
from devservers.worktree import Worktree


class PortHolder(NamedTuple):
    """Who listens on a port, and where."""

    port: int
    pid: int | None
    worktree: Worktree | None


Places = dict[Path, Worktree | None]
_seen: tuple[Socket, ...] | None = None
_places: Places | None = None


@contextmanager
def seen(listening: tuple[Socket, ...], places: Places) -> Iterator[None]:
    """Let whoever asks in here, in any thread, be told of those sockets.

    For what asks many servers one question at one moment: to look each time costs the most of all.
    `places` are folders whose worktree is known from shortly before; those that aren't are added.
    """
    global _seen, _places
    before, _seen, _places = (_seen, _places), listening, places
    try:
        yield
    finally:
        _seen, _places = before


def listeners_by_port() -> dict[int, PortHolder]:
    """Return who listens on each port of this machine."""
    found: dict[int, PortHolder] = {}
    trees: dict[int | None, Worktree | None] = {None: None}
    for socket in sockets.listening() if _seen is None else _seen:
        if socket.pid is not None and socket.pid not in trees:
            trees[socket.pid] = worktree_of(socket.pid)
        found.setdefault(socket.port, PortHolder(socket.port, socket.pid, trees[socket.pid]))
    return found


def worktree_of(pid: int) -> Worktree | None:
    """Return what `pid` works in; None in a folder that is gone, or that this user may not read.

    A stranger's process may stand anywhere, and git's folder above it may hold anything.
    """
    folder = process_info.folder(pid)
    if folder is None or process_info.is_gone(pid):
        return None
    places = {} if _places is None else _places
    if folder not in places:
        places[folder] = worktree.peek(folder)
    return places[folder]
