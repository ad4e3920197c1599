"""Install: the files that agents read, put into a worktree, taken out, and compared."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from devservers import kinds
from devservers.agents import formats
from devservers.agents.formats import Format
from devservers.config import Config
from devservers.errors import StateUnusableError
from devservers.system import files, ownership, untrusted_files
from devservers.worktree import Worktree, is_ignored

LARGEST = 1 << 20  # bytes of such a file


class File(NamedTuple):
    """One file, and what was done with it, or is true of it."""

    path: Path
    state: str
    """written, kept, removed or absent; of a question current, outdated or absent."""
    change: tuple[str, ...] = ()
    """The lines that were put in or taken out, as `diff -u` has them."""


class Agents(NamedTuple):
    """The answer of install, uninstall and status."""

    action: str
    """installed, uninstalled or status."""
    files: tuple[File, ...]
    warnings: tuple[str, ...] = ()

    @property
    def outdated(self) -> bool:
        """Whether any file is not as it would be written now, or none is there at all."""
        states = {file.state for file in self.files}
        return "outdated" in states or states == {"absent"}


def install(settings: Config, here: Worktree, only: tuple[str, ...] = ()) -> Agents:
    """Write the files named by `only`, by default those for every agent; ours only.

    All or none: what can't be done with one is found out first. Raises StateUnusableError,
    UsageError, NoPortError, LockTimeoutError.
    """
    chosen = [one for one in _formats(here) if (one.only in only if only else one.by_default)]
    if any(one.own for one in chosen):  # its port is to be kept
        _claim(settings, here)
    planned = [(one, _read(here, one)) for one in chosen]
    wanted = [(one, there, one.put_in(there, settings, here)) for one, there in planned]
    done = tuple(_write(here, one, there, text) for one, there, text in wanted)
    return Agents("installed", done, tuple(_warnings(here, chosen)))


def uninstall(here: Worktree) -> Agents:
    """Take our part out of every file that has one, and remove what has nothing else in it."""
    planned = [(one, _read(here, one)) for one in _formats(here)]
    wanted = [
        (one, there, one.take_out(there) if there and one.is_in(there) else there)
        for one, there in planned
    ]
    return Agents("uninstalled", tuple(_write(here, *one) for one in wanted))


def status(settings: Config, here: Worktree) -> Agents:
    """Return which files are there, and whether they are as they would be written now."""
    found = []
    for one in _formats(here):
        there = _read(here, one)
        state = "absent"
        if there and one.is_in(there):
            wanted = one.put_in(there, settings, here)
            state = "current" if _same(one, there, wanted) else "outdated"
        found.append(File(here.root / one.path, state))
    return Agents("status", tuple(found))


def _same(one: Format, there: str, wanted: str) -> bool:
    """Return whether a file is as it is to be; a port may be another worktree's, as in CI."""
    if not one.own:
        return there == wanted
    return re.sub(r"\d+", "0", there) == re.sub(r"\d+", "0", wanted)


def _claim(settings: Config, here: Worktree) -> None:
    for kind in kinds.of(settings).values():
        if kind.foreground and not kind.is_shared(settings):
            kind.assign(settings, here, claim=True)


def _formats(here: Worktree) -> Iterator[Format]:
    """Yield every format; the section stands in CLAUDE.md where that is what there is."""
    instead = _is_there(here, "CLAUDE.md") and not _is_there(here, "AGENTS.md")
    for one in formats.EVERY:
        yield formats.CLAUDE_MD if instead and one.path == "AGENTS.md" else one


def _is_there(here: Worktree, name: str) -> bool:
    return os.path.lexists(here.root / name)


def _read(here: Worktree, one: Format) -> str:
    """Return what is in the file, empty if there is none. Raises StateUnusableError."""
    path = _place(here, one)
    if not os.path.lexists(path):
        return ""
    try:
        return untrusted_files.read(str(path), LARGEST).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _refused(path, f"it can't be read as text: {reason}") from error


def _place(here: Worktree, one: Format) -> Path:
    """Return where the file is: AGENTS.md may be a link to CLAUDE.md. Raises StateUnusableError."""
    path = here.root / one.path
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(os.path.realpath(here.root)):
        raise _refused(path, "it leads out of the worktree")
    if fault := ownership.objection(str(path), str(here.root)):
        raise StateUnusableError(fault[0], hint=fault[1], details={"file": str(path)})
    return real


def _write(here: Worktree, one: Format, there: str, wanted: str) -> File:
    path = _place(here, one)
    shown = here.root / one.path
    if wanted == there:
        return File(shown, "kept" if there else "absent")
    change = tuple(_difference(one.path, there, wanted))
    try:
        if wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
            files.replace(path, wanted, mode, exact=path.exists())
        else:
            path.unlink()
            _remove_empty(path.parent, here.root)
    except OSError as error:
        raise _refused(shown, str(error.strerror or error)) from error
    return File(shown, "written" if wanted else "removed", change)


def _remove_empty(folder: Path, root: Path) -> None:
    while folder != root and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _difference(path: str, there: str, wanted: str) -> Iterator[str]:
    from difflib import unified_diff  # noqa: PLC0415 - only here

    old, new = there.splitlines(), wanted.splitlines()
    yield from (line.rstrip("\n") for line in unified_diff(old, new, path, path, n=0, lineterm=""))


def _warnings(here: Worktree, chosen: list[Format]) -> Iterator[str]:
    for one in chosen:
        if one.own and not is_ignored(here, one.path):
            yield (
                f"{one.path} has this worktree's port: add `/{one.path}` to .gitignore, and run "
                "this in each worktree that needs it."
            )


def _refused(path: Path, why: str) -> StateUnusableError:
    return StateUnusableError(
        f"{path} was left as it is: {why}.",
        hint="Mend that, and run this again.",
        details={"file": str(path)},
    )
