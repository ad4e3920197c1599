"""Plain words: a command line that means one thing only, understood without Invoke."""

from collections.abc import Sequence
from typing import NamedTuple

from devservers.tasks import groups
from devservers.tasks.definition import Definition


class Call(NamedTuple):
    """A task, with the flags that it was given."""

    task: Definition
    flags: dict[str, object]

    def run(self) -> int:
        """Run it, and return the exit status."""
        return self.task.run(self.flags)


def call(words: Sequence[str]) -> Call | None:
    """Return what the words ask for, if that is one task with flags in their plainest form.

    That is `--flag`, or `--flag=value`, each once. For all else, also for what may be wrong, it is
    None, and up to Invoke: nobody is to learn two languages.
    """
    if not words or words[0].startswith("-"):
        return None
    group = groups.find(words[0].partition(".")[0])
    task = group.find(words[0]) if group else None
    if task is None:
        return None
    flags = _flags(task, words[1:])
    return None if flags is None else Call(task, flags)


def _flags(task: Definition, words: Sequence[str]) -> dict[str, object] | None:
    """Return the flags that are given, by name; None where one of them is not plain."""
    spelled = {
        f"--{'no-' if entry.default is True else ''}{flag.rstrip('_').replace('_', '-')}": flag
        for flag, entry in task.flags.items()
    }
    found: dict[str, object] = {}
    for word in words:
        spelling, equals, value = word.partition("=")
        flag = spelled.get(spelling)
        if flag is None or flag in found:
            return None
        default = task.flags[flag].default
        if isinstance(default, bool) == bool(equals) or (equals and not value[:1].isalnum()):
            return None
        found[flag] = value if equals else not default
    return found
