"""The pin: the worktree whose app a user chose to be the served one, kept beside the record.

It is the user's alone to change. It outlives the server, and ends with the worktree. Repositories
that share a server have one each.
"""

import json
import os
from pathlib import Path
from typing import NoReturn

from devservers.errors import StateUnusableError, remedy_of
from devservers.system import files
from devservers.worktree import Worktree

LARGEST = 64 * 1024  # bytes; a repository takes some hundred


def file_of(pid_file: Path) -> Path:
    """Return where the pins of the server with that pid file are kept."""
    return pid_file.with_name(f"{pid_file.name}.pin")


def read(pid_file: Path, here: Worktree) -> Path | None:
    """Return the pinned worktree of the repository that `here` belongs to, None if there is none.

    One that is gone is pinned no more. What is no plain file of the caller's own doesn't count.
    """
    chosen = _pins(pid_file).get(_key(here))
    if chosen is None:
        return None
    there = os.path.lexists(f"{chosen}/.git") if here.common_dir else os.path.isdir(chosen)  # noqa: PTH112 - a warm call asks
    return Path(chosen) if there else None


def of_others(pid_file: Path, here: Worktree) -> tuple[Path, ...]:
    """Return the pinned worktrees of the other repositories that share the server."""
    others = (root for key, root in _pins(pid_file).items() if key != _key(here))
    return tuple(Path(root) for root in others if os.path.lexists(f"{root}/.git"))


def require(pid_file: Path) -> None:
    """Raise StateUnusableError where what lies there is no plain file of the caller's own."""
    file = file_of(pid_file)
    try:
        fault = files.fault(os.lstat(file))
    except FileNotFoundError:
        return
    except OSError as error:
        _refuse(file, error.strerror or str(error))
    if fault:
        _refuse(file, f"it {fault}")


def write(pid_file: Path, here: Worktree, chosen: Path | None) -> None:
    """Pin `chosen`, or nothing: call it under the server's lock. Raises StateUnusableError."""
    require(pid_file)
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
        _refuse(file, error.strerror or str(error), remedy_of(error))


def _refuse(file: Path, why: str, remedy: str | None = None) -> NoReturn:
    raise StateUnusableError(
        f"The choice can't be kept in {file}: {why}.",
        hint=remedy or f"Move {file} away, or make its folder writable.",
        details={"file": str(file)},
    )


def _key(here: Worktree) -> str:
    return str(here.common_dir or here.root)


def _pins(pid_file: Path) -> dict[str, str]:
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        with open(os.open(file_of(pid_file), flags), "rb") as stream:
            if files.fault(os.fstat(stream.fileno())):
                return {}
            found = json.loads(stream.read(LARGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    usable = found.items() if isinstance(found, dict) else ()
    return {key: root for key, root in usable if isinstance(root, str) and "\0" not in key + root}
