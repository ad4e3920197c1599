"""Environment: this worktree's ports and URLs, as variables for shells, agents and CI jobs."""

import json
import os
import re
import shlex
import shutil
import signal
from collections.abc import Callable, Mapping

from devservers import kinds
from devservers.config import Config
from devservers.errors import CliNotFoundError
from devservers.ports import assignment
from devservers.spec import url_of
from devservers.worktree import Worktree

SLOT = "DEVSERVERS_SLOT"
PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=-]*")


def of(settings: Config, here: Worktree) -> dict[str, str]:
    """Return the variables, in an order that stays: the same whoever asks, and from where.

    The worktree gets a port to keep, as by ports.assign. Raises what that raises.
    """
    known = kinds.of(settings)
    found: dict[str, str] = {}
    for kind in known.values():
        if kind.serves_app:
            port = kind.assign(settings, here, claim=True).port
            found |= dict.fromkeys(assignment.VARIABLES, str(port))
    found |= {
        name: value for name, value in kinds.exports(settings, here).variables.items() if value
    }
    found[SLOT] = str(assignment.slot(settings, here, claim=True))
    for kind in known.values():
        if not kind.built_in and (port := kind.assign(settings, here, claim=True).port):
            found[variable_of(kind.name)] = url_of(None, port)
    return found


def variable_of(name: str) -> str:
    """Return the variable of a declared server's URL: `storybook` has `STORYBOOK_URL`."""
    word = name.upper().replace("-", "_")
    return f"{'_' if word[0].isdigit() else ''}{word}_URL"


def _shell(name: str, value: str) -> str:
    return f"export {name}={shlex.quote(value)}"


def _dotenv(name: str, value: str) -> str:
    r"""Return a line of a .env file, in which `$` stands for itself, whoever reads it.

    Single quotes hold anything but one; double quotes know `\"`, `\\`, `\$` and `\n`.
    """
    if PLAIN.fullmatch(value):
        return f"{name}={value}"
    if "'" not in value:
        return f"{name}='{value}'"
    escaped = re.sub(r'(["\\$`])', r"\\\1", value).replace("\n", "\\n")
    return f'{name}="{escaped}"'


FORMATS: Mapping[str, Callable[[Mapping[str, str]], str]] = {
    "shell": lambda found: "\n".join(_shell(*pair) for pair in found.items()),
    "dotenv": lambda found: "\n".join(_dotenv(*pair) for pair in found.items()),
    "json": json.dumps,
}


def become(words: list[str], found: Mapping[str, str]) -> None:
    """Become the program, with these variables besides one's own: it has our pid, and our end.

    So signals reach it, and its exit status is ours. Raises CliNotFoundError for one that can't be
    run.
    """
    program = shutil.which(words[0])
    if program is None:
        raise CliNotFoundError(
            f"{words[0]} can't be run: there is no such program.",
            hint="Install it, or give its path.",
            details={"lookedFor": [words[0]]},
        )
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores, for itself
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execve(program, words, {**os.environ, **found})  # noqa: S606 - what it is for
    except OSError as error:
        raise CliNotFoundError(
            f"{program} can't be run: {error.strerror or error}.",
            hint="Give the path of a program.",
            details={"lookedFor": [program]},
        ) from error
