"""Files of our own: replaced whole, appended to, and never anybody else's written into."""

import contextlib
import errno
import os
import stat
from pathlib import Path

NEW = ".new"
TOKEN = 8  # bytes of chance in a temporary name, so that nobody can be there first


def fault(info: os.stat_result) -> str | None:
    """Return why a file may not be written into; None for a plain one of our own with one name."""
    if stat.S_ISDIR(info.st_mode):
        return "is a folder"
    if not stat.S_ISREG(info.st_mode):
        return "is not a file"
    if hasattr(os, "geteuid") and info.st_uid != os.geteuid():
        return f"belongs to user id {info.st_uid}, not to you (user id {os.geteuid()})"
    if info.st_nlink > 1:
        return "has a second name (a hard link): whatever is written to it changes that file, too"
    return None


def append(path: Path) -> int:
    """Open `path` to append to it, and return the descriptor; it is made if it isn't there.

    Raises OSError, also for what is no file of our own with one name. /dev/null is one.
    """
    if str(path) == os.devnull:
        return os.open(path, os.O_WRONLY | os.O_APPEND)
    with contextlib.suppress(FileNotFoundError):
        if os.lstat(path).st_uid not in (0, *_me()):  # the link, where it is one
            _refuse(path, fault(os.lstat(path)) or "is somebody else's link")
        _refuse(path, fault(os.stat(path)))
    # Not blocking: a pipe would hold up whoever opens it.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)
    fd = os.open(path, flags, 0o666)
    try:
        _refuse(path, fault(os.fstat(fd)))
        os.set_blocking(fd, True)
    except BaseException:
        os.close(fd)
        raise
    return fd


def replace(path: Path, text: str | bytes, mode: int = 0o600, *, exact: bool = False) -> None:
    """Write `path` whole or not at all; with `exact`, the umask changes nothing. Raises OSError.

    Call it under a lock: what a caller that was killed left half written is removed.
    """
    _forget_halves(path)
    new = path.with_name(f"{path.name}.{os.urandom(TOKEN).hex()}{NEW}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    fd = os.open(new, flags, mode)
    try:
        with open(fd, "wb") as stream:
            stream.write(text if isinstance(text, bytes) else text.encode())
            if exact:
                os.chmod(new, mode)
        new.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise


def _forget_halves(path: Path) -> None:
    for name in os.listdir(path.parent):
        if name.startswith(path.name) and _is_half(name.removeprefix(path.name)):
            half = path.with_name(name)
            with contextlib.suppress(OSError):
                if half.lstat().st_uid in _me():
                    half.unlink()


def _is_half(rest: str) -> bool:
    token = rest.removesuffix(NEW).removeprefix(".")
    return rest.endswith(NEW) and (not token or len(token) == 2 * TOKEN)


def _me() -> tuple[int, ...]:
    return (os.geteuid(),) if hasattr(os, "geteuid") else (0,)


def _refuse(path: Path, why: str | None) -> None:
    if why:
        raise OSError(errno.EINVAL, f"it {why}", str(path))
