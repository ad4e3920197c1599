"""Overview: every server of every worktree of the repository, asked side by side."""

import os
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from devservers import config, kinds, listeners, worktree
from devservers.config import Config
from devservers.errors import DevServerError
from devservers.kind import Assignment, Exports, Kind
from devservers.lifecycle import status
from devservers.lifecycle.activity import Asked, Usage, Watch
from devservers.lifecycle.result import Status
from devservers.listeners import Places
from devservers.system import sockets, threads
from devservers.system.identity import Socket
from devservers.system.threads import Question
from devservers.worktree import Worktree
from devservers.worktrees import in_use
from devservers.worktrees.heads import Head, Heads

KEPT = 20.0  # seconds
PATIENCE = 1.3  # seconds for the answers of all servers together: an overview takes two at most
Identities = tuple[object, ...]


class Row(NamedTuple):
    """One worktree: what is its own."""

    worktree: str
    branch: str | None
    head: Head
    current: bool
    port: int | None
    """Of its app; None if it has none yet."""
    servers: Mapping[str, Status]
    usage: Mapping[str, Usage]
    """What each of those costs."""
    served: bool | None
    """Whether events run in its app; None where no server answers that, or it uses another."""
    shares: bool
    """It uses the same shared servers as the worktree that asks."""


class Overview(NamedTuple):
    """What the worktree that asks uses besides its app's server, and every worktree."""

    kinds: Mapping[str, Kind]
    used: Mapping[str, Status]
    usage: Mapping[str, Usage]
    """What each of those costs."""
    rows: tuple[Row, ...]
    exports: Exports
    """What an app that somebody starts by hand here has to be told."""
    in_use: str | None = None
    """The worktree in use, there or not."""


class Memory(NamedTuple):
    """What is kept from one overview to the next, by whoever watches."""

    activity: Watch
    heads: Heads
    places: dict[float, Places]
    """Which folder is in which worktree, by when that was asked."""

    @classmethod
    def empty(cls) -> "Memory":
        """Return one that knows nothing yet."""
        return cls(Watch(), Heads(), {})

    def known_places(self) -> Places:
        """Return what is known of folders, for not too long: worktrees come and go."""
        now = time.monotonic()
        for asked in [asked for asked in self.places if now - asked > KEPT]:
            del self.places[asked]
        return self.places.setdefault(next(iter(self.places), now), {})


def overview(settings: Config, here: Worktree, memory: Memory | None = None) -> Overview:
    """Return what is true now of every worktree, asked side by side. Nothing is written.

    Without a `memory` neither what servers cost nor what git says; who asks again hands the same
    one over each time.
    """
    # Once, not once a worktree: these are the questions whose cost grows with the machine.
    listening = sockets.listening()
    with listeners.seen(listening, memory.known_places() if memory else {}):
        return _overview(settings, here, _servers(settings, listening), memory)


def _overview(
    settings: Config, here: Worktree, listening: tuple[Socket, ...], memory: Memory | None
) -> Overview:
    deadline = time.monotonic() + PATIENCE
    by_name = kinds.of(settings, [name for name in kinds.BUNDLED if _was_started(name, here)])
    known = by_name.values()
    used = [kind for kind in known if kind.built_in and not kind.serves_app]
    used += [kind for kind in known if not kind.built_in and kind.is_shared(settings)]
    ours = _identities(settings, here)
    trees = worktree.every(here)
    heads = Question(lambda: memory.heads.look(here, trees, deadline) if memory else {})
    machine = Question(lambda: {kind.name: _asked(kind, settings, here) for kind in used})
    listed = Question(lambda: _served_ports(settings, here))

    def look(tree: Worktree) -> _Look:
        env = os.environ if tree.root == here.root else {}  # a PORT in it is the caller's own
        return _look(settings, tree, listening, deadline, env)

    found = threads.each(look, trees, len(trees))
    shared, served, known_heads = machine.answer(), listed.answer(), heads.answer()
    everything = [*shared.values(), *(one for look in found for one in look.servers.values())]
    usages = iter(memory.activity.look(everything) if memory else ())
    usage_of_shared = dict(zip(shared, usages, strict=False))
    rows = tuple(
        Row(
            worktree=str(tree.root),
            branch=tree.branch,
            head=known_heads.get(tree.root, Head()),
            current=tree.root == here.root,
            port=look.port,
            servers={name: one.status for name, one in look.servers.items()},
            usage=dict(zip(look.servers, usages, strict=False)),
            served=_is_served(look, served, ours),
            shares=look.identities == ours,
        )
        for tree, look in zip(trees, found, strict=True)
    )
    machines = {name: one.status for name, one in shared.items()}
    exports = kinds.exports(settings, here)
    noted = in_use.read(here)
    return Overview(
        by_name, machines, usage_of_shared, rows, exports, None if noted is None else str(noted)
    )


def _was_started(name: str, here: Worktree) -> bool:
    """Return whether somebody uses that bundled server: nobody else is to be told of it."""
    return os.path.lexists(here.shared_dir / f"{name}.pid")


def _own(settings: Config) -> list[Kind]:
    return [kind for kind in kinds.of(settings).values() if not kind.is_shared(settings)]


def _servers(settings: Config, listening: tuple[Socket, ...]) -> tuple[Socket, ...]:
    """Return those of all listening sockets that may be a worktree's own server's."""
    asked = [kind.is_server for kind in _own(settings) if kind.find_port and kind.is_server]
    pids = {one.pid for one in listening if one.pid is not None}
    serving = {pid for pid in pids if any(is_server(pid) for is_server in asked)}
    return tuple(one for one in listening if one.pid in serving)


def _is_served(look: "_Look", served: frozenset[int] | None, ours: Identities) -> bool | None:
    """Return whether events run in a worktree's app, as its own server has it, or else ours."""
    known = look.served if look.served is not None else served
    if known is None or (look.served is None and look.identities != ours):
        return None
    return look.runs and look.port in known


class _Look(NamedTuple):
    """What is true of one worktree's own servers."""

    port: int | None
    runs: bool
    servers: Mapping[str, Asked]
    identities: Identities | None
    """Which servers it uses; None where its configuration is broken."""
    served: frozenset[int] | None = None
    """The ports that a server of its own serves; None where it has none that answers."""


def _look(
    ours: Config,
    tree: Worktree,
    listening: Iterable[Socket],
    deadline: float,
    env: Mapping[str, str],
) -> _Look:
    """Return what is true of a worktree's own servers; what fails is said as a warning.

    `ours` is the configuration of the worktree that asks.
    """
    own = _own(ours)
    try:
        same = config.source(tree.root, tree.main) == ours.source  # most often: read once, then
        settings = ours if same else config.load(tree.root, tree.main)
        port, runs, servers = None, False, {}
        by_name = kinds.of(settings)
        for kind in (by_name[one.name] for one in own if one.name in by_name):
            if kind.find_port:
                its = kind.find_port(settings, tree, listening)
                spec = kind.declare(settings, tree, Assignment(its or 0), env=env)
                there = its is not None
            else:
                assigned = kind.assign(settings, tree, claim=False, env=env)
                spec = kind.declare(settings, tree, assigned, env=env)
                there = spec.enabled
            now = status.status(spec, deadline) if there else _none(status.disabled(spec))
            servers[kind.name] = Asked(spec, now)
            if kind.serves_app:
                port, runs = its, now.running
        served = _served_ports(settings, tree, of_its_own=True)
        return _Look(port, runs, servers, _identities(settings, tree), served)
    except DevServerError as error:
        servers = {}
        for kind in (kind for kind in own if kind.built_in):
            spec = kind.declare(Config(), tree, Assignment(0))
            now = _none(status.disabled(spec))._replace(warnings=(error.message,))
            servers[kind.name] = Asked(spec, now)
        return _Look(None, runs=False, servers=servers, identities=None)


def _none(status: Status) -> Status:
    return status._replace(state="stopped")


def _asked(kind: Kind, settings: Config, here: Worktree) -> Asked:
    spec = kinds.declared(kind, settings, here)
    return Asked(spec, status.status(spec) if spec.enabled else status.disabled(spec))


def _identities(settings: Config, tree: Worktree) -> Identities:
    return tuple(kind.identity(settings, tree) for kind in kinds.every() if kind.identity)


def _served_ports(
    settings: Config, tree: Worktree, *, of_its_own: bool = False
) -> frozenset[int] | None:
    """Return the ports of the apps that are served by now; None where nobody answers that.

    With `of_its_own` only by servers that belong to that worktree alone.
    """
    asked = (kind for kind in kinds.every() if not (of_its_own and kind.is_shared(settings)))
    known = [kind.served(settings, tree) for kind in asked if kind.served]
    answered = [ports for ports in known if ports is not None]
    return frozenset[int]().union(*answered) if answered else None
