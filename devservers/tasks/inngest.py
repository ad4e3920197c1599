"""inngest.*: the machine-wide Inngest dev server."""

from invoke.collection import Collection
from invoke.context import Context
from invoke.tasks import task

from devservers import config, inngest, server, worktree
from devservers.spec import ServerSpec
from devservers.tasks import boundary, lifecycle
from devservers.tasks.lifecycle import Flags, Kind


def declared(*, stand_in: bool = False) -> ServerSpec:
    """Return the Inngest server as the caller's worktree declares it."""
    here = worktree.find()
    return inngest.spec(config.load(here.root, here.main), here, stand_in=stand_in)


def is_enabled() -> bool:
    """Return whether the caller's worktree wants an Inngest server."""
    here = worktree.find()
    return config.load(here.root, here.main).inngest.enabled


KIND = Kind("inngest", "Inngest dev server", declared, watches=True, enabled=is_enabled)
HELP = lifecycle.START_HELP | {
    "timeout": lifecycle.START_HELP["timeout"].format(timeout=60),
    "stand_in": "start the bundled imitation instead of inngest-cli",
}


@task(name="inngest-ensure", aliases=("start",), help=HELP, auto_shortflags=False)
def ensure(
    _: Context,
    json_: bool = False,
    timeout: str = "60",
    wait: bool = True,
    force: bool = False,
    stand_in: bool = False,
    quiet: bool = False,
) -> None:
    """Make sure that the Inngest dev server runs (safe to call at any time, by any number)."""
    flags = Flags(timeout, wait, force)
    boundary.answer(
        lambda: lifecycle.start(KIND, server.ensure, flags, declared(stand_in=stand_in)),
        as_json=json_,
        quiet=quiet,
    )


@task(name="inngest-restart", help=HELP, auto_shortflags=False)
def restart(
    _: Context,
    json_: bool = False,
    timeout: str = "60",
    wait: bool = True,
    force: bool = False,
    stand_in: bool = False,
    quiet: bool = False,
) -> None:
    """Stop and start the Inngest dev server; the events and runs that it holds are lost."""
    flags = Flags(timeout, wait, force)
    boundary.answer(
        lambda: lifecycle.start(KIND, server.restart, flags, declared(stand_in=stand_in)),
        as_json=json_,
        quiet=quiet,
    )


collection = Collection("inngest")
collection.add_task(ensure, name="ensure")
collection.add_task(lifecycle.stop_task(KIND), name="stop")
collection.add_task(restart, name="restart")
collection.add_task(lifecycle.status_task(KIND), name="status", default=True)
collection.add_task(lifecycle.logs_task(KIND), name="logs")
