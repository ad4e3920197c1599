"""The tasks of one kind of server, made from its entry in the table of kinds."""

import contextlib
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from devservers import config, console, kinds, worktree
from devservers.kind import Kind
from devservers.lifecycle import result, used
from devservers.lifecycle.result import Ensured
from devservers.rendering import servers
from devservers.rendering.servers import Rendered
from devservers.spec import ServerSpec
from devservers.tasks import flags
from devservers.tasks.definition import Definition, Flag, Group, task
from devservers.worktrees import passing

if TYPE_CHECKING:
    from devservers.rendering.lines import Named, Objects, Plain
    from devservers.worktrees.logfiles import Log, Look

__all__ = ["Flag", "group", "task"]

STOP_GRACE = f"{result.STOP_GRACE:g}"  # seconds
LINES = "50"


def group(kind: Kind) -> Group:
    """Return all tasks of a kind, its status the one that the bare name means."""
    tasks = {
        "ensure": _ensure(kind),
        "stop": _stop(kind),
        "restart": _restart(kind),
        "status": _status(kind),
        "logs": _logs(kind),
        **({"run": _run(kind)} if kind.foreground else {}),
        **(import_module(kind.tasks).TASKS if kind.tasks else {}),
    }
    return Group(kind.name, tasks)


def declared(kind: Kind, *, claim: bool = False, stand_in: bool = False) -> ServerSpec:
    """Return the server that the caller's worktree declares; with `claim` its port is kept."""
    here = worktree.find()
    settings = config.load(here.root, here.main)
    if claim:
        passing.by(settings, here)
    spec = kinds.declared(kind, settings, here, claim=claim, stand_in=stand_in)
    used.touch(spec)
    return spec


def _start_flags(kind: Kind) -> dict[str, Flag]:
    timeout = f"{kind.ready_timeout:g}"
    stand_in = {"stand_in": Flag(default=False, help="start the bundled imitation instead")}
    return {
        "timeout": Flag(timeout, f"seconds until it must answer (default {timeout})"),
        "wait": Flag(default=True, help="--no-wait returns once it is spawned and recorded"),
        "force": Flag(default=False, help="terminate whatever else holds the port, and say so"),
        **(stand_in if kind.imitable else {}),
        "quiet": Flag(default=False, help="print nothing when nothing had to be done"),
    }


def _start(kind: Kind, operation: str) -> Callable[..., Rendered]:
    def start(
        *, timeout: str, wait: bool, force: bool, quiet: bool, stand_in: bool = False
    ) -> Rendered:
        from devservers.lifecycle import server  # noqa: PLC0415 - not for a question

        patience = flags.seconds("--timeout", timeout)
        spec = declared(kind, claim=True, stand_in=stand_in)
        if not spec.enabled:
            return servers.disabled(kind, spec.port, url=spec.url(spec.port))
        notify = None if quiet else console.say
        run = getattr(server, operation)
        done = run(_by_hand(spec), timeout=patience, wait=wait, force=force, notify=notify)
        return ensured(kind, spec, done)

    return start


def ensured(kind: Kind, spec: ServerSpec, done: Ensured) -> Rendered:
    """Render what an ensure, start or restart has come to."""
    return servers.of(servers.ensured(done, kind), spec)


def _by_hand(spec: ServerSpec) -> ServerSpec:
    """Return `spec` as a person starts it: what it executes is accepted for hooks, too."""

    def command() -> tuple[str, ...]:
        from devservers.trust import gate  # noqa: PLC0415 - only where something is really started

        return gate.accept(spec)

    return spec._replace(command=command)


def _ensure(kind: Kind) -> Definition:
    summary = f"Make sure that the {kind.title} runs (safe to call at any time, by any number)."
    body = _start(kind, "ensure")
    return task(f"{kind.name}-ensure", summary, body, _start_flags(kind), aliases=("start",))


def _restart(kind: Kind) -> Definition:
    cost = f"; {kind.loses}" if kind.loses else ""
    summary = f"Stop and start the {kind.title}{cost}."
    return task(f"{kind.name}-restart", summary, _start(kind, "restart"), _start_flags(kind))


def _stop(kind: Kind) -> Definition:
    def stop(*, timeout: str, force: bool) -> Rendered:
        from devservers.lifecycle import stopping  # noqa: PLC0415 - not for a question

        grace = flags.seconds("--timeout", timeout)
        spec = declared(kind)
        if not spec.enabled:
            return servers.disabled(kind, spec.port, pidsKilled=(), portFree=None, forced=False)
        done = stopping.stop(spec, grace=grace, force=force, notify=console.say)
        return servers.of(servers.stopped(done, kind), spec)

    return task(
        f"{kind.name}-stop",
        f"Stop the {kind.title} with all its processes, and prove its port free.",
        stop,
        {
            "timeout": Flag(
                STOP_GRACE, f"seconds between SIGTERM and SIGKILL (default {STOP_GRACE})"
            ),
            "force": Flag(default=False, help="terminate whatever else holds the port, too"),
        },
    )


def _status(kind: Kind) -> Definition:
    def show() -> Rendered:
        from devservers.lifecycle import status  # noqa: PLC0415 - not for an ensure

        spec = declared(kind)
        found = status.status(spec) if spec.enabled else status.disabled(spec)
        return servers.of(servers.status(found, kind), spec)

    summary = (
        f"Say what is true of the {kind.title}: exit status 0 running, 3 not running, "
        "4 not responding."
    )
    return task(f"{kind.name}-status", summary, show)


def _logs(kind: Kind) -> Definition:
    def show(*, as_json: bool, lines: str, follow: bool, raw: bool) -> Rendered:
        from devservers.lifecycle import status  # noqa: PLC0415 - only here

        count = flags.whole("--lines", lines)
        spec = declared(kind)
        if not spec.enabled:
            return servers.disabled(kind, spec.port)
        found = status.log_file(spec)
        if as_json or found.path is None or not (found.exists or follow):
            return servers.of(servers.logs(found), spec)
        _print_log(kind, Path(found.path), count, follow=follow, raw=raw)
        return Rendered({})

    return task(
        f"{kind.name}-logs",
        f"Print the last lines of the running {kind.title}'s own log.",
        show,
        {
            "json_": Flag(default=False, help="where the log is, as one JSON object"),
            "lines": Flag(LINES, f"how many of the last lines (default {LINES})"),
            "follow": Flag(default=False, help="go on printing what is appended, until ^C"),
            "raw": Flag(default=False, help="the bytes as they are in the log"),
        },
    )


def _print_log(kind: Kind, path: Path, count: int, *, follow: bool, raw: bool) -> None:
    from devservers.rendering.lines import Plain  # noqa: PLC0415 - only here
    from devservers.worktrees.logfiles import Log, Source  # noqa: PLC0415 - only here

    found = (Log(Source(None, None, kind.name), path),)
    people = console.is_terminal()
    looks = Plain(colours=console.has_colours(), raw=raw, for_people=people)
    print_logs(found, count, looks, (lambda: found) if follow else None)


def print_logs(
    found: "tuple[Log, ...]",
    count: int,
    looks: "Named | Objects | Plain",
    look: "Look | None" = None,
) -> None:
    """Print the last lines of logs; with `look` what is written, too, until ^C.

    Raises StateUnusableError, UsageError, BrokenPipeError.
    """
    from devservers.worktrees import logstream  # noqa: PLC0415 - only here

    if look is None:
        stream = logstream.last(found, count)
    else:
        stream = logstream.follow(found, count, look, console.say)
    with contextlib.suppress(KeyboardInterrupt):  # the usual way to end --follow
        for lines in stream:
            if text := looks.shown(lines):
                console.put(text)
    if text := looks.rest():
        console.put(text)


def _run(kind: Kind) -> Definition:
    def run(*, as_json: bool) -> Rendered:
        from devservers.lifecycle import foreground  # noqa: PLC0415 - only here

        spec = _by_hand(declared(kind, claim=True))
        for warning in spec.warnings:
            console.say(f"warning: {warning}")
        output = sys.stderr.fileno() if as_json else None
        code = foreground.run(spec, announce=console.say, output=output)
        return servers.of(servers.ran(spec.port, code), spec)

    return task(
        f"{kind.name}-run",
        f"Run the {kind.title} in the foreground, until ^C.",
        run,
        {
            "json_": Flag(
                default=False,
                help="the server's output goes to stderr, and one JSON object follows on stdout",
            )
        },
    )
