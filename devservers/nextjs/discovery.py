"""Which Next.js server runs for a folder, whoever started it: recorded, or found in the system."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from devservers.lifecycle import state
from devservers.lifecycle.record import ServerRecord
from devservers.system import process, process_info, sockets
from devservers.system.identity import Socket

TITLE = "next-server"  # what the listener calls itself, in Next.js 14, 15 and 16
FORKED = "NEXT_PRIVATE_WORKER"  # in its environment, in all of these versions
LOCK = Path(".next", "dev", "lock")  # since 16; 14 and 15 have none
LARGEST_LOCK = 4096  # bytes; the real one has 120


class Running(NamedTuple):
    """A Next.js dev server that serves a folder."""

    pid: int
    """The listener's, which changes whenever Next.js restarts itself."""
    port: int


def recorded(pid_file: Path) -> ServerRecord | None:
    """Return the record of a server that lives; a few small reads. Raises StateUnusableError."""
    record = state.read(pid_file)
    if record is None:
        return None
    known = [record.process, *([record.listener.process] if record.listener else [])]
    return record if any(map(process.is_alive, known)) else None


def find(root: Path, listening: Iterable[Socket] | None = None) -> Running | None:
    """Return the Next.js server that serves `root`, None if there is none.

    Next.js's own lock names it; without one (before version 16, or with another distDir) it is a
    listener that works in `root` and is a `next dev`. `listening` are all listening sockets of
    the machine, where the caller has them already.
    """
    named = from_lock(root)
    if named:
        return named
    found = [
        Running(pid, port)
        for pid, _, port, _ in (sockets.listening() if listening is None else listening)
        if pid is not None and is_dev_server(pid) and process_info.works_in(pid, root)
    ]
    return min(found, key=lambda running: running.port, default=None)


def from_lock(root: Path) -> Running | None:
    """Return the server that `.next/dev/lock` names, if it lives, listens there and serves `root`.

    The lock is only read: to try it would block a Next.js that starts in this instant.
    """
    try:
        with open(root / LOCK, "rb") as stream:
            data: Any = json.loads(stream.read(LARGEST_LOCK))
        running = Running(data["pid"], data["port"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # stale ones, and broken ones, are left to Next.js, which replaces them
    if not all(isinstance(number, int) and number > 1 for number in running):
        return None
    if not process_info.works_in(running.pid, root):
        return None
    return running if sockets.listeners(running.port, pids=(running.pid,)) else None


def serves(pid: int, port: int, root: Path) -> bool:
    """Return whether `pid`, which listens on `port`, is a Next.js server of `root`."""
    if not process_info.works_in(pid, root):
        return False
    return is_dev_server(pid) or from_lock(root) == Running(pid, port)


def is_dev_server(pid: int) -> bool:
    """Return whether that process is the listener of a `next dev`.

    `next start` has the same title, but is no child that its launcher forked as a worker.
    """
    if not process_info.title(pid).startswith(TITLE):
        return False
    return process_info.variable(pid, FORKED) == "1"
