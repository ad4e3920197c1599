"""THE lifecycle of a declared server: ensure, stop, restart. There is only one.

Everything is decided from what `verdict.examine` says: first without the lock, then again under it;
only under it is anything started, stopped, adopted or written.
"""

import time

from devservers.errors import StateUnusableError
from devservers.lifecycle import adoption, failures, launch, state
from devservers.lifecycle.decide import Action, decide, stops_next
from devservers.lifecycle.launch import Notify, Terms
from devservers.lifecycle.locked import LOCK_TIMEOUT, awaited, lock, locked
from devservers.lifecycle.observation import MoveWatch
from devservers.lifecycle.result import Ensured, Stopped
from devservers.lifecycle.status import ensured
from devservers.lifecycle.verdict import Verdict, View, examine, quick_proof
from devservers.spec import Reconciled, ServerSpec
from devservers.system import polling, process, procfs, sockets
from devservers.system.identity import Identity
from devservers.system.process import Ended

READY_TIMEOUT = 60.0  # seconds
STOP_GRACE = 5.0  # seconds between SIGTERM and SIGKILL
ORPHAN_GRACE = 2.0  # seconds for an orphan to answer before it is replaced


def ensure(
    spec: ServerSpec,
    *,
    timeout: float = READY_TIMEOUT,
    wait: bool = True,
    force: bool = False,
    notify: Notify | None = None,
) -> Ensured:
    """Make sure that the server runs, and prove it. May be called by any number at once.

    `timeout` (seconds) bounds the whole call. With `wait` false it returns once the server is
    spawned and recorded. `force` may terminate a foreign listener on the port. `notify` is told
    what is being waited for. Raises any DevServerError but ConfigInvalidError and NoPortError.
    """
    terms = Terms(time.monotonic() + timeout, wait=wait, force=force, notify=notify)
    if (running := quick_proof(spec, terms.deadline)) is not None:
        return ensured(spec, "already-running", running)
    ensuring = _Ensuring(spec, terms)
    found = polling.wait(ensuring.attempt, terms.deadline, what=ensuring.awaited, notify=notify)
    if found is not None:
        return found
    if ensuring.blocked:
        raise failures.lock_timeout(spec, timeout)
    raise failures.left_alone(spec, ensuring.seen, timeout)


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
        return _stop(spec, grace, force=force)


def restart(
    spec: ServerSpec,
    *,
    timeout: float = READY_TIMEOUT,
    wait: bool = True,
    force: bool = False,
    notify: Notify | None = None,
) -> Ensured:
    """Stop and start under one lock, so that nobody else can start it in between. See `ensure`."""
    terms = Terms(time.monotonic() + timeout, wait=wait, force=force, notify=notify)
    spec.command()  # nothing is stopped for a server that could not be started
    with locked(spec, timeout, notify):
        _require_place(spec)
        # Half of the time at most goes into the stop, or none would be left for the start.
        stopped = _stop(spec, min(STOP_GRACE, timeout / 2), force=force)
        done = _carry_out(spec, examine(spec), terms)
    if done is None:
        raise failures.left_alone(spec, None, timeout)
    return done._replace(
        action="restarted" if done.action == "started" and stopped.pids_killed else done.action,
        pids_killed=(*stopped.pids_killed, *done.pids_killed),
        left=stopped.left,
        warnings=(*done.warnings, *failures.left(stopped.left)),
    )


def _require_place(spec: ServerSpec) -> None:
    """Raise StateUnusableError where the disk would not take what a start writes."""
    state.require_lock(spec.files.pid)
    launch.prepare_log(spec, rotate=False)
    if (record := state.read(spec.files.pid)) is not None:
        state.write(spec.files.pid, record)


class _Ensuring:
    """One ensure that found no running server at once, and what it knows from try to try."""

    def __init__(self, spec: ServerSpec, terms: Terms) -> None:
        self.spec, self.terms = spec, terms
        self.seen: View | None = None
        self.moved: MoveWatch | None = None
        self.blocked = False
        """The last try found the lock held."""

    def attempt(self) -> Ensured | None:
        """Return the answer; None while the lock is held or our server does not answer yet."""
        spec, deadline = self.spec, self.terms.deadline
        if (running := quick_proof(spec, deadline)) is not None:
            return ensured(spec, "already-running", running)
        if self.seen or not self.terms.wait:  # without the lock, which a restart may want
            seen = examine(spec, deadline=deadline)
            if decide(seen, moved=self._has_moved(seen)) is Action.WAIT:
                return _waiting(spec, seen, self.terms)
        with lock(spec, 0) as held:
            self.blocked = not held
            if self.blocked:
                return None
            seen = examine(spec, deadline=deadline)
            return _carry_out(spec, seen, self.terms, moved=self._has_moved(seen))

    def awaited(self) -> str:
        """Return what is being waited for."""
        return awaited(self.spec, blocked=self.blocked)

    def _has_moved(self, seen: View) -> bool:
        """Return whether our server serves another port than its own, and has for some time."""
        self.seen = seen
        if seen.verdict is not Verdict.STARTING or seen.record is None:
            return False
        self.moved = self.moved or MoveWatch(self.spec, seen.record)
        return self.moved.port() is not None


def _carry_out(
    spec: ServerSpec, view: View, terms: Terms, *, moved: bool = False
) -> Ensured | None:
    """Do, under the lock, what is decided, until that is an answer; None where it is to wait."""
    killed: list[int] = []
    while True:
        if view.verdict is Verdict.ORPHAN and not view.answers and view.port is not None:
            view = _after_a_moment(spec, view, terms.deadline)
        match decide(view, force=terms.force, moved=moved):
            case Action.WAIT:
                return _waiting(spec, view, terms)
            case Action.ADOPT_SILENT:
                record = adoption.record_of(spec, view)
                state.write(spec.files.pid, record)
                return _waiting(spec, view._replace(record=record), terms)
            case Action.TAKE_OVER:
                done = _take_over(spec, view, terms.deadline)
                return done._replace(pids_killed=tuple(killed))
            case Action.REFUSE:
                raise failures.port_in_use(spec, view.port)
            case Action.START:
                done = _start(spec, terms)
                return done._replace(pids_killed=(*killed, *done.pids_killed))
            case Action.REPLACE:
                killed += launch.end(spec, _roots(view), STOP_GRACE, port=view.port).pids
                state.remove(spec.files.pid, view.record)
                view, moved = examine(spec), False


def _waiting(spec: ServerSpec, view: View, terms: Terms) -> Ensured | None:
    """Return None, for another look; or at once what a caller is told who doesn't wait."""
    return ensured(spec, "starting", view.record) if view.record and not terms.wait else None


def _start(spec: ServerSpec, terms: Terms) -> Ensured:
    forced: tuple[int, ...] = ()
    if terms.force:  # whatever the verdict: a listener on one address only may not be open to us
        forced = _terminate_holders(spec, spec.port, STOP_GRACE).pids
    warnings = (f"Terminated {_pids(forced)}, which held the port.",) if forced else ()
    record, ended = launch.launch(spec, terms)
    action = "started" if terms.wait else "starting"
    done = ensured(spec, action, record, warnings=warnings)
    return done._replace(pids_killed=(*forced, *ended))


def _take_over(spec: ServerSpec, view: View, deadline: float) -> Ensured:
    """Record a running server that is not recorded as it is, and bring it in line with the spec."""
    record = adoption.record_of(spec, view)
    changes = Reconciled(record.urls)
    if record.port is not None:
        changes = spec.behaviour.reconcile(record.port, record.urls, deadline)
    record = record._replace(urls=changes.urls, ready=True)
    if record != view.record or state.read_pid(spec.files.pid) != record.process.pid:
        state.write(spec.files.pid, record)
    done = ensured(spec, "already-running", record, warnings=changes.warnings)
    return done._replace(added=changes.added)


def _after_a_moment(spec: ServerSpec, view: View, deadline: float) -> View:
    """Return the view of an orphan once it answers; as it is where it doesn't in ORPHAN_GRACE."""

    def attempt() -> View | None:
        seen = examine(spec)
        return seen if seen.answers else None

    until = min(deadline, time.monotonic() + ORPHAN_GRACE)
    return polling.wait(attempt, until, what=str) or view


def _stop(spec: ServerSpec, grace: float, *, force: bool) -> Stopped:
    view = first = examine(spec, deadline=0)  # whether it answers makes no difference here
    port = view.port
    killed: list[int] = []
    left: dict[Identity, None] = {}
    forced = False
    kept: list[str] = []
    while True:
        ended = launch.end(spec, _roots(view), grace, port=port, strays=force)
        try:
            state.remove(spec.files.pid, view.record)
        except StateUnusableError as error:  # a read-only disk: nothing depends on these files
            kept = [f"{error.message} {error.hint}"]
        left |= dict.fromkeys(ended.left)
        killed += ended.pids
        forced = forced or ended.forced
        if force:
            others = _terminate_holders(spec, port, grace)
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


def _roots(view: View) -> tuple[Identity, ...]:
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


def _terminate_holders(spec: ServerSpec, port: int | None, grace: float) -> Ended:
    """End whoever listens on `port`: only on --force. Raises PortInUseError if it can't be done.

    Not even then is another user's process signalled, or one in a container.
    """
    pids = {found.pid for found in sockets.listeners(port)} if port is not None else set()
    near = [pid for pid in pids if pid and procfs.is_within_reach(pid)]
    ended = process.stop(filter(None, map(process.identify, near)), grace)
    if ended.survivors or len(near) < len(pids):
        raise failures.port_in_use(spec, port)
    return ended


def _pids(pids: tuple[int, ...]) -> str:
    return ", ".join(f"pid {pid}" for pid in pids)
