"""Log files: which server of which worktree writes where."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from devservers import config, kinds, worktree
from devservers.config import Config
from devservers.errors import DevServerError
from devservers.kind import Assignment
from devservers.lifecycle import state
from devservers.spec import ServerSpec
from devservers.worktree import Worktree


class Source(NamedTuple):
    """Whose log it is."""

    worktree: str | None
    """None of a server that all worktrees use."""
    branch: str | None
    server: str

    @property
    def key(self) -> tuple[str | None, str]:
        """What stays the same when another branch is checked out."""
        return self.worktree, self.server


class Log(NamedTuple):
    """Where a server writes."""

    source: Source
    path: Path
    offset: int = 0
    """Bytes in it when the last run that is recorded began."""
    started_at: float = 0.0
    """When that was, in seconds since the epoch; 0 where none is recorded."""


Look = Callable[[], tuple[Log, ...] | None]


def of(settings: Config, here: Worktree, *, everywhere: bool) -> tuple[Log, ...]:
    """Return the logs of all servers that `here` uses, with `everywhere` of every worktree's."""
    found: dict[tuple[str | None, str], Log] = {}
    for tree in worktree.every(here) if everywhere else (here,):
        try:
            its = settings if tree.root == here.root else config.load(tree.root, tree.main)
        except DevServerError:  # dev.status says what is wrong
            continue
        branch = tree.branch
        for kind in kinds.of(its).values():
            shared = kind.is_shared(its)
            owner, head = (None, None) if shared else (str(tree.root), branch)
            source = Source(owner, head, kind.name)
            # Where it would listen makes no difference to where it writes.
            log = _log(source, kind.declare(its, tree, Assignment(0)))
            if log is not None:
                found.setdefault(source.key, log)
    return tuple(found.values())


def again(here: Worktree, *, everywhere: bool) -> Look:
    """Return what looks for the logs anew; its answer is None where that can't be known."""

    def look() -> tuple[Log, ...] | None:
        try:
            return of(config.load(here.root, here.main), here, everywhere=everywhere)
        except DevServerError:  # being edited, perhaps
            return None

    return look


def _log(source: Source, spec: ServerSpec) -> Log | None:
    """Return where a server writes: its record says so, else where the next start has it.

    None where somebody else started it, and it writes elsewhere.
    """
    if not spec.enabled:
        return None
    record = state.read(spec.files.pid)
    if record is None:
        return Log(source, spec.files.log)
    if not record.log_file:
        return None
    return Log(source, Path(record.log_file), record.log_offset, record.started_at)
