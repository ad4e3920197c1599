"""Launch: start a declared server and prove that it serves its port, or leave nothing behind."""

import time
from collections.abc import Callable, Iterable
from subprocess import Popen
from typing import NamedTuple

from devservers import logs, ports, process, readiness, state, trouble
from devservers.errors import ServerExitedError, StateUnusableError, StopFailedError
from devservers.identity import Identity, Socket
from devservers.process import Ended
from devservers.record import ServerRecord
from devservers.spec import MARKER, ServerSpec
from devservers.verdict import ask, is_answer, proved_listener

UNDO_GRACE = 1.0  # seconds; a start that failed holds nothing that could be lost
MOST_MOVES = 3
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


def launch(spec: ServerSpec, terms: Terms) -> ServerRecord:
    """Start the server, under the caller's lock and on a port that nobody listens on.

    Returns its record when the listener on the port is proved ours and answers; without
    `terms.wait` once it is spawned and recorded. On any failure, ^C included, no process, no pid
    file and no record is left. Raises CliNotFoundError, PortInUseError, ServerExitedError,
    NotReadyError, StateUnusableError.
    """
    argv = spec.command()
    for _ in range(MOST_MOVES):
        try:
            return _launch_once(spec, argv, terms)
        except _MovedError as moved:
            port = moved.port  # its own is free again, or the next try names who holds it
    raise trouble.moves_away(spec, port, MOST_MOVES)


def end(spec: ServerSpec, roots: Iterable[Identity], grace: float) -> Ended:
    """End the family of `roots`, and whoever carries the spec's marker. Raises StopFailedError."""
    roots = tuple(roots)
    members = process.family(roots, spec.marker)
    ended = process.stop(members, grace, lambda: process.family(roots, spec.marker))
    if ended.survivors:
        who = ", ".join(trouble.describe_holder(ports.holder(pid)) for pid in ended.survivors)
        msg = f"The {spec.title} could not be stopped: still there is {who}."
        survivors = [ports.holder(pid) for pid in ended.survivors]
        hint = "Stop it as the user it belongs to, or as root."
        raise StopFailedError(msg, hint=hint, details={"survivors": survivors})
    return ended


def _launch_once(spec: ServerSpec, argv: tuple[str, ...], terms: Terms) -> ServerRecord:
    end(spec, (), UNDO_GRACE)  # what a killed caller started and never recorded
    if not ports.is_free(spec.port, spec.host):
        raise trouble.port_in_use(spec, spec.port)
    offset = prepare_log(spec)
    child: Popen[bytes] | None = None
    try:
        child = _spawn(spec, argv)
        record = _record(spec, argv, child, offset)
        state.write(spec.pid_file, record)
        if terms.wait:
            ports.preload()  # while the server is booting
            record = _prove(spec, record, child, terms)
            state.write(spec.pid_file, record)
    except BaseException:
        _undo(spec, child)
        raise
    process.let_go(child)
    return record


def _undo(spec: ServerSpec, child: "Popen[bytes] | None") -> None:
    root = process.identify(child.pid) if child and child.poll() is None else None
    end(spec, (root,) if root else (), UNDO_GRACE)
    if child:
        child.wait()
    state.remove(spec.pid_file, state.read(spec.pid_file))


def prepare_log(spec: ServerSpec, *, rotate: bool = True) -> int:
    """Make the log ready to be appended to; return its size in bytes. Raises StateUnusableError.

    With `rotate` a long one is moved away first: under the lock only, where no server has it open.
    """
    try:
        return logs.prepare(spec.log_file, spec.log_max_bytes if rotate else 0)
    except OSError as error:
        raise StateUnusableError(
            f"The log {spec.log_file} can't be written: {error.strerror or error}.",
            hint=f"Set {spec.name}.logFile to a file that you may write.",
            details={"file": str(spec.log_file)},
        ) from error


def _spawn(spec: ServerSpec, argv: tuple[str, ...]) -> "Popen[bytes]":
    name, _, value = spec.marker.partition("=")
    assert name == MARKER  # noqa: S101 - the record of a server rests on it
    try:
        return process.spawn(argv, spec.cwd, {**spec.env, name: value}, spec.log_file)
    except OSError as error:
        raise ServerExitedError(
            f"{argv[0]} could not be executed: {error.strerror or error}.",
            hint=f"Check {spec.name}.command in the configuration, or that the file is executable.",
            details={
                "command": list(argv),
                "exitStatus": None,
                "logFile": str(spec.log_file),
                "lastLines": [],
            },
        ) from error


def _record(
    spec: ServerSpec, argv: tuple[str, ...], child: "Popen[bytes]", offset: int
) -> ServerRecord:
    identity = process.identify(child.pid)
    if identity is None:  # it has ended already
        raise trouble.exited(spec, child, offset)
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
            raise trouble.exited(spec, child, record.log_offset)
        if not ports.is_open(spec.port, spec.host):
            if moved.is_seen():
                raise _MovedError(moved.port)
            return None
        members = process.family((record.process,), spec.marker)
        listener = proved_listener(spec.port, members)
        if listener is None:
            known = {member.pid for member in process.family((record.process,), spec.marker)}
            if any(found.pid not in known for found in ports.listeners(spec.port)):
                raise trouble.port_in_use(spec, spec.port)
            return None
        status = ask(listener.address, spec.port, spec.health_path, terms.deadline)
        return record._replace(listener=listener) if is_answer(spec, status) else None

    what = f"the {spec.title} (pid {child.pid}) on port {spec.port}; log: {spec.log_file}"
    begun = time.monotonic()
    proved = readiness.wait(attempt, terms.deadline, what=lambda: what, notify=terms.notify)
    if proved is None:
        raise trouble.not_ready(spec, time.monotonic() - begun, record.log_offset)
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
        members = process.family((self.record.process,), self.spec.marker)
        sockets = ports.listening(pids=[member.pid for member in members])
        serves = next((found for found in sockets if self._answers(found)), None)
        self.port = serves.port if serves else 0
        if not serves:
            self.first_seen = None
        elif self.first_seen is None:
            self.first_seen = now
        self.moved = self.first_seen is not None and now - self.first_seen >= MOVE_GRACE
        return self.moved

    def _answers(self, found: Socket) -> bool:
        return is_answer(self.spec, ask(found.address, found.port, self.spec.health_path))
