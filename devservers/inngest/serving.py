"""Serving: nobody loses the service by our hand. Whose app runs events before is whose does after.

The server asks each app that it is told of to register, and the last to register takes the place
of those with the same app id. So each start, each URL that is added and each app that comes up
decides anew who is served. What is done here is done around such a change: note who is served, wait
until the server's own round of questions is through, and have that app register again.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from devservers import config as configuration
from devservers import listeners, worktree
from devservers.config import Config
from devservers.errors import DevServerError, NotSyncedError, StateUnusableError
from devservers.inngest import apps, endpoint, pin, proof, settings
from devservers.inngest.api import SURE_TIMEOUT, Api, ServedApp
from devservers.inngest.apps import Synced
from devservers.inngest.scene import Scene, own_port
from devservers.inngest.target import Target
from devservers.lifecycle import state
from devservers.lifecycle.locked import LOCK_TIMEOUT, locked
from devservers.spec import Restore, Restored, ServerSpec, port_of
from devservers.system import polling, sockets
from devservers.worktree import Worktree

ROUND_TIMEOUT = 30.0  # seconds; each app is asked in turn, and the first request compiles its route
PROBE_AFTER = 1.0  # seconds that an app may take before it is asked whether it answers at all
NOT_ASKED = (None, "unreachable")  # what the server says of a URL until it has asked there
UNSAID = (
    "The server did not say whom it served before: another may be served now. `inv inngest.sync` "
    "in a worktree makes its app the served one."
)


class Custody(NamedTuple):
    """Whom a server served before a change, and who is to be served after it."""

    config: Config
    here: Worktree
    it: Target
    before: tuple[ServedApp, ...]
    pinned: Path | None
    others: tuple[Path, ...] = ()
    """The pinned worktrees of other repositories."""
    said: bool = True
    """The server has answered whom it serves."""

    def after_start(self, port: int, deadline: float) -> Restored:
        """Put them back on the server on `port`, which was started or told of more apps just now.

        Each app that listens has been asked once by then, or is known not to answer.
        """
        if not (self.before or self.pinned or self.others):
            return Restored(warnings=() if self.said else (UNSAID,))
        api = self._api(port)
        warnings: list[str] = []
        until = min(deadline, time.monotonic() + ROUND_TIMEOUT)
        if not await_round(api, until):
            warnings.append("Not every app had answered the server's first question in time.")
        chosen = [url for tree in self.others for url in _pinned_url(self.config, self.it, tree)]
        keeper = next(iter(_pinned_url(self.config, self.it, self.pinned)), None)
        urls = [*(app.url for app in self.before), *chosen, *((keeper,) if keeper else ())]
        warnings += _make_all_served(api, urls, until, self._rivals(api, urls))
        was, now = self._port_of_ours(self.before), self._port_of_ours(proof.served(api))
        if was != now:
            warnings.append(self._changed(was, now, port_of(keeper) if keeper else None))
        return Restored({"servedBefore": was, "servedBy": now}, tuple(warnings))

    def after_app(self, port: int, deadline: float) -> Restored:
        """Give the service back to them after this worktree's app has come up on `port`.

        It is asked to register at once, since the server would ask it a little later.
        """
        with _alone(self.it, deadline):  # somebody may have chosen since
            return self._given_back(port, deadline, _pinned(self.it, self.here))

    def _given_back(self, port: int, deadline: float, pinned: Path | None) -> Restored:
        api = self._api(self.it.port or 0)
        url = f"http://localhost:{port}{settings.of(self.config).path}"
        if pinned == self.here.root:  # the server may ask it no more: another was served
            known = api.apps() is not None
            return Restored(warnings=tuple(_make_all_served(api, [url] * known, deadline)))
        was = self._port_of_ours(self.before)
        keeper = next(iter(_pinned_url(self.config, self.it, pinned)), None)
        if keeper is None:
            keeper = next((app.url for app in self.before if port_of(app.url) == was), None)
        if keeper is None or port_of(keeper) == port or not sockets.is_open(port_of(keeper)):
            return Restored()
        try:
            endpoint.register(port, url, api.port, deadline)
        except NotSyncedError:
            return Restored()  # it has no functions, or points elsewhere: it takes nobody's place
        problems = _make_all_served(api, [keeper], deadline, [url])
        if problems:
            return Restored(warnings=tuple(problems))
        if proof.row_of(api, url):  # it has an app id of its own, and takes nobody's place
            return Restored()
        return Restored(warnings=(not_served(keeper, pinned),))

    def _rivals(self, api: Api, keepers: list[str]) -> list[str]:
        """Return the other endpoints that answer: those that hang have a row that tells so."""
        unasked = {port_of(row.url) for row in api.apps() or () if _is_not_asked(row)}
        apart = {*unasked, *map(port_of, keepers)}
        return [url for url in self.it.urls if port_of(url) not in apart]

    def _api(self, port: int) -> Api:
        return _sure(self.it, port)

    def _port_of_ours(self, served: tuple[ServedApp, ...]) -> int | None:
        """Return the served port of this repository; of the pool, where nobody listens any more."""
        by_port = listeners.listeners_by_port()
        siblings = Scene(served, by_port).siblings(self.here)
        ports = (port_of(row.url) for row in served)
        gone = (port for port in ports if port in self.config.pool and port not in by_port)
        return next(iter((*siblings, *gone)), None)

    def _changed(self, was: int | None, now: int | None, keeper: int | None) -> str:
        """Say why another app is served than before; `keeper` is the pinned worktree's port."""
        if now is not None and now == keeper:
            return f"Served now: port {now}, as {self.pinned} is pinned; before: {_named(was)}."
        idle = f" {self.pinned} is pinned, but its app does not answer." if self.pinned else ""
        if was is None:
            return f"Served now: {_named(now)}; before: nobody.{idle}"
        answers = sockets.is_open(was)
        why = "it could not be registered again" if answers else "its app no longer answers"
        return f"Port {was} is served no longer: {why}. Served now: {_named(now)}.{idle}"


def remember(
    config: Config, here: Worktree, it: Target, port: int | None, deadline: float
) -> Restore:
    """Note whom the server on `port` serves (None: no server); return what has it so again."""
    rows = it.api._replace(port=port).until(deadline).apps() if port else ()
    before = tuple(row for row in rows or () if row.served)
    others = pin.of_others(it.pid_file, here) if it.shared else ()
    custody = Custody(config, here, it, before, _pinned(it, here), others, rows is not None)
    return custody.after_start


def remember_app(config: Config, here: Worktree, it: Target) -> Restore:
    """Note whom the server serves before this worktree's app is started; as `remember`."""
    used = settings.of(config).enabled and it.shared
    before = proof.served(_sure(it, it.port or 0)) if used else ()
    pinned = _pinned(it, here) if used else None
    if not before and pinned != here.root:  # nobody's place can be taken
        return lambda _port, _deadline: Restored()
    return Custody(config, here, it, before, pinned).after_app


def choose(
    config: Config, here: Worktree, it: Target, spec: ServerSpec, port: int | None
) -> Synced:
    """Make this worktree's app, or the one on `port`, the served one, and pin its worktree.

    Raises NotSyncedError, LockTimeoutError, StateUnusableError.
    """
    with locked(spec, LOCK_TIMEOUT):
        pin.require(spec.files.pid)  # before anything is changed
        done = apps.sync(config, here, it, port)
        tree = here if port is None else _tree_on(done.port, here)
        if tree is None or not it.shared:  # a server of its own serves nobody else
            return done
        pin.write(spec.files.pid, tree, tree.root)
        return done._replace(pinned=str(tree.root))


def _tree_on(port: int, here: Worktree) -> Worktree | None:
    holder = listeners.listeners_by_port().get(port)
    tree = holder.worktree if holder else None
    return tree if tree and (tree.git_dir or tree.root == here.root) else None


def keep(tree: Worktree, spec: ServerSpec) -> None:
    """Pin a worktree whose app may come later. Raises LockTimeoutError, StateUnusableError."""
    with locked(spec, LOCK_TIMEOUT):
        pin.write(spec.files.pid, tree, tree.root)


def release(here: Worktree, spec: ServerSpec) -> Synced:
    """Pin no worktree any more. Raises LockTimeoutError, StateUnusableError."""
    with locked(spec, LOCK_TIMEOUT):
        before = pin.read(spec.files.pid, here)
        pin.write(spec.files.pid, here, None)
    action = "released" if before else "nothing-pinned"
    released = str(before) if before else None
    return Synced(action, spec.port or 0, None, None, None, released=released)


def give_to_pinned(config: Config, here: Worktree, it: Target, deadline: float) -> str | None:
    """Have the pinned worktree's app served, if that is another's; return what is to be said."""
    if _pinned(it, here) in (None, here.root):
        return None
    with _alone(it, deadline):
        pinned = _pinned(it, here)  # somebody may have chosen since
        url = next(iter(_pinned_url(config, it, pinned)), None)
        if pinned in (None, here.root) or url is None or not sockets.is_open(port_of(url)):
            return None
        problems = _make_all_served(_sure(it, it.port or 0), [url], deadline)
    return " ".join(problems) or not_served(url, pinned)


@contextmanager
def _alone(it: Target, deadline: float) -> Iterator[None]:
    """Hold the server's lock, as a choice does: two that want different apps served both fail.

    What can't be locked in time is done all the same.
    """
    with ExitStack() as stack:
        with suppress(StateUnusableError):
            patience = max(deadline - time.monotonic(), 0)
            stack.enter_context(state.lock(it.pid_file, patience))
        yield


def not_served(keeper: str, pinned: Path | None) -> str:
    """Say that another worktree's app is served than this one's."""
    why = f"{pinned} is pinned" if pinned else f"the app on port {port_of(keeper)} was before"
    return f"not served: {why}; `inv inngest.sync` here changes that"


def await_round(api: Api, deadline: float) -> bool:
    """Wait until the server has asked each app that listens; return False where time was up.

    A URL that was not asked yet has a row of its own, without an app id; it goes when the app there
    registers. One that doesn't answer us either is not waited for.
    """
    begun = time.monotonic()
    silent: set[int] = set()

    def attempt() -> bool | None:
        rows = api.apps()
        if rows is None:
            return None
        waiting = {port_of(row.url): row.url for row in rows if _is_not_asked(row)}
        pending = {
            port: url
            for port, url in waiting.items()
            if port not in silent and sockets.is_open(port)
        }
        if pending and time.monotonic() - begun > PROBE_AFTER:
            found = endpoint.probe_all(pending.values(), deadline)
            if time.monotonic() < deadline:  # else they had no time to answer
                dead = (port for port, one in zip(pending, found, strict=True) if not one.found)
                silent.update(dead)
        return None if set(pending) - silent else True

    return bool(polling.wait(attempt, deadline, what=str))


def _is_not_asked(row: ServedApp) -> bool:
    return row.app_id is None and row.error in NOT_ASKED


def _make_all_served(
    api: Api, urls: list[str], deadline: float, rivals: Sequence[str] = ()
) -> list[str]:
    """Have each app that listens served, one after another; return what went wrong.

    See `proof.make_served` for the `rivals`.
    """
    problems = []
    rivals = [url for url in rivals if sockets.is_open(port_of(url))]
    for url in dict.fromkeys(urls):
        if sockets.is_open(port_of(url)):
            try:
                proof.make_served(api, url, deadline, rivals)
            except NotSyncedError as error:
                problems.append(error.message)
    return problems


def _sure(it: Target, port: int) -> Api:
    """Return the interface of the server on `port`, which is given its time to answer."""
    return it.api._replace(port=port, timeout=SURE_TIMEOUT)


def _pinned(it: Target, here: Worktree) -> Path | None:
    return pin.read(it.pid_file, here) if it.shared else None


def _pinned_url(config: Config, it: Target, pinned: Path | None) -> tuple[str, ...]:
    """Return the endpoint of the pinned worktree's app, if that has a port."""
    tree = worktree.peek(pinned) if pinned else None
    if tree is None:
        return ()
    try:
        its = configuration.load(tree.root, tree.main)
    except DevServerError:
        its = config
    port = own_port(its, tree, it, listeners.listeners_by_port())
    return (f"http://localhost:{port}{settings.of(its).path}",) if port else ()


def _named(port: int | None) -> str:
    return f"port {port}" if port else "nobody"
