"""inngest.*: the machine-wide Inngest dev server."""

from collections.abc import Callable

from invoke.collection import Collection
from invoke.context import Context
from invoke.tasks import task

from devservers import config, inngest, worktree
from devservers.lifecycle import server
from devservers.rendering import servers
from devservers.rendering.servers import Rendered
from devservers.spec import ServerSpec
from devservers.tasks import boundary, factory
from devservers.tasks.factory import Flags, Kind


def declared(*, stand_in: bool = False) -> ServerSpec:
    """Return the Inngest server as the caller's worktree declares it."""
    here = worktree.find()
    return inngest.spec(config.load(here.root, here.main), here, stand_in=stand_in)


KIND = Kind("inngest", "Inngest dev server", declared, watches=True)
HELP = factory.START_HELP | {
    "timeout": factory.START_HELP["timeout"].format(timeout=60),
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
    flags = Flags(timeout, wait, force, quiet)
    boundary.answer(
        lambda: factory.start(KIND, server.ensure, flags, declared(stand_in=stand_in)),
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
    flags = Flags(timeout, wait, force, quiet)
    boundary.answer(
        lambda: factory.start(KIND, server.restart, flags, declared(stand_in=stand_in)),
        as_json=json_,
        quiet=quiet,
    )


@task(name="inngest-apps", help={"json_": factory.JSON}, auto_shortflags=False)
def apps(_: Context, json_: bool = False) -> None:
    """Show which worktree's app the Inngest server really serves."""

    def make() -> Rendered:
        from devservers.inngest import apps as inngest_apps  # noqa: PLC0415 - only here
        from devservers.rendering import inngest as rendering_inngest  # noqa: PLC0415 - only here

        here = worktree.find()
        found = inngest_apps.survey(config.load(here.root, here.main))
        return rendering_inngest.apps(found, str(here.root))

    _answer_if_enabled(make, json_=json_, apps=())


@task(
    name="inngest-sync",
    help={"json_": factory.JSON, "port": "of the app (default: this worktree's)"},
    auto_shortflags=False,
)
def sync(_: Context, json_: bool = False, port: str = "") -> None:
    """Make this worktree's app the one that the Inngest server serves, and prove it."""

    def make() -> Rendered:
        from devservers.inngest import apps as inngest_apps  # noqa: PLC0415 - only here
        from devservers.rendering import inngest as rendering_inngest  # noqa: PLC0415 - only here

        number = boundary.port("--port", port) if port else None
        here = worktree.find()
        settings = config.load(here.root, here.main)
        return rendering_inngest.synced(inngest_apps.sync(settings, here, number))

    _answer_if_enabled(make, json_=json_)


@task(name="inngest-doctor", help={"json_": factory.JSON}, auto_shortflags=False)
def doctor(_: Context, json_: bool = False) -> None:
    """Check every precondition, and name the remedy for what fails."""

    def make() -> Rendered:
        from devservers.inngest import doctor as examination  # noqa: PLC0415 - only here
        from devservers.rendering import inngest as rendering_inngest  # noqa: PLC0415

        return rendering_inngest.doctor(examination.examine())

    boundary.answer(make, as_json=json_)


def _answer_if_enabled(make: Callable[[], Rendered], *, json_: bool, **empty: object) -> None:
    def unless_disabled() -> Rendered:
        spec = declared()
        return make() if spec.enabled else servers.disabled(spec.port, KIND.title, **empty)

    boundary.answer(unless_disabled, as_json=json_)


collection = Collection("inngest")
collection.add_task(ensure, name="ensure")
collection.add_task(factory.stop_task(KIND), name="stop")
collection.add_task(restart, name="restart")
collection.add_task(factory.status_task(KIND), name="status", default=True)
collection.add_task(factory.logs_task(KIND), name="logs")
collection.add_task(apps, name="apps")
collection.add_task(sync, name="sync")
collection.add_task(doctor, name="doctor")
