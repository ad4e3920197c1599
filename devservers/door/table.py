"""Table: which worktree's server a name leads to, proved anew for each connection to it.

The door owns nothing of this: the worktrees are git's, the records the servers' own, the note of
the one in use is written by `dev.use`. So it can be killed at any moment and knows it all again.
"""

import asyncio
import os
import time
from pathlib import Path
from typing import NamedTuple

from devservers import config, kinds, worktree
from devservers.errors import DevServerError
from devservers.lifecycle import verdict
from devservers.system import http_status
from devservers.system.identity import Listener
from devservers.worktree import Worktree
from devservers.worktrees import hostnames, in_use

TICK = 2.0  # seconds; Linux's clock for files has some 4 ms, the coarsest there are this much
FRESH = 1.0  # seconds for which it is known which worktrees there are
DOWN = 0.3  # seconds for which one whose server isn't there is not looked for again


class Way(NamedTuple):
    """A server of this repository that was proved a moment ago."""

    listener: Listener
    port: int

    @property
    def holds(self) -> bool:
        """Whether that very process still has that very socket open."""
        return verdict.still_listens(self.listener, self.port)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it can be reached."""
        return http_status.reachable(self.listener.address)


class Place(NamedTuple):
    """What a name stands for."""

    tree: Worktree | None
    """None: no worktree is in use, the one that was is gone, or nothing has that name."""
    follows: bool = False
    """It is the one address that follows the worktree in use."""
    is_zone: bool = False
    """It is the name that all of the repository's end with."""


class Table:
    """Knows the worktrees of a repository by name."""

    def __init__(self, here: Worktree, port: int) -> None:
        self.here = here
        self.zone = hostnames.zone(here)
        self._fixed = {f"{name}:{port}".encode() for name in ("localhost", "127.0.0.1", "[::1]")}
        self._end = f":{port}".encode()
        self._trees: dict[str, Worktree] = {}
        self._looked = -FRESH
        self._note: tuple[object, Path | None] = (None, None)
        self.switches = 0
        """How often another worktree was seen to be in use: also one that was for a moment."""
        self._ways: dict[Path, Way] = {}
        self._missed: dict[Path, float] = {}

    async def place(self, host: bytes) -> Place | None:
        """Return what a Host stands for; None for one that leads nowhere here."""
        host = self._whole(host)
        if host in self._fixed:
            return Place(await self.used(), follows=True)
        name, port = host[: -len(self._end)], host[-len(self._end) :]
        if port != self._end or not name.isascii():
            return None
        text = name.decode().removesuffix(".")
        if text != hostnames.TOP and not text.endswith(f".{hostnames.TOP}"):
            return None
        label, _, zone = text.partition(".")
        if zone != self.zone:
            return Place(None, is_zone=text == self.zone)
        await self.look()
        return Place(self._trees.get(label))

    def follows(self, host: bytes) -> bool:
        """Return whether that is the address that follows the worktree in use."""
        return self._whole(host) in self._fixed

    def _whole(self, host: bytes) -> bytes:
        """Return a Host with its port, which is left out where it is that of HTTP itself."""
        is_short = self._end == b":80" and not host.endswith(self._end)
        return host.lower() + (self._end if is_short else b"")

    def leads(self, host: bytes, root: Path) -> bool:
        """Return whether a Host is known, at this moment, to lead to that worktree."""
        if self.follows(host):
            return self.noted() == root
        label, _, rest = self._whole(host).partition(b".")
        tree = self._trees.get(label.decode("latin-1"))
        is_fresh = time.monotonic() - self._looked < FRESH
        is_ours = rest == self.zone.encode() + self._end
        return is_fresh and is_ours and tree is not None and tree.root == root

    def noted(self) -> Path | None:
        """Return the worktree that is noted as the one in use, there or not."""
        try:
            info = os.stat(in_use.file_of(self.here))  # noqa: PTH116 - asked all the time
            mark: object = (info.st_mtime_ns, info.st_ino, info.st_size)
        except OSError:
            mark = None
        before = self._note
        if mark is None:
            self._note = (None, None)
        elif mark != before[0]:
            # A file that replaces it within a tick of the file system's clock may look the same.
            is_old = abs(time.time() - info.st_mtime) > TICK
            self._note = (mark if is_old else None, in_use.read(self.here))
        if self._note[1] != before[1]:
            self.switches += 1
            self._looked = -FRESH  # it may be a worktree that has just been made
        return self._note[1]

    async def used(self) -> Worktree | None:
        """Return the worktree in use."""
        while (root := self.noted()) is not None:
            await self.look()
            if self.noted() == root:  # else whoever is asked for it now has missed the switch
                return next((tree for tree in self._trees.values() if tree.root == root), None)
        return None

    async def look(self, fresh: float = FRESH) -> dict[str, Worktree]:
        """Return the worktrees by label, as they were that many seconds ago at most."""
        if time.monotonic() - self._looked >= fresh:
            looked = time.monotonic()
            trees = await asyncio.to_thread(worktree.every, self.here)
            self._trees, self._looked = hostnames.labels(trees), looked
            known = {tree.root for tree in trees}
            for gone in [root for root in (*self._ways, *self._missed) if root not in known]:
                self._ways.pop(gone, None)
                self._missed.pop(gone, None)
        return self._trees

    async def way(self, tree: Worktree) -> Way | None:
        """Return the way to the server of a worktree's app, proved now; None where none runs."""
        known = self._ways.get(tree.root)
        if known is not None and known.holds:
            return known
        if time.monotonic() - self._missed.get(tree.root, -DOWN) < DOWN:
            return None
        found = await asyncio.to_thread(_find, tree)
        if found is None:
            self._missed[tree.root] = time.monotonic()
            self._ways.pop(tree.root, None)
        else:
            self._ways[tree.root] = found
        return found


def _find(tree: Worktree) -> Way | None:
    """Look for the server of a worktree's app, whoever started it, as its status does."""
    try:
        settings = config.load(tree.root, tree.main)
        spec = kinds.declared(kinds.of_app(), settings, tree, by_itself=True)
        view = verdict.examine(spec, time.monotonic())
    except DevServerError:
        return None
    is_its_own = view.verdict not in (verdict.Verdict.FOREIGN, verdict.Verdict.CONFLICT)
    if not is_its_own or view.listener is None or view.port is None:
        return None
    return Way(view.listener, view.port)
