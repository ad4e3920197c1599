"""Listening sockets as /proc has them, without psutil, whose import takes longer than to look."""

import _socket  # the other half of socket is enum and selectors
import os
import sys
from collections.abc import Iterable, Iterator

from devservers.system import procfs
from devservers.system.identity import Socket

LISTEN = "0A"  # the state in /proc/net/tcp (proc(5))
TABLES = {"tcp": _socket.AF_INET, "tcp6": _socket.AF_INET6}
COLUMNS = 10  # up to the inode
WORD = 8  # digits of four bytes, which the kernel writes as one number


def sockets(pids: Iterable[int] | None = None) -> tuple[Socket, ...]:
    """Return every listening TCP socket, of those processes only if `pids` is given.

    The pid is None for whoever this user may not ask. A socket that several processes have is
    listed for the first of them; with `pids`, for each. Raises OSError where there is no /proc.
    """
    places = {inode: (address, port) for address, port, _, inode in rows()}
    found: dict[str, list[tuple[int, int]]] = {}
    for pid in _every() if pids is None else pids:
        for inode, fd in procfs.sockets_of(pid):
            if inode in places:
                found.setdefault(inode, []).append((pid, fd))
    if pids is not None:
        return tuple(
            Socket(pid, *places[inode], fd) for inode, owners in found.items() for pid, fd in owners
        )
    nobody: list[tuple[int | None, int]] = [(None, -1)]
    return tuple(
        Socket(pid, *place, fd)
        for inode, place in places.items()
        for pid, fd in [(found.get(inode) or nobody)[0]]
    )


def rows() -> Iterator[tuple[str, int, int, str]]:
    """Yield address, port, user id and inode of every socket that listens. Raises OSError."""
    for table, family in TABLES.items():
        if family == _socket.AF_INET6 and not os.path.exists(f"/proc/net/{table}"):  # noqa: PTH110
            continue  # a kernel without IPv6
        with open(f"/proc/net/{table}", encoding="ascii") as stream:
            for line in stream:
                fields = line.split() if f" {LISTEN} " in line else []
                if len(fields) >= COLUMNS and fields[3] == LISTEN:
                    host, _, port = fields[1].partition(":")
                    yield _address(family, host), int(port, 16), int(fields[7]), fields[9]


def _address(family: int, digits: str) -> str:
    words = (digits[at : at + WORD] for at in range(0, len(digits), WORD))
    return _socket.inet_ntop(family, b"".join(int(w, 16).to_bytes(4, sys.byteorder) for w in words))


def _every() -> list[int]:
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208
