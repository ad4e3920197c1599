"""Usage: the memory and the processor time of a set of processes."""

import time
from collections.abc import Iterable

from devservers.system import process, procfs
from devservers.system.identity import Identity

FRESH = 10.0  # seconds; to add up a process's pages costs some 9 ms for each GB that it has
LEAST_SAMPLE = 0.2  # seconds; processor time is counted in hundredths of a second

_known: dict[Identity, tuple[float, int]] = {}


def memory(members: Iterable[Identity]) -> int:
    """Return the bytes of memory that processes have together, pages that they share once.

    Where the system doesn't tell who shares what (macOS), each one's resident memory. Of whoever
    is gone nothing. What was read of a process is kept for FRESH seconds: for whoever watches.
    """
    now = time.monotonic()
    total = 0
    for member in members:
        read_at, found = _known.get(member, (-FRESH, 0))
        if now - read_at >= FRESH:
            found = _memory(member.pid)
            for old in [one for one, (at, _) in _known.items() if now - at >= 2 * FRESH]:
                del _known[old]  # nobody asks for whoever is gone
            _known[member] = now, found
        total += found
    return total


def cpu_percent(
    members: Iterable[Identity], before: process.Table, after: process.Table
) -> float | None:
    """Return the processor time of `members` between two tables, in hundredths of one processor.

    Whoever was born in between counts with all that it has used. None where it may not be known,
    or was not long enough.
    """
    seconds = after.taken_at - before.taken_at
    if seconds < LEAST_SAMPLE:
        return None
    used = 0.0
    for member in members:
        now, then = after.rows.get(member.pid), before.rows.get(member.pid)
        if now is None or now.identity != member:
            continue  # it has ended
        if now.cpu is None:
            return None
        known = then.cpu if then is not None and then.identity == member else None
        used += now.cpu - (known or 0.0)
    return max(used, 0.0) / seconds * 100


def _memory(pid: int) -> int:
    if procfs.HAS_PROC:
        return _proportional(pid) or _resident(pid)
    import psutil  # noqa: PLC0415 - only where there is no /proc

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except (psutil.Error, OSError):
        return 0


def _proportional(pid: int) -> int:
    """Return the process's share of memory (proc(5), since Linux 4.14), 0 where it isn't told."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as stream:
            for line in stream:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return 0


def _resident(pid: int) -> int:
    import resource  # noqa: PLC0415 - rarely needed

    try:
        with open(f"/proc/{pid}/statm", "rb") as stream:
            return int(stream.read().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0
