"""dev.*: both servers of a worktree at once, and every worktree at a glance."""

from invoke.collection import Collection
from invoke.context import Context
from invoke.tasks import task

from devservers import config, console, worktree
from devservers.rendering.servers import Rendered
from devservers.tasks import boundary, factory


@task(
    name="dev-up",
    help={
        "json_": factory.JSON,
        "timeout": "seconds until each server must answer (default 120)",
        "stand_in": "start the bundled imitation instead of inngest-cli",
    },
    auto_shortflags=False,
)
def up(_: Context, json_: bool = False, timeout: str = "120", stand_in: bool = False) -> None:
    """Start Inngest and this worktree's Next.js, and wait until its app is registered."""

    def make() -> Rendered:
        from devservers.rendering import worktrees as rendering_worktrees  # noqa: PLC0415 - only here
        from devservers.worktrees import overview  # noqa: PLC0415 - only here

        patience = boundary.seconds("--timeout", timeout)
        here = worktree.find()
        settings = config.load(here.root, here.main)
        done = overview.up(settings, here, timeout=patience, stand_in=stand_in, notify=console.say)
        return rendering_worktrees.up(done, {"worktree": str(here.root), "branch": here.branch})

    boundary.answer(make, as_json=json_)


@task(
    name="dev-down",
    help={
        "json_": factory.JSON,
        "all": "stop the Inngest dev server, too, which every worktree uses",
        "timeout": "seconds between SIGTERM and SIGKILL (default 5)",
    },
    auto_shortflags=False,
)
def down(_: Context, json_: bool = False, all: bool = False, timeout: str = "5") -> None:  # noqa: A002 - the flag's name
    """Stop this worktree's Next.js server; with --all Inngest, too."""

    def make() -> Rendered:
        from devservers.rendering import worktrees as rendering_worktrees  # noqa: PLC0415 - only here
        from devservers.worktrees import overview  # noqa: PLC0415 - only here

        grace = boundary.seconds("--timeout", timeout)
        here = worktree.find()
        settings = config.load(here.root, here.main)
        done = overview.down(settings, here, everything=all, grace=grace)
        whose = {"worktree": str(here.root), "branch": here.branch}
        machine = settings.inngest
        return rendering_worktrees.down(done, whose, machine.port, enabled=machine.enabled)

    boundary.answer(make, as_json=json_)


@task(name="dev-status", help={"json_": factory.JSON}, auto_shortflags=False)
def status(_: Context, json_: bool = False) -> None:
    """Show every worktree of the repository: its port, its server, and whether it is served."""

    def make() -> Rendered:
        from devservers.rendering import worktrees as rendering_worktrees  # noqa: PLC0415 - only here
        from devservers.worktrees import overview  # noqa: PLC0415 - only here

        here = worktree.find()
        found = overview.overview(config.load(here.root, here.main), here)
        return rendering_worktrees.overview(found)

    boundary.answer(make, as_json=json_)


@task(
    name="dev-prune",
    help={"json_": factory.JSON, "dry_run": "only list what would be ended and removed"},
    auto_shortflags=False,
)
def prune(_: Context, json_: bool = False, dry_run: bool = False) -> None:
    """End servers, and remove files, of worktrees that are gone."""

    def make() -> Rendered:
        from devservers.rendering import worktrees as rendering_worktrees  # noqa: PLC0415
        from devservers.worktrees import prune as pruning  # noqa: PLC0415 - only here

        here = worktree.find()
        settings = config.load(here.root, here.main)
        return rendering_worktrees.pruned(pruning.prune(settings, here, dry_run=dry_run))

    boundary.answer(make, as_json=json_)


collection = Collection("dev")
collection.add_task(up, name="up")
collection.add_task(down, name="down")
collection.add_task(status, name="status", default=True)
collection.add_task(prune, name="prune")
