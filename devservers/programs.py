"""Programs: found on the PATH or in a checkout, refused where somebody else could change them."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from devservers import launchers, ownership
from devservers.errors import CliNotFoundError


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
    for file in _redirecting(Path(launcher).name, (folder, *folder.parents)):
        if os.path.lexists(file):
            _refuse(str(file), file.parent)


def _redirecting(name: str, folders: Iterable[Path]) -> Iterator[Path]:
    names = launchers.REDIRECTS.get(name, ())
    if launchers.PACKAGE in names:
        names = (launchers.MODULES, *names)
    return (folder / file for folder in folders for file in names)


def _refuse(file: str, top: Path | None) -> None:
    if fault := ownership.objection(file, str(top) if top else None):
        raise CliNotFoundError(fault[0], hint=fault[1], details={"lookedFor": [file]})
