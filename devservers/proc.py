"""What the system says of one process, in small reads of /proc and with no imports to pay for.

Every warm call of a git hook ends up here: nothing in this module may cost more than its reads.
"""

import os
import sys

HAS_PROC = sys.platform == "linux"


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


_boot_ids: list[str] = []


def _boot_id() -> str:
    if not _boot_ids:
        try:
            with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as stream:
                _boot_ids.append(stream.read().strip())
        except OSError:  # some sandboxes hide /proc/sys; ticks alone then
            _boot_ids.append("")
    return _boot_ids[0]
