"""THE lifecycle of a declared server: ensure, stop, restart. There is only one.

Everything is decided from what `verdict.examine` says: first without the lock, then again under it;
only under it is anything started, stopped, adopted or written.
"""

import time
from collections.abc import Callable

from devservers.lifecycle import adoption, failures, launch, state, stopping
from devservers.lifecycle.decide import Action, decide
from devservers.lifecycle.launch import Notify, Terms
from devservers.lifecycle.locked import awaited, lock, locked
from devservers.lifecycle.observation import MoveWatch
from devservers.lifecycle.result import STOP_GRACE, Ensured
from devservers.lifecycle.status import ensured
from devservers.lifecycle.stopping import stop
from devservers.lifecycle.verdict import Verdict, View, examine, quick_proof
from devservers.spec import Reconciled, Restore, Restored, ServerSpec
from devservers.system import polling

__all__ = ["ensure", "restart", "stop"]

READY_TIMEOUT = 60.0  # seconds
ORPHAN_GRACE = 2.0  # seconds for an orphan to answer before it is replaced


def ensure(  # noqa: PLR0913 - all of what a caller may want of a start
    spec: ServerSpec,
    *,
    timeout: float = READY_TIMEOUT,
    wait: bool = True,
    force: bool = False,
    notify: Notify | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Ensured:
    """Make sure that the server runs, and prove it. May be called by any number at once.

    `timeout` (seconds) bounds the whole call. With `wait` false it returns once the server is
    spawned and recorded. `force` may terminate a foreign listener on the port. `notify` is told
    what is being waited for. Once `cancelled` says so, which is asked in the thread that this runs
    in, what was begun is undone, and KeyboardInterrupt raised. Raises any DevServerError but
    ConfigInvalidError, NoPortError and NeedFailedError.
    """
    terms = Terms(time.monotonic() + timeout, wait, force, notify, cancelled)
    if (running := quick_proof(spec, terms.deadline)) is not None:
        return ensured(spec, "already-running", running)
    ensuring = _Ensuring(spec, terms)
    found = polling.wait(ensuring.attempt, terms.deadline, what=ensuring.awaited, notify=notify)
    if found is not None:
        return found
    if ensuring.blocked:
        raise failures.lock_timeout(spec.files.pid, timeout)
    raise failures.left_alone(spec, ensuring.seen, timeout)


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
        before = examine(spec)
        restore = spec.behaviour.remember(before.port if before.listener else None, terms.deadline)
        stopped = stopping.under_lock(spec, min(STOP_GRACE, timeout / 2), force=force)
        done = _carry_out(spec, examine(spec), terms, restore=restore)
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
        if self.terms.cancelled():
            raise KeyboardInterrupt
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
    spec: ServerSpec,
    view: View,
    terms: Terms,
    *,
    moved: bool = False,
    restore: Restore | None = None,
) -> Ensured | None:
    """Do, under the lock, what is decided, until that is an answer; None where it is to wait.

    `restore` puts back, once it is up, what a stop before took.
    """
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
                done = _start(spec, terms, restore or spec.behaviour.remember(None, terms.deadline))
                return done._replace(pids_killed=(*killed, *done.pids_killed))
            case Action.REPLACE:
                killed += launch.end(spec, stopping.roots_of(view), STOP_GRACE, port=view.port).pids
                state.remove(spec.files.pid, view.record)
                view, moved = examine(spec), False


def _waiting(spec: ServerSpec, view: View, terms: Terms) -> Ensured | None:
    """Return None, for another look; or at once what a caller is told who doesn't wait."""
    return ensured(spec, "starting", view.record) if view.record and not terms.wait else None


def _start(spec: ServerSpec, terms: Terms, restore: Restore) -> Ensured:
    forced: tuple[int, ...] = ()
    if terms.force:  # whatever the verdict: a listener on one address only may not be open to us
        forced = stopping.terminate_holders(spec, spec.port, STOP_GRACE).pids
    warnings = (f"Terminated {_pids(forced)}, which held the port.",) if forced else ()
    record, ended = launch.launch(spec, terms)
    action = "started" if terms.wait else "starting"
    done = ensured(spec, action, record, warnings=warnings)
    done = done._replace(pids_killed=(*forced, *ended))
    if not terms.wait or record.port is None:
        return done
    return _with(done, restore(record.port, terms.deadline))


def _with(done: Ensured, more: Restored) -> Ensured:
    return done._replace(
        facts={**done.facts, **more.facts}, warnings=(*done.warnings, *more.warnings)
    )


def _take_over(spec: ServerSpec, view: View, deadline: float) -> Ensured:
    """Record a running server that is not recorded as it is, and bring it in line with the spec."""
    record = adoption.record_of(spec, view)
    changes = Reconciled(record.urls)
    if record.port is not None:
        changes = spec.behaviour.reconcile(record.port, record.urls, deadline)
    record = record._replace(urls=changes.urls, ready=True)
    if record != view.record or state.read_pid(spec.files.pid) != record.process.pid:
        state.write(spec.files.pid, record)
    done = ensured(spec, "already-running", record)._replace(added=changes.added)
    return _with(done, Restored(changes.facts, changes.warnings))


def _after_a_moment(spec: ServerSpec, view: View, deadline: float) -> View:
    """Return the view of an orphan once it answers; as it is where it doesn't in ORPHAN_GRACE."""

    def attempt() -> View | None:
        seen = examine(spec)
        return seen if seen.answers else None

    until = min(deadline, time.monotonic() + ORPHAN_GRACE)
    return polling.wait(attempt, until, what=str) or view


def _pids(pids: tuple[int, ...]) -> str:
    return ", ".join(f"pid {pid}" for pid in pids)
