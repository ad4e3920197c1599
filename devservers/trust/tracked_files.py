"""Tracked: which files of a repository's worktrees git knows, and so brought along itself."""

import os
import subprocess
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

from devservers import worktree
from devservers.errors import HooksUnusableError
from devservers.system import git, spelling
from devservers.worktree import Worktree

TIMEOUT = 20.0  # seconds
MODULE, LINK, PROGRAM = "160000", "120000", "100755"  # modes in git's index
# Nothing that a repository's own configuration names may run when git is asked. (`ls-files` writes
# no index, and so runs no hook.)
QUIET = ("-c", "core.fsmonitor=false")


class Entry(NamedTuple):
    """One path of git's index."""

    path: str
    mode: str


class Tracked:
    """What git tracks in the worktrees of one repository, asked for each at most once."""

    def __init__(self, here: Worktree) -> None:
        trees = worktree.every(here) if here.git_dir else ()
        # The deepest first: a worktree may lie in another.
        self.tops = tuple(sorted((str(tree.root) for tree in trees), key=len, reverse=True))
        self._known: dict[str, dict[str, Entry]] = {}

    def top_of(self, path: str) -> str | None:
        """Return the worktree that a path lies in, None if in none of this repository's."""
        return next(
            (top for top in self.tops if f"{path}/".startswith(f"{top.rstrip('/')}/")), None
        )

    def has(self, path: str) -> bool:
        """Return whether git tracks `path`, or a submodule or link on the way to it."""
        top = self.top_of(path)
        if top is None:
            return False
        known, key = self._entries(top), spelling.key(_inside(path, top))
        if key in known:
            return True
        parts = key.split("/")
        parents = ("/".join(parts[:count]) for count in range(1, len(parts)))
        return any(known[up].mode in (MODULE, LINK) for up in parents if up in known)

    def name(self, path: str) -> str:
        """Return a path as it is called in every worktree."""
        return _inside(path, self.top_of(path) or "")

    def below(self, folder: str) -> Iterator[Entry]:
        """Yield the tracked files in and under a real folder, those of a submodule as well."""
        top = self.top_of(folder)
        if top is None:
            return
        within = spelling.key(_inside(folder, top))
        prefix = f"{within}/" if within else ""
        for key, entry in self._entries(top).items():
            if entry.mode == MODULE and f"{key}/".startswith(prefix):
                yield from _on_disk(os.path.join(top, entry.path))
            elif entry.mode == MODULE and prefix.startswith(f"{key}/"):
                yield from _on_disk(folder)
            elif key.startswith(prefix):
                yield entry._replace(path=os.path.join(top, entry.path))

    def _entries(self, top: str) -> dict[str, Entry]:
        if top not in self._known:
            self._known[top] = {spelling.key(entry.path): entry for entry in _ask(top, self.tops)}
        return self._known[top]


def _ask(top: str, tops: tuple[str, ...]) -> Iterator[Entry]:
    words = (*QUIET, "ls-files", "--stage", "-z")
    try:
        done = git.run(top, *words, avoid=tops, settings=True, timeout=TIMEOUT)
    except FileNotFoundError as error:
        _refuse(top, str(error.strerror))
    except (OSError, subprocess.SubprocessError) as error:
        _refuse(top, str(error))
    if done.returncode:
        said = os.fsdecode(done.stderr).strip().splitlines() or ["no reason given"]
        _refuse(top, said[0])
    for line in os.fsdecode(done.stdout).split("\0"):
        facts, _, path = line.partition("\t")
        if path:
            yield Entry(path, facts.partition(" ")[0])


def _refuse(top: str, why: str) -> NoReturn:
    raise HooksUnusableError(
        f"What the checkout in {top} brought along can't be told: {why}.",
        hint=f"`git -C {top} ls-files` must work.",
    )


def _on_disk(folder: str) -> Iterator[Entry]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != ".git"]
        for name in (*names, *folders):
            path = os.path.join(place, name)
            if os.path.islink(path):
                yield Entry(path, LINK)
            elif name in names:
                yield Entry(path, PROGRAM if os.access(path, os.X_OK) else "")


def _inside(path: str, top: str) -> str:
    return path[len(top.rstrip("/")) :].lstrip("/")
