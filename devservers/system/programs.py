"""Programs: found on the PATH or in a checkout, refused where somebody else could change them."""

import os
from collections.abc import Iterable
from pathlib import Path

from devservers.errors import CliNotFoundError
from devservers.system import launchers, ownership


def find(name: str, path: str, top: Path | None = None) -> str | None:
    """Return the whole path of a program, None if `path` has none of that name.

    In a checkout whose top is `top`, or in a relative entry of `path`, it must belong to the
    caller or to root, see `ownership.objection`. Raises CliNotFoundError.
    """
    import shutil  # noqa: PLC0415 - 3 ms that a warm call saves

    found = shutil.which(name, path=path)
    if found is None:
        return None
    whole = os.path.abspath(found)  # noqa: PTH100 - links stay
    if top is not None or not os.path.isabs(found):  # noqa: PTH117
        _refuse(whole, top)
    return whole


def refuse_foreign_project(launcher: str, folder: Path) -> None:
    """Refuse to run `launcher` in `folder` where a file of somebody else's would redirect it.

    Raises CliNotFoundError.
    """
    names = launchers.REDIRECTS.get(Path(launcher).name, ())
    if launchers.PACKAGE in names:
        names = (launchers.MODULES, *names)
    refuse_foreign(names, folder)


def refuse_foreign(names: Iterable[str], folder: Path) -> None:
    """Refuse files with such names of somebody else's, in `folder` and those above it.

    Raises CliNotFoundError.
    """
    for place in (folder, *folder.parents):
        for file in (place / name for name in names):
            if os.path.lexists(file):
                _refuse(str(file), place)


def _refuse(file: str, top: Path | None) -> None:
    if fault := ownership.objection(file, str(top) if top else None):
        raise CliNotFoundError(fault[0], hint=fault[1], details={"lookedFor": [file]})
