"""The worktree in use: the one a person works in now, as a note that all worktrees share."""

import os
from pathlib import Path
from typing import NamedTuple

from devservers import worktree
from devservers.errors import StateUnusableError, remedy_of
from devservers.kind import Kind
from devservers.lifecycle.result import Status
from devservers.spec import Description
from devservers.system import files, untrusted_files
from devservers.worktree import Worktree
from devservers.worktrees import hostnames

LARGEST = 8192  # bytes; it holds one path


class Used(NamedTuple):
    """The answer of `dev.use`."""

    action: str
    """used, already-used, released or none-used."""
    tree: Worktree | None
    """The one in use now."""
    before: Path | None
    """The one that was in use until now."""
    kind: Kind
    """Of its app's server."""
    app: Status | None
    """What is true of that server."""
    url: str | None
    """The address that follows; None where there is no door."""
    name_url: str | None
    """The address of that worktree alone; None where there is no door."""
    notes: tuple[Description, ...] = ()
    """What the shared servers have to say of it."""
    warnings: tuple[str, ...] = ()


def find(trees: tuple[Worktree, ...], wanted: str, here: Worktree) -> Worktree | None:
    """Return the worktree that a branch, a folder or a label names; `here` where it is empty.

    A branch wins over a folder, and a folder over a label. None where there is no such worktree.
    """
    if not wanted:
        return next((tree for tree in trees if tree.root == here.root), None)
    try:
        folder = Path(wanted).expanduser().resolve()
    except (OSError, RuntimeError, ValueError):  # nobody's home, or links in a circle
        folder = None
    found = [tree for tree in trees if tree.branch == wanted]
    found += [tree for tree in trees if tree.root == folder]
    found += [tree for tree in trees if tree.root.name == wanted]
    found += [tree for label, tree in hostnames.labels(trees).items() if label == wanted]
    return next(iter(found), None)


def file_of(here: Worktree) -> Path:
    """Return where the note of a repository is kept."""
    return here.shared_dir / "in-use"


def read(here: Worktree) -> Path | None:
    """Return the top of the worktree in use, there or not; None where none is.

    What is no plain file of the caller's own doesn't count.
    """
    file = file_of(here)
    try:
        if files.fault(file.lstat()):
            return None
        text = untrusted_files.read(str(file), LARGEST).decode("utf-8", "surrogateescape")
    except OSError:
        return None
    name = text.removesuffix("\n")
    return Path(name) if name.startswith("/") and "\0" not in name else None


def lost(here: Worktree) -> Path | None:
    """Return the worktree in use if it is there no more."""
    root = read(here)
    return None if root in {tree.root for tree in worktree.every(here)} else root


def write(here: Worktree, chosen: Path | None) -> None:
    """Note the worktree, or that none is in use: call it under a lock. Raises StateUnusableError.

    What lies there is replaced, whatever it is; it is never written into.
    """
    file = file_of(here)
    try:
        if chosen is None:
            file.unlink(missing_ok=True)
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        files.replace(file, os.fsencode(f"{chosen}\n"))
    except OSError as error:
        raise StateUnusableError(
            f"The worktree in use can't be kept in {file}: {error.strerror or error}.",
            hint=remedy_of(error) or f"Move {file} away, or make its folder writable.",
            details={"file": str(file)},
        ) from error
