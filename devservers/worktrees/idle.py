"""Idle: worktrees' own servers that nobody has used for so long are stopped."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from devservers import kinds
from devservers.errors import DevServerError
from devservers.kind import Kind
from devservers.lifecycle import locked, status, stopping
from devservers.lifecycle.activity import Asked, Watch
from devservers.lifecycle.result import STOP_GRACE
from devservers.system import clock, files, process
from devservers.worktree import Worktree
from devservers.worktrees import passing, prune
from devservers.worktrees.prune import Finding


class _Server(NamedTuple):
    """A server of one worktree that runs."""

    kind: Kind
    asked: Asked
    limit: float | None
    """Seconds after which it may be stopped; None: never."""


def sweep(
    here: Worktree, limit: float | None = None, *, dry_run: bool = False
) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """Stop what nobody has used for `limit` seconds, by default for as long as is configured.

    Only a worktree's own servers, and of those only what was started by us (of others it isn't
    known when they were used); none that another one needs which was used since. With `dry_run`
    they are only found. Returns them, and warnings of what could not be stopped.
    """
    watch = Watch()
    trees, around = _running(here, limit)
    found: list[Finding] = []
    warnings: list[str] = []
    everything = [*around, *(server.asked for servers in trees for server in servers.values())]
    idle = iter(watch.idle(everything)[len(around) :])
    for servers in trees:
        times = {name: next(idle) for name in servers}
        for name, server in servers.items():
            if not _is_unused(name, servers, times):
                continue
            others = [one for one in everything if one is not server.asked]

            def still(server: _Server = server, others: Sequence[Asked] = others) -> bool:
                now = watch.idle([server.asked, *others])[0]
                return now is not None and server.limit is not None and now >= server.limit

            finding = _finding(server, times[name])
            try:
                if dry_run or _stop(server, still, finding.why):
                    found.append(finding)
            except DevServerError as error:
                warnings.append(error.message)
    return tuple(found), tuple(warnings)


def sweep_as_configured(here: Worktree) -> None:
    """Stop what is idle by the configuration of its own worktree."""
    if not any(passing.is_configured(its) for _, its in prune.configured(here)):
        (here.shared_dir / passing.STAMP).unlink(missing_ok=True)
        return
    sweep(here)


def _running(here: Worktree, limit: float | None) -> tuple[list[dict[str, _Server]], list[Asked]]:
    """Return, for each worktree, its own servers that run; and the shared ones that are used."""
    trees: list[dict[str, _Server]] = []
    shared: dict[str, Asked] = {}
    for tree, its in prune.configured(here):
        own: dict[str, _Server] = {}
        for name, kind in kinds.of(its).items():
            with contextlib.suppress(DevServerError):
                spec = kinds.declared(kind, its, tree, by_itself=True)
                if not spec.enabled or spec.marker in shared:
                    continue
                asked = Asked(spec, status.status(spec))
                if kind.is_shared(its):
                    shared[spec.marker] = asked
                elif asked.status.running:
                    own[name] = _Server(kind, asked, limit or kind.idle(its))
        trees.append(own)
    return trees, list(shared.values())


def _is_unused(
    name: str, servers: Mapping[str, _Server], times: Mapping[str, float | None]
) -> bool:
    """Return whether a server may be stopped: nobody has used it, or what needs it, for so long."""
    server = servers[name]
    limit = server.limit
    if limit is None:
        return False
    users = (name, *(other for other in servers if name in _needs(other, servers)))
    known = [times[user] for user in users]
    return all(seconds is not None and seconds >= limit for seconds in known)


def _needs(name: str, servers: Mapping[str, _Server]) -> set[str]:
    """Return all that a server needs, by way of others too; an app needs what is exported to it."""

    def direct(one: str) -> Iterator[str]:
        kind = servers[one].kind
        yield from kind.needs
        if kind.serves_app:
            yield from (other for other, its in servers.items() if its.kind.exports)

    found: set[str] = set()
    pending = [name]
    while pending:
        more = {need for need in direct(pending.pop()) if need in servers} - found - {name}
        found |= more
        pending += more
    return found


def _stop(server: _Server, still: Callable[[], bool], why: str) -> bool:
    """Stop a server if it is `still` idle once nobody else can start it; say so in its log."""
    spec = server.asked.spec
    with locked.lock(spec, 0) as held:
        if not held or not still():
            return False
        stopping.under_lock(spec, STOP_GRACE, force=False)
    log = server.asked.status.log_file
    with contextlib.suppress(OSError):
        if log:
            with open(files.append(Path(log)), "a", encoding="utf-8") as stream:
                when = clock.utc(time.time())
                stream.write(f"[devservers] {when} stopped: {why}; `inv {spec.name}.ensure`\n")
    return True


def _finding(server: _Server, idle: float | None) -> Finding:
    spec, its = server.asked
    pids = ", ".join(str(pid) for pid in dict.fromkeys((its.pid, its.listener_pid)) if pid)
    processes = tuple(filter(None, map(process.identify, filter(None, (its.pid,)))))
    return Finding(
        "idle",
        f"{spec.title}{spec.where} of {spec.worktree}, pid {pids}",
        f"nobody has used it for {clock.duration(idle or 0)}",
        processes,
    )
