"""Program: a CLI run to its end for what it has to say, and never left running."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from devservers.spec import MARKER
from devservers.system import process, spawn


def run(
    argv: tuple[str, ...], env: Mapping[str, str], cwd: Path, timeout: float
) -> "subprocess.CompletedProcess[str] | None":
    """Run a program to its end, stdout and stderr together; None after `timeout` seconds."""
    name, value = MARKER, f"asked:{os.getpid()}"
    try:
        child = subprocess.Popen(  # noqa: S603 - a program of the user's own choice
            spawn.naming_its_session(argv),
            env={**env, name: value},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=sys.platform != "win32",
        )
    except OSError as error:
        return subprocess.CompletedProcess(argv, -1, stdout=str(error.strerror or error))
    with child:
        try:
            said, _ = child.communicate(timeout=timeout)
        except BaseException as error:  # what npx started outlives npx
            # Its tree is known as long as it lives: macOS tells nobody the marks of the system's
            # own programs (psutil #2084).
            root = process.identify(child.pid)
            roots = (root,) if root else ()
            process.stop(process.family(roots, f"{name}={value}").members, 1.0)
            if isinstance(error, subprocess.TimeoutExpired):
                return None
            raise
    return subprocess.CompletedProcess(argv, child.returncode, stdout=said)
