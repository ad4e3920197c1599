"""agents.*: the files from which coding agents learn of these tasks."""

from devservers import config, worktree
from devservers.agents import formats, text
from devservers.config import Config
from devservers.errors import UsageError
from devservers.rendering import agents as rendering
from devservers.rendering.servers import Rendered
from devservers.tasks.definition import Flag, Group, task
from devservers.worktree import Worktree


def _here() -> tuple[Config, Worktree]:
    here = worktree.find()
    return config.load(here.root, here.main), here


def _install(*, only: str) -> Rendered:
    from devservers.agents import install  # noqa: PLC0415 - only here

    names = tuple(filter(None, (name.strip() for name in only.split(","))))
    for name in names:
        if name not in formats.ONLY:
            known = ", ".join(formats.ONLY)
            raise UsageError(f"--only must be some of {known}, not {name!r}.")
    settings, here = _here()
    return rendering.agents(install.install(settings, here, names), text.program(here))


def _uninstall() -> Rendered:
    from devservers.agents import install  # noqa: PLC0415 - only here

    _, here = _here()
    return rendering.agents(install.uninstall(here), text.program(here))


def _status() -> Rendered:
    from devservers.agents import install  # noqa: PLC0415 - only here

    settings, here = _here()
    return rendering.agents(install.status(settings, here), text.program(here))


def _check() -> Rendered:
    from devservers.agents import install  # noqa: PLC0415 - only here

    settings, here = _here()
    return rendering.check(install.status(settings, here), text.program(here))


def _show() -> Rendered:
    return rendering.show(text.section(*_here()))


GROUP = Group(
    "agents",
    {
        "install": task(
            "agents-install",
            "Write what coding agents read of these tasks into this worktree, for committing.",
            _install,
            {"only": Flag("", f"some of {', '.join(formats.ONLY)}, with commas between")},
        ),
        "uninstall": task(
            "agents-uninstall",
            "Take our part out of what coding agents read again, and nothing else.",
            _uninstall,
        ),
        "status": task(
            "agents-status", "Say which of these files are there, and up to date.", _status
        ),
        "check": task(
            "agents-check",
            "For CI: exit status 1 where one of these files is out of date, or none is there.",
            _check,
        ),
        "show": task("agents-show", "Print the section that AGENTS.md gets.", _show),
    },
)
