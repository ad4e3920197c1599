"""Launch: start a declared server and prove that it serves its port, or leave nothing behind."""

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from devservers.errors import StateUnusableError, StopFailedError, remedy_of
from devservers.lifecycle import failures, state
from devservers.lifecycle.observation import MoveWatch, Observed, Start, observe
from devservers.lifecycle.record import ServerRecord
from devservers.lifecycle.verdict import family, has_strangers
from devservers.spec import ServerSpec
from devservers.system import logs, polling, process, sockets, spawn
from devservers.system.identity import Identity
from devservers.system.process import Ended

if TYPE_CHECKING:  # 4 ms that a warm call saves
    from subprocess import Popen

UNDO_GRACE = 1.0  # seconds; a start that failed holds nothing that could be lost
MOST_MOVES = 3
MOST_HEIRS = 5  # generations of what forks while a start is undone
FREE_TIMEOUT = 2.0  # seconds after the last exit until the port counts as not free

Notify = Callable[[str], None]


class Terms(NamedTuple):
    """How a caller wants a server started."""

    deadline: float
    """A monotonic instant."""
    wait: bool = True
    """For the proof that it answers; else only until it is spawned and recorded."""
    force: bool = False
    """Terminate a foreign listener on the port."""
    notify: Notify | None = None
    """Told what is being waited for."""
    cancelled: Callable[[], bool] = lambda: False
    """Asked while it is waited: whether the caller was told to end."""


class Launched(NamedTuple):
    """A server that was started."""

    record: ServerRecord
    pids_killed: tuple[int, ...]
    """What earlier starts had left behind, and was ended first."""


def launch(spec: ServerSpec, terms: Terms) -> Launched:
    """Start the server, under the caller's lock and on a port that nobody listens on.

    Returns it when the listener on the port is proved ours and answers; without
    `terms.wait` once it is spawned and recorded. On any failure, ^C included, no process, no pid
    file and no record is left. Raises CliNotFoundError, PortInUseError, ServerExitedError,
    NotReadyError, StateUnusableError.
    """
    argv = spec.command()
    state.require_lock(spec.files.pid)
    # What a killed caller started and never recorded.
    ended = end(spec, (), UNDO_GRACE).pids
    argv = spec.complete(argv)
    for _ in range(MOST_MOVES):
        seen = _launch_once(spec, argv, terms)
        if seen.start is not Start.MOVED:
            return Launched(seen.record, ended)
        # Its own port is free again, or the next try names who holds it.
    raise failures.moves_away(spec, seen.port, MOST_MOVES)


def end(
    spec: ServerSpec,
    roots: Iterable[Identity],
    grace: float,
    *,
    port: int | None = None,
    strays: bool = False,
) -> Ended:
    """End the server's family: of `roots`, of its mark, and of `port` (default: the spec's).

    What the server opened and that has left its tree and session is left alone and named in the
    answer, unless `strays` asks for it. Raises StopFailedError.
    """
    roots = tuple(roots)
    found = family(spec, roots, spec.port if port is None else port)

    def members() -> tuple[Identity, ...]:
        now = family(spec, roots, spec.port if port is None else port, ask_strays=False)
        return (*now.members, *now.strays) if strays else now.members

    ended = process.stop((*found.members, *(found.strays if strays else ())), grace, members)
    if ended.survivors:
        who = ", ".join(failures.describe_holder(sockets.holder(pid)) for pid in ended.survivors)
        msg = f"The {spec.title} could not be stopped: still there is {who}."
        survivors = [sockets.holder(pid) for pid in ended.survivors]
        hint = "Stop it as the user it belongs to, or as root."
        raise StopFailedError(msg, hint=hint, details={"survivors": survivors})
    left = () if strays else tuple(filter(process.is_alive, found.strays))
    return ended._replace(left=left)


def check_free(spec: ServerSpec, deadline: float) -> None:
    """Return once the port can be bound. Raises PortInUseError if it stays taken."""
    if spec.port is not None and not becomes_free(spec, spec.port, deadline):
        raise failures.port_in_use(spec, spec.port)


def becomes_free(spec: ServerSpec, port: int, deadline: float) -> bool:
    """Return whether `port` can be bound by `deadline`, a monotonic instant.

    Not, at once, where somebody else listens; what only can't be bound is waited for.
    """

    def attempt() -> bool | None:
        if sockets.is_free(port, spec.host):
            return True
        return False if has_strangers(spec, (), port) else None

    return bool(polling.wait(attempt, deadline, what=str))


def _launch_once(spec: ServerSpec, argv: tuple[str, ...], terms: Terms) -> Observed:
    """Start it once; return it as it is up, as it waits (without `terms.wait`), or has moved."""
    check_free(spec, min(terms.deadline, time.monotonic() + FREE_TIMEOUT))
    offset = prepare_log(spec)
    if spec.files.owned:  # else the start says what is wrong with it
        spec.cwd.mkdir(parents=True, exist_ok=True)
    child: Popen[bytes] | None = None
    try:
        child = _spawn(spec, argv)
        record = record_of(spec, argv, _identify(spec, child, offset), str(spec.files.log), offset)
        state.write(spec.files.pid, record)
        seen = Observed(Start.WAITING, record)
        if terms.wait:
            sockets.preload()  # while the server is booting
            seen = _await_proof(spec, record, child, terms)
            if seen.start is Start.READY:
                state.write(spec.files.pid, seen.record)
    except BaseException:
        _undo(spec, child)
        raise
    if seen.start is Start.MOVED:
        _undo(spec, child)
    else:
        spawn.let_go(child)
    return seen


def _undo(spec: ServerSpec, child: "Popen[bytes] | None") -> None:
    try:
        end(spec, (), UNDO_GRACE)
        # It may be forking still, at each SIGTERM: whoever isn't asked can't.
        for grace in (UNDO_GRACE, *[0.0] * MOST_HEIRS):
            found = _of_this_start(spec, child) if child else ()
            if not found:
                break
            end(spec, found, grace)
    finally:
        if child:
            child.kill()  # only one that has gone into a container of its own is still there
            child.wait()
    state.remove(spec.files.pid, state.read(spec.files.pid))


def _of_this_start(spec: ServerSpec, child: "Popen[bytes]") -> tuple[Identity, ...]:
    """Return what a failed start has brought forth, also what has left its session meanwhile.

    A program that makes a daemon of itself may not have its port yet.
    """
    root = process.identify(child.pid) if child.poll() is None else None
    strays = process.family((), spec.marker).strays
    own = (stray for stray in strays if process.names_session(stray.pid, child.pid))
    return (*((root,) if root else ()), *own)


def prepare_log(spec: ServerSpec, *, rotate: bool = True) -> int:
    """Make the log ready to be appended to; return its size in bytes. Raises StateUnusableError.

    With `rotate` a long one is moved away first: under the lock only, where no server has it open.
    """
    try:
        return logs.prepare(spec.files.log, spec.files.log_max_bytes if rotate else 0)
    except OSError as error:
        raise StateUnusableError(
            f"The log {spec.files.log} can't be written: {error.strerror or error}.",
            hint=remedy_of(error) or _another_log(spec),
            details={"file": str(spec.files.log)},
        ) from error


def _another_log(spec: ServerSpec) -> str:
    if spec.files.log_key:
        return f"Set {spec.files.log_key} to a file that you may write."
    return f"Move {spec.files.log} away, or make its folder writable."


def _spawn(spec: ServerSpec, argv: tuple[str, ...]) -> "Popen[bytes]":
    try:
        return spawn.spawn(argv, spec.cwd, spec.marked_env, spec.files.log)
    except OSError as error:
        raise failures.not_executed(spec, argv, error) from error


def _identify(spec: ServerSpec, child: "Popen[bytes]", offset: int) -> Identity:
    identity = process.identify(child.pid)
    if identity is None:  # it has ended already
        raise failures.exited(spec, child, offset)
    return identity


def record_of(
    spec: ServerSpec,
    argv: tuple[str, ...],
    identity: Identity,
    log: str | None,
    offset: int,
) -> ServerRecord:
    """Return the record of a server that was spawned just now; `offset`: bytes of its `log`."""
    return ServerRecord(
        process=identity,
        port=spec.port,
        argv=argv,
        urls=spec.behaviour.urls,
        log_file=log,
        log_offset=offset,
        cwd=str(spec.cwd),
        worktree=str(spec.worktree),
        branch=spec.branch,
        started_at=round(time.time(), 3),
        stand_in=spec.behaviour.stand_in,
    )


def _await_proof(
    spec: ServerSpec, record: ServerRecord, child: "Popen[bytes]", terms: Terms
) -> Observed:
    """Wait until it is up, or has moved. Raises what else may become of a start."""
    moves = MoveWatch(spec, record)

    def attempt() -> Observed | None:
        if terms.cancelled():
            raise KeyboardInterrupt
        ended = child.poll() is not None
        seen = observe(spec, record, moves, ended=ended, deadline=terms.deadline)
        return None if seen.start is Start.WAITING else seen

    what = f"the {spec.title} (pid {child.pid}){spec.where}; log: {spec.files.log}"
    begun = time.monotonic()
    seen = polling.wait(attempt, terms.deadline, what=lambda: what, notify=terms.notify)
    if seen is None:
        raise failures.not_ready(spec, time.monotonic() - begun, record.log_offset)
    if seen.start is Start.EXITED:
        raise failures.exited(spec, child, record.log_offset)
    if seen.start is Start.TAKEN and spec.port is not None:
        raise failures.port_in_use(spec, spec.port)
    return seen
