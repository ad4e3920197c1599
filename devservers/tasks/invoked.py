"""Invoked: what is defined as data, as Invoke's own tasks and collections."""

import inspect
import sys
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task

from devservers.tasks.definition import Definition, Group


class _Asked(Collection):
    """A collection that has all its tasks, but tells the parser of those that it is to parse.

    Invoke copies a parser for each task that it is told of, at half a millisecond each: too much
    for what is called so often.
    """

    hidden: frozenset[str] = frozenset()

    @property
    def task_names(self) -> dict[str, list[str]]:
        """The names of the tasks, with their aliases."""
        names: dict[str, list[str]] = super().task_names
        return {name: names[name] for name in names if name not in self.hidden}


def collections(groups: Iterable[Group], words: AbstractSet[str] | None) -> dict[str, Collection]:
    """Return the collections of groups by name.

    `words` are all tasks that a command line names, None where that isn't known.
    """
    groups = tuple(groups)
    known = {spelling for group in groups for spelling in group.spellings}
    asked = known if words is None or not words <= known else words
    return {group.name: _collection(group, asked, known) for group in groups}


def _collection(group: Group, asked: AbstractSet[str], known: AbstractSet[str]) -> Collection:
    made = _Asked(group.name)
    for name, definition in group.tasks.items():
        task = _task(definition, Task if definition.word is None else _Worded)
        if definition.word is not None:
            task.word, task.spelling, task.others = definition.word, f"{group.name}.{name}", known
        made.add_task(task, name=name, default=name == group.default)
    shown = {name for spelling, name in group.spellings.items() if spelling in asked}
    made.hidden = frozenset(group.tasks.keys() - shown)
    return made


class _Worded(Task[Any]):
    """A task one of whose flags may be given as a bare word.

    Invoke knows positional arguments, but they can't be left out; so it is one only where the
    command line has it.
    """

    word = ""
    spelling = ""
    others: AbstractSet[str] = frozenset()
    """Words that name other tasks, and so are none of this one's."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> Any:
        """Return the arguments for the parser."""
        found = super().get_arguments(ignore_unknown_help)
        words = sys.argv[sys.argv.index(self.spelling) + 1 :] if self.spelling in sys.argv else []
        words = words[: words.index("--")] if "--" in words else words
        first = next((word for word in words if not word.startswith("-")), None)
        flagged = any(word.startswith(f"--{self.word}") for word in words)
        if first is not None and first not in self.others and not flagged:
            for argument in found:
                if argument.name == self.word:
                    argument.positional, argument.default = True, None
        return found


def _task(definition: Definition, make: type[Any]) -> Any:
    """Return a task of a definition.

    Invoke makes flags of a signature, which is made here: so kinds can differ in their flags, and
    each has its own task.
    """

    def run(_: Context, **words: Any) -> None:
        if code := definition.run(words):
            raise Exit(code=code)

    either = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter("context", either)]
    parameters += [
        inspect.Parameter(flag, either, default=entry.default)
        for flag, entry in definition.flags.items()
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__doc__ = definition.summary
    return make(
        run,
        name=definition.name,
        aliases=definition.aliases,
        help={flag: entry.help for flag, entry in definition.flags.items()},
        auto_shortflags=False,
    )
