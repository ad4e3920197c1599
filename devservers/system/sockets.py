"""TCP ports: is one free, who listens on it, and who is that."""

import contextlib
import errno
import os
import time
from collections.abc import Collection, Iterable
from typing import Any

from devservers.system import clock, procfs
from devservers.system import listening as proc_listening
from devservers.system.http_status import LOOPBACKS
from devservers.system.identity import Socket

CONNECT_TIMEOUT = 0.5  # seconds; a listener with a full backlog lets a connection hang
LOOKS = 3
SECOND_LOOK = 0.03  # seconds
EVERY_ADDRESS = ("0.0.0.0", "127.0.0.1", "::", "::1")  # noqa: S104 - to learn whether it is taken


def is_open(port: int, host: str | None = None) -> bool:
    """Return whether something accepts connections on a loopback address, or on `host`.

    Unlike a bind, this can't collide with a server that is about to bind the port.
    """
    return any(_accepts(address, port) for address in _addresses(host))


def is_free(port: int, host: str | None = None) -> bool:
    """Return whether a server could bind `port` now, on IPv4 and on IPv6, loopback and any.

    Call it under the lock only: a server of ours that binds in the same instant would move away.
    SO_REUSEADDR is set as servers set it, so that a connection in TIME_WAIT doesn't count.
    """
    addresses = EVERY_ADDRESS if host is None else dict.fromkeys((*EVERY_ADDRESS, host))
    return all(_can_bind(address, port) for address in addresses) and not is_open(port, host)


def listeners(port: int, pids: Iterable[int] | None = None) -> tuple[Socket, ...]:
    """Return who listens on `port`; with `pids` only those processes are asked, which is cheaper.

    Another user's listener has the pid None on Linux, and can't be seen at all on macOS. So it has
    for a moment where a socket was opened between two steps of the question: it is asked again.
    """
    found: tuple[Socket, ...] = ()
    for look in range(LOOKS):
        time.sleep(SECOND_LOOK if look else 0)
        found = tuple(socket for socket in listening(pids) if socket.port == port)
        if all(socket.pid is not None for socket in found):
            break
    return found


def listening(pids: Iterable[int] | None = None) -> tuple[Socket, ...]:
    """Return every listening TCP socket, of those processes only if `pids` is given."""
    if procfs.HAS_PROC:
        with contextlib.suppress(OSError):
            return proc_listening.sockets(pids)
    import psutil  # noqa: PLC0415 - only where there is no /proc

    if pids is None:
        try:
            rows = psutil.net_connections("tcp")
            return tuple(found for row in rows if (found := _socket(row, row.pid)))
        except psutil.AccessDenied:  # macOS without root (psutil #1219): ask each process
            pids = psutil.pids()
    sockets: list[Socket] = []
    for pid in pids:
        with contextlib.suppress(psutil.Error, OSError):
            rows_of_one = psutil.Process(pid).net_connections("tcp")
            sockets += [found for row in rows_of_one if (found := _socket(row, pid))]
    return tuple(sockets)


def preload() -> None:
    """Import what `listeners` needs, at a moment when there is something to wait for anyway."""
    if not procfs.HAS_PROC:
        import psutil  # noqa: F401, PLC0415


def holder(pid: int | None) -> dict[str, object]:
    """Describe a process as `holders` in docs/reference.md; None where something can't be known."""
    keys = ("pid", "name", "cmdline", "user", "cwd", "since")
    found: dict[str, object] = dict.fromkeys(keys)
    found["pid"] = pid
    if pid is None:
        return found
    import psutil  # noqa: PLC0415 - 30 ms that a warm call saves

    def ask(key: str, question: Any) -> None:
        with contextlib.suppress(psutil.Error, OSError, KeyError):
            found[key] = question()

    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        ask("name", process.name)
        ask("cmdline", lambda: _without_end(process.cmdline()))
        ask("user", process.username)
        ask("cwd", process.cwd)
        ask("since", lambda: clock.utc(process.create_time()))
    return found


def _without_end(words: list[str]) -> list[str]:
    """Return `words` without the empty ones that a title leaves where longer words stood."""
    while words and not words[-1]:
        words.pop()
    return words


def holders(port: int) -> tuple[dict[str, object], ...]:
    """Describe everyone who listens on `port`, each process once; of others the user at least."""
    pids = dict.fromkeys(found.pid for found in listeners(port))
    return tuple(holder(pid) | ({} if pid else {"user": owner(port)}) for pid in pids)


def holders_of_each(ports: Collection[int]) -> dict[int, tuple[dict[str, object], ...]]:
    """Describe who listens on each port, as `holders` does, from one look at the system."""
    pids: dict[int, dict[int | None, None]] = {}
    for found in listening():
        if found.port in ports:
            pids.setdefault(found.port, {})[found.pid] = None
    return {
        port: tuple(holder(pid) | ({} if pid else {"user": owner(port)}) for pid in those)
        for port, those in pids.items()
    }


def owner(port: int) -> str | None:
    """Return the user whose socket listens on `port`, as the kernel's table has it (Linux)."""
    with contextlib.suppress(OSError):
        for _, its, user, _ in proc_listening.rows():
            if its == port:
                return _user_name(user)
    return None


def _user_name(uid: int) -> str:
    import pwd  # noqa: PLC0415 - not on Windows

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user id {uid}"


def _socket(row: Any, pid: int | None) -> Socket | None:
    if row.status != "LISTEN" or not row.laddr:
        return None
    return Socket(pid, row.laddr.ip, row.laddr.port, row.fd)


def _addresses(host: str | None) -> tuple[str, ...]:
    return LOOPBACKS if host in (None, *EVERY_ADDRESS, "localhost") else (*LOOPBACKS, str(host))


def _accepts(address: str, port: int) -> bool:
    import socket  # noqa: PLC0415 - 2 ms that a look at what runs saves

    try:
        socket.create_connection((address, port), CONNECT_TIMEOUT).close()
    except TimeoutError:
        return True
    except OSError:
        return False
    return True


def _can_bind(address: str, port: int) -> bool:
    import socket  # noqa: PLC0415 - as above

    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            if os.name == "posix":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((address, port))
    except OSError as error:
        # Only these mean that the port is taken; a missing IPv6 or address is no obstacle.
        return error.errno not in (errno.EADDRINUSE, errno.EACCES)
    return True


def started_at(pid: int) -> float | None:
    """Return when `pid` was started, in seconds since the epoch; None if that can't be known."""
    import psutil  # noqa: PLC0415 - 30 ms that a warm call saves

    try:
        return float(psutil.Process(pid).create_time())
    except (psutil.Error, OSError):
        return None
