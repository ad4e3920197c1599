"""Connections: which TCP connections a set of processes has, and whether others use a port."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from devservers.system import procfs

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


def _from_proc(pids: Iterable[int]) -> tuple[Connection, ...]:
    owners = {inode: pid for pid in pids for inode, _ in procfs.sockets_of(pid)}
    found = []
    for table in ("tcp", "tcp6") if owners else ():
        try:
            with open(f"/proc/net/{table}", encoding="ascii") as stream:
                for line in stream:
                    if f" {ESTABLISHED} " not in line:
                        continue
                    fields = line.split()
                    pid = owners.get(fields[9]) if fields[3] == ESTABLISHED else None
                    if pid is not None:
                        found.append(Connection(pid, _end(fields[1]), _end(fields[2])))
        except OSError:
            continue
    return tuple(found)


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
