"""The pin: the worktree whose app a user chose to be the served one, kept beside the record.

It is the user's alone to change. It outlives the server, and ends with the worktree. Repositories
that share a server have one each.
"""

import json
import os
from pathlib import Path

from devservers.errors import StateUnusableError, remedy_of
from devservers.system import files, untrusted_files
from devservers.worktree import Worktree

LARGEST = 64 * 1024  # bytes; a repository takes some hundred


def file_of(pid_file: Path) -> Path:
    """Return where the pins of the server with that pid file are kept."""
    return pid_file.with_name(f"{pid_file.name}.pin")


def read(pid_file: Path, here: Worktree) -> Path | None:
    """Return the pinned worktree of the repository that `here` belongs to, None if there is none.

    One that is gone is pinned no more. What somebody else wrote doesn't count.
    """
    chosen = _pins(pid_file).get(_key(here))
    if chosen is None:
        return None
    there = os.path.lexists(f"{chosen}/.git") if here.common_dir else os.path.isdir(chosen)  # noqa: PTH112 - a warm call asks
    return Path(chosen) if there else None


def write(pid_file: Path, here: Worktree, chosen: Path | None) -> None:
    """Pin `chosen`, or nothing: call it under the server's lock. Raises StateUnusableError."""
    pins = {key: root for key, root in _pins(pid_file).items() if os.path.lexists(key)}
    pins.pop(_key(here), None)
    if chosen:
        pins[_key(here)] = str(chosen)
    file = file_of(pid_file)
    try:
        if pins:
            files.replace(file, f"{json.dumps(pins, indent=1)}\n")
        else:
            file.unlink(missing_ok=True)
    except OSError as error:
        raise StateUnusableError(
            f"The choice can't be kept in {file}: {error.strerror or error}.",
            hint=remedy_of(error) or f"Move {file} away, or make its folder writable.",
            details={"file": str(file)},
        ) from error


def _key(here: Worktree) -> str:
    return str(here.common_dir or here.root)


def _pins(pid_file: Path) -> dict[str, str]:
    file = str(file_of(pid_file))
    try:
        info = os.lstat(file)
        if hasattr(os, "geteuid") and info.st_uid != os.geteuid():
            return {}
        found = json.loads(untrusted_files.read(file, LARGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    usable = found.items() if isinstance(found, dict) else ()
    return {key: root for key, root in usable if isinstance(root, str) and "\0" not in key + root}
