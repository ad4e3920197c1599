"""State on disk: pid file, record and lock. Atomic, owner-checked, never through a link."""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

from devservers.errors import StateUnusableError
from devservers.identity import Identity
from devservers.record import LARGEST_PID, ServerRecord, dump, parse, seconds

LARGEST_RECORD = 1 << 20  # bytes; ours are below 10 kB
LONGEST_PID_FILE = 64  # bytes, white space included
LOCK_POLL = 0.01  # seconds


class LockHolder(NamedTuple):
    """Who took the lock last, and when (seconds since the epoch)."""

    process: Identity
    since: float


def record_file(pid_file: Path) -> Path:
    """Return where the record of `pid_file` is kept."""
    return pid_file.with_name(pid_file.name + ".json")


def lock_file(pid_file: Path) -> Path:
    """Return the lock of `pid_file`."""
    return pid_file.with_name(pid_file.name + ".lock")


def read(pid_file: Path) -> ServerRecord | None:
    """Return the record; None if there is none, or if it is not one of ours, whole and sane.

    Raises StateUnusableError if it or the pid file is a link, a folder, or somebody else's.
    """
    _check(pid_file)
    data = _read(record_file(pid_file), LARGEST_RECORD)
    return None if data is None else parse(data)


def read_pid(pid_file: Path) -> int | None:
    """Return the pid in the pid file, None for anything that isn't one. Raises as `read` does."""
    data = _read(pid_file, LONGEST_PID_FILE + 1) or b""
    text = data.strip()
    if len(data) > LONGEST_PID_FILE or not text.isdigit() or len(text) > len(str(LARGEST_PID)):
        return None
    pid = int(text)
    return pid if 1 < pid <= LARGEST_PID else None


def exists(pid_file: Path) -> bool:
    """Return whether a pid file or a record is there, whatever it holds."""
    return os.path.lexists(pid_file) or os.path.lexists(record_file(pid_file))


def write(pid_file: Path, record: ServerRecord) -> None:
    """Replace record and pid file. Call it under the lock. Raises StateUnusableError.

    The record comes first: a pid file without its record would name a process that nobody can
    tell from a stranger.
    """
    _check(pid_file)  # before the record is written: all of it or nothing
    _replace(record_file(pid_file), dump(record))
    _replace(pid_file, f"{record.process.pid}\n")


def remove(pid_file: Path, expected: ServerRecord | None) -> None:
    """Remove both files, unless the record is no longer the one that was read. Raises as `read`."""
    if read(pid_file) == expected:
        _check(pid_file)
        for path in (pid_file, record_file(pid_file)):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                _refuse(path, f"can't be removed: {error.strerror or error}")


@contextmanager
def lock(pid_file: Path, timeout: float, started: str) -> Iterator[bool]:
    """Hold the lock of `pid_file`; yield False if it could not be had within `timeout` seconds.

    `started` is this process's start identity, left in the lock for others to name the holder.
    Raises StateUnusableError.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 - 30 to 75 ms that a warm call saves

    path = lock_file(pid_file)
    _check(path)
    if not path.parent.is_dir():  # filelock would make it, where a typing error points
        _refuse(path, "can't be made")

    def sign(fd: int) -> None:
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()} {time.time():.3f} {started}\n".encode(), 0)

    guard = FileLock(
        path,
        mode=0o600,
        poll_interval=LOCK_POLL,
        fallback_to_soft=False,  # a soft lock outlives a killed holder
        preserve_lock_file=True,  # unlinking would allow two holders (filelock #574)
        on_acquired=sign,
    )
    try:
        guard.acquire(timeout=timeout)
    except Timeout:
        yield False
        return
    except (OSError, NotImplementedError) as error:
        _refuse(path, f"can't be locked: {getattr(error, 'strerror', None) or error}")
    try:
        yield True
    finally:
        guard.release()


def lock_holder(pid_file: Path) -> LockHolder | None:
    """Return who signed the lock last; the caller checks whether that process is alive."""
    try:
        pid, since, started = lock_file(pid_file).read_text().split(maxsplit=2)
        return LockHolder(Identity(int(pid), started.strip()), seconds(float(since)))
    except (OSError, ValueError, TypeError):
        return None


def _check(path: Path) -> bool:
    """Return whether `path` is there; raise StateUnusableError unless it is a file of our own."""
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        _refuse(path, f"can't be used: {error.strerror}")
    if stat.S_ISLNK(info.st_mode):
        _refuse(path, f"is a link to {os.readlink(path)}, and links are not followed here")
    if not stat.S_ISREG(info.st_mode):
        _refuse(path, "is not a file" if not stat.S_ISDIR(info.st_mode) else "is a folder")
    if hasattr(os, "geteuid") and info.st_uid != os.geteuid():
        _refuse(path, f"belongs to user id {info.st_uid}, not to you (user id {os.geteuid()})")
    return True


def _read(path: Path, most: int) -> bytes | None:
    if not _check(path):
        return None
    try:
        fd = os.open(
            path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        )
    except FileNotFoundError:  # removed since
        return None
    except OSError as error:
        _refuse(path, f"can't be read: {error.strerror}")
    with open(fd, "rb") as stream:
        return stream.read(most)


def _replace(path: Path, text: str) -> None:
    """Write `path` whole or not at all."""
    _check(path)
    new = path.with_name(path.name + ".new")
    try:
        new.unlink(missing_ok=True)  # of a caller that was killed between the next two steps
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        with open(os.open(new, flags, 0o600), "w", encoding="utf-8") as stream:
            stream.write(text)
        new.replace(path)
    except OSError as error:
        _refuse(path, f"can't be written: {error.strerror or error}")


def _refuse(path: Path, what: str) -> NoReturn:
    folder = path.parent
    if not folder.is_dir():
        what, hint = f"can't be used: there is no folder {folder}", f"Create it: mkdir -p {folder}"
    else:
        hint = f"Move {path} away, or set another path in the configuration (inngest.pidFile)."
    raise StateUnusableError(f"{path} {what}.", hint=hint, details={"file": str(path)})
