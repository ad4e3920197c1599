"""The Inngest dev server as data: what the configuration says of it -> ServerSpec."""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from devservers import worktree
from devservers.config import Config
from devservers.errors import StateUnusableError
from devservers.inngest import api as inngest_api
from devservers.inngest import drift, environment, pin, settings, target
from devservers.inngest.cli import OWN_FILES, find_cli, remedy, server_environment
from devservers.inngest.settings import Settings
from devservers.inngest.target import STAND_IN, Target
from devservers.kind import Assignment, Exports
from devservers.lifecycle import state
from devservers.spec import (
    MARKER,
    Behaviour,
    Brought,
    Description,
    Files,
    Http,
    Recognised,
    Restore,
    ServerSpec,
    Words,
    url_of,
)
from devservers.system import process, process_info
from devservers.system.identity import Socket
from devservers.worktree import Worktree

DEFAULT_PORT = 8288  # where an app looks that was told nothing


def spec(
    config: Config,
    here: Worktree,
    *,
    stand_in: bool = False,
    claim: bool = False,
    env: Mapping[str, str] = os.environ,
) -> ServerSpec:
    """Return the Inngest dev server that the worktree `here` uses: the machine's or its own.

    With `claim` the worktree keeps its slot. Raises what `target.of` raises.
    """
    return of_target(config, here, target.of(config, here, claim=claim, env=env), stand_in=stand_in)


def of_target(
    config: Config,
    here: Worktree,
    it: Target,
    *,
    stand_in: bool = False,
    env: Mapping[str, str] = os.environ,
) -> ServerSpec:
    """Return the server `it` as the configuration declares it."""
    own = settings.of(config)

    def command() -> tuple[str, ...]:
        from devservers.inngest import hermetic  # noqa: PLC0415 - only where one is to be started

        program = stand_in_program() if stand_in else find_cli(own, here, env)
        return (*program, *arguments(own, it), *hermetic.flags(own, it))

    def complete(argv: tuple[str, ...]) -> tuple[str, ...]:
        from devservers.inngest import hermetic  # noqa: PLC0415 - only where one is to be started

        words = arguments(own, it)
        ends = (i for i in range(len(argv)) if argv[i : i + len(words)] == words)
        return (*argv, *hermetic.ports(own, it, argv[: next(ends)]))

    def keys() -> Mapping[str, object]:
        from devservers.trust import decisions  # noqa: PLC0415 - not for a warm call

        return decisions.of(config, "inngest")

    return ServerSpec(
        name="inngest",
        title="Inngest dev server",
        port=it.port,
        command=command,
        cwd=it.folder,
        env=server_environment(env),
        files=Files(
            pid=it.pid_file,
            log=it.log_file,
            log_max_bytes=own.log_max_bytes,
            log_key="inngest.logFile" if it.shared else None,
            owned=not it.shared,
        ),
        worktree=here.root,
        branch=here.branch,
        complete=complete,
        host=own.host,
        ready=Http("/health", home="/"),
        enabled=own.enabled,
        shared=it.shared,
        warnings=tuple(left_over(config, here, it)),
        behaviour=_behaviour(config, here, it, stand_in=stand_in),
        words=Words(_elsewhere(it), "it may hold events and runs", remedy),
        brought=Brought(
            keys,
            executes=OWN_FILES,
            writes=(it.folder / ".inngest" / "main.db",),  # with --persist
        ),
    )


def _elsewhere(it: Target) -> str:
    """Say what to do where somebody else has its port."""
    if it.shared:
        return "set inngest.port to another port"
    return "run `inv dev.prune` if its worktree is gone, set inngest.ports to others"


def _behaviour(config: Config, here: Worktree, it: Target, *, stand_in: bool) -> Behaviour:
    def describe(_port: int | None, watched: tuple[str, ...], /, *, answers: bool) -> Description:
        from devservers.inngest import scene  # noqa: PLC0415 - a warm ensure never gets here

        return scene.describe(config, here, it, watched, scope_facts(here, it), answers=answers)

    def remember(port: int | None, deadline: float) -> Restore:
        from devservers.inngest import serving  # noqa: PLC0415 - not for a warm call

        return serving.remember(config, here, it, port, deadline)

    return Behaviour(
        urls=it.urls,
        stand_in=stand_in,
        moves=True,
        recognise=partial(_recognise, it),
        reconcile=drift.Reconciler(it.urls, it.host or "", remember).reconcile,
        remember=remember,
        facts=lambda: {**scope_facts(here, it), "servedBefore": None, "servedBy": None},
        describe=describe,
        differences=partial(drift.differing_arguments, arguments(settings.of(config), it)),
    )


def _recognise(it: Target, socket: Socket) -> Recognised | None:
    """Return what a server on that socket watches; None for one that another worktree started.

    Such a one is known by its mark. It is nobody else's to take over, whatever port it has.
    """
    mark = process_info.variable(socket.pid, MARKER) if socket.pid else None
    kind, _, pid_file = (mark or "").partition(":")
    if kind == "inngest" and pid_file != str(it.pid_file):
        of_a_worktree = Path(pid_file).parent.name in worktree.STATE_FOLDERS
        if of_a_worktree or not it.shared:
            return None
    return inngest_api.recognise(socket)


def left_over(config: Config, here: Worktree, it: Target) -> Iterator[str]:
    """Yield a warning of a server of the other scope that still runs."""
    other = target.in_worktree(config, here) if it.shared else target.machine(config, here)
    record = None
    with contextlib.suppress(StateUnusableError):  # whoever uses it says what is wrong
        record = state.read(other.pid_file) if settings.of(config).enabled else None
    if record is None or not process.is_alive(record.process):
        return
    if it.shared or record.worktree == str(here.root):
        yield (
            f"An Inngest dev server of scope {other.scope!r} is left over: pid "
            f"{record.process.pid}, port {record.port}. `inv dev.prune` ends it, unless another "
            "worktree asks for it."
        )


def assign(
    config: Config, here: Worktree, *, claim: bool, env: Mapping[str, str] = os.environ
) -> Assignment:
    """Return the port of the server that the worktree uses; with `claim` it keeps its slot.

    0 where it has none. Raises what `target.of` raises.
    """
    return Assignment(target.of(config, here, claim=claim, env=env).port or 0)


def declare(
    config: Config,
    here: Worktree,
    _assigned: Assignment,
    *,
    stand_in: bool = False,
    env: Mapping[str, str] = os.environ,
) -> ServerSpec:
    """Return the server; see `spec`. What was assigned is kept on disk, or is the machine's."""
    return spec(config, here, stand_in=stand_in, env=env)


def is_shared(config: Config) -> bool:
    """Return whether all worktrees use one server."""
    return settings.of(config).scope == settings.MACHINE


def other_scope(config: Config, here: Worktree) -> ServerSpec:
    """Return the server that the worktree would use in the other scope."""
    other = target.in_worktree if is_shared(config) else target.machine
    return of_target(config, here, other(config, here))


def identity(config: Config, here: Worktree) -> tuple[str, int] | None:
    """Return what tells the server that a worktree uses from others; None where it uses none."""
    if not settings.of(config).enabled:
        return None
    it = target.of(config, here)
    return (str(it.pid_file), it.port or 0)


def scope_facts(here: Worktree, it: Target) -> Mapping[str, object]:
    """Return what every answer says of whom the server is for."""
    pinned = pin.read(it.pid_file, here) if it.shared else None
    return {"scope": it.scope, "pinned": str(pinned) if pinned else None}


def keep_served(config: Config, here: Worktree) -> Restore:
    """Note who is served before an app of `here` comes up; return what has it so again."""
    from devservers.inngest import serving  # noqa: PLC0415 - not for a warm call

    return serving.remember_app(config, here, target.of(config, here))


def exports(config: Config, here: Worktree) -> Exports:
    """Return what makes an app find the server, whatever else would lead it elsewhere."""
    own = settings.of(config)
    port = target.of(config, here).port if own.enabled else None
    if port is None:
        return Exports()
    url = url_of(own.host, port)
    by_hand = {} if port == DEFAULT_PORT else {environment.DEV: url}
    return Exports(environment.variables(url), by_hand, settings.polls(own))


def arguments(own: Settings, it: Target) -> tuple[str, ...]:
    """Return the words that follow the program: `dev`, the port, the host, the URLs, the rest."""
    host = ("--host", own.host) if own.host else ()
    watched = (word for url in it.urls for word in ("--sdk-url", url))
    return ("dev", "--port", str(it.port), *host, *watched, *own.args)


def stand_in_program() -> tuple[str, ...]:
    """Return the argv of the bundled imitation, run apart from anything the folder may hold."""
    return (sys.executable, "-I", "-S", str(STAND_IN))
