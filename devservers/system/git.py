"""git, asked about a folder: the user's program, whatever repository a hook's variables name."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

TIMEOUT = 5.0  # seconds, for questions that git answers at once


def run(
    folder: "str | Path",
    *words: str,
    timeout: float = TIMEOUT,
    avoid: tuple[str, ...] = (),
    settings: bool = False,
) -> "subprocess.CompletedProcess[bytes]":
    """Run git in `folder` to its end.

    The program is none that lies in a folder of `avoid`. With `settings` the environment's own
    configuration (`GIT_CONFIG_*`) holds. Raises FileNotFoundError where there is no git, other
    OSErrors, and subprocess.TimeoutExpired after `timeout` seconds.
    """
    import subprocess  # noqa: PLC0415 - what a warm call does without

    found = program("git", avoid)
    if found is None:
        raise FileNotFoundError(2, "git is not on the PATH")
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or (settings and name.startswith("GIT_CONFIG_"))
    }
    return subprocess.run(  # noqa: S603 - words of our own
        [found, *words],
        cwd=folder,
        env={**env, "GIT_OPTIONAL_LOCKS": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=timeout,
    )


def program(name: str, avoid: tuple[str, ...] = ()) -> str | None:
    """Return where on the PATH a program is; only in whole paths, and in no folder of `avoid`."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), *os.defpath.split(os.pathsep)]
    for folder in filter(os.path.isabs, folders):
        file = os.path.join(os.path.realpath(folder), name)
        inside = any(file.startswith(f"{top}{os.sep}") for top in avoid)
        if not inside and os.path.isfile(file) and os.access(file, os.X_OK):
            return file
    return None
