"""Together: all servers of one worktree brought up, and taken down again."""

from collections.abc import Mapping
from typing import NamedTuple

from devservers import kinds
from devservers.config import Config
from devservers.kind import AppServer, Kind, Notify, User
from devservers.lifecycle import server
from devservers.lifecycle.result import Ensured, Stopped
from devservers.spec import Description
from devservers.trust import gate
from devservers.worktree import Worktree
from devservers.worktrees.overview import overview

UP_TIMEOUT = kinds.longest_timeout()


class Up(NamedTuple):
    """The answer of up."""

    servers: Mapping[str, Ensured | None]
    """None for one that the configuration switches off."""
    notes: tuple[Description, ...]
    """What the shared servers have to say of this worktree's app."""


class LeftAlone(NamedTuple):
    """A shared server that down didn't stop."""

    port: int | None
    enabled: bool


class Down(NamedTuple):
    """The answer of down."""

    servers: Mapping[str, Stopped | LeftAlone]
    users: Mapping[str, tuple[User, ...]]
    """Who else was still using a shared server that was stopped."""


def up(
    settings: Config,
    here: Worktree,
    *,
    timeout: float = UP_TIMEOUT,
    stand_in: bool = False,
    notify: Notify | None = None,
) -> Up:
    """Start all servers, and wait until this worktree's app is registered, or tell why not.

    `timeout` (seconds) is for each server. Raises what `server.ensure` and `Kind.assign` raise.
    """
    # The ports first: nothing is started for a worktree without.
    specs = [
        (kind, kinds.declared(kind, settings, here, claim=True, stand_in=stand_in))
        for kind in kinds.every()
    ]
    servers: dict[str, Ensured | None] = {}
    pending = []
    app: AppServer | None = None
    for kind, spec in specs:
        servers[kind.name] = None
        if spec.enabled:
            done = server.ensure(gate.by_hand(spec), timeout=timeout, notify=notify)
            servers[kind.name] = done
            if kind.serves_app and done.port:
                app = AppServer(kind.name, done.port)
        if kind.after_up:
            pending.append(kind.after_up(settings, here))
    return Up(servers, tuple(finish(app, notify) for finish in pending if app))


def down(settings: Config, here: Worktree, *, everything: bool, grace: float) -> Down:
    """Stop this worktree's own servers, with `everything` those that are shared, too."""
    servers: dict[str, Stopped | LeftAlone] = {}
    users: dict[str, tuple[User, ...]] = {}
    for kind in reversed(kinds.every()):
        spec = kinds.declared(kind, settings, here)
        if kind.shared and not (everything and spec.enabled):
            servers[kind.name] = LeftAlone(spec.port, spec.enabled)
            continue
        if kind.shared:
            users[kind.name] = _users(kind, settings, here)
        servers[kind.name] = server.stop(spec, grace=grace)
    return Down(servers, users)


def _users(kind: Kind, settings: Config, here: Worktree) -> tuple[User, ...]:
    """Return who else uses a shared server: served apps, and siblings whose own server runs."""
    found = {user.port: user for user in kind.users(settings, here)} if kind.users else {}
    for row in overview(settings, here).rows:
        runs = any(status.running for status in row.servers.values())
        if row.port and runs and row.shares and not row.current:
            found.setdefault(row.port, User(row.worktree, row.branch, row.port))
    return tuple(found.values())
