"""hooks.*: git's own hooks, for those who don't use pre-commit."""

from collections.abc import Callable

from invoke.collection import Collection
from invoke.context import Context
from invoke.tasks import task

from devservers import githooks, rendering_hooks, worktree
from devservers.githooks import Hooks
from devservers.rendering import Rendered
from devservers.tasks import boundary
from devservers.worktree import Worktree

HELP = {"json_": "one JSON object on stdout, also on failure"}


def _rendered(operation: Callable[[Worktree], Hooks]) -> Callable[[], Rendered]:
    return lambda: rendering_hooks.hooks(operation(worktree.find()))


@task(name="hooks-install", help=HELP, auto_shortflags=False)
def install(_: Context, json_: bool = False) -> None:
    """Let git ensure the servers after each checkout and merge; hooks that are there go on."""
    boundary.answer(_rendered(githooks.install), as_json=json_)


@task(name="hooks-uninstall", help=HELP, auto_shortflags=False)
def uninstall(_: Context, json_: bool = False) -> None:
    """Take our part out of git's hooks again, and nothing else."""
    boundary.answer(_rendered(githooks.uninstall), as_json=json_)


@task(name="hooks-status", help=HELP, auto_shortflags=False)
def status(_: Context, json_: bool = False) -> None:
    """Say which of git's hooks ensure the servers, and where they are."""
    boundary.answer(_rendered(githooks.status), as_json=json_)


@task(name="hooks-trust", help=HELP, auto_shortflags=False)
def trust(_: Context, json_: bool = False) -> None:
    """Accept what this checkout's configuration, and its tracked programs, would execute."""

    def make() -> Rendered:
        from devservers import acceptance  # noqa: PLC0415 - only here

        return rendering_hooks.trusted(acceptance.accept(worktree.find()))

    boundary.answer(make, as_json=json_)


collection = Collection("hooks")
collection.add_task(install, name="install")
collection.add_task(uninstall, name="uninstall")
collection.add_task(status, name="status", default=True)
collection.add_task(trust, name="trust")
