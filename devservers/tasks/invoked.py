"""Invoked: what is defined as data, as Invoke's own tasks and collections."""

import inspect
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
    return {group.name: _collection(group, asked) for group in groups}


def _collection(group: Group, asked: AbstractSet[str]) -> Collection:
    made = _Asked(group.name)
    for name, definition in group.tasks.items():
        made.add_task(_task(definition), name=name, default=name == group.default)
    shown = {name for spelling, name in group.spellings.items() if spelling in asked}
    made.hidden = frozenset(group.tasks.keys() - shown)
    return made


def _task(definition: Definition) -> Any:
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
    return Task(
        run,
        name=definition.name,
        aliases=definition.aliases,
        help={flag: entry.help for flag, entry in definition.flags.items()},
        auto_shortflags=False,
    )
