"""Used: when a task last named a worktree's own server, which then is not idle."""

import os

TYPE_CHECKING = False  # a warm call imports this
if TYPE_CHECKING:
    from pathlib import Path

    from devservers.spec import ServerSpec


def touch(spec: "ServerSpec") -> None:
    """Note that a task has named the server; only where there is one, and it is a worktree's own.

    What can't be noted (a read-only disk) is left.
    """
    if spec.shared:
        return
    stamp = _stamp(spec)
    try:
        os.utime(stamp, follow_symlinks=False)
    except FileNotFoundError:
        _create(stamp, spec.files.pid)
    except (OSError, NotImplementedError):
        return


def last(spec: "ServerSpec") -> float:
    """Return when that was last noted, in seconds since the epoch; 0 if never."""
    try:
        return _stamp(spec).lstat().st_mtime
    except OSError:
        return 0.0


def _create(stamp: "Path", pid_file: "Path") -> None:
    try:
        if os.path.lexists(pid_file):
            os.close(os.open(stamp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError:
        return


def _stamp(spec: "ServerSpec") -> "Path":
    return spec.files.pid.with_suffix(".used")
