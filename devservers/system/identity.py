"""Identity: plain values that tell a process and a listening socket from all others."""

from typing import NamedTuple


class Identity(NamedTuple):
    """A process, not just a pid: pids are used again."""

    pid: int
    started: str
    """On Linux boot id and start ticks, which no clock change moves; elsewhere the creation time
    in seconds since the epoch."""


class Socket(NamedTuple):
    """A listening TCP socket. The pid is None where this user may not know whose it is."""

    pid: int | None
    address: str
    port: int
    fd: int


class Listener(NamedTuple):
    """A process that was proved to listen, with what lets the proof be repeated in two reads."""

    process: Identity
    address: str
    """The address the socket is bound to, such as `127.0.0.1` or `::`."""
    fd: int
    inode: str
    """What /proc/<pid>/fd/<fd> points to, such as `socket:[4242]`; empty without /proc."""
