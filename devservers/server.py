"""THE lifecycle of a declared server: ensure, stop, restart. There is only one.

Everything is decided from what `verdict.look` says: first without the lock, then again under it;
only under it is anything started, stopped, adopted or written.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from devservers import adoption, launch, ports, proc, process, readiness, state, trouble
from devservers.errors import StateUnusableError
from devservers.identity import Identity
from devservers.launch import MoveWatch, Notify, Terms
from devservers.process import Ended
from devservers.report import answer
from devservers.result import Ensured, Stopped
from devservers.spec import ServerSpec
from devservers.verdict import PENDING, Verdict, View, glance, has_strangers, is_answer, look

ADRIFT = frozenset({Verdict.ORPHAN, Verdict.ADOPTABLE})
READY_TIMEOUT = 60.0  # seconds
STOP_GRACE = 5.0  # seconds between SIGTERM and SIGKILL
LOCK_TIMEOUT = 60.0  # seconds that stop waits; a start may hold the lock for as long as it waits
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
    if (running := glance(spec, terms.deadline)) is not None:
        return answer(spec, "already-running", running)
    ensuring = _Ensuring(spec, terms)
    found = readiness.wait(ensuring.attempt, terms.deadline, what=ensuring.awaited, notify=notify)
    if found is not None:
        return found
    if ensuring.blocked:
        raise trouble.lock_timeout(spec, timeout)
    raise trouble.left_alone(spec, ensuring.seen, timeout)


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
        # Half of the time at most goes into the stop, or none would be left for the start.
        stopped = _stop(spec, min(STOP_GRACE, timeout / 2), force=force)
        done = _settle(spec, look(spec), terms)
    return done._replace(
        action="restarted" if done.action == "started" and stopped.pids_killed else done.action,
        pids_killed=(*stopped.pids_killed, *done.pids_killed),
        left=stopped.left,
        warnings=(*done.warnings, *trouble.left(stopped.left)),
    )


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
        if (running := glance(spec, deadline)) is not None:
            return answer(spec, "already-running", running)
        if self.seen or not self.terms.wait:  # without the lock, which a restart may want
            seen = look(spec, deadline=deadline)
            if self._is_pending(seen) and seen.record:
                return None if self.terms.wait else answer(spec, "starting", seen.record)
        with state.lock(spec.pid_file, 0, _me()) as held:
            self.blocked = not held
            if self.blocked:
                return None
            seen = adoption.recorded_if_silent(spec, look(spec, deadline=deadline))
            if self._is_pending(seen) and seen.record:
                return None if self.terms.wait else answer(spec, "starting", seen.record)
            if seen.verdict in PENDING:  # it serves another port, and never will its own
                seen = seen._replace(verdict=Verdict.CONFLICT)
            return _settle(spec, seen, self.terms)

    def awaited(self) -> str:
        """Return what is being waited for."""
        return _awaited(self.spec, blocked=self.blocked)

    def _is_pending(self, seen: View) -> bool:
        self.seen = seen
        if seen.verdict is Verdict.STARTING and seen.record:
            self.moved = self.moved or MoveWatch(self.spec, seen.record)
            return not self.moved.is_seen()
        return seen.verdict in PENDING


def _settle(spec: ServerSpec, view: View, terms: Terms) -> Ensured:
    """Do, under the lock, what the verdict asks for."""
    killed: list[int] = []
    if view.verdict is Verdict.ORPHAN and not _answers_soon(spec, view, terms.deadline):
        view = _stop_ours(spec, view, killed)
    while view.verdict is Verdict.CONFLICT:
        view = _stop_ours(spec, view, killed)
    if view.verdict in (Verdict.RUNNING, Verdict.ORPHAN, Verdict.ADOPTABLE):
        return _take_over(spec, view, terms.deadline)._replace(pids_killed=tuple(killed))
    if view.verdict is Verdict.FOREIGN and not terms.force:
        raise trouble.port_in_use(spec, view.port)
    warnings: tuple[str, ...] = ()
    if terms.force:  # whatever the verdict: a listener on one address only may not be open to us
        forced = _terminate_holders(spec, spec.port, STOP_GRACE).pids
        killed += forced
        warnings = (f"Terminated {_pids(forced)}, which held the port.",) if forced else ()
    record, ended = launch.launch(spec, terms)
    action = "started" if terms.wait else "starting"
    done = answer(spec, action, record, warnings=warnings)
    return done._replace(pids_killed=(*killed, *ended))


def _take_over(spec: ServerSpec, view: View, deadline: float) -> Ensured:
    """Record a running server that is not recorded as it is, and bring it in line with the spec."""
    record = adoption.record_of(spec, view)
    assert record is not None  # noqa: S101 - these verdicts have a listener
    changes = spec.reconcile(record.port, record.urls, deadline)
    record = record._replace(urls=changes.urls)
    if record != view.record or state.read_pid(spec.pid_file) != record.process.pid:
        state.write(spec.pid_file, record)
    done = answer(spec, "already-running", record, warnings=changes.warnings)
    return done._replace(added=changes.added)


def _answers_soon(spec: ServerSpec, view: View, deadline: float) -> bool:
    if is_answer(spec, view.http_status):
        return True
    until = min(deadline, time.monotonic() + ORPHAN_GRACE)
    found = readiness.wait(lambda: is_answer(spec, look(spec).http_status) or None, until, what=str)
    return bool(found)


def _stop(spec: ServerSpec, grace: float, *, force: bool) -> Stopped:
    view = look(spec, deadline=0)  # whether it answers makes no difference here
    port, conflict = view.port, view.verdict is Verdict.CONFLICT
    killed: list[int] = []
    left: dict[Identity, None] = {}
    forced = False
    kept: list[str] = []
    while True:
        ended = launch.end(spec, _roots(view), grace, port=port, strays=force)
        try:
            state.remove(spec.pid_file, view.record)
        except StateUnusableError as error:  # a read-only disk: nothing depends on these files
            kept = [f"{error.message} {error.hint}"]
        left |= dict.fromkeys(ended.left)
        killed += ended.pids
        forced = forced or ended.forced
        if force:
            others = _terminate_holders(spec, port, grace)
            killed += others.pids
            forced = forced or others.forced
        view = look(spec, deadline=0)
        # Whoever took the port of a server that had moved away is reported, not ended.
        if view.verdict not in ({Verdict.ORPHAN} if conflict else ADRIFT):
            break
    free = readiness.wait(
        lambda: _free_or_foreign(spec, port), time.monotonic() + launch.FREE_TIMEOUT, what=str
    )
    holders = () if free == "free" else ports.holders(port)
    who = " and ".join(map(trouble.describe_holder, holders)) or "nobody that can be seen"
    taken = () if free == "free" else (f"Port {port} is not free: it is held by {who}.",)
    strays = tuple(trouble.stray(identity.pid) for identity in left if process.is_alive(identity))
    return Stopped(
        action="stopped" if killed else "not-running",
        port=port,
        pids_killed=tuple(dict.fromkeys(killed)),
        port_free=free == "free",
        forced=forced,
        holders=holders,
        left=strays,
        warnings=(*kept, *taken, *trouble.left(strays)),
    )


def _free_or_foreign(spec: ServerSpec, port: int) -> str | None:
    if ports.is_free(port, spec.host):
        return "free"
    return "foreign" if has_strangers(spec, (), port) else None


def _stop_ours(spec: ServerSpec, view: View, killed: list[int]) -> View:
    killed += launch.end(spec, _roots(view), STOP_GRACE, port=view.port).pids
    state.remove(spec.pid_file, view.record)
    return look(spec)


def _roots(view: View) -> tuple[Identity, ...]:
    """Return the processes that may be signalled on this verdict: proved ours, or adoptable."""
    record = view.record
    known = (
        {record.process, *({record.listener.process} if record.listener else ())}
        if record
        else set()
    )
    if view.listener:
        known.add(view.listener.process)
    return tuple(known)


def _terminate_holders(spec: ServerSpec, port: int, grace: float) -> Ended:
    """End whoever listens on `port`: only on --force. Raises PortInUseError if it can't be done.

    Not even then is another user's process signalled, or one in a container.
    """
    pids = {found.pid for found in ports.listeners(port)}
    near = [pid for pid in pids if pid and proc.is_within_reach(pid)]
    ended = process.stop(filter(None, map(process.identify, near)), grace)
    if ended.survivors or len(near) < len(pids):
        raise trouble.port_in_use(spec, port)
    return ended


def _awaited(spec: ServerSpec, *, blocked: bool) -> str:
    who = state.lock_holder(spec.pid_file) if blocked else None
    by = f", which another call (pid {who.process.pid}) is starting or stopping" if who else ""
    return f"the {spec.title} on port {spec.port}{by}"


@contextmanager
def locked(spec: ServerSpec, timeout: float, notify: Notify | None = None) -> Iterator[None]:
    """Hold the server's lock; `notify` is told if that takes long.

    Raises LockTimeoutError after `timeout` seconds.
    """
    silent = min(timeout, readiness.FIRST_NOTE)
    with state.lock(spec.pid_file, silent, _me()) as held:
        if held:
            yield
            return
    if notify:
        notify(f"Waiting for {_awaited(spec, blocked=True)}, up to {timeout:g} s …")
    with state.lock(spec.pid_file, timeout - silent, _me()) as held:
        if not held:
            raise trouble.lock_timeout(spec, timeout)
        yield


def _me() -> str:
    identity = process.identify(os.getpid())
    return identity.started if identity else "?"


def _pids(pids: tuple[int, ...]) -> str:
    return ", ".join(f"pid {pid}" for pid in pids)
