"""Scene: whom the Inngest server serves, and who listens where; what a status tells of it."""

from collections.abc import Mapping
from typing import NamedTuple

from devservers import listeners
from devservers.config import Config
from devservers.inngest.api import ServedApp
from devservers.inngest.target import Target
from devservers.listeners import PortHolder
from devservers.ports import claims
from devservers.spec import port_of, ports_of
from devservers.worktree import Worktree


class Scene(NamedTuple):
    """What the server lists (None: no server answers), and who listens where."""

    rows: tuple[ServedApp, ...] | None
    by_port: Mapping[int, PortHolder]
    server: str = ""
    """Its address."""

    @property
    def served(self) -> tuple[ServedApp, ...]:
        """The apps that events run in."""
        return tuple(row for row in self.rows or () if row.served)

    def row(self, port: int) -> ServedApp | None:
        """Return the row of `port`, the served one if there are several."""
        found = [row for row in self.rows or () if port_of(row.url) == port]
        return next((row for row in found if row.served), found[0] if found else None)

    def siblings(self, here: Worktree) -> list[int]:
        """Return the served ports of the repository that `here` belongs to."""
        holders = [self.by_port.get(port_of(row.url)) for row in self.served]
        return [
            holder.port
            for holder in holders
            if holder
            and holder.worktree
            and here.common_dir == holder.worktree.common_dir is not None
        ]

    def rival(self, here: Worktree) -> int | None:
        """Return the one served port of that repository, None where there are several."""
        siblings = self.siblings(here)
        return siblings[0] if len(siblings) == 1 else None


def serving(
    config: Config, here: Worktree, it: Target, rows: tuple[ServedApp, ...] | None
) -> tuple[bool | None, int | None]:
    """Return whether this worktree's app is the served one, and the port that is.

    Both are None where that can't be known: this worktree has no app, or nothing is served.
    """
    if not any(row.served for row in rows or ()):
        return None, None
    if not it.shared:  # it watches one app, and nobody else's
        mine = ports_of(it.urls)
        served = next((port_of(row.url) for row in rows or () if row.served), None)
        return served in mine, served
    scene = Scene(rows, listeners.listeners_by_port())
    own = own_port(config, here, it, scene.by_port)
    if own is None:
        return None, None
    if any(port_of(row.url) == own for row in scene.served):
        return True, own
    return False, scene.rival(here)


def own_port(
    config: Config, here: Worktree, it: Target, by_port: Mapping[int, PortHolder]
) -> int | None:
    """Return the port of this worktree's app: where it listens, else what its port file says."""
    # The server listens on more ports, and may work in `here`.
    server = by_port.get(it.port or 0)
    own = [
        holder.port
        for holder in by_port.values()
        if holder.worktree
        and holder.worktree.root == here.root
        and not (server and holder.pid == server.pid)
    ]
    in_pool = [port for port in own if port in config.pool]
    if in_pool or len(own) == 1:
        return (in_pool or own)[0]
    return claims.of(config, here.root)
