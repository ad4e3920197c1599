"""Claims: the port that a worktree has been given, in a file of its own (`.dev-port`).

That file is all there is to it: a worktree that goes takes its claim along.
"""

import os
from pathlib import Path

from devservers import worktree
from devservers.config import Config
from devservers.errors import StateUnusableError, remedy_of
from devservers.system import files
from devservers.worktree import Worktree

LARGEST = 64  # bytes
HIGHEST_PORT = 65535
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)  # a pipe would hold up whoever reads it


def of(config: Config, root: str | Path) -> int | None:
    """Return the port that the worktree at `root` claims, None if it claims none."""
    return parse(text_of(config, root) or "")


def of_others(config: Config, here: Worktree) -> dict[int, Worktree]:
    """Return the ports that the *other* worktrees of the repository claim."""
    others = (tree for tree in worktree.every(here) if tree.root != here.root)
    found = {tree: of(config, tree.root) for tree in others}
    return {port: tree for tree, port in found.items() if port is not None}


def likely_of_others(config: Config, here: Worktree) -> frozenset[int]:
    """Return at least the ports of `of_others`, at a tenth of the price: no worktree is proved."""
    likely = (folder for folder in worktree.likely(here) if folder != str(here.root))
    found = {of(config, folder) for folder in likely}
    return frozenset(port for port in found if port is not None)


def is_of_another(config: Config, here: Worktree, port: int) -> bool:
    """Return whether another worktree of the repository claims `port`, too.

    Who could is read first, since nobody does: to prove a worktree takes ten times as long.
    """
    return port in likely_of_others(config, here) and port in of_others(config, here)


def text_of(config: Config, root: str | Path) -> str | None:
    """Return what the file says, None if there is none, an empty text if it can't be read."""
    name = config.worktree.port_cache_file
    try:  # by the system's own calls: it is asked of every worktree, while hundreds may wait
        fd = os.open(f"{root}{os.sep}{name}", os.O_RDONLY | _AT_ONCE)
    except FileNotFoundError:
        return None
    except OSError:
        return ""
    try:
        return os.read(fd, LARGEST).decode("ascii", "backslashreplace")
    except OSError:
        return ""
    finally:
        os.close(fd)


def parse(text: str) -> int | None:
    """Return the port number in `text`, None if that is anything else."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= len(str(HIGHEST_PORT))):
        return None
    return int(digits) if 1 <= int(digits) <= HIGHEST_PORT else None


def write(config: Config, here: Worktree, port: int) -> None:
    """Replace the claim of `here`, whole or not at all. Raises StateUnusableError."""
    file = here.root / config.worktree.port_cache_file
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        files.replace(file, f"{port}\n", 0o644)
    except OSError as error:
        raise StateUnusableError(
            f"The port of this worktree can't be kept in {file}: {error.strerror or error}.",
            hint=remedy_of(error) or f"Move {file} away, or set another worktree.portCacheFile.",
            details={"file": str(file)},
        ) from error
