"""Whereabouts: the folder a process works in, what it calls itself, whose mark it carries."""

import contextlib
import os
import sys
from pathlib import Path

HAS_PROC = sys.platform == "linux"


def folder(pid: int) -> Path | None:
    """Return the folder that `pid` works in, None where that can't be known.

    On Linux the folder may be gone (see `is_gone`); its former name is returned then.
    """
    if HAS_PROC:
        try:
            return Path(os.readlink(f"/proc/{pid}/cwd").removesuffix(" (deleted)"))
        except OSError:
            return None
    import psutil  # noqa: PLC0415 - only where there is no /proc

    with contextlib.suppress(psutil.Error, OSError):
        return Path(psutil.Process(pid).cwd())
    return None


def works_in(pid: int, place: Path) -> bool:
    """Return whether `pid` works in that very folder, not in a deleted one of the same name."""
    try:
        if HAS_PROC:
            return os.path.samestat(os.stat(f"/proc/{pid}/cwd"), os.stat(place))  # noqa: PTH116
        found = folder(pid)
        return found is not None and found.samefile(place)
    except OSError:
        return False


def is_gone(pid: int) -> bool:
    """Return whether the folder that `pid` works in has been deleted; False where unknown."""
    place = folder(pid)
    if place is None:
        return False
    return not (works_in(pid, place) if HAS_PROC else place.exists())


def title(pid: int) -> str:
    """Return what `pid` calls itself: Next.js's listener is `next-server (v16.4.6)`."""
    if HAS_PROC:
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as stream:
                return stream.read().strip()  # 15 characters at most
        except OSError:
            return ""
    import psutil  # noqa: PLC0415 - only where there is no /proc

    with contextlib.suppress(psutil.Error, OSError):
        process = psutil.Process(pid)
        return str((process.cmdline() or [process.name()])[0])  # a title overwrites the words
    return ""


def carriers(name: str) -> dict[int, str]:
    """Return every process of this user with the variable `name` in its environment, and its value.

    The calling process and its ancestors may be among them.
    """
    import psutil  # noqa: PLC0415 - 30 ms that a warm call saves

    found = {}
    for pid in psutil.pids():
        value = variable(pid, name)
        if value is not None:
            found[pid] = value
    return found


def variable(pid: int, name: str) -> str | None:
    """Return a variable of the environment that `pid` was started with, None if unknown."""
    if HAS_PROC:
        wanted = os.fsencode(name) + b"="
        try:
            with open(f"/proc/{pid}/environ", "rb") as stream:
                entries = stream.read().split(b"\0")
        except OSError:
            return None
        values = [entry.removeprefix(wanted) for entry in entries if entry.startswith(wanted)]
        return os.fsdecode(values[0]) if values else None
    import psutil  # noqa: PLC0415 - only where there is no /proc

    with contextlib.suppress(psutil.Error, OSError):
        return psutil.Process(pid).environ().get(name)
    return None
