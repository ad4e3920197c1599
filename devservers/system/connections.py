"""Connections: which TCP connections a set of processes has, and whether others use a port."""

import socket
import struct
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from devservers.system import procfs

CAN_TELL = procfs.HAS_PROC
"""Whether `held` can know it."""
ESTABLISHED = "01"  # the state in /proc/net/tcp (proc(5))
MAPPED = "0000000000000000FFFF0000"  # how the kernel writes ::ffff:0:0/96, that is IPv4


class End(NamedTuple):
    """One end of a connection."""

    address: str
    """As the system writes it: to be compared, not to be shown."""
    port: int


class Connection(NamedTuple):
    """A connection of a process, as that process has it."""

    pid: int
    local: End
    remote: End


def established(pids: Iterable[int]) -> tuple[Connection, ...]:
    """Return every connection of those processes; of whoever may not be asked none."""
    return _from_proc(pids) if procfs.HAS_PROC else _from_psutil(pids)


def is_used(port: int, known: Iterable[Connection], through: Collection[int] = ()) -> bool:
    """Return whether somebody is connected to the `port` of one of those processes.

    Who has the other end among `known` doesn't count: give those of all servers of ours, and the
    caller's own, and only strangers are left: a browser, an editor, a test. The processes `through`
    are connected for others, and count as these.
    """
    ours = {connection.local for connection in known if connection.pid not in through}
    return any(one.local.port == port and one.remote not in ours for one in known)


def held(ends: Iterable[tuple[End, End]]) -> set[tuple[End, End]]:
    """Return those connections on this machine whose other end is still open in a process.

    Whoever closes a connection and whoever only says that it sends nothing more look the same from
    here. `ends` are those of this side: its own address first, as sockets tell them.
    """
    asked = {(_written(remote), _written(local)): (local, remote) for local, remote in ends}
    # A socket that no process has any more has no inode.
    open_ = {(_end(row[1]), _end(row[2])) for row in _rows() if row[9] != "0"}
    return {own for pair, own in asked.items() if pair in open_}


def _written(end: End) -> End:
    """Return an end as the kernel writes it: in words of four bytes, in the machine's order."""
    family = socket.AF_INET6 if ":" in end.address else socket.AF_INET
    words = struct.iter_unpack("=I", socket.inet_pton(family, end.address))
    return End("".join(f"{word:08X}" for (word,) in words), end.port)


def _rows(mark: str = ":") -> Iterator[list[str]]:
    """Yield the fields of each connection whose line has that mark."""
    for table in ("tcp", "tcp6"):
        try:
            with open(f"/proc/net/{table}", encoding="ascii") as stream:
                yield from (line.split() for line in stream if mark in line)
        except OSError:
            continue


def _from_proc(pids: Iterable[int]) -> tuple[Connection, ...]:
    owners = {inode: pid for pid in pids for inode, _ in procfs.sockets_of(pid)}
    if not owners:
        return ()
    rows = (row for row in _rows(f" {ESTABLISHED} ") if row[3] == ESTABLISHED and row[9] in owners)
    return tuple(Connection(owners[row[9]], _end(row[1]), _end(row[2])) for row in rows)


def _end(text: str) -> End:
    address, _, port = text.partition(":")
    return End(address.removeprefix(MAPPED), int(port, 16))


def _from_psutil(pids: Iterable[int]) -> tuple[Connection, ...]:
    import psutil  # noqa: PLC0415 - only where there is no /proc

    found = []
    for pid in pids:
        try:
            rows = psutil.Process(pid).net_connections("tcp")
        except (psutil.Error, OSError):
            continue
        for row in rows:
            if row.status == psutil.CONN_ESTABLISHED and row.laddr and row.raddr:
                ends = (
                    End(end.ip.removeprefix("::ffff:"), end.port) for end in (row.laddr, row.raddr)
                )
                found.append(Connection(pid, *ends))
    return tuple(found)
