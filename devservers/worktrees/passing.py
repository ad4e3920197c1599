"""Passing: whoever starts a server lets others that are idle be stopped, now and then."""

import contextlib
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a warm call imports this
    from pathlib import Path

    from devservers.config import Config
    from devservers.worktree import Worktree

EVERY = 600.0  # seconds from one look to the next, whoever passes
STAMP = "idle"  # in the repository's own folder: when somebody last looked


def by(settings: "Config", here: "Worktree") -> None:
    """Have a process of its own look for idle servers, if that is configured and it is time.

    Whatever prevents it is left for the next time. Costs whoever passes one look at a file.
    """
    stamp = here.shared_dir / STAMP
    with contextlib.suppress(OSError):
        if _is_due(stamp, settings):
            from devservers.githooks import file as githooks  # noqa: PLC0415 - rarely needed
            from devservers.system import spawn  # noqa: PLC0415 - rarely needed
            from devservers.worktree import clean_env  # noqa: PLC0415 - rarely needed

            argv, log = githooks.detached("--detached", "idle"), here.shared_dir / "idle.log"
            spawn.let_go(spawn.spawn(argv, here.root, clean_env(os.environ), log))


def is_configured(settings: "Config") -> bool:
    """Return whether a configuration has a server stopped that is idle."""
    return any(key.endswith(".idle") for key in settings.given)


def is_watched(settings: "Config", here: "Worktree") -> bool:
    """Return whether any worktree of the repository may have that, as far as was noted."""
    return is_configured(settings) or os.path.lexists(here.shared_dir / STAMP)


def _is_due(stamp: "Path", settings: "Config") -> bool:
    """Return whether it is this caller's turn: of many at once one gets it."""
    try:
        if 0 <= time.time() - stamp.lstat().st_mtime < EVERY:
            return False
        aside = stamp.with_suffix(f".{os.getpid()}")
        stamp.rename(aside)  # of many who find it old one succeeds
        aside.unlink()
    except FileNotFoundError:
        if not is_configured(settings):
            return False
        stamp.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.close(os.open(stamp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    return True
