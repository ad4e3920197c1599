"""hooks.*: git's own hooks, for those who don't use pre-commit."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from invoke.collection import Collection
from invoke.context import Context
from invoke.tasks import task

from devservers import worktree
from devservers.rendering.servers import Rendered
from devservers.tasks import boundary

if TYPE_CHECKING:
    from devservers.githooks.install import Hooks
    from devservers.worktree import Worktree

HELP = {"json_": "one JSON object on stdout, also on failure"}


def _answer(name: str, *, as_json: bool) -> None:
    def make() -> Rendered:
        from devservers.githooks import install as githooks_install  # noqa: PLC0415 - only here
        from devservers.rendering import hooks as rendering_hooks  # noqa: PLC0415 - only here

        operation: Callable[[Worktree], Hooks] = getattr(githooks_install, name)
        return rendering_hooks.hooks(operation(worktree.find()))

    boundary.answer(make, as_json=as_json)


@task(name="hooks-install", help=HELP, auto_shortflags=False)
def install(_: Context, json_: bool = False) -> None:
    """Let git ensure the servers after each checkout and merge; hooks that are there go on."""
    _answer("install", as_json=json_)


@task(name="hooks-uninstall", help=HELP, auto_shortflags=False)
def uninstall(_: Context, json_: bool = False) -> None:
    """Take our part out of git's hooks again, and nothing else."""
    _answer("uninstall", as_json=json_)


@task(name="hooks-status", help=HELP, auto_shortflags=False)
def status(_: Context, json_: bool = False) -> None:
    """Say which of git's hooks ensure the servers, and where they are."""
    _answer("status", as_json=json_)


@task(name="hooks-trust", help=HELP, auto_shortflags=False)
def trust(_: Context, json_: bool = False) -> None:
    """Accept what this checkout's configuration, and its tracked programs, would execute."""

    def make() -> Rendered:
        from devservers.githooks import acceptance  # noqa: PLC0415 - only here
        from devservers.rendering import hooks as rendering_hooks  # noqa: PLC0415 - only here

        return rendering_hooks.trusted(acceptance.accept(worktree.find()))

    boundary.answer(make, as_json=json_)


collection = Collection("hooks")
collection.add_task(install, name="install")
collection.add_task(uninstall, name="uninstall")
collection.add_task(status, name="status", default=True)
collection.add_task(trust, name="trust")
