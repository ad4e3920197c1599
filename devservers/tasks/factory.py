"""What the tasks of every kind of server have in common: the kind is data, the tasks are made."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from invoke.context import Context
from invoke.tasks import task

from devservers import console, terminal
from devservers.errors import StateUnusableError
from devservers.lifecycle import server, status
from devservers.lifecycle.result import Ensured
from devservers.rendering import servers
from devservers.rendering.servers import Rendered
from devservers.spec import ServerSpec
from devservers.system import logs
from devservers.tasks import boundary

JSON = "one JSON object on stdout, also on failure"
START_HELP = {
    "json_": JSON,
    "timeout": "seconds until it must answer (default {timeout})",
    "wait": "--no-wait returns once it is spawned and recorded",
    "force": "terminate whatever else holds the port, and say so",
    "quiet": "print nothing when nothing had to be done",
}


class Kind(NamedTuple):
    """One kind of server, as its tasks need it."""

    name: str
    """Of the collection, and so of the command: `inv <name>.ensure`."""
    title: str
    declare: Callable[[], ServerSpec]
    """Returns the server that the caller's worktree declares."""
    watches: bool
    """It is told ports to watch, and says so."""
    facts: Callable[[ServerSpec], Mapping[str, object]] = lambda _spec: {}
    """What every answer on this kind has in its JSON besides, as docs/reference.md has it."""


class Flags(NamedTuple):
    """The flags of ensure and restart, as they come from the command line."""

    timeout: str
    wait: bool
    force: bool
    quiet: bool


def start(
    kind: Kind, operation: Callable[..., Ensured], flags: Flags, spec: ServerSpec | None = None
) -> Rendered:
    """Run `server.ensure` or `server.restart` for `kind`, and render what it answers."""
    patience = boundary.seconds("--timeout", flags.timeout)
    declared = spec or kind.declare()
    if not declared.enabled:
        return servers.disabled(declared.port, kind.title, url=declared.url(declared.port))
    notify = None if flags.quiet else console.say
    done = operation(
        by_hand(declared), timeout=patience, wait=flags.wait, force=flags.force, notify=notify
    )
    rendered = servers.ensured(done, kind.title, kind.name, watches=kind.watches)
    return _with_facts(kind, declared, rendered)


def by_hand(spec: ServerSpec) -> ServerSpec:
    """Return `spec` as a person starts it: what it executes is accepted for hooks, too."""

    def command() -> tuple[str, ...]:
        from devservers.trust import gate  # noqa: PLC0415 - only where something is really started

        return gate.accept(spec)

    return spec._replace(command=command)


def _with_facts(kind: Kind, spec: ServerSpec, rendered: Rendered) -> Rendered:
    return rendered._replace(data={**rendered.data, **kind.facts(spec)})


def stop_task(kind: Kind) -> Any:
    """Return the task that stops this kind of server."""

    @task(
        name=f"{kind.name}-stop",
        help={
            "json_": JSON,
            "timeout": "seconds between SIGTERM and SIGKILL (default 5)",
            "force": "terminate whatever else holds the port, too",
        },
        auto_shortflags=False,
    )
    def stop(_: Context, json_: bool = False, timeout: str = "5", force: bool = False) -> None:
        def make() -> Rendered:
            grace = boundary.seconds("--timeout", timeout)
            spec = kind.declare()
            if not spec.enabled:
                more = {"pidsKilled": (), "portFree": None, "forced": False}
                return servers.disabled(spec.port, kind.title, **more)
            done = server.stop(spec, grace=grace, force=force, notify=console.say)
            return _with_facts(kind, spec, servers.stopped(done, kind.title))

        boundary.answer(make, as_json=json_)

    stop.__doc__ = f"Stop the {kind.title} with all its processes, and prove its port free."
    return stop


def status_task(kind: Kind) -> Any:
    """Return the task that tells the truth about this kind of server."""

    @task(name=f"{kind.name}-status", help={"json_": JSON}, auto_shortflags=False)
    def show_status(_: Context, json_: bool = False) -> None:
        def make() -> Rendered:
            spec = kind.declare()
            found = status.status(spec) if spec.enabled else status.disabled(spec)
            said = servers.status(found, kind.title, kind.name, watches=kind.watches)
            return _with_facts(kind, spec, said)

        boundary.answer(make, as_json=json_)

    show_status.__doc__ = (
        f"Say what is true of the {kind.title}: exit status 0 running, 3 not running, "
        "4 not responding."
    )
    return show_status


def logs_task(kind: Kind) -> Any:
    """Return the task that shows the log of this kind of server."""

    @task(
        name=f"{kind.name}-logs",
        help={
            "json_": "where the log is, as one JSON object",
            "lines": "how many of the last lines (default 50)",
            "follow": "go on printing what is appended, until ^C",
        },
        auto_shortflags=False,
    )
    def show_logs(_: Context, json_: bool = False, lines: str = "50", follow: bool = False) -> None:
        def make() -> Rendered:
            count = boundary.whole("--lines", lines)
            spec = kind.declare()
            if not spec.enabled:
                return servers.disabled(spec.port, kind.title)
            found = status.log_file(spec)
            if json_ or found.path is None or not (found.exists or follow):
                return _with_facts(kind, spec, servers.logs(found))
            _print_log(Path(found.path), count, follow=follow)
            return Rendered({})

        boundary.answer(make, as_json=json_)

    show_logs.__doc__ = f"Print the last lines of the running {kind.title}'s own log."
    return show_logs


def _print_log(path: Path, count: int, *, follow: bool) -> None:
    shown = terminal.LogFilter()
    with contextlib.suppress(KeyboardInterrupt):  # the usual way to end --follow
        for text in _pieces(path, count, follow=follow):
            console.put(shown.feed(text))
        console.put(shown.feed("", final=True))


def _pieces(path: Path, count: int, *, follow: bool) -> Iterator[str]:
    try:
        yield from logs.follow(path, count) if follow else logs.tail(path, count)
    except OSError as error:
        raise StateUnusableError(f"{path} can't be read: {error.strerror or error}.") from error
