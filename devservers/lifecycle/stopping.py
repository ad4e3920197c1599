"""Stopping: a server with all that belongs to it, proved before each signal, and its port free."""

import time

from devservers.errors import StateUnusableError
from devservers.lifecycle import failures, launch, state
from devservers.lifecycle.decide import stops_next
from devservers.lifecycle.launch import Notify
from devservers.lifecycle.locked import LOCK_TIMEOUT, locked
from devservers.lifecycle.result import STOP_GRACE, Stopped
from devservers.lifecycle.verdict import View, examine
from devservers.spec import ServerSpec
from devservers.system import process, procfs, sockets
from devservers.system.identity import Identity
from devservers.system.process import Ended


def stop(
    spec: ServerSpec,
    *,
    grace: float = STOP_GRACE,
    force: bool = False,
    notify: Notify | None = None,
) -> Stopped:
    """Stop the server with all that belongs to it, and prove its port free.

    `grace` is the time in seconds between SIGTERM and SIGKILL. Listeners that are not a server of
    this kind are reported, and terminated only with `force`. Raises StopFailedError,
    LockTimeoutError, StateUnusableError.
    """
    with locked(spec, LOCK_TIMEOUT, notify):
        return under_lock(spec, grace, force=force)


def under_lock(spec: ServerSpec, grace: float, *, force: bool) -> Stopped:
    """Do what `stop` does, under the caller's lock."""
    view = first = examine(spec, deadline=0)  # whether it answers makes no difference here
    port = view.port
    killed: list[int] = []
    left: dict[Identity, None] = {}
    forced = False
    kept: list[str] = []
    while True:
        ended = launch.end(spec, roots_of(view), grace, port=port, strays=force)
        try:
            state.remove(spec.files.pid, view.record)
        except StateUnusableError as error:  # a read-only disk: nothing depends on these files
            kept = [f"{error.message} {error.hint}"]
        left |= dict.fromkeys(ended.left)
        killed += ended.pids
        forced = forced or ended.forced
        if force:
            others = terminate_holders(spec, port, grace)
            killed += others.pids
            forced = forced or others.forced
        view = examine(spec, deadline=0)
        if not stops_next(first, view):
            break
    free = (
        None
        if port is None
        else launch.becomes_free(spec, port, time.monotonic() + launch.FREE_TIMEOUT)
    )
    holders = sockets.holders(port) if port and free is False else ()
    who = failures.describe_holders(holders)
    taken = (f"Port {port} is not free: it is held by {who}.",) if free is False else ()
    strays = tuple(failures.stray(identity.pid) for identity in left if process.is_alive(identity))
    return Stopped(
        action="stopped" if killed else "not-running",
        port=port,
        pids_killed=tuple(dict.fromkeys(killed)),
        port_free=free,
        forced=forced,
        holders=holders,
        left=strays,
        warnings=(*kept, *taken, *failures.left(strays)),
    )


def roots_of(view: View) -> tuple[Identity, ...]:
    """Return the processes that may be signalled on this verdict: proved ours, or adoptable."""
    record = view.record
    known = (
        {record.process, *({record.listener.process} if record.listener else ())}
        if record
        else set()
    )
    known |= {view.listener.process} if view.listener else set()
    known |= {view.leader} if view.leader else set()
    return tuple(known)


def terminate_holders(spec: ServerSpec, port: int | None, grace: float) -> Ended:
    """End whoever listens on `port`: only on --force. Raises PortInUseError if it can't be done.

    Not even then is another user's process signalled, or one in a container.
    """
    pids = {found.pid for found in sockets.listeners(port)} if port is not None else set()
    near = [pid for pid in pids if pid and procfs.is_within_reach(pid)]
    ended = process.stop(filter(None, map(process.identify, near)), grace)
    # On macOS who listens for another user can't be seen at all (psutil #1219), only connected to.
    is_hidden = port is not None and not pids and sockets.is_open(port, spec.host)
    if ended.survivors or len(near) < len(pids) or is_hidden:
        raise failures.port_in_use(spec, port)
    return ended
