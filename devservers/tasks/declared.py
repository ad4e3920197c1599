"""The servers that the configuration of the caller's worktree declares, as kinds for its tasks."""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from devservers import config, kinds, worktree
from devservers.errors import ConfigInvalidError, DevServerError
from devservers.kind import Assignment, Kind
from devservers.system import untrusted_files

OTHERS = ("agents", "dev", "hooks", "ports")
EVERY = {"ensure", "start", "stop", "restart", "status", "logs", "run"}  # what each server has
LISTING = {"--list", "-l", "--help", "-h", "--complete"}  # of all tasks that there are


def here() -> list[Kind]:
    """Return the declared kinds of the worktree that the caller stands in.

    Where the configuration is broken, those of its names that can be read are there all the same,
    and say so when they are asked for anything: all else works as it does.
    """
    if named(sys.argv[1:]) is not None:
        return []
    try:
        tree = worktree.find()
        files = config.candidates(tree.root, tree.main)
        if not any(map(_may_declare, files)) and not _asks_for_bundled(sys.argv[1:]):
            return []
        known = kinds.of(config.load(tree.root, tree.main), kinds.BUNDLED).values()
        return [kind for kind in known if not kind.built_in]
    except ConfigInvalidError as error:
        return [_broken(name, error) for name in _names(error)]
    except (DevServerError, OSError):
        return []


def named(words: list[str]) -> set[str] | None:
    """Return the tasks that a command line names, None where it may name any but those here.

    A task costs time where it is there without being named: see `invoked`.
    """
    if LISTING & set(words):
        return None
    tasks = {word for word in words if not word.startswith("-")}
    groups = {word.partition(".")[0] for word in tasks}
    return tasks if groups and {*kinds.NAMES, *OTHERS}.issuperset(groups) else None


def _asks_for_bundled(words: list[str]) -> bool:
    names = {word.partition(".")[0] for word in words}
    return bool(LISTING & set(words)) or not names.isdisjoint(kinds.BUNDLED)


def _may_declare(file: Path) -> bool:
    """Return whether a file may declare servers: most don't, and are read once more by the task."""
    try:
        text = untrusted_files.read(str(file), config.LARGEST)
    except OSError:
        return os.path.lexists(file)
    return b"servers" in text or b"\\u" in text


def _names(error: ConfigInvalidError) -> list[str]:
    """Return the names of the servers in a file that can't be used as a whole.

    Where not even they can be read, those that the caller asks for: it may well have them.
    """
    settings = kinds.declared_settings()
    usable: Iterable[str]
    try:
        data = json.loads(untrusted_files.read(str(error.details["file"]), config.LARGEST))
        servers = data["servers"]
        usable = servers if isinstance(servers, dict) else ()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        asked = (word.partition(".") for word in sys.argv[1:])
        usable = dict.fromkeys(name for name, _, task in asked if task in EVERY)
    return [name for name in usable if settings.NAME.fullmatch(name) and name not in settings.TAKEN]


def _broken(name: str, error: ConfigInvalidError) -> Kind:
    """Return a kind that can do nothing but say what is wrong with the configuration."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise error

    def assign(*_: object, **__: object) -> Assignment:
        refuse()

    return Kind(
        name=name,
        title=f"{name} server",
        short=name,
        assign=assign,
        declare=refuse,
        foreground=True,
        built_in=False,
    )
