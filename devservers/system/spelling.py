"""Spelling: one name for a folder that has several, where the file system ignores case.

On macOS it does by default, and takes é for é however it is composed. git keeps each worktree as it
was spelled once, a shell goes where it is told to: without this, one worktree would count as two.
"""

import os
from pathlib import Path


def as_listed(path: Path) -> Path:
    """Return `path`, which has no links, spelled as the folders above it list it.

    Where case makes a difference that costs one look. What isn't there, or in a folder that can't
    be read, stays as it is.
    """
    if not _ignores_case(path):
        return path
    found = Path(path.anchor)
    for name in path.parts[1:]:
        found /= _listed(found, name)
    return found


def key(name: str) -> str:
    """Return what is the same for two names of one file, on a file system that ignores case too."""
    if not name.isascii():
        import unicodedata  # noqa: PLC0415 - rarely needed

        name = unicodedata.normalize("NFC", name)
    return name.casefold()


def _ignores_case(path: Path) -> bool:
    for place in (path, *path.parents):
        if (other := place.name.swapcase()) != place.name:
            try:
                return os.path.samefile(place, place.with_name(other))
            except OSError:
                return False
    return False


def _listed(folder: Path, name: str) -> str:
    try:
        names = os.listdir(folder)
    except OSError:
        return name
    return name if name in names else next((one for one in names if key(one) == key(name)), name)
