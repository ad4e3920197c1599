"""nextjs.*: this worktree's own Next.js server."""

import contextlib
import sys
from collections.abc import Mapping

from invoke.collection import Collection
from invoke.context import Context
from invoke.tasks import task

from devservers import config, console, worktree
from devservers.lifecycle import server
from devservers.rendering import servers
from devservers.rendering.servers import Rendered
from devservers.spec import ServerSpec
from devservers.tasks import boundary, factory
from devservers.tasks.factory import Flags, Kind


def declared(*, claim: bool = False) -> ServerSpec:
    """Return the Next.js server of the caller's worktree; with `claim` it gets a port to keep."""
    from devservers import nextjs  # noqa: PLC0415 - not for the other kinds' tasks

    here = worktree.find()
    with contextlib.suppress(OSError):  # whoever locks there says what is wrong
        here.state_dir.mkdir(parents=True, exist_ok=True)
    return nextjs.spec(config.load(here.root, here.main), here, claim=claim)


def facts(spec: ServerSpec) -> Mapping[str, object]:
    """Return whose server it is: known even of one that somebody started by hand."""
    return {"worktree": str(spec.worktree), "branch": spec.branch}


KIND = Kind("nextjs", "Next.js server", declared, watches=False, facts=facts)
HELP = factory.START_HELP | {
    "timeout": factory.START_HELP["timeout"].format(timeout=120),
}


@task(name="nextjs-ensure", aliases=("start",), help=HELP, auto_shortflags=False)
def ensure(
    _: Context,
    json_: bool = False,
    timeout: str = "120",
    wait: bool = True,
    force: bool = False,
    quiet: bool = False,
) -> None:
    """Make sure that this worktree's Next.js server runs (safe to call at any time)."""
    flags = Flags(timeout, wait, force, quiet)
    boundary.answer(
        lambda: factory.start(KIND, server.ensure, flags, declared(claim=True)),
        as_json=json_,
        quiet=quiet,
    )


@task(name="nextjs-restart", help=HELP, auto_shortflags=False)
def restart(
    _: Context,
    json_: bool = False,
    timeout: str = "120",
    wait: bool = True,
    force: bool = False,
    quiet: bool = False,
) -> None:
    """Stop and start this worktree's Next.js server."""
    flags = Flags(timeout, wait, force, quiet)
    boundary.answer(
        lambda: factory.start(KIND, server.restart, flags, declared(claim=True)),
        as_json=json_,
        quiet=quiet,
    )


@task(
    name="nextjs-run",
    help={"json_": "the server's output goes to stderr, and one JSON object follows on stdout"},
    auto_shortflags=False,
)
def run(_: Context, json_: bool = False) -> None:
    """Run this worktree's Next.js server in the foreground, until ^C."""

    def make() -> Rendered:
        from devservers.lifecycle import foreground  # noqa: PLC0415 - only here

        spec = factory.by_hand(declared(claim=True))
        for warning in spec.warnings:
            console.say(f"warning: {warning}")
        output = sys.stderr.fileno() if json_ else None
        code = foreground.run(spec, announce=console.say, output=output)
        return servers.ran(spec.port, code, facts(spec))

    boundary.answer(make, as_json=json_)


collection = Collection("nextjs")
collection.add_task(ensure, name="ensure")
collection.add_task(factory.stop_task(KIND), name="stop")
collection.add_task(restart, name="restart")
collection.add_task(factory.status_task(KIND), name="status", default=True)
collection.add_task(factory.logs_task(KIND), name="logs")
collection.add_task(run, name="run")
