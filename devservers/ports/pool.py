"""The pool: every port that a worktree may get, who claims it and who listens on it."""

from pathlib import Path
from typing import NamedTuple

from devservers import listeners, worktree
from devservers.config import Config
from devservers.ports import claims
from devservers.system import sockets
from devservers.worktree import Worktree


class Entry(NamedTuple):
    """One port of the pool."""

    port: int
    worktree: str | None
    """Of the claim; of the listener where nobody claims the port."""
    branch: str | None
    listening: bool
    pid: int | None
    name: str | None
    state: str
    """free, claimed, ours (a process in a worktree of this repository listens) or foreign."""


def survey(config: Config, here: Worktree) -> tuple[Entry, ...]:
    """Return every port of the pool, in its order."""
    claimed = claims.of_others(config, here)
    own = claims.of(config, here.root)
    if own is not None:
        claimed[own] = here
    pids: dict[int, int | None] = {}
    for socket in sockets.listening():
        pids.setdefault(socket.port, socket.pid)
    trees = {tree.root: tree for tree in worktree.every(here)}
    return tuple(_entry(port, claimed.get(port), pids, trees) for port in config.pool)


def holders(port: int) -> tuple[dict[str, object], ...]:
    """Describe everyone who listens on `port`, with the worktree they work in (None: in none)."""
    found = []
    for holder in sockets.holders(port):
        pid = holder["pid"]
        tree = tree_of(pid) if isinstance(pid, int) else None
        found.append({**holder, "worktree": str(tree.root) if tree else None})
    return tuple(found)


def tree_of(pid: int) -> Worktree | None:
    """Return the git worktree that `pid` works in; None if in none, or in a deleted folder."""
    found = listeners.worktree_of(pid)
    return found if found and found.git_dir else None


def _entry(
    port: int, claim: Worktree | None, pids: dict[int, int | None], trees: dict[Path, Worktree]
) -> Entry:
    listening = port in pids or sockets.is_open(port)  # macOS hides other users' listeners
    pid = pids.get(port)
    where = tree_of(pid) if pid is not None else None
    ours = where is not None and where.root in trees
    owner = claim or (where if ours else None)
    free = "claimed" if claim else "free"
    name = sockets.holder(pid)["name"] if pid is not None else None
    return Entry(
        port,
        str(owner.root) if owner else None,
        owner.branch if owner else None,
        listening,
        pid,
        name if isinstance(name, str) else None,
        ("ours" if ours else "foreign") if listening else free,
    )
