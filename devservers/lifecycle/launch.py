"""Launch: start a declared server and prove that it serves its port, or leave nothing behind."""

import time
from collections.abc import Callable, Iterable
from subprocess import Popen
from typing import NamedTuple

from devservers.errors import StateUnusableError, StopFailedError, remedy_of
from devservers.lifecycle import failures, state
from devservers.lifecycle.record import ServerRecord
from devservers.lifecycle.verdict import ask, family, has_strangers, is_answer, proved_listener
from devservers.spec import MARKER, ServerSpec
from devservers.system import logs, polling, process, sockets, spawn
from devservers.system.identity import Identity, Socket
from devservers.system.process import Ended

UNDO_GRACE = 1.0  # seconds; a start that failed holds nothing that could be lost
MOST_MOVES = 3
MOST_HEIRS = 5  # generations of what forks while a start is undone
FREE_TIMEOUT = 2.0  # seconds after the last exit until the port counts as not free
MOVE_GRACE = 1.0  # seconds that a server may answer on another port before its own

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


class _MovedError(Exception):
    """The server went to another port, because its own was taken for a moment."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.port = port


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
    state.require_lock(spec.pid_file)
    # What a killed caller started and never recorded.
    ended = end(spec, (), UNDO_GRACE).pids
    for _ in range(MOST_MOVES):
        try:
            return Launched(_launch_once(spec, argv, terms), ended)
        except _MovedError as moved:
            port = moved.port  # its own is free again, or the next try names who holds it
    raise failures.moves_away(spec, port, MOST_MOVES)


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
    """Return once the port can be bound. Raises PortInUseError if it stays taken.

    Somebody who listens is named at once; what only can't be bound is given until `deadline`.
    """

    def attempt() -> bool | None:
        if sockets.is_free(spec.port, spec.host):
            return True
        return False if has_strangers(spec, (), spec.port) else None

    if not polling.wait(attempt, deadline, what=str):
        raise failures.port_in_use(spec, spec.port)


def _launch_once(spec: ServerSpec, argv: tuple[str, ...], terms: Terms) -> ServerRecord:
    check_free(spec, min(terms.deadline, time.monotonic() + FREE_TIMEOUT))
    offset = prepare_log(spec)
    child: Popen[bytes] | None = None
    try:
        child = _spawn(spec, argv)
        record = _record(spec, argv, child, offset)
        state.write(spec.pid_file, record)
        if terms.wait:
            sockets.preload()  # while the server is booting
            record = _prove(spec, record, child, terms)
            state.write(spec.pid_file, record)
    except BaseException:
        _undo(spec, child)
        raise
    spawn.let_go(child)
    return record


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
    state.remove(spec.pid_file, state.read(spec.pid_file))


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
        return logs.prepare(spec.log_file, spec.log_max_bytes if rotate else 0)
    except OSError as error:
        raise StateUnusableError(
            f"The log {spec.log_file} can't be written: {error.strerror or error}.",
            hint=remedy_of(error) or f"Set {spec.name}.logFile to a file that you may write.",
            details={"file": str(spec.log_file)},
        ) from error


def _spawn(spec: ServerSpec, argv: tuple[str, ...]) -> "Popen[bytes]":
    name, _, value = spec.marker.partition("=")
    assert name == MARKER  # noqa: S101 - the record of a server rests on it
    try:
        return spawn.spawn(argv, spec.cwd, {**spec.env, name: value}, spec.log_file)
    except OSError as error:
        raise failures.not_executed(spec, argv, error) from error


def _record(
    spec: ServerSpec, argv: tuple[str, ...], child: "Popen[bytes]", offset: int
) -> ServerRecord:
    identity = process.identify(child.pid)
    if identity is None:  # it has ended already
        raise failures.exited(spec, child, offset)
    return ServerRecord(
        process=identity,
        port=spec.port,
        argv=argv,
        urls=spec.urls,
        log_file=str(spec.log_file),
        log_offset=offset,
        cwd=str(spec.cwd),
        worktree=str(spec.worktree),
        branch=spec.branch,
        started_at=round(time.time(), 3),
        stand_in=spec.stand_in,
    )


def _prove(
    spec: ServerSpec, record: ServerRecord, child: "Popen[bytes]", terms: Terms
) -> ServerRecord:
    """Wait until the port's listener is proved ours and answers; return the record with it."""
    moved = MoveWatch(spec, record)

    def attempt() -> ServerRecord | None:
        if child.poll() is not None:
            raise failures.exited(spec, child, record.log_offset)
        if not sockets.is_open(spec.port, spec.host):
            if moved.is_seen():
                raise _MovedError(moved.port)
            return None
        roots = (record.process,)
        listener = proved_listener(spec.port, family(spec, roots, spec.port).members)
        if listener is None:
            if has_strangers(spec, roots, spec.port):
                raise failures.port_in_use(spec, spec.port)
            return None
        status = ask(listener.address, spec.port, spec.health_path, terms.deadline)
        return record._replace(listener=listener) if is_answer(spec, status) else None

    what = f"the {spec.title} (pid {child.pid}) on port {spec.port}; log: {spec.log_file}"
    begun = time.monotonic()
    proved = polling.wait(attempt, terms.deadline, what=lambda: what, notify=terms.notify)
    if proved is None:
        raise failures.not_ready(spec, time.monotonic() - begun, record.log_offset)
    return proved


class MoveWatch:
    """Notices that a server serves another port than it was told to.

    The real Inngest does so when its port is taken as it starts (inngest pull request 3837), and
    goes on for good when whoever held it is gone a moment later. Its other ports may answer a
    little earlier than the one that counts, so a second is granted.
    """

    def __init__(self, spec: ServerSpec, record: ServerRecord) -> None:
        self.spec, self.record = spec, record
        self.next_check = time.monotonic() + MOVE_GRACE / 2
        self.first_seen: float | None = None
        self.moved = False
        self.port = 0
        """Where it answers, if it does."""

    def is_seen(self) -> bool:
        """Look, at most twice a second; return whether it has been so for MOVE_GRACE seconds."""
        now = time.monotonic()
        if not self.spec.moves or now < self.next_check:
            return self.moved
        self.next_check = now + MOVE_GRACE / 2
        members = process.family((self.record.process,), self.spec.marker).members
        listeners = sockets.listening(pids=[member.pid for member in members])
        serves = next((found for found in listeners if self._answers(found)), None)
        self.port = serves.port if serves else 0
        if not serves:
            self.first_seen = None
        elif self.first_seen is None:
            self.first_seen = now
        self.moved = self.first_seen is not None and now - self.first_seen >= MOVE_GRACE
        return self.moved

    def _answers(self, found: Socket) -> bool:
        return is_answer(self.spec, ask(found.address, found.port, self.spec.health_path))
