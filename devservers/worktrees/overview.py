"""The fleet: both servers of a worktree together, and every worktree of the repository at once."""

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from devservers import config, inngest, listeners, nextjs, worktree
from devservers.config import Config
from devservers.errors import DevServerError
from devservers.inngest import api as inngest_api
from devservers.inngest import apps
from devservers.inngest.apps import App
from devservers.lifecycle import server, status
from devservers.lifecycle.result import Ensured, Status, Stopped
from devservers.spec import port_of
from devservers.system import polling, sockets, threads
from devservers.system.identity import Socket
from devservers.system.threads import Question
from devservers.trust import gate
from devservers.worktree import Worktree

Notify = Callable[[str], None]
PATIENCE = 1.3  # seconds for the answers of all servers together: an overview takes two at most
APP_TIMEOUT = 30.0  # seconds until an app must be registered; the first request compiles its route
# Seconds after which a state counts as settled: the server asks each app every five seconds.
SETTLED = {"shadowed": 7.0, "no-route": 3.0}
APP_POLL = 0.3  # seconds


class Row(NamedTuple):
    """One worktree at a glance."""

    worktree: str
    branch: str | None
    commit: str | None
    current: bool
    port: int | None
    """None if it has none yet."""
    nextjs: Status
    served: bool | None
    """Whether events run in its app; None where no Inngest server answers, or it uses another."""
    shares: bool
    """It uses the same Inngest server as the worktree that asks."""


class Overview(NamedTuple):
    """The Inngest server, and every worktree of the repository."""

    inngest: Status
    rows: tuple[Row, ...]


class Up(NamedTuple):
    """The answer of up."""

    inngest: Ensured | None
    """None where the configuration switches it off; `app` too, then."""
    nextjs: Ensured
    app: App | None
    replaced: int | None
    """The port that was served until this app registered."""


class User(NamedTuple):
    """A worktree whose app uses the Inngest server."""

    worktree: str | None
    branch: str | None
    port: int


class Down(NamedTuple):
    """The answer of down; `inngest` is None if it was left alone."""

    nextjs: Stopped
    inngest: Stopped | None
    users: tuple[User, ...] = ()
    """Who else was still using the Inngest server."""


def overview(settings: Config, here: Worktree) -> Overview:
    """Return what is true now of every worktree, asked side by side. Nothing is written."""
    deadline = time.monotonic() + PATIENCE
    ours = inngest.identity(settings, here)
    listening = sockets.listening()  # once: this is the question whose cost grows with the machine
    trees = worktree.every(here)
    commits = Question(lambda: worktree.commits(here))
    machine = Question(lambda: _inngest_status(settings, here))
    listed = Question(lambda: _served_ports(settings))
    found = threads.each(lambda tree: _look(tree, listening, deadline), trees, len(trees))
    heads, served = commits.answer(), listed.answer()
    rows = tuple(
        Row(
            worktree=str(tree.root),
            branch=tree.branch,
            commit=heads.get(tree.root),
            current=tree.root == here.root,
            port=look.port,
            nextjs=look.status,
            served=look.status.running and look.port in served
            if served is not None and look.inngest == ours
            else None,
            shares=look.inngest == ours,
        )
        for tree, look in zip(trees, found, strict=True)
    )
    return Overview(machine.answer(), rows)


def up(
    settings: Config,
    here: Worktree,
    *,
    timeout: float = nextjs.READY_TIMEOUT,
    stand_in: bool = False,
    notify: Notify | None = None,
) -> Up:
    """Start both servers, and wait until this worktree's app is registered, or tell why not.

    `timeout` (seconds) is for each server. Raises what `server.ensure` and `nextjs.spec` raise.
    """
    own = nextjs.spec(settings, here)  # a port first: nothing is started for a worktree without
    machine = None
    before: frozenset[tuple[str | None, int]] = frozenset()
    if settings.inngest.enabled:
        spec = inngest.spec(settings, here, stand_in=stand_in)
        machine = server.ensure(gate.by_hand(spec), timeout=timeout, notify=notify)
        rows = inngest_api.of(settings.inngest).apps() or ()
        before = frozenset((row.app_id, port_of(row.url)) for row in rows if row.served)
    mine = server.ensure(gate.by_hand(own), timeout=timeout, notify=notify)
    app = _await_app(settings, mine.port, notify) if machine else None
    replaced = None
    if app and app.state == "served" and (app.app_id, app.port) not in before:
        replaced = next((port for app_id, port in before if app_id == app.app_id), None)
    return Up(machine, mine, app, replaced)


def down(settings: Config, here: Worktree, *, everything: bool, grace: float) -> Down:
    """Stop this worktree's Next.js server, and the Inngest server if `everything` is asked for."""
    own = nextjs.spec(settings, here, claim=False)
    own.pid_file.parent.mkdir(parents=True, exist_ok=True)
    mine = server.stop(own, grace=grace)
    if not (everything and settings.inngest.enabled):
        return Down(mine, None)
    users = _users(settings, here)
    return Down(mine, server.stop(inngest.spec(settings, here), grace=grace), users)


class _Look(NamedTuple):
    port: int | None
    status: Status
    inngest: tuple[str, int] | None
    """Which Inngest server it uses."""


def _look(tree: Worktree, listening: Iterable[Socket], deadline: float) -> _Look:
    """Return what is true of a worktree's server; what fails is said as a warning."""
    try:
        settings = config.load(tree.root, tree.main)
        port = nextjs.known_port(settings, tree, listening)
        spec = nextjs.spec(settings, tree, claim=False, port=port or 0)
        own = status.status(spec, deadline) if port else _none(status.disabled(spec))
        return _Look(port, own, inngest.identity(settings, tree))
    except DevServerError as error:
        spec = nextjs.spec(Config(), tree, claim=False, port=0)
        own = _none(status.disabled(spec))._replace(warnings=(error.message,))
        return _Look(None, own, None)


def _none(status: Status) -> Status:
    return status._replace(state="stopped")


def _inngest_status(settings: Config, here: Worktree) -> Status:
    spec = inngest.spec(settings, here)
    return status.status(spec) if settings.inngest.enabled else status.disabled(spec)


def _served_ports(settings: Config) -> frozenset[int] | None:
    """Return where events run; None where no server answers. No app is asked: that would compile.

    The list is the server's own, and an app that stopped a moment ago may be in it still.
    """
    api = inngest_api.of(settings.inngest)._replace(timeout=PATIENCE)
    rows = api.apps() if settings.inngest.enabled else None
    return None if rows is None else frozenset(port_of(row.url) for row in rows if row.served)


def _await_app(settings: Config, port: int, notify: Notify | None) -> App:
    """Return the app on `port`: served, or in the state in which it has settled."""
    found: list[App] = []
    since = [time.monotonic()]

    def attempt() -> App | None:
        if found:
            time.sleep(APP_POLL)  # each attempt asks the app itself
        (app,) = apps.survey(settings, only=(port,))
        if not found or found[-1].state != app.state:
            since.append(time.monotonic())
        found.append(app)
        patience = SETTLED.get(app.state, APP_TIMEOUT)
        done = app.state == "served" or time.monotonic() - since[-1] >= patience
        return app if done else None

    def what() -> str:
        return f"the app on port {port} to be registered ({found[-1].state})"

    deadline = time.monotonic() + APP_TIMEOUT
    return polling.wait(attempt, deadline, what=what, notify=notify) or found[-1]


def _users(settings: Config, here: Worktree) -> tuple[User, ...]:
    """Return who else uses the Inngest server: served apps, and siblings whose server runs."""
    found: dict[int, User] = {}
    spots = listeners.listeners_by_port()
    for port in sorted(_served_ports(settings) or ()):
        tree = spots[port].here if port in spots else None
        if port in spots and not (tree and tree.root == here.root):
            found[port] = User(
                str(tree.root) if tree else None, tree.branch if tree else None, port
            )
    for row in overview(settings, here).rows:
        if row.port and row.nextjs.running and row.shares and not row.current:
            found.setdefault(row.port, User(row.worktree, row.branch, row.port))
    return tuple(found.values())
