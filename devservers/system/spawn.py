"""Spawning a server: detached from its caller, in a session that its environment names."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from devservers.system import procfs

if TYPE_CHECKING:
    import subprocess


def naming_its_session(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Return `argv` so that it runs with its session's number in its environment.

    Only the process that leads the session knows that number before `argv` runs, so a shell says
    it and becomes the program, with the same pid. What leaves the session (an editor that a server
    opened) still carries the number, and is told from the server by it.
    """
    if os.name != "posix":
        return argv
    return ("/bin/sh", "-c", f'export {procfs.SESSION}=$$; exec "$@"', "sh", *argv)


def spawn(
    argv: tuple[str, ...], cwd: Path, env: Mapping[str, str], log: Path
) -> "subprocess.Popen[bytes]":
    """Start a server that depends on nothing of its caller's: own session, no stdin, no descriptor.

    Its output is appended to `log`. Raises OSError if the program can't be executed.
    """
    import subprocess  # noqa: PLC0415 - 4 ms that a warm call saves

    from devservers.system import files  # noqa: PLC0415 - what a warm call does without

    _check_program(argv[0], cwd, env)
    with open(files.append(log), "ab", buffering=0) as output:
        return subprocess.Popen(  # noqa: S603 - argv comes from the user's own configuration
            naming_its_session(argv),
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _check_program(program: str, cwd: Path, env: Mapping[str, str]) -> None:
    """Raise the OSError that executing `program` would: a shell in between could only print it."""
    import shutil  # noqa: PLC0415 - 3 ms that a warm call saves

    path = cwd / program if "/" in program else shutil.which(program, path=env.get("PATH"))
    if path is None or not os.path.exists(path):  # noqa: PTH110
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), program)
    if not os.path.isfile(path) or not os.access(path, os.X_OK):  # noqa: PTH113
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), program)


def let_go(child: "subprocess.Popen[bytes]") -> None:
    """Forget a child that is to outlive us, so that its Popen doesn't warn of it when collected."""
    if child.poll() is None:
        child.returncode = 0
