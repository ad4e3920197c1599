"""inngest.*: the machine-wide Inngest dev server."""

import sys
from pathlib import Path

from invoke.collection import Collection
from invoke.context import Context
from invoke.tasks import task

from devservers import config, inngest, logs, rendering, report, server, worktree
from devservers.rendering import Rendered
from devservers.spec import ServerSpec
from devservers.tasks import boundary

TITLE = "Inngest dev server"
JSON = "one JSON object on stdout, also on failure"
START_HELP = {
    "json_": JSON,
    "timeout": "seconds until it must answer (default 60)",
    "wait": "--no-wait returns once it is spawned and recorded",
    "force": "terminate whatever else holds the port, and say so",
    "stand_in": "start the bundled imitation instead of inngest-cli",
    "quiet": "print nothing when nothing had to be done",
}


def declared(*, stand_in: bool = False) -> tuple[ServerSpec, bool]:
    """Return the spec of this worktree's Inngest server, and whether it is enabled here."""
    here = worktree.find()
    settings = config.load(here.root, here.main)
    return inngest.spec(settings, here, stand_in=stand_in), settings.inngest.enabled


def _start(operation: str, timeout: str, *, wait: bool, force: bool, stand_in: bool) -> Rendered:
    patience = boundary.seconds("--timeout", timeout)
    spec, enabled = declared(stand_in=stand_in)
    if not enabled:
        return rendering.disabled(spec.port, TITLE, url=spec.url(spec.port))
    start = getattr(server, operation)
    done = start(spec, timeout=patience, wait=wait, force=force, notify=boundary.say)
    return rendering.ensured(done, TITLE, watches=True)


@task(name="inngest-ensure", aliases=("start",), help=START_HELP, auto_shortflags=False)
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
    boundary.answer(
        lambda: _start("ensure", timeout, wait=wait, force=force, stand_in=stand_in),
        as_json=json_,
        quiet=quiet,
    )


@task(name="inngest-restart", help=START_HELP, auto_shortflags=False)
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
    boundary.answer(
        lambda: _start("restart", timeout, wait=wait, force=force, stand_in=stand_in),
        as_json=json_,
        quiet=quiet,
    )


@task(
    name="inngest-stop",
    help={
        "json_": JSON,
        "timeout": "seconds between SIGTERM and SIGKILL (default 5)",
        "force": "terminate whatever else holds the port, too",
    },
    auto_shortflags=False,
)
def stop(_: Context, json_: bool = False, timeout: str = "5", force: bool = False) -> None:
    """Stop the Inngest dev server with all its processes, and prove its port free."""

    def make() -> Rendered:
        grace = boundary.seconds("--timeout", timeout)
        spec, enabled = declared()
        if not enabled:
            more = {"pidsKilled": (), "portFree": None, "forced": False}
            return rendering.disabled(spec.port, TITLE, **more)
        return rendering.stopped(server.stop(spec, grace=grace, force=force), TITLE)

    boundary.answer(make, as_json=json_)


@task(name="inngest-status", help={"json_": JSON}, auto_shortflags=False)
def status(_: Context, json_: bool = False) -> None:
    """Say what is true now: exit status 0 running, 3 not running, 4 not responding."""

    def make() -> Rendered:
        spec, enabled = declared()
        found = report.status(spec) if enabled else report.disabled(spec)
        return rendering.status(found, TITLE, "inngest", watches=True)

    boundary.answer(make, as_json=json_)


@task(
    name="inngest-logs",
    help={
        "json_": "where the log is, as one JSON object",
        "lines": "how many of the last lines (default 50)",
        "follow": "go on printing what is appended, until ^C",
    },
    auto_shortflags=False,
)
def show_logs(_: Context, json_: bool = False, lines: str = "50", follow: bool = False) -> None:
    """Print the last lines of the running server's own log, from whichever worktree."""

    def make() -> Rendered:
        count = boundary.whole("--lines", lines)
        spec, enabled = declared()
        if not enabled:
            return rendering.disabled(spec.port, TITLE)
        found = report.log_file(spec)
        if json_ or found.path is None or not (found.exists or follow):
            return rendering.logs(found)
        path = Path(found.path)
        try:
            for text in logs.follow(path, count) if follow else logs.tail(path, count):
                sys.stdout.write(text)
                sys.stdout.flush()
        except KeyboardInterrupt:  # the usual way to end --follow
            pass
        return Rendered({})

    boundary.answer(make, as_json=json_)


collection = Collection("inngest")
collection.add_task(ensure, name="ensure")
collection.add_task(stop, name="stop")
collection.add_task(restart, name="restart")
collection.add_task(status, name="status", default=True)
collection.add_task(show_logs, name="logs")
