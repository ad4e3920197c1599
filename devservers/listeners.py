"""Listeners: who listens on each port of this machine, and in which git worktree."""

from collections.abc import Iterator
from contextlib import contextmanager
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


_seen: tuple[Socket, ...] | None = None


@contextmanager
def seen(listening: tuple[Socket, ...]) -> Iterator[None]:
    """Let whoever asks in here, in any thread, be told of those sockets.

    For what asks many servers one question at one moment: to look each time costs the most of all.
    """
    global _seen  # noqa: PLW0603 - one process gives one answer
    before, _seen = _seen, listening
    try:
        yield
    finally:
        _seen = before


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
    return worktree.peek(folder) if folder and not process_info.is_gone(pid) else None
