"""Hermetic: nothing but our words configures a server that we start.

The server obeys `INNGEST_*` variables, and the first inngest.json, .yaml or .yml from its working
directory upwards, then in ~/.config/inngest; DEBUG opens a debug port; without --no-discovery it
scans other people's ports. Flags win over all of that. What we pass no flag for is shut off, unless
`inngest.args` asks for it.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from devservers.inngest.cli import OWN_FILES, server_environment
from devservers.inngest.drift import OTHER_PORTS
from devservers.inngest.program import run
from devservers.inngest.settings import Settings
from devservers.inngest.target import STAND_IN, Target

VERSION_TIMEOUT = 20.0  # seconds; npx may be downloading
KNOWN_FROM = (1, 13, 0)  # the first version with flags for the further ports
EMPTY = Path(__file__).with_name("empty.json")  # a configuration without anything in it


def flags(own: Settings, it: Target) -> tuple[str, ...]:
    """Return the flags that shut off what `own.args` doesn't ask for."""
    given = _names(own)
    found = [] if "--no-discovery" in given else ["--no-discovery"]
    if "--config" not in given and any(_obeyed(it.folder)):
        found += ["--config", str(EMPTY)]
    return tuple(found)


def ports(own: Settings, it: Target, program: tuple[str, ...]) -> tuple[str, ...]:
    """Return the flags that set the further ports. This runs the program.

    A server that shares the machine with others of its kind gets ports that are nobody else's: it
    looks for a free one, lets go of it and binds it later, so that several at once may lose them.
    """
    given = _names(own)
    wanted = [pair for pair in zip(OTHER_PORTS, it.others, strict=False) if pair[0] not in given]
    if not wanted or not _knows_them(program, it.folder):
        return ()
    return tuple(word for flag, port in wanted for word in (flag, str(port)))


def _names(own: Settings) -> set[str]:
    return {word.partition("=")[0] for word in own.args}


def _obeyed(folder: Path) -> Iterator[str]:
    """Yield the configuration files that a server in `folder` would find."""
    for place in (*map(str, (folder, *folder.parents)), os.path.expanduser("~/.config/inngest")):  # noqa: PTH111 - Path's own fails where nobody knows the home
        yield from (file for name in OWN_FILES if os.path.exists(file := f"{place}/{name}"))  # noqa: PTH110 - Path's own raises


def _knows_them(program: tuple[str, ...], folder: Path) -> bool:
    """Return whether the CLI has the flags of the further ports, by its own word."""
    if str(STAND_IN) in program:
        return True
    there = next(place for place in (folder, *folder.parents) if place.is_dir())
    done = run((*program, "version"), server_environment(os.environ), there, VERSION_TIMEOUT)
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", done.stdout) if done and not done.returncode else None
    return found is not None and tuple(map(int, found.groups())) >= KNOWN_FROM
