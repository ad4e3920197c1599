"""hooks.*: git's own hooks, for those who don't use pre-commit."""

from collections.abc import Callable
from typing import Any

from devservers import worktree
from devservers.rendering.servers import Rendered
from devservers.tasks.definition import Group, task

SUMMARIES = {
    "install": "Let git ensure the servers after each checkout and merge; hooks that are there "
    "go on.",
    "uninstall": "Take our part out of git's hooks again, and nothing else.",
    "status": "Say which of git's hooks ensure the servers, and where they are.",
}


def _operation(name: str) -> Callable[[], Rendered]:
    def operate() -> Rendered:
        from devservers.githooks import install  # noqa: PLC0415 - only here
        from devservers.rendering import hooks as rendering  # noqa: PLC0415 - only here

        operation: Callable[..., Any] = getattr(install, name)
        return rendering.hooks(operation(worktree.find()))

    return operate


def _trust() -> Rendered:
    from devservers.githooks import acceptance  # noqa: PLC0415 - only here
    from devservers.rendering import hooks as rendering  # noqa: PLC0415 - only here

    return rendering.trusted(acceptance.accept(worktree.find()))


GROUP = Group(
    "hooks",
    {
        **{
            name: task(f"hooks-{name}", summary, _operation(name))
            for name, summary in SUMMARIES.items()
        },
        "trust": task(
            "hooks-trust",
            "Accept what this checkout's configuration, and its tracked programs, would execute.",
            _trust,
        ),
    },
)
