"""Processes: identity, the family of a server, detached spawn, and ending what was proved ours.

On Linux /proc is read directly: a warm call needs two small reads and no psutil. Elsewhere psutil.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from devservers import proc
from devservers.identity import Identity, Listener

if TYPE_CHECKING:
    import subprocess

POLL = 0.01  # seconds
KILL_WAIT = 5.0  # seconds after SIGKILL until a process counts as a survivor
CLOCK_TOLERANCE = 1.0  # seconds; psutil's create_time follows clock changes (psutil #2526, #2541)


class Process(NamedTuple):
    """One row of the process table."""

    identity: Identity
    parent: int
    session: int


class Ended(NamedTuple):
    """What `stop` did."""

    pids: tuple[int, ...]
    """Who was signalled and is gone."""
    forced: bool
    """SIGKILL was needed."""
    survivors: tuple[int, ...]
    """Who is still there, or may not be signalled by this user."""


def identify(pid: int) -> Identity | None:
    """Return the identity of `pid`, None if there is no such process. A zombie is gone."""
    row = _row(pid)
    return row.identity if row else None


def is_alive(process: Identity) -> bool:
    """Return whether that very process is there still: the same pid and the same start."""
    now = identify(process.pid)
    return now is not None and _same_start(now.started, process.started)


def holds(listener: Listener) -> bool:
    """Return whether that very process still has that very socket open.

    Its cost does not depend on how many processes or sockets the machine has. False where it
    can't be told this way (no /proc, or another user's process).
    """
    return bool(listener.inode) and (
        proc.socket_inode(listener.process.pid, listener.fd) == listener.inode
        and is_alive(listener.process)
    )


def output_file(pid: int) -> str | None:
    """Return the file that the stdout of `pid` goes to; None if it is no file or can't be known."""
    try:
        path = os.readlink(f"/proc/{pid}/fd/1")
    except OSError:
        return None
    return path if os.path.isfile(path) else None  # noqa: PTH113 - text in, text out


def has_marker(pid: int, marker: str) -> bool:
    """Return whether `pid` carries `marker` (`NAME=value`) in its environment."""
    wanted = os.fsencode(marker)
    if proc.HAS_PROC:
        try:
            with open(f"/proc/{pid}/environ", "rb") as stream:  # read for each process
                return wanted in stream.read().split(b"\0")
        except OSError:
            return False
    import psutil  # noqa: PLC0415 - only where there is no /proc

    name, _, value = marker.partition("=")
    try:
        return bool(psutil.Process(pid).environ().get(name) == value)
    except (psutil.Error, OSError):
        return False


def family(roots: Iterable[Identity], marker: str) -> tuple[Identity, ...]:
    """Return every live process that is proved to belong to a server, roots first.

    That is: each root that is alive, whoever carries `marker`, the sessions that those lead, and
    all descendants of these. A session whose leader is gone proves nothing (its number may be used
    again); its members carry the marker. The calling process is never among them, nor is one of
    its ancestors for its marker alone.
    """
    table = {row.identity.pid: row for row in _table()}
    live = [root.pid for root in roots if _is_in(table, root)]
    own = _ancestry(table)
    found = dict.fromkeys(live)
    found.update(dict.fromkeys(pid for pid in table if pid not in own and has_marker(pid, marker)))
    leaders = set(found)
    found.update(dict.fromkeys(pid for pid, row in table.items() if row.session in leaders))
    children: dict[int, list[int]] = {}
    for pid, row in table.items():
        children.setdefault(row.parent, []).append(pid)
    pending = list(found)
    while pending:
        for child in children.get(pending.pop(), ()):
            if child not in found:
                found[child] = None
                pending.append(child)
    return tuple(table[pid].identity for pid in found if pid != os.getpid())


def spawn(
    argv: tuple[str, ...], cwd: Path, env: Mapping[str, str], log: Path
) -> "subprocess.Popen[bytes]":
    """Start a server that depends on nothing of its caller's: own session, no stdin, no descriptor.

    Its output is appended to `log`. Raises OSError if the program can't be executed.
    """
    import subprocess  # noqa: PLC0415 - 4 ms that a warm call saves

    from devservers import files  # noqa: PLC0415 - what a warm call does without

    with open(files.append(log), "ab", buffering=0) as output:
        return subprocess.Popen(  # noqa: S603 - argv comes from the user's own configuration
            argv,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def let_go(child: "subprocess.Popen[bytes]") -> None:
    """Forget a child that is to outlive us, so that its Popen doesn't warn of it when collected."""
    if child.poll() is None:
        child.returncode = 0


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
    for signal_number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, KILL_WAIT)):
        deadline = time.monotonic() + patience
        pending = [process for process in members if is_alive(process)]
        while pending:
            forced = forced or signal_number == signal.SIGKILL
            for process in pending:
                (signalled if _send(process, signal_number) else refused)[process] = None
            _await_exit([process for process in pending if process not in refused], deadline)
            pending = [p for p in more() if p not in members and is_alive(p)]
            members.update(dict.fromkeys(pending))
            if time.monotonic() >= deadline:
                break  # something forks faster than it ends
        if not any(is_alive(process) for process in members if process not in refused):
            break
    survivors = tuple(process.pid for process in members if is_alive(process))
    ended = tuple(process.pid for process in signalled if process.pid not in survivors)
    return Ended(ended, forced, survivors)


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
            if fd is None:
                os.kill(process.pid, signal_number)
            else:
                signal.pidfd_send_signal(fd, signal_number)
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
    if hasattr(os, "pidfd_open"):
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
    if proc.HAS_PROC or one == other:
        return one == other
    try:
        return abs(float(one) - float(other)) <= CLOCK_TOLERANCE
    except ValueError:
        return False


def _table() -> list[Process]:
    return [row for row in map(_row, _pids()) if row]


def _pids() -> list[int]:
    if proc.HAS_PROC:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - speed
    import psutil  # noqa: PLC0415 - only where there is no /proc

    return psutil.pids()


def _row(pid: int) -> Process | None:
    if not proc.HAS_PROC:
        return _row_from_psutil(pid)
    fields = proc.stat_fields(pid)
    if fields is None:
        return None
    identity = Identity(pid, proc.start_of(fields))
    return Process(identity, parent=int(fields[1]), session=int(fields[3]))


def _row_from_psutil(pid: int) -> Process | None:
    import psutil  # noqa: PLC0415 - only where there is no /proc

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
                return None
            started, parent = f"{process.create_time():.3f}", process.ppid()
        session = os.getsid(pid) if hasattr(os, "getsid") else -1
    except (psutil.Error, OSError, ValueError):  # ValueError: no pid can be such a number
        return None
    return Process(Identity(pid, started), parent, session)
