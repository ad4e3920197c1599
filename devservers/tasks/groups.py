"""Groups: every task that there is, each group found without the others."""

from collections.abc import Iterator
from importlib import import_module

from devservers import kinds
from devservers.tasks import declared, factory
from devservers.tasks.definition import Group


def every() -> Iterator[Group]:
    """Yield all groups of the worktree that the caller stands in."""
    yield from map(_of_module, declared.OTHERS)
    yield from map(factory.group, (*kinds.every(), *declared.here()))


def find(name: str) -> Group | None:
    """Return the group of that name, None if there is none."""
    if name in declared.OTHERS:
        return _of_module(name)
    if name in kinds.NAMES:
        return factory.group(kinds.kind(name))
    return next((factory.group(one) for one in declared.here() if one.name == name), None)


def _of_module(name: str) -> Group:
    found: Group = import_module(f"devservers.tasks.{name}_tasks").GROUP
    return found
