"""Together: all servers of one worktree brought up, and taken down again."""

import queue
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from devservers import kinds
from devservers.config import Config
from devservers.errors import DevServerError, NeedFailedError, UsageError
from devservers.kind import AppServer, Finish, Kind, Notify, User
from devservers.lifecycle import server, used
from devservers.lifecycle.result import Ensured, Stopped
from devservers.spec import Behaviour, Description, ServerSpec
from devservers.system.threads import Question
from devservers.trust import gate
from devservers.worktree import Worktree
from devservers.worktrees import passing
from devservers.worktrees.overview import overview


class Up(NamedTuple):
    """The answer of up."""

    kinds: Mapping[str, Kind]
    servers: Mapping[str, Ensured | DevServerError | None]
    """None for one that the configuration switches off; an error for one that did not come up."""
    shared: frozenset[str]
    """Which of them serve every worktree."""
    notes: tuple[Description, ...] = ()
    """What the shared servers have to say of this worktree's app."""


class LeftAlone(NamedTuple):
    """A shared server that down didn't stop."""

    port: int | None
    enabled: bool


class Down(NamedTuple):
    """The answer of down."""

    kinds: Mapping[str, Kind]
    servers: Mapping[str, Stopped | LeftAlone]
    users: Mapping[str, tuple[User, ...]]
    """Who else was still using a shared server that was stopped."""


class Wish(NamedTuple):
    """How a caller wants the servers of a worktree brought up."""

    timeout: float | None = None
    """Seconds for each server; None: its own."""
    stand_in: bool = False
    only: tuple[str, ...] = ()
    """Names; with what they need, nothing else is started. Empty: all that is part of `dev.up`."""
    notify: Notify | None = None


def up(settings: Config, here: Worktree, wish: Wish = Wish()) -> Up:  # noqa: B008 - frozen
    """Start servers, and wait until this worktree's app is registered, or tell why not.

    What is independent is started side by side. One that fails keeps nothing from starting but
    what needs it. ^C undoes what was starting, and leaves what was up. Raises UsageError for a
    name that there isn't, and what `Kind.assign` raises; where no server is declared, too, what
    `server.ensure` raises.
    """
    known = kinds.of(settings, wish.only)
    names = _chosen(known, wish.only)
    # The ports first: nothing is started for a worktree without.
    specs = {
        name: kinds.declared(known[name], settings, here, claim=True, stand_in=wish.stand_in)
        for name in names
    }
    passing.by(settings, here)
    for spec in specs.values():
        used.touch(spec)
    upping = _Upping(settings, here, wish, known, specs)
    upping.run()
    only_built_in = all(kind.built_in for kind in known.values())
    for done in upping.done.values():
        if only_built_in and isinstance(done, DevServerError):
            raise done
    shared = frozenset(name for name in names if known[name].is_shared(settings))
    servers = {name: upping.done[name] for name in names}
    return Up(known, servers, shared, upping.notes())


def _chosen(known: Mapping[str, Kind], only: tuple[str, ...]) -> list[str]:
    """Return the names of what is to be brought up, in the order of the configuration."""
    for name in only:
        if name not in known:
            raise UsageError(f"There is no server {name!r}; there are {', '.join(known)}.")
    pending = list(only or (name for name, kind in known.items() if kind.up))
    found: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += known[name].needs
    return [name for name in known if name in found]


class _Upping:
    """Servers being brought up, each in a thread of its own once what it needs is there."""

    def __init__(
        self,
        settings: Config,
        here: Worktree,
        wish: Wish,
        known: Mapping[str, Kind],
        specs: Mapping[str, ServerSpec],
    ) -> None:
        self.settings, self.here, self.wish = settings, here, wish
        self.known, self.specs = known, specs
        self.done: dict[str, Ensured | DevServerError | None] = {}
        self.finishing: list[Finish] = []
        self.cancelled = False
        self.ended: queue.SimpleQueue[tuple[str, object, float]] = queue.SimpleQueue()

    def run(self) -> None:
        """Start all of them, and wait for each."""
        running: set[str] = set()
        try:
            while len(self.done) < len(self.specs):
                for name in self.specs:
                    if name not in self.done and name not in running and self._may_start(name):
                        running |= {name} if self._begin(name) else set()
                if running:
                    self._take(running)
        except BaseException:  # ^C: what is starting is undone by those who start it
            self.cancelled = True
            while running:
                running.discard(self.ended.get()[0])
            raise

    def notes(self) -> tuple[Description, ...]:
        """Return what is to be said of this worktree's app, once all is up."""
        app = next((name for name, kind in self.known.items() if kind.serves_app), None)
        done = self.done.get(app) if app else None
        if app is None or not isinstance(done, Ensured) or done.port is None:
            return ()
        server_of_app = AppServer(app, done.port, done.action == "started")
        return tuple(finish(server_of_app, self.wish.notify) for finish in self.finishing)

    def _before(self, name: str) -> Iterator[str]:
        """Yield what is waited for. Who is served is noted before an app comes up."""
        yield from self.known[name].needs
        if self.known[name].serves_app:
            yield from (other for other in self.specs if self.known[other].after_up)

    def _may_start(self, name: str) -> bool:
        return all(other in self.done for other in self._before(name) if other in self.specs)

    def _begin(self, name: str) -> bool:
        """Start a server in a thread; return False where there is nothing to start."""
        kind, spec = self.known[name], self.specs[name]
        failed = next((need for need in kind.needs if self._has_failed(need)), None)
        if failed is not None:
            self.done[name] = self._need_failed(kind, failed)
        elif not spec.enabled:
            self.done[name] = None
            self._note(kind)
        else:
            Question(lambda: self._ensure(name))
            return True
        return False

    def _has_failed(self, name: str) -> bool:
        return isinstance(self.done.get(name), DevServerError)

    def _need_failed(self, kind: Kind, need: str) -> NeedFailedError:
        error = self.done[need]
        assert isinstance(error, DevServerError)  # noqa: S101 - as was asked just now
        told = {"code": error.code, "message": error.message, "hint": error.hint, **error.details}
        return NeedFailedError(
            f"The {kind.title} was not started: it needs {need}, which did not come up.",
            lines=(f"  {need}: {error.sentence}", *error.lines),
            hint=error.hint,
            details={"need": need, "needError": told},
        )

    def _ensure(self, name: str) -> None:
        kind, spec = self.known[name], self.specs[name]
        if kind.serves_app:
            # Whoever comes last is served, unless another is pinned: see `Kind.after_up`.
            spec = spec._replace(behaviour=spec.behaviour._replace(remember=Behaviour().remember))
        begun = time.monotonic()
        result: object
        try:
            result = server.ensure(
                gate.by_hand(spec),
                timeout=self.wish.timeout or kind.ready_timeout,
                notify=self.wish.notify,
                cancelled=lambda: self.cancelled,
            )
        except BaseException as error:  # noqa: BLE001 - told to who waits
            result = error
        self.ended.put((name, result, time.monotonic() - begun))

    def _take(self, running: set[str]) -> None:
        """Wait for one that has come up, or failed, and say so."""
        name, result, took = self.ended.get()
        running.discard(name)
        if isinstance(result, BaseException) and not isinstance(result, DevServerError):
            raise result
        assert isinstance(result, (Ensured, DevServerError))  # noqa: S101 - what _ensure puts there
        self.done[name] = result
        kind = self.known[name]
        if isinstance(result, Ensured):
            self._note(kind)
        self._say(kind, result, took)

    def _note(self, kind: Kind) -> None:
        if kind.after_up:
            self.finishing.append(kind.after_up(self.settings, self.here))

    def _say(self, kind: Kind, result: Ensured | DevServerError, took: float) -> None:
        if self.wish.notify is None or len(self.specs) == 1:
            return
        if isinstance(result, DevServerError):
            self.wish.notify(f"{kind.short}: failed after {took:.1f} s: {result.sentence}")
        elif result.action == "started":
            where = f": {result.url}" if result.url else ""
            self.wish.notify(f"{kind.short}: up after {took:.1f} s{where}")


def down(settings: Config, here: Worktree, *, everything: bool, grace: float) -> Down:
    """Stop this worktree's own servers, with `everything` those that are shared, too.

    What needs another one is stopped before it. One that can't be stopped keeps no other from it.
    Raises what `server.stop` raised first.
    """
    known = kinds.of(settings)
    failed: list[DevServerError] = []
    servers: dict[str, Stopped | LeftAlone] = {}
    users: dict[str, tuple[User, ...]] = {}
    for name in _dependents_first(known):
        kind = known[name]
        spec = kinds.declared(kind, settings, here)
        shared = kind.is_shared(settings)
        if not spec.enabled or (shared and not everything):
            servers[name] = LeftAlone(spec.port, spec.enabled)
            continue
        found = _users(kind, settings, here) if shared else ()
        try:
            done = servers[name] = server.stop(spec, grace=grace)
        except DevServerError as error:
            failed.append(error)
            continue
        if shared:
            users[name] = found if done.action == "stopped" else ()
    for first in failed:
        raise first
    return Down(known, servers, users)


def _dependents_first(known: Mapping[str, Kind]) -> list[str]:
    from graphlib import TopologicalSorter  # noqa: PLC0415 - only here

    built_in = [name for name, kind in known.items() if kind.built_in]
    first = {name: set(built_in[:place]) for place, name in enumerate(built_in)}
    order = TopologicalSorter(
        {name: {*kind.needs} or first.get(name, set()) for name, kind in known.items()}
    )
    return list(order.static_order())[::-1]


def _users(kind: Kind, settings: Config, here: Worktree) -> tuple[User, ...]:
    """Return who else uses a shared server: served apps, and siblings whose own server runs."""
    found = {user.port: user for user in kind.users(settings, here)} if kind.users else {}
    for row in overview(settings, here).rows:
        runs = any(status.running for status in row.servers.values())
        if row.port and runs and row.shares and not row.current:
            found.setdefault(row.port, User(row.worktree, row.branch, row.port))
    return tuple(found.values())
