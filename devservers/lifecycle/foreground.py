"""Foreground: a declared server in the caller's terminal, known to all other calls meanwhile."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from devservers.errors import PortInUseError
from devservers.lifecycle import failures, launch, state
from devservers.lifecycle.locked import LOCK_TIMEOUT, locked
from devservers.lifecycle.record import ServerRecord
from devservers.lifecycle.result import STOP_GRACE
from devservers.lifecycle.verdict import Verdict, examine, family
from devservers.spec import ServerSpec
from devservers.system import process, procfs, sockets
from devservers.system.identity import Identity

SIGNALLED = 128  # a shell adds the signal's number


def run(
    spec: ServerSpec,
    *,
    announce: Callable[[str], None] = lambda _: None,
    output: int | None = None,
) -> int:
    """Run the server until it ends, and return its exit status (128 + N for a signal).

    It has the caller's terminal, and the descriptor `output` for its stdout if one is given. Its
    start is recorded, so that an `ensure` meanwhile finds it; ^C reaches it directly. `announce`
    is told where it will be. Raises PortInUseError where one runs already or something else holds
    the port, CliNotFoundError, ServerExitedError, LockTimeoutError, StateUnusableError.
    """
    with _passing_on() as (children, seen), ExitStack() as lock:
        lock.enter_context(locked(spec, LOCK_TIMEOUT))
        argv = _checked(spec)
        announce(f"{spec.title}: {spec.url(spec.port) or 'no port'} (^C ends it)")
        child = _spawn(spec, argv, output)
        children.append(child)
        identity = process.identify(child.pid)  # None: it has ended already
        # Its output is in the terminal.
        record = identity and launch.record_of(spec, argv, identity, None, 0)
        try:
            if record:
                state.write(spec.files.pid, record)
            lock.close()
            code = child.wait()
        finally:
            _tidy(spec, record, child, seen)
    return SIGNALLED - code if code < 0 else code


def _checked(spec: ServerSpec) -> tuple[str, ...]:
    view = examine(spec)
    if view.verdict in (Verdict.FOREIGN, Verdict.CONFLICT):
        raise failures.port_in_use(spec, view.port or 0)
    if view.verdict not in (Verdict.STOPPED, Verdict.STALE):
        known = view.listener.process if view.listener else view.record and view.record.process
        pid = known.pid if known else None
        raise PortInUseError(
            f"The {spec.title} runs already{spec.where} (pid {pid}).",
            hint=f"`inv {spec.name}.logs --follow` shows its output; "
            f"`inv {spec.name}.stop {spec.name}.run` takes it to the foreground.",
            details={"port": view.port, "holders": [sockets.holder(pid)]},
        )
    state.require_lock(spec.files.pid)
    launch.end(spec, (), STOP_GRACE)  # what a killed caller started and never recorded
    launch.check_free(spec, time.monotonic() + launch.FREE_TIMEOUT)
    return spec.complete(spec.command())


def _spawn(
    spec: ServerSpec, argv: tuple[str, ...], output: int | None
) -> "subprocess.Popen[bytes]":
    # It stays in the session of the caller's terminal, so that ^C reaches it.
    session = {procfs.SESSION: str(os.getsid(0))} if hasattr(os, "getsid") else {}
    env = spec.marked_env | session
    try:
        return subprocess.Popen(argv, cwd=spec.cwd, env=env, stdout=output)  # noqa: S603
    except OSError as error:
        raise failures.not_executed(spec, argv, error) from error


def _tidy(
    spec: ServerSpec,
    record: ServerRecord | None,
    child: "subprocess.Popen[bytes]",
    seen: list[Identity],
) -> None:
    """End what a launcher left behind, and forget it."""
    roots = (*([record.process] if record else ()), *seen)
    if child.poll() is None or family(spec, roots, spec.port).members:
        launch.end(spec, roots, STOP_GRACE)
    child.wait()
    now = state.read(spec.files.pid)  # an ensure may have added the listener to the record
    if record and now and now.process == record.process:
        state.remove(spec.files.pid, now)


@contextmanager
def _passing_on() -> Iterator[tuple[list["subprocess.Popen[bytes]"], list[Identity]]]:
    """Hand SIGTERM and SIGHUP on to the children in the list, and leave ^C to the terminal.

    The terminal sends ^C to the whole foreground group, so that the child has it already. The other
    list is for whom they had forked by then: where a launcher dies of the signal, what has changed
    its title, as Next.js does, can't be known for its mark any more on macOS (psutil #2084).
    """
    children: list[subprocess.Popen[bytes]] = []
    seen: list[Identity] = []

    def hand_on(number: int, _frame: FrameType | None) -> None:
        for child in children:
            if not procfs.HAS_PROC and (identity := process.identify(child.pid)):
                seen.extend(process.family((identity,)).members)
            child.send_signal(number)

    def leave(_number: int, _frame: FrameType | None) -> None:
        pass

    handlers = {signal.SIGINT: leave, signal.SIGTERM: hand_on}
    if os.name == "posix":
        handlers[signal.SIGHUP] = hand_on
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield children, seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
