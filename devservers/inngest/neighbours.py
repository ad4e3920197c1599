"""Neighbours: other repositories that use the same server, as all with the defaults do."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from devservers import listeners, worktree
from devservers.errors import StateUnusableError
from devservers.inngest import pin
from devservers.inngest.api import ServedApp
from devservers.inngest.target import Target
from devservers.lifecycle import state
from devservers.ports import ranges
from devservers.spec import port_of
from devservers.worktree import Worktree


class Neighbour(NamedTuple):
    """Another repository, and what the server does for it."""

    repository: str
    """Its main worktree."""
    ports: tuple[int, ...] = ()
    """Of its apps that listen and that the server watches."""
    served: tuple[int, ...] = ()
    """Those of them that events run in."""
    started: bool = False
    """It was started from there."""
    pinned: str | None = None
    """The worktree that is pinned there."""

    def data(self) -> dict[str, object]:
        """Return it ready for JSON, under the names that docs/reference.md has."""
        return dict(self._asdict())

    def said(self) -> str:
        """Say it to people."""
        facts = ["which started it"] if self.started else []
        facts += [f"watching {ranges.shown(self.ports)} for it"] if self.ports else []
        facts += [f"events run in {ranges.shown(self.served)}"] if self.served else []
        facts += [f"{self.pinned} is pinned"] if self.pinned else []
        return f"shared with another repository: {', '.join((self.repository, *facts))}"


def now(here: Worktree, it: Target) -> tuple[Neighbour, ...]:
    """Return the other repositories that use the server `it`, which is asked what it lists."""
    return of(here, it, it.urls, it.api.apps())


def of(
    here: Worktree, it: Target, urls: Iterable[str], rows: tuple[ServedApp, ...] | None
) -> tuple[Neighbour, ...]:
    """Return the other repositories that use the server `it`, which watches `urls`; by folder.

    Who listens is asked only where something else tells that others may be there: a question is
    to cost no more on a machine with one repository.
    """
    if not it.shared or here.common_dir is None:
        return ()
    starter = _starter(it)
    trees = map(worktree.peek, pin.of_others(it.pid_file, here))
    pinned = {str(tree.main): str(tree.root) for tree in trees if tree}
    served = {port_of(row.url) for row in rows or () if row.served}
    may_be = served or pinned or _is_other(here, starter)
    by_port = listeners.listeners_by_port() if may_be else {}
    found = {name: Neighbour(name, pinned=root) for name, root in pinned.items()}
    watched = (*map(port_of, urls), *(port_of(row.url) for row in rows or ()))
    for port in sorted(set(watched)):
        holder = by_port.get(port)
        if holder and holder.worktree and _is_other(here, holder.worktree):
            name = str(holder.worktree.main)
            known = found.get(name, Neighbour(name))
            more = (port,) if port in served else ()
            found[name] = known._replace(ports=(*known.ports, port), served=(*known.served, *more))
    if starter and _is_other(here, starter):
        name = str(starter.main)
        found[name] = found.get(name, Neighbour(name))._replace(started=True)
    return tuple(found[name] for name in sorted(found))


def _starter(it: Target) -> Worktree | None:
    """Return the worktree that the server was started from."""
    try:
        record = state.read(it.pid_file)
    except StateUnusableError:
        return None
    return worktree.peek(Path(record.worktree)) if record and record.worktree else None


def _is_other(here: Worktree, tree: Worktree | None) -> bool:
    """Return whether that is a worktree of another repository."""
    return tree is not None and tree.common_dir not in (None, here.common_dir)
