"""Heads: what git says of each worktree: its commit, how old that is, and whether it is dirty."""

import os
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from devservers import worktree
from devservers.system import git, threads
from devservers.worktree import Worktree

MOST_ASKED = 50  # worktrees whose files are looked at for one answer: git reads each one's index
AGAIN = 2  # of them, in each further answer of the same watch
# A daemon that git would start for the question would outlive it.
STATUS = ("-c", "core.fsmonitor=false", "status", "--porcelain", "-z", "--untracked-files=normal")


class Head(NamedTuple):
    """What is checked out in a worktree; None where git doesn't say."""

    commit: str | None = None
    committed_at: float | None = None
    """Seconds since the epoch."""
    dirty: bool | None = None
    """Files were changed, or added, that are not committed."""


class Heads:
    """Asks git, again and again; of what can't change it asks once."""

    def __init__(self) -> None:
        self._times: dict[str, float] = {}
        self._dirty: dict[Path, tuple[float, bool | None]] = {}

    def look(self, here: Worktree, trees: Sequence[Worktree], deadline: float) -> dict[Path, Head]:
        """Return what is true of each worktree, by its folder; until a monotonic instant.

        Files are looked at in MOST_ASKED worktrees at most. In a second answer and later only
        `here` is looked at anew, and whoever waits longest.
        """
        commits = worktree.commits(here)
        self._ask_times(here, {*commits.values()} - self._times.keys())
        self._ask_files(here, [tree.root for tree in trees], deadline)
        return {
            tree.root: Head(
                commits.get(tree.root),
                self._times.get(commits.get(tree.root, "")),
                self._dirty.get(tree.root, (0, None))[1],
            )
            for tree in trees
        }

    def _ask_times(self, here: Worktree, commits: Iterable[str]) -> None:
        wanted = sorted(commits)
        if not wanted:
            return
        words = ("log", "--no-walk=unsorted", "--no-show-signature", "--format=%H %ct", *wanted)
        for line in worktree.git(here.root, *words).splitlines():
            commit, _, instant = line.partition(" ")
            if instant.isdecimal():
                self._times[commit] = float(instant)

    def _ask_files(self, here: Worktree, roots: Sequence[Path], deadline: float) -> None:
        if self._dirty:
            late = sorted(roots, key=lambda root: self._dirty.get(root, (0, None))[0])
            asked = [here.root, *(root for root in late if root != here.root)][:AGAIN]
        else:
            asked = [here.root, *(root for root in roots if root != here.root)][:MOST_ASKED]

        def ask(root: Path) -> bool | None:
            return _is_dirty(root, deadline - time.monotonic())

        for root, found in zip(asked, threads.each(ask, asked, os.cpu_count() or 1), strict=True):
            self._dirty[root] = time.monotonic(), found


def _is_dirty(root: Path, patience: float) -> bool | None:
    """Return whether git sees changes; None where it doesn't answer within so many seconds."""
    if patience <= 0:
        return None
    try:
        done = git.run(root, *STATUS, timeout=patience)
    except (OSError, subprocess.SubprocessError):
        return None
    return bool(done.stdout) if done.returncode == 0 else None
