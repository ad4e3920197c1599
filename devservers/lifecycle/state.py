"""State on disk: pid file, record and lock. Atomic, owner-checked, never through a link."""

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from devservers import worktree
from devservers.errors import StateUnusableError, remedy_of
from devservers.lifecycle.record import LARGEST_PID, ServerRecord, dump, parse, seconds
from devservers.system import process
from devservers.system.identity import Identity

LARGEST_RECORD = 1 << 20  # bytes; ours are below 10 kB
LONGEST_PID_FILE = 64  # bytes, white space included
LOCK_POLL = 0.01  # seconds until it is tried again for the first time; then ever more
LOCK_POLL_MOST = 0.16  # hundreds who try without a break leave its holder no processor
LONG, LOCK_POLL_LONG = 8.0, 0.04  # who has waited so long tries more often than who has just come
# What keeps a lock from being made or opened where nothing else can be written either.
UNWRITABLE = (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM)
_CAREFULLY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


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
        for path in (pid_file, record_file(pid_file)):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                _refuse(path, "can't be removed", error)


@contextmanager
def lock(pid_file: Path, timeout: float, started: str | None = None) -> Iterator[bool]:
    """Hold the lock of `pid_file`; yield False if it could not be had within `timeout` seconds.

    `started`, by default this process's start identity, is left in the lock for others to name the
    holder. On a disk that is full or read-only, where nobody can start anything, it may be held
    without that, or without a file: see `require_lock`. Raises StateUnusableError.
    """
    from filelock import FileLock  # noqa: PLC0415 - 30 to 75 ms that a warm call saves

    path, signature = lock_file(pid_file), started or _me()
    _check(path)
    if not os.path.isdir(path.parent):  # noqa: PTH112 - filelock would make it, mistyped or not
        _refuse(path, "can't be made")
    guard = FileLock(
        path,
        mode=0o600,
        fallback_to_soft=False,  # a soft lock outlives a killed holder
        preserve_lock_file=True,  # unlinking would allow two holders (filelock #574)
        on_acquired=lambda fd: _sign(path, fd, signature),
    )
    with ExitStack() as stack:
        try:
            held = _acquired(guard, time.monotonic() + timeout)
            if held:
                stack.callback(guard.release)
        except OSError as error:
            if error.errno not in UNWRITABLE:
                _refuse(path, "can't be locked", error)
            held = stack.enter_context(_locked_unwritten(path, timeout))
        except NotImplementedError as error:
            _refuse(path, f"can't be locked: {error}")
        yield held


def _acquired(guard: Any, deadline: float) -> bool:  # noqa: ANN401 - a FileLock, whose import waits
    """Wait for a lock, until a monotonic instant."""
    from filelock import Timeout  # noqa: PLC0415 - as above

    begun = time.monotonic()
    pause = LOCK_POLL
    while True:
        try:
            guard.acquire(timeout=0)
        except Timeout:
            now = time.monotonic()
            if now >= deadline:
                return False
            chance = 0.5 + os.urandom(1)[0] / 255  # or those who began together would stay so
            time.sleep(min(pause * chance, deadline - now))
            pause = min(pause * 2, LOCK_POLL_MOST if now - begun < LONG else LOCK_POLL_LONG)
        else:
            return True


def _me() -> str:
    identity = process.identify(os.getpid())
    return identity.started if identity else "?"


def require_lock(pid_file: Path) -> None:
    """Raise StateUnusableError where the lock is held in name only: nothing may be started then."""
    path = lock_file(pid_file)
    if not os.access(path, os.W_OK):
        _refuse(
            path, "can't be written: the disk is full or read-only, or the folder closed to you"
        )


def _sign(path: Path, fd: int, started: str) -> None:
    """Leave our name in the lock: an empty one where the disk is full."""
    _check(path, os.fstat(fd))  # once more: it was looked at by its name, and opened since
    text = f"{os.getpid()} {time.time():.3f} {started}\n".encode()
    length = 0
    with suppress(OSError):
        length = os.pwrite(fd, text, 0)
    with suppress(OSError):
        os.ftruncate(fd, length if length == len(text) else 0)


@contextmanager
def _locked_unwritten(path: Path, timeout: float) -> Iterator[bool]:
    """Hold a lock that can't be written; one that isn't there keeps nobody out."""
    try:
        fd = os.open(path, os.O_RDONLY | _CAREFULLY)
    except OSError:
        yield True
        return
    with open(fd, "rb"):
        yield _flock(fd, time.monotonic() + timeout)


def _flock(fd: int, deadline: float) -> bool:
    import fcntl  # noqa: PLC0415 - Unix only

    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(LOCK_POLL)
        except OSError:  # NFS asks for the right to write
            return True
        else:
            return True


def lock_holder(pid_file: Path) -> LockHolder | None:
    """Return who signed the lock last; the caller checks whether that process is alive."""
    try:
        pid, since, started = lock_file(pid_file).read_text().split(maxsplit=2)
        return LockHolder(Identity(int(pid), started.strip()), seconds(float(since)))
    except (OSError, ValueError, TypeError):
        return None


def _check(path: Path, info: os.stat_result | None = None) -> bool:
    """Return whether `path` is there; raise StateUnusableError unless it is a file of our own.

    `info` is what is known of it, where it is open already.
    """
    try:
        info = info or os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        _refuse(path, "can't be used", error)
    if stat.S_ISLNK(info.st_mode):
        _refuse(path, f"is a link to {os.readlink(path)}, and links are not followed here")
    if not (stat.S_ISREG(info.st_mode) and info.st_nlink == 1 and _is_mine(info)):
        from devservers.system import files  # noqa: PLC0415 - what a warm call does without

        if why := files.fault(info):
            _refuse(path, why)
    return True


def _is_mine(info: os.stat_result) -> bool:
    return hasattr(os, "geteuid") and info.st_uid == os.geteuid()


def _read(path: Path, most: int) -> bytes | None:
    if not _check(path):
        return None
    try:
        fd = os.open(path, os.O_RDONLY | _CAREFULLY)
    except FileNotFoundError:  # removed since
        return None
    except OSError as error:
        _refuse(path, "can't be read", error)
    with open(fd, "rb") as stream:
        return stream.read(most)


def _replace(path: Path, text: str) -> None:
    """Write `path` whole or not at all."""
    from devservers.system import files  # noqa: PLC0415 - what a warm call does without

    _check(path)
    try:
        files.replace(path, text)
    except OSError as error:
        _refuse(path, "can't be written", error)


def _refuse(path: Path, what: str, error: OSError | None = None) -> NoReturn:
    folder = path.parent
    hint = f"Move {path} away."
    if folder.name not in worktree.STATE_FOLDERS:  # it was chosen in the configuration
        hint = f"Move {path} away, or set another pidFile in the configuration."
    if error:
        what = f"{what}: {error.strerror or error}"
        hint = remedy_of(error) or hint
    if not os.path.lexists(folder):
        what, hint = f"can't be used: there is no folder {folder}", f"Create it: mkdir -p {folder}"
    raise StateUnusableError(f"{path} {what}.", hint=hint, details={"file": str(path)})
