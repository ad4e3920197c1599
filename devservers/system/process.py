"""Processes: identity, the family of a server, and ending what was proved ours.

On Linux /proc is read directly: a warm call needs two small reads and no psutil. Elsewhere psutil.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from devservers.system import procfs
from devservers.system.identity import Identity, Listener

POLL = 0.01  # seconds
KILL_WAIT = 5.0  # seconds after SIGKILL until a process counts as a survivor
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


class Process(NamedTuple):
    """One row of the process table."""

    identity: Identity
    parent: int
    session: int
    cpu: float | None
    """Seconds of processor time so far; None where that may not be known."""


class Family(NamedTuple):
    """Who belongs to a server, and who only carries its mark."""

    members: tuple[Identity, ...]
    strays: tuple[Identity, ...]
    """What the server opened and that has left its tree and its session: an editor, a daemon."""


class Ended(NamedTuple):
    """What `stop` did."""

    pids: tuple[int, ...]
    """Who was signalled and is gone."""
    forced: bool
    """SIGKILL was needed."""
    survivors: tuple[int, ...]
    """Who is still there, or may not be signalled by this user."""
    left: tuple[Identity, ...] = ()
    """Who carries the server's mark, but lives on its own, and was left alone."""


def identify(pid: int) -> Identity | None:
    """Return the identity of `pid`, None if there is no such process. A zombie is gone."""
    row = _row(pid)
    return row.identity if row else None


def is_alive(process: Identity) -> bool:
    """Return whether that very process is there still: the same pid, start and namespaces."""
    now = identify(process.pid)
    same = now is not None and _same_start(now.started, process.started)
    return same and not procfs.is_elsewhere(process.pid)


def holds(listener: Listener) -> bool:
    """Return whether that very process still has that very socket open.

    Its cost does not depend on how many processes or sockets the machine has. False where it
    can't be told this way (no /proc, or another user's process).
    """
    return bool(listener.inode) and (
        procfs.socket_inode(listener.process.pid, listener.fd) == listener.inode
        and is_alive(listener.process)
    )


def has_marker(pid: int, marker: str) -> bool:
    """Return whether `pid`, a process within reach, carries `marker` (`NAME=value`)."""
    return os.fsencode(marker) in procfs.environ(pid) and procfs.is_within_reach(pid)


class Table:
    """The process table as it was at one moment, read once however many servers are asked about."""

    def __init__(self) -> None:
        self.taken_at = time.monotonic()
        self.rows = {row.identity.pid: row for row in map(_row, _pids()) if row}
        self._own = _ancestry(self.rows)
        self._marks: dict[bytes, dict[bytes, list[int]]] = {}
        self._children: dict[int, list[int]] = {}
        self._sessions: dict[int, list[int]] = {}
        for pid, row in self.rows.items():
            self._children.setdefault(row.parent, []).append(pid)
            self._sessions.setdefault(row.session, []).append(pid)

    def family(self, roots: Iterable[Identity], marker: str = "") -> Family:
        """Return every live process that is proved to belong to a server, roots first.

        That is: each root that is alive, whoever carries `marker` and is still in the session that
        was made for the server, the sessions that those lead, and all descendants of these. A
        session whose leader is gone proves nothing (its number may be used again); its members
        carry the mark. Nobody in other namespaces is ever among them. Nor is the calling process,
        and its ancestors are not for their mark alone.
        """
        rows = self.rows
        live = [root.pid for root in roots if _is_in(rows, root)]
        marked = [pid for pid in self._carriers(marker) if pid not in self._own]
        found = dict.fromkeys(live)
        found |= dict.fromkeys(pid for pid in marked if names_session(pid, rows[pid].session))
        for leader in list(found):
            found |= dict.fromkeys(self._sessions.get(leader, ()))
        pending = list(found)
        while pending:
            for child in self._children.get(pending.pop(), ()):
                if child not in found:
                    found[child] = None
                    pending.append(child)
        members = (pid for pid in found if pid != os.getpid() and not procfs.is_elsewhere(pid))
        strays = (pid for pid in marked if pid not in found)
        return Family(*(tuple(rows[pid].identity for pid in pids) for pids in (members, strays)))

    def _carriers(self, marker: str) -> list[int]:
        """Return who within reach carries `marker` (`NAME=value`); nobody carries an empty one."""
        if not marker:
            return []
        entry = os.fsencode(marker)
        name = entry.partition(b"=")[0] + b"="
        if name not in self._marks:  # once: it reads the environment of every process
            marks = self._marks[name] = {}
            for pid in self.rows:
                for mark in procfs.environ(pid):
                    if mark.startswith(name):
                        marks.setdefault(mark, []).append(pid)
        return [pid for pid in self._marks[name].get(entry, ()) if procfs.is_within_reach(pid)]


def family(roots: Iterable[Identity], marker: str = "") -> Family:
    """Return who belongs to a server now, as `Table.family` has it."""
    return Table().family(roots, marker)


def leads(pid: int) -> bool:
    """Return whether a process leads its session."""
    try:
        return os.getsid(pid) == pid
    except (OSError, AttributeError):  # it has gone; Windows has no sessions
        return False


def names_session(pid: int, session: int) -> bool:
    """Return whether `pid` was started, by whatever way, in the session of that number."""
    return os.fsencode(f"{procfs.SESSION}={session}") in procfs.environ(pid)


def stop(
    processes: Iterable[Identity],
    grace: float,
    more: Callable[[], Iterable[Identity]] = tuple,
) -> Ended:
    """End `processes`: SIGTERM, up to `grace` seconds, SIGKILL, and wait until they are gone.

    `more` is asked for what has been forked meanwhile; it must only name proved members. Each
    identity is proved again right before each signal.
    """
    members = dict.fromkeys(processes)
    signalled: dict[Identity, None] = {}
    refused: dict[Identity, None] = {}
    forced = False
    # Without grace nobody is asked: what forks when it is asked to end would go on doing so.
    asked = ((signal.SIGTERM, grace),) if grace > 0 else ()
    for signal_number, patience in (*asked, (signal.SIGKILL, KILL_WAIT)):
        deadline = time.monotonic() + patience
        pending = [process for process in members if is_alive(process)]
        while pending:
            forced = forced or signal_number == signal.SIGKILL
            for process in pending:
                (signalled if _send(process, signal_number) else refused)[process] = None
            _await_exit([process for process in pending if process not in refused], deadline)
            pending = _newcomers(more, members) or _newcomers(more, members)
            if time.monotonic() >= deadline:
                break  # something forks faster than it ends
        if not any(is_alive(process) for process in members if process not in refused):
            break
    survivors = tuple(process.pid for process in members if is_alive(process))
    ended = tuple(process.pid for process in signalled if process.pid not in survivors)
    return Ended(ended, forced, survivors)


def _newcomers(
    more: Callable[[], Iterable[Identity]], members: dict[Identity, None]
) -> list[Identity]:
    found = [process for process in more() if process not in members and is_alive(process)]
    members.update(dict.fromkeys(found))
    return found


def _await_exit(processes: list[Identity], deadline: float) -> None:
    while any(is_alive(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(POLL)


def _send(process: Identity, signal_number: int) -> bool:
    """Signal that very process; return False if this user may not.

    A pidfd names one process for good, so that nothing else can be hit if the pid is used again
    between the proof and the signal; where there are none, a proof right before comes closest.
    """
    fd = _pidfd(process.pid)
    try:
        if is_alive(process):
            if fd is not None and sys.platform == "linux":
                signal.pidfd_send_signal(fd, signal_number)
            else:
                os.kill(process.pid, signal_number)
    except ProcessLookupError:
        pass
    except PermissionError:
        return False
    finally:
        if fd is not None:
            os.close(fd)
    return True


def _pidfd(pid: int) -> int | None:
    """Return a pidfd; None on macOS, on old kernels, and where seccomp forbids them."""
    if sys.platform == "linux" and hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):
            return os.pidfd_open(pid)
    return None


def _is_in(table: Mapping[int, Process], process: Identity) -> bool:
    row = table.get(process.pid)
    return row is not None and _same_start(row.identity.started, process.started)


def _ancestry(table: Mapping[int, Process]) -> set[int]:
    found: set[int] = set()
    pid = os.getpid()
    while pid not in found:
        found.add(pid)
        if pid not in table:
            break
        pid = table[pid].parent
    return found


def _same_start(one: str, other: str) -> bool:
    if procfs.HAS_PROC or one == other:
        return one == other
    from devservers.system import by_psutil  # noqa: PLC0415 - only where there is no /proc

    return by_psutil.is_same_start(one, other)


def _pids() -> list[int]:
    if procfs.HAS_PROC:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - speed
    import psutil  # noqa: PLC0415 - only where there is no /proc

    return psutil.pids()


def _row(pid: int) -> Process | None:
    if not procfs.HAS_PROC:
        return _row_from_psutil(pid)
    fields = procfs.stat_fields(pid)
    if fields is None:
        return None
    identity = Identity(pid, procfs.start_of(fields))
    cpu = (int(fields[11]) + int(fields[12])) / _TICKS  # of user and of system, proc(5)
    return Process(identity, parent=int(fields[1]), session=int(fields[3]), cpu=cpu)


def _row_from_psutil(pid: int) -> Process | None:
    import psutil  # noqa: PLC0415 - only where there is no /proc

    from devservers.system import by_psutil  # noqa: PLC0415 - as above

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            started, parent = by_psutil.start_of(process), process.ppid()
            if started is None:
                return None
            try:
                times = process.cpu_times()
                cpu = times.user + times.system
            except psutil.AccessDenied:  # another user's, on macOS
                cpu = None
        session = os.getsid(pid) if hasattr(os, "getsid") else -1
    except (psutil.Error, OSError, ValueError):  # ValueError: no pid can be such a number
        return None
    return Process(Identity(pid, started), parent, session, cpu)
