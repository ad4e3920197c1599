"""Apps: which worktree's app the Inngest server really serves, and making it serve this one's.

Worktrees of one repository have the same app id, and the last to register wins: the server forgets
the others without a word, and events run in the wrong branch's code.
"""

import time
from typing import NamedTuple

from devservers import listeners
from devservers.config import Config
from devservers.errors import NotSyncedError
from devservers.inngest import api as inngest_api
from devservers.inngest import endpoint as inngest_endpoint
from devservers.inngest import environment, proof, settings
from devservers.inngest.endpoint import Endpoint
from devservers.inngest.scene import Scene, own_port
from devservers.inngest.target import Target
from devservers.listeners import PortHolder
from devservers.spec import port_of, ports_of
from devservers.worktree import Worktree

SYNC_TIMEOUT = 30.0  # seconds
ELSEWHERE = "it registers elsewhere"


class App(NamedTuple):
    """One port, and what the Inngest server makes of the app there."""

    port: int
    url: str
    state: str
    """served, shadowed, failing, not-listening or no-route."""
    app_id: str | None
    functions: int | None
    served_by: int | None
    """The port whose app is served in this one's place (its own, if it is served)."""
    worktree: str | None
    branch: str | None
    pid: int | None
    error: str | None

    @property
    def is_hopeless(self) -> bool:
        """Whether it will never be served as it was started."""
        final = (inngest_endpoint.REFUSED, ELSEWHERE)
        return self.state == "failing" and (self.error or "").startswith(final)

    def data(self) -> dict[str, object]:
        """Return it ready for JSON, under the names that docs/reference.md has."""
        return {
            "port": self.port,
            "url": self.url,
            "state": self.state,
            "appId": self.app_id,
            "functions": self.functions,
            "servedBy": self.served_by,
            "worktree": self.worktree,
            "branch": self.branch,
            "pid": self.pid,
            "error": self.error,
        }


class Synced(NamedTuple):
    """The answer of sync."""

    action: str
    """synced, already-synced, released or nothing-pinned."""
    port: int
    url: str | None
    app_id: str | None
    replaced: int | None
    """The port that was served until now."""
    pinned: str | None = None
    """The worktree that is to stay the served one; None where its app works in none."""
    replaced_worktree: str | None = None
    """Whose that was, where that is known."""
    released: str | None = None
    """The worktree that was pinned, where none is to be any more."""


def survey(config: Config, it: Target, *, only: tuple[int, ...] | None = None) -> tuple[App, ...]:
    """Return the state of every port that is to be watched, and of what the server knows beyond.

    With `only`, of those ports alone. Endpoints are probed side by side: any number of dead or
    hanging ones costs one time-out.
    """
    scene = Scene(it.api.apps(), listeners.listeners_by_port(), it.url)
    listed = (port_of(row.url) for row in scene.rows or ())
    wanted = tuple(dict.fromkeys(only or (*ports_of(it.urls), *listed)))
    urls = {port: _url(config, scene, port) for port in wanted}
    to_probe = {port: url for port, url in urls.items() if port in scene.by_port}
    endpoints = dict(zip(to_probe, inngest_endpoint.probe_all(to_probe.values()), strict=True))
    return tuple(_app(scene, port, url, endpoints.get(port)) for port, url in urls.items())


def sync(config: Config, here: Worktree, it: Target, port: int | None = None) -> Synced:
    """Make this worktree's app, or the one on `port`, the served one, and prove it.

    Raises NotSyncedError with the reason.
    """
    server = it.port or 0
    api = it.api._replace(timeout=inngest_api.RECOGNISE_TIMEOUT)
    scene = Scene(api.apps(), listeners.listeners_by_port(), it.url)
    if scene.rows is None:
        where = f"answers on port {server}" if server else "is there: this worktree has no slot"
        raise NotSyncedError(
            f"No Inngest dev server {where}.",
            hint="`inv inngest.status` tells why; `inv inngest.ensure` starts one.",
        )
    port = port or own_port(config, here, it, scene.by_port)
    if port is None:
        raise NotSyncedError(
            f"Nothing listens in {here.root}, and it has no {config.worktree.port_cache_file}.",
            hint="Start this worktree's server, or name its port: `inv inngest.sync --port=N`.",
        )
    url = _url(config, scene, port)
    known = scene.row(port)
    if known and known.served:
        return Synced("already-synced", port, url, known.app_id, None)
    inngest_endpoint.register(port, url, server)  # what is wrong with the app is told here
    try:
        now = proof.make_served(api, url, time.monotonic() + SYNC_TIMEOUT)
    except NotSyncedError:
        raise _elsewhere(url, scene.server, scene.by_port.get(port)) from None
    before = (port_of(row.url) for row in scene.served if row.app_id == now.app_id)
    replaced = next(before, None)  # not `port`: that was not served
    holder = scene.by_port.get(replaced or 0)
    whose = str(holder.worktree.root) if holder and holder.worktree else None
    return Synced("synced", port, url, now.app_id, replaced, replaced_worktree=whose)


def _elsewhere(url: str, ours: str, holder: PortHolder | None) -> NotSyncedError:
    """Return the error for an app that says it has registered, and isn't listed."""
    (found,) = inngest_endpoint.probe_all([url])
    lead = environment.astray(holder.pid if holder else None, ours, found.sdk)
    why = f"{ELSEWHERE}, {lead.said}" if lead else "its SDK points to another Inngest"
    start = environment.remedy(lead, ours) if lead else f"INNGEST_DEV={ours}"
    code = "" if lead else " If that doesn't help, its code has a `baseUrl`."
    return NotSyncedError(
        f"{url} says that it has registered, but the Inngest server at {ours} does not list it: "
        f"{why}.",
        hint=f"Start that app with {start}.{code}",
    )


def _url(config: Config, scene: Scene, port: int) -> str:
    row = scene.row(port)
    return row.url if row else f"http://localhost:{port}{settings.of(config).path}"


def _app(scene: Scene, port: int, url: str, endpoint: Endpoint | None) -> App:
    holder, row = scene.by_port.get(port), scene.row(port)
    there = holder.worktree if holder else None
    state, served_by, error = _judge(scene, port, there, endpoint)
    known = row.functions if row and row.app_id else None
    return App(
        port=port,
        url=url,
        state=state,
        app_id=row.app_id if row else None,
        functions=known if known is not None or endpoint is None else endpoint.functions,
        served_by=served_by,
        worktree=str(there.root) if there else None,
        branch=there.branch if there else None,
        pid=holder.pid if holder else None,
        error=error,
    )


def _judge(
    scene: Scene, port: int, there: Worktree | None, endpoint: Endpoint | None
) -> tuple[str, int | None, str | None]:
    """Return state, port that is served, and error. `endpoint` is None where nothing listens."""
    row = scene.row(port)
    if endpoint is None:
        return "not-listening", None, row.error if row else None
    if row and row.served:
        return "served", port, None
    if not endpoint.found:
        return ("failing", None, endpoint.error) if endpoint.error else ("no-route", None, None)
    said = endpoint.error or (row.error if row and row.app_id else None)
    if scene.rows is None:
        said = said or "no Inngest server answers"
    if said or (row and row.app_id):
        return "failing", None, inngest_endpoint.denial(said, endpoint.sdk) or said
    astray = _astray(scene, port, endpoint)
    if there and scene.siblings(there) and not astray:
        return "shadowed", scene.rival(there), None
    return "failing", None, astray or "it has not registered"


def _astray(scene: Scene, port: int, endpoint: Endpoint) -> str | None:
    """Say what leads an app that isn't registered to another server, if that can be seen."""
    lead = environment.astray(scene.by_port[port].pid, scene.server, endpoint.sdk)
    if lead is None:
        return None
    start = environment.remedy(lead, scene.server)
    return f"{ELSEWHERE}: {lead.said}; start it with {start}"
