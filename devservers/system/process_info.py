"""Whereabouts: the folder a process works in, what it calls itself, whose mark it carries."""

import contextlib
import os
from pathlib import Path

from devservers.system import procfs


def folder(pid: int) -> Path | None:
    """Return the folder that `pid` works in, None where that can't be known.

    On Linux the folder may be gone (see `is_gone`); its former name is returned then.
    """
    if procfs.HAS_PROC:
        try:
            path = os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            return None
        # Linux adds the words to a deleted folder's name; one may also be called so.
        return Path(path.removesuffix(" (deleted)") if is_gone(pid) else path)
    import psutil  # noqa: PLC0415 - only where there is no /proc

    with contextlib.suppress(psutil.Error, OSError):
        return Path(psutil.Process(pid).cwd())
    return None


def works_in(pid: int, place: Path) -> bool:
    """Return whether `pid`, a process within reach, works in that very folder.

    One that was deleted, and whose name another folder has now, is another folder.
    """
    try:
        if not procfs.is_within_reach(pid):
            return False
        if procfs.HAS_PROC:
            return os.path.samestat(os.stat(f"/proc/{pid}/cwd"), os.stat(place))  # noqa: PTH116
        found = folder(pid)
        return found is not None and found.samefile(place)
    except OSError:
        return False


def is_gone(pid: int) -> bool:
    """Return whether the folder that `pid` works in has been deleted; False where unknown.

    The folder itself says so. That its path leads nowhere says nothing: it may lie in another
    mount namespace, or behind a folder that can't be read.
    """
    if procfs.HAS_PROC:
        try:
            return procfs.is_within_reach(pid) and os.stat(f"/proc/{pid}/cwd").st_nlink == 0  # noqa: PTH116
        except OSError:
            return False
    found = folder(pid)
    try:
        return found is not None and not found.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        return False


def output_file(pid: int) -> str | None:
    """Return the file that the stdout of `pid` goes to; None if it is no file or can't be known."""
    if procfs.HAS_PROC:
        try:
            path = os.readlink(f"/proc/{pid}/fd/1")
        except OSError:
            return None
    else:
        import psutil  # noqa: PLC0415 - only where there is no /proc

        try:
            files = psutil.Process(pid).open_files()
        except (psutil.Error, OSError):
            return None
        path = next((file.path for file in files if file.fd == 1), "")
    return path if os.path.isfile(path) else None  # noqa: PTH113 - text in, text out


def title(pid: int) -> str:
    """Return what `pid` calls itself: Next.js's listener is `next-server (v16.4.6)`."""
    if procfs.HAS_PROC:
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
    """Return every process within reach with the variable `name` in its environment, and its value.

    The calling process and its ancestors may be among them.
    """
    import psutil  # noqa: PLC0415 - 30 ms that a warm call saves

    found = {}
    for pid in psutil.pids():
        value = variable(pid, name)
        if value is not None and procfs.is_within_reach(pid):
            found[pid] = value
    return found


def variable(pid: int, name: str) -> str | None:
    """Return a variable of the environment that `pid` was started with, None if unknown."""
    wanted = os.fsencode(name) + b"="
    found = (entry for entry in procfs.environ(pid) if entry.startswith(wanted))
    entry = next(found, None)
    return None if entry is None else os.fsdecode(entry.removeprefix(wanted))
