"""Scene: whom the Inngest server serves, and who listens where; what a status tells of it."""

from collections.abc import Mapping
from typing import NamedTuple

from devservers import listeners
from devservers.config import Config
from devservers.inngest import api as inngest_api
from devservers.inngest import drift, neighbours, settings
from devservers.inngest.api import ServedApp
from devservers.inngest.target import Target
from devservers.listeners import PortHolder
from devservers.ports import claims
from devservers.spec import Description, port_of, ports_of, url_of
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
    # The server listens on more ports, and may work in `here`; so may those that are declared.
    server = by_port.get(it.port or 0)
    others = config.others_ports(config.pool_section)
    own = [
        holder.port
        for holder in by_port.values()
        if holder.worktree
        and holder.worktree.root == here.root
        and not (server and holder.pid == server.pid)
        and holder.port not in others
    ]
    in_pool = [port for port in own if port in config.pool]
    if in_pool or len(own) == 1:
        return (in_pool or own)[0]
    return claims.of(config, here.root)


def describe(  # noqa: PLR0913 - what a status is made of
    config: Config,
    here: Worktree,
    it: Target,
    watched: tuple[str, ...],
    shared: Mapping[str, object],
    *,
    answers: bool,
) -> Description:
    """Return what the server itself says: its version, what it watches, whom it serves.

    `shared` is what is known without asking it.
    """
    api = it.api._replace(ours=True)
    found = api.dev() if answers else None
    unknown: dict[str, object] = {"version": None, "served": None, "servedBy": None}
    unknown |= {"missing": None, "neighbours": ()}
    if found is None:
        return Description({**unknown, **shared})
    rows = api.apps()
    urls = tuple(dict.fromkeys((*watched, *inngest_api.watched(found, rows or ()))))
    missing = drift.missing(it.urls, urls)
    served, served_by = serving(config, here, it, rows)
    pinned = (f"pinned: {shared['pinned']}",) if shared["pinned"] else ()
    others = neighbours.of(here, it, urls, rows)
    return Description(
        {
            "version": found.version,
            "served": served,
            "servedBy": served_by,
            "missing": ports_of(missing),
            "neighbours": tuple(other.data() for other in others),
            **shared,
        },
        urls,
        (
            _served_line(served, served_by),
            *pinned,
            *(other.said() for other in others),
            *_by_hand(config, it),
        ),
        (drift.not_watched(missing),) if missing else (),
    )


def _by_hand(config: Config, it: Target) -> tuple[str, ...]:
    """Say what an app that is started by hand has to be told: by default it asks port 8288."""
    if it.shared or it.port is None:
        return ()
    url = url_of(settings.of(config).host, it.port)
    return (f"an app that is started by hand needs: export INNGEST_DEV={url}",)


def _served_line(served: bool | None, served_by: int | None) -> str:  # noqa: FBT001 - three states
    if served is None:
        return "this worktree: no app of its own to serve"
    if served:
        return f"this worktree: served, on port {served_by}"
    whose = f"the app on port {served_by}" if served_by else "another worktree's app"
    return f"this worktree: NOT served, events run in {whose}; `inv inngest.sync` changes that"
