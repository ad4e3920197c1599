"""What the system says of one process, in small reads of /proc and with no imports to pay for.

Every warm call of a git hook ends up here: nothing in this module may cost more than its reads.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

HAS_PROC = sys.platform == "linux"
SESSION = "DEVSERVERS_SESSION"  # names, in a server's environment, the session made for it


def sees_itself() -> bool:
    """Return whether /proc has the caller under its own pid.

    It hasn't where none is mounted, nor in a pid namespace where that of another is: then each pid
    means two processes, one to be seen and one to be signalled.
    """
    try:
        return not HAS_PROC or os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


def stat_fields(pid: int) -> list[bytes] | None:
    """Return the fields of /proc/<pid>/stat from the state on; None for a zombie or no process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            # The name stands in brackets and may hold brackets and spaces itself (proc(5)).
            fields = stream.read().rpartition(b")")[2].split()
    except OSError:
        return None
    # The start time is field 22 of all, and so the twentieth of these.
    return None if len(fields) < 20 or fields[0] in b"ZX" else fields  # noqa: PLR2004


def start_of(fields: list[bytes]) -> str:
    """Return when a process began, as boot id and ticks: with its pid, that is its identity."""
    return f"{_boot_id()}:{int(fields[19])}"


def socket_inode(pid: int, fd: int) -> str:
    """Return what that descriptor is, such as `socket:[4242]`; empty where that can't be read."""
    try:
        return os.readlink(f"/proc/{pid}/fd/{fd}")
    except OSError:
        return ""


def sockets_of(pid: int) -> "Iterator[tuple[str, int]]":
    """Yield inode and descriptor of every socket of `pid`; none where that may not be known."""
    try:
        names = os.listdir(f"/proc/{pid}/fd")  # noqa: PTH208 - no pathlib here
    except OSError:
        return
    for name in names:
        target = socket_inode(pid, int(name))
        if target.startswith("socket:["):
            yield target[8:-1], int(name)


def environ(pid: int) -> list[bytes]:
    """Return the environment that `pid` was started with as `NAME=value`, [] where unknown."""
    if HAS_PROC:
        try:
            with open(f"/proc/{pid}/environ", "rb") as stream:  # read for each process
                return stream.read().split(b"\0")
        except OSError:
            return []
    import psutil  # noqa: PLC0415 - only where there is no /proc

    try:
        entries = psutil.Process(pid).environ()
    except (psutil.Error, OSError):
        return []
    return [os.fsencode(f"{name}={value}") for name, value in entries.items()]


NAMESPACES = ("pid", "mnt", "net")


def is_within_reach(pid: int) -> bool:
    """Return whether `pid` runs for this user, in the caller's own pid, mount and net namespaces.

    /proc shows processes of containers and of other users, too: whatever else they have in common
    with a server of ours (a mark, a port, a folder), they are somebody else's. False where it
    can't be known. Without /proc (macOS knows no namespaces) only the user counts.
    """
    if not HAS_PROC:
        return _owner_from_psutil(pid) == os.geteuid()
    try:
        # Another user's links can't be read, except by root.
        own = os.stat(f"/proc/{pid}").st_uid == os.geteuid()  # noqa: PTH116 - no pathlib here
        return own and _namespaces(pid) == _own_namespaces()
    except OSError:
        return False


def is_elsewhere(pid: int) -> bool:
    """Return whether `pid` is known to run in other namespaces; the user makes no difference."""
    try:
        return HAS_PROC and _namespaces(pid) != _own_namespaces()
    except OSError:
        return False


def _namespaces(pid: int | str) -> list[str]:
    return [os.readlink(f"/proc/{pid}/ns/{name}") for name in NAMESPACES]


_own: list[list[str]] = []


def _own_namespaces() -> list[str]:
    if not _own:
        _own.append(_namespaces("self"))
    return _own[0]


def _owner_from_psutil(pid: int) -> int | None:
    import psutil  # noqa: PLC0415 - only where there is no /proc

    try:
        return int(psutil.Process(pid).uids().effective)
    except (psutil.Error, OSError):
        return None


_boot_ids: list[str] = []


def _boot_id() -> str:
    if not _boot_ids:
        try:
            with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as stream:
                _boot_ids.append(stream.read().strip())
        except OSError:  # some sandboxes hide /proc/sys; ticks alone then
            _boot_ids.append("")
    return _boot_ids[0]
