"""Log stream: the logs of all servers of a worktree, or of every one, as one stream of lines."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from devservers import config, kinds, worktree
from devservers.config import Config
from devservers.errors import DevServerError
from devservers.kind import Assignment
from devservers.lifecycle import state
from devservers.spec import ServerSpec
from devservers.system import logs
from devservers.worktree import Worktree

POLL = 0.1  # seconds
LOOK = 2.0  # seconds until it is looked for servers and worktrees that have come
SILENCE = 0.5  # seconds after which a line without an end is shown: it may be a question
LONGEST = 16 * 1024  # bytes of a line that are shown as one


class Source(NamedTuple):
    """Whose log it is."""

    worktree: str | None
    """None of a server that all worktrees use."""
    branch: str | None
    server: str


class Line(NamedTuple):
    """One line of a log, without its end."""

    source: Source
    data: bytes


class _Splitter:
    """Makes lines of what comes in pieces; one that is too long is cut."""

    def __init__(self) -> None:
        self._rest = b""
        self._since = 0.0

    def feed(self, block: bytes) -> Iterator[bytes]:
        """Yield each line that is complete."""
        *lines, rest = (self._rest + block).split(b"\n")
        self._since = time.monotonic() if rest != self._rest else self._since
        self._rest = rest
        for line in lines:
            yield from _cut(line)
        while len(self._rest) >= LONGEST:
            yield self._rest[:LONGEST]
            self._rest = self._rest[LONGEST:]

    def end(self, *, silent_for: float = 0) -> Iterator[bytes]:
        """Yield what has come without an end, if nothing more has come for so many seconds."""
        if self._rest and time.monotonic() - self._since >= silent_for:
            yield self._rest
            self._rest = b""


def _cut(line: bytes) -> Iterator[bytes]:
    line = line.removesuffix(b"\r")
    yield line[:LONGEST]
    for start in range(LONGEST, len(line), LONGEST):
        yield line[start : start + LONGEST]


def last(settings: Config, here: Worktree, lines: int, *, everywhere: bool) -> Iterator[Line]:
    """Yield the last `lines` lines of each server, one server after the other.

    Of all servers that the worktree `here` uses, with `everywhere` of those of every worktree.
    """
    for source, path in _logs(settings, here, everywhere=everywhere).items():
        splitter = _Splitter()
        try:
            for block in logs.blocks(path, lines):
                yield from (Line(source, data) for data in splitter.feed(block))
        except FileNotFoundError:
            continue
        yield from (Line(source, data) for data in splitter.end())


def follow(settings: Config, here: Worktree, lines: int, *, everywhere: bool) -> Iterator[Line]:
    """Yield what `last` does, then each line as it is written, for ever.

    Servers that are started later join in, a log that is rotated or replaced is read on; with
    `everywhere` worktrees that are added, too.
    """
    files: dict[Source, tuple[Path, logs.Follower, _Splitter]] = {}
    looked = 0.0
    first = True
    try:
        while True:
            if first or time.monotonic() - looked >= LOOK:
                looked = time.monotonic()
                _join(files, _now(settings, here, first=first, everywhere=everywhere), lines)
                lines, first = 1 << 62, False  # of a server that comes later everything is new
            for source, (_, log, splitter) in files.items():
                for block in log.read():
                    found = splitter.feed(block) if block else splitter.end()
                    yield from (Line(source, data) for data in found)
                yield from (Line(source, data) for data in splitter.end(silent_for=SILENCE))
            time.sleep(POLL)
    finally:
        for _, log, _ in files.values():
            log.close()


def _join(
    files: dict[Source, tuple[Path, logs.Follower, _Splitter]],
    now: Mapping[Source, Path],
    lines: int,
) -> None:
    for source, path in now.items():
        known = files.get(source)
        if known is None or known[0] != path:
            if known is not None:
                known[1].close()
            files[source] = (path, logs.Follower(path, lines), _Splitter())


def _now(settings: Config, here: Worktree, *, first: bool, everywhere: bool) -> dict[Source, Path]:
    """Return whose log is where; after the first time with the configuration of that moment."""
    try:
        if not first:
            settings = config.load(here.root, here.main)
        return _logs(settings, here, everywhere=everywhere)
    except DevServerError:  # being edited, perhaps: nothing new is known then
        return {}


def _logs(settings: Config, here: Worktree, *, everywhere: bool) -> dict[Source, Path]:
    trees = worktree.every(here) if everywhere else (here,)
    found: dict[Source, Path] = {}
    for tree in trees:
        try:
            its = settings if tree.root == here.root else config.load(tree.root, tree.main)
        except DevServerError:  # dev.status says what is wrong
            continue
        for kind in kinds.of(its).values():
            shared = kind.is_shared(its)
            # Where it would listen makes no difference to where it writes.
            spec = kind.declare(its, tree, Assignment(0))
            root, branch = (None, None) if shared else (str(tree.root), tree.branch)
            path = _log_of(spec)
            if path is not None:
                found.setdefault(Source(root, branch, kind.name), path)
    return found


def _log_of(spec: ServerSpec) -> Path | None:
    """Return where a server writes: its record says so, else where the next start has it.

    None where somebody else started it, and it writes elsewhere.
    """
    if not spec.enabled:
        return None
    record = state.read(spec.files.pid)
    if record is None:
        return spec.files.log
    return Path(record.log_file) if record.log_file else None
