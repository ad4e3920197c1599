"""Activity: what running servers cost, and for how long nobody has used them."""

import os
import re
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from devservers.lifecycle import used
from devservers.lifecycle.result import Status
from devservers.spec import Chatter, ServerSpec
from devservers.system import connections, process, usage
from devservers.system.connections import Connection
from devservers.system.identity import Identity

LARGEST = 1 << 20  # bytes of a log in which it is looked for the last line that tells of use


class Asked(NamedTuple):
    """A server of which it is asked, and what is true of it."""

    spec: ServerSpec
    status: Status


class Usage(NamedTuple):
    """What one server costs, all its processes together; None where that can't be known."""

    memory: int | None = None
    """Bytes."""
    cpu_percent: float | None = None
    """Of one processor, while it was being asked."""
    idle: float | None = None
    """Seconds since somebody used it; 0 while somebody is connected, None if it doesn't run."""


class Watch:
    """Asks the same again and again, and keeps what can't have changed."""

    def __init__(self) -> None:
        self._before = process.Table()
        self._chatter: dict[str, tuple[int, int, int]] = {}

    def look(self, asked: Sequence[Asked]) -> list[Usage]:
        """Return what each server costs now; takes as long as a sample of processor time does."""
        wait = usage.LEAST_SAMPLE - (time.monotonic() - self._before.taken_at)
        if wait > 0 and any(one.status.running for one in asked):
            time.sleep(wait)
        table = process.Table()
        families = [members(one, table) for one in asked]
        found = [
            Usage(usage.memory(family), usage.cpu_percent(family, self._before, table), idle)
            if family
            else Usage()
            for family, idle in zip(families, self._idle_each(asked, families), strict=True)
        ]
        self._before = table
        return found

    def idle(self, asked: Sequence[Asked]) -> list[float | None]:
        """Return only for how long nobody has used each, see `Usage`.

        Who is connected to a server is none who uses it if it is another one of `asked`.
        """
        table = process.Table()
        return self._idle_each(asked, [members(one, table) for one in asked])

    def _idle_each(
        self, asked: Sequence[Asked], families: Sequence[tuple[Identity, ...]]
    ) -> list[float | None]:
        pids = {member.pid for family in families for member in family}
        known = connections.established((*pids, os.getpid())) if pids else ()
        through = {
            member.pid
            for one, family in zip(asked, families, strict=True)
            for member in family
            if one.spec.behaviour.passes_on
        }
        return [
            self._idle(one, known, through) if family else None
            for one, family in zip(asked, families, strict=True)
        ]

    def _idle(self, one: Asked, known: tuple[Connection, ...], through: set[int]) -> float | None:
        spec, status = one
        if status.port and connections.is_used(status.port, known, through):
            return 0.0
        last = self._last_output(status.log_file, spec.behaviour.chatter)
        if last is None:
            return None  # nobody knows where it writes: nothing tells that it was not used
        return max(time.time() - max(last, status.started_at or 0, used.last(spec)), 0.0)

    def _last_output(self, log: str | None, chatter: Chatter | None) -> float | None:
        """Return when a server last wrote what tells of use, in seconds since the epoch."""
        try:
            info = os.stat(log) if log else None  # noqa: PTH116 - text in
        except OSError:
            return None
        if info is None or log is None or not stat.S_ISREG(info.st_mode):
            return None
        if chatter is None:
            return info.st_mtime
        inode, size, count = self._chatter.get(log, (0, 0, 0))
        start = size if inode == info.st_ino and size <= info.st_size else 0
        more, all_of_it = _chattered(Path(log), start, info.st_size, chatter.pattern)
        count = more + (count if all_of_it and start else 0)
        self._chatter[log] = info.st_ino, info.st_size, count
        return info.st_mtime - count * chatter.interval


def members(one: Asked, table: process.Table) -> tuple[Identity, ...]:
    """Return every process of a server, as the table has it; none if it doesn't run."""
    rows = (table.rows.get(pid) for pid in _roots(one.status))
    return table.family([row.identity for row in rows if row], one.spec.marker).members


def _roots(status: Status) -> list[int]:
    return [pid for pid in (status.pid, status.listener_pid) if pid]


def _chattered(log: Path, start: int, end: int, pattern: str) -> tuple[int, bool]:
    """Return how many of the last lines of a log tell of no use, and whether all from `start` on.

    Of the last LARGEST bytes before `end` only.
    """
    begin = max(start, end - LARGEST)  # a line that is cut there counts as use
    try:
        with open(log, "rb") as stream:
            stream.seek(begin)
            lines = stream.read(end - begin).splitlines()
    except OSError:
        return 0, False
    idle = re.compile(os.fsencode(pattern))
    count = 0
    for line in reversed(lines):
        if not (found := idle.match(line)):
            return count, False
        count += found[1] is not None
    return count, begin == start
