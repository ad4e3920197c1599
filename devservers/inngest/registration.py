"""Registration: whose app the Inngest server knows, waiting for this worktree's, saying so."""

import contextlib
import time

from devservers import listeners
from devservers.config import Config
from devservers.errors import NotSyncedError
from devservers.inngest import apps, endpoint, serving, settings, target
from devservers.inngest.apps import App
from devservers.inngest.target import Target
from devservers.kind import AppServer, Finish, Notify, User
from devservers.spec import Description, port_of
from devservers.system import polling
from devservers.worktree import Worktree

ANSWER_TIMEOUT = 1.3  # seconds for the server's list: an overview takes two at most
APP_TIMEOUT = 30.0  # seconds until an app must be registered; the first request compiles its route
# Seconds after which a state counts as settled: the server asks each app every five seconds.
SETTLED = {"shadowed": 7.0, "no-route": 3.0}
APP_POLL = 0.3  # seconds
REPAIR = ("inv inngest.apps", "inv inngest.sync")  # where an app is not the served one


def served_ports(config: Config, here: Worktree) -> frozenset[int] | None:
    """Return where events run; None where no server answers. No app is asked: that would compile.

    The list is the server's own, and an app that stopped a moment ago may be in it still.
    """
    if not settings.of(config).enabled:
        return None
    rows = target.of(config, here).api._replace(timeout=ANSWER_TIMEOUT).apps()
    return None if rows is None else frozenset(port_of(row.url) for row in rows if row.served)


def users(config: Config, here: Worktree) -> tuple[User, ...]:
    """Return whose apps, other than that of the worktree `here`, the server runs events in."""
    by_port = listeners.listeners_by_port()
    found = []
    for port in sorted(served_ports(config, here) or ()):
        tree = by_port[port].worktree if port in by_port else None
        if port in by_port and not (tree and tree.root == here.root):
            found.append(
                User(str(tree.root) if tree else None, tree.branch if tree else None, port)
            )
    return tuple(found)


def after_up(config: Config, here: Worktree) -> Finish:
    """Note whom the server runs events in now; return what tells of this worktree's app later."""
    own = settings.of(config)
    if not own.enabled:
        return lambda _app, _notify: Description({"app": None})
    it = target.of(config, here)
    rows = it.api.apps() or ()
    before = frozenset((row.app_id, port_of(row.url)) for row in rows if row.served)

    def finish(server: AppServer, notify: Notify | None) -> Description:
        if server.started:  # the server itself would ask it a little later
            url = f"http://localhost:{server.port}{own.path}"
            with contextlib.suppress(NotSyncedError):  # what is wrong is told by its state
                endpoint.register(server.port, url, it.port or 0)
        app = _await_app(config, it, server.port, notify)
        replaced = None
        if app.state == "served" and (app.app_id, app.port) not in before:
            replaced = next((port for app_id, port in before if app_id == app.app_id), None)
        if app.state in ("served", "shadowed") and (said := _give_back(config, here, it)):
            (app,) = apps.survey(config, it, only=(server.port,))
            return Description(
                {"app": {**app.data(), "replaced": None}, "next": REPAIR}, warnings=(said,)
            )
        facts = {"app": {**app.data(), "replaced": replaced}}
        if app.state == "served":
            return Description(facts, lines=(_registered(app, _displaced(replaced)),))
        return Description({**facts, "next": REPAIR}, warnings=(_not_registered(app, server.name),))

    return finish


def _give_back(config: Config, here: Worktree, it: Target) -> str | None:
    """Give the service back to the pinned worktree, if that is another; return what to say."""
    return serving.give_to_pinned(config, here, it, time.monotonic() + APP_TIMEOUT)


def _await_app(config: Config, it: Target, port: int, notify: Notify | None) -> App:
    """Return the app on `port`: served, or in the state in which it has settled."""
    found: list[App] = []
    since = [time.monotonic()]

    def attempt() -> App | None:
        if found:
            time.sleep(APP_POLL)  # each attempt asks the app itself
        (app,) = apps.survey(config, it, only=(port,))
        if not found or found[-1].state != app.state:
            since.append(time.monotonic())
        found.append(app)
        patience = SETTLED.get(app.state, APP_TIMEOUT)
        done = app.state == "served" or app.is_hopeless or time.monotonic() - since[-1] >= patience
        return app if done else None

    def what() -> str:
        return f"the app on port {port} to be registered ({found[-1].state})"

    deadline = time.monotonic() + APP_TIMEOUT
    return polling.wait(attempt, deadline, what=what, notify=notify) or found[-1]


def _displaced(port: int | None) -> str:
    """Say whose service an app took."""
    if port is None:
        return ""
    holder = listeners.listeners_by_port().get(port)
    whose = f" ({holder.worktree.root})" if holder and holder.worktree else ""
    return f", in place of port {port}{whose}"


def _registered(app: App, displaced: str) -> str:
    count = "1 function" if app.functions == 1 else f"{app.functions} functions"
    return f"App {app.app_id} is registered, {count}{displaced}: {app.url}"


def _not_registered(app: App, server: str) -> str:
    """Say why an app is not registered, and what to do; `server` has the tasks of its server."""
    why = {
        "shadowed": f"port {app.served_by or '?'} of this repository is served in its place. "
        "`inv inngest.sync` makes this one the served one.",
        "no-route": f"there is no Inngest endpoint at {app.url}. Serve one there, or set "
        "inngest.path.",
        "not-listening": f"nothing listens at {app.url} any more: `inv {server}.logs`.",
        "failing": f"{app.error}. `inv {server}.logs` may say more; `inv inngest.apps` looks "
        "again.",
    }
    return f"The app on port {app.port} is not registered ({app.state}): {why[app.state]}"
