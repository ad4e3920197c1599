"""Verdict: what the record on disk and the live system say together about a declared server."""

import enum
import math
import time
from collections.abc import Iterable
from typing import NamedTuple

from devservers.errors import StateUnusableError
from devservers.lifecycle import state
from devservers.lifecycle.record import ServerRecord
from devservers.spec import Recognised, ServerSpec
from devservers.system import http_status, process, procfs, sockets
from devservers.system.identity import Identity, Listener, Socket
from devservers.system.process import Family

ANSWER_TIMEOUT = http_status.TIMEOUT
RECOGNISE_PATIENCE = 1.0  # seconds after which no further socket on the port is asked what it is
LEAST_PATIENCE = 0.25  # seconds; for a server that is well, on a machine that is busy
SECOND_LOOK = 0.05  # seconds; a process that ends has no environment while its sockets still close
LOOKS = 3


class Verdict(enum.Enum):
    """The rows of the decision table in the design."""

    RUNNING = "ours, listens and answers"
    UNRESPONSIVE = "ours, listens and does not answer"
    STARTING = "ours, nobody listens yet"
    CONFLICT = "ours is alive, but someone else listens"
    STOPPED = "no record, nobody listens"
    STALE = "the record's process is gone, nobody listens"
    ADOPTABLE = "a server of this kind that we did not start"
    ORPHAN = "started by us, but its record is lost or its recorded process gone"
    FOREIGN = "something else listens"


class View(NamedTuple):
    """A verdict and what it rests on."""

    verdict: Verdict
    port: int
    record: ServerRecord | None
    """As it is on disk; stale if the verdict says so."""
    listener: Listener | None = None
    """Who listens, if that is ours or adoptable and may be known."""
    http_status: int | None = None
    answers: bool = False
    """That status counts as an answer of such a server."""
    recognised: Recognised | None = None


def glance(spec: ServerSpec, deadline: float = math.inf) -> ServerRecord | None:
    """Return the record if it is proved, at almost no cost, that nothing has to be done.

    That is: pid file and record agree, the recorded processes are the very same, the recorded
    listener has the very same socket open, it answers, and it watches all that `spec` asks for.
    No lock, no psutil on Linux, and no cost that grows with the machine's processes or sockets.
    It is not waited for an answer beyond `deadline`, a monotonic instant.
    """
    record = state.read(spec.pid_file)
    if record is None or record.listener is None or not set(spec.urls) <= set(record.urls):
        return None
    if state.read_pid(spec.pid_file) != record.process.pid or not process.is_alive(record.process):
        return None
    if not _still_listens(record.listener, record.port):
        return None
    status = ask(record.listener.address, record.port, spec.health_path, deadline)
    return record if is_answer(spec, status) else None


def require_sight() -> None:
    """Raise StateUnusableError where nothing can be proved of any process."""
    if not procfs.sees_itself():
        raise StateUnusableError(
            "What runs here can't be seen: /proc is not mounted, or is another pid namespace's.",
            hint="Mount it: `mount -t proc proc /proc` (`unshare --mount-proc`, `bwrap --proc`).",
        )


def look(spec: ServerSpec, path: str | None = None, deadline: float = math.inf) -> View:
    """Return what is true now; `path` is asked for instead of the spec's health path.

    It is not waited for the answer of a server beyond `deadline`, a monotonic instant. Raises
    StateUnusableError.
    """
    require_sight()
    path = path or spec.health_path
    record = state.read(spec.pid_file)
    if record is not None and process.is_alive(record.process):
        return _look_at_ours(spec, record, path, deadline)
    return _look_at_port(spec, record, path, deadline)


def family(
    spec: ServerSpec, roots: Iterable[Identity], port: int, *, ask_strays: bool = True
) -> Family:
    """Return who belongs to the server: the family of `roots`, of its mark, and of its port.

    Whoever carries the mark and listens on `port` is the server, whatever session it has made for
    itself; and so is, on any port, what says itself to be a server of a kind that moves. Without
    `ask_strays` that isn't asked: the answer may take RECOGNISE_PATIENCE.
    """
    roots = tuple(roots)
    found = process.family(roots, spec.marker)
    if not found.strays:
        return found
    by_pid = {stray.pid: stray for stray in found.strays}
    until = time.monotonic() + (RECOGNISE_PATIENCE if ask_strays and spec.moves else 0)
    serving: set[int | None] = set()
    for socket in sockets.listening(by_pid):
        if socket.pid in serving:
            continue
        if socket.port == port or (time.monotonic() < until and spec.recognise(socket)):
            serving.add(socket.pid)
    more = tuple(stray for pid, stray in by_pid.items() if pid in serving)
    return process.family((*roots, *more), spec.marker) if more else found


def has_strangers(spec: ServerSpec, roots: Iterable[Identity], port: int) -> bool:
    """Return whether anyone else than the server listens on `port`, and still does so afterwards.

    Who listens is asked before who belongs to the server, or what it forks meanwhile would count
    as a stranger.
    """
    seen = {found.pid for found in sockets.listeners(port)}
    strangers = seen and seen - {member.pid for member in family(spec, roots, port).members}
    return bool(strangers and strangers & {found.pid for found in sockets.listeners(port)})


def proved_listener(port: int, members: Iterable[Identity]) -> Listener | None:
    """Return the one of `members` that listens on `port`, None if none does."""
    by_pid = {member.pid: member for member in members}
    for found in sockets.listeners(port, pids=by_pid):
        if found.pid is not None:
            return _listener(found, by_pid[found.pid])
    return None


def is_answer(spec: ServerSpec, status: int | None) -> bool:
    """Return whether an HTTP status (None: no answer) counts as an answer of this server."""
    return status is not None and status <= spec.worst_status


def ask(address: str, port: int, path: str, deadline: float = math.inf) -> int | None:
    """Return the HTTP status of a socket that is bound to `address`; None if it gives none.

    It is waited for ANSWER_TIMEOUT at most, and not beyond `deadline` (a monotonic instant), but
    always for the moment that a server needs that is well.
    """
    patience = min(ANSWER_TIMEOUT, max(deadline - time.monotonic(), LEAST_PATIENCE))
    return http_status.first_status(address, port, path, patience)


def _look_at_ours(spec: ServerSpec, record: ServerRecord, path: str, deadline: float) -> View:
    listener = record.listener
    if listener is None or not _still_listens(listener, record.port):
        if not sockets.is_open(record.port, spec.host):
            return View(Verdict.STARTING, record.port, record)
        roots = (record.process,)
        listener = proved_listener(record.port, family(spec, roots, record.port).members)
        if listener is None:
            others = has_strangers(spec, roots, record.port)
            return View(Verdict.CONFLICT if others else Verdict.STARTING, record.port, record)
    status = ask(listener.address, record.port, path, deadline)
    verdict = Verdict.RUNNING if is_answer(spec, status) else Verdict.UNRESPONSIVE
    return View(verdict, record.port, record, listener, status, is_answer(spec, status))


def _look_at_port(
    spec: ServerSpec, record: ServerRecord | None, path: str, deadline: float
) -> View:
    port = spec.port
    if record and record.listener and process.is_alive(record.listener.process):
        port = record.port  # what we spawned is gone, what it spawned is not
    for _ in range(LOOKS):
        if not sockets.is_open(port, spec.host):
            break
        listeners = sockets.listeners(port)
        found = _look_at_sockets(spec, record, listeners, path, deadline)
        if found:
            return found
        time.sleep(SECOND_LOOK)
        if set(listeners) & set(sockets.listeners(port)):
            return View(Verdict.FOREIGN, port, record)
    else:  # it is there at each look, and can't be seen from here
        return View(Verdict.FOREIGN, port, record)
    verdict = Verdict.STALE if state.exists(spec.pid_file) else Verdict.STOPPED
    return View(verdict, port, record)


def _look_at_sockets(
    spec: ServerSpec,
    record: ServerRecord | None,
    listeners: tuple[Socket, ...],
    path: str,
    deadline: float,
) -> View | None:
    """Return the view of a server of this kind among `listeners`, None if they are all foreign.

    What belongs to another user, or runs in another container, is asked nothing.
    """
    near = [found for found in listeners if found.pid and procfs.is_within_reach(found.pid)]
    known = [(found, who) for found in near if found.pid and (who := process.identify(found.pid))]
    for found, identity in known:
        if _is_orphan(spec, record, identity):
            status = ask(found.address, found.port, path, deadline)
            listener = _listener(found, identity)
            answers = is_answer(spec, status)
            return View(Verdict.ORPHAN, found.port, record, listener, status, answers)
    begun = time.monotonic()
    for found, identity in known:
        if time.monotonic() - begun > RECOGNISE_PATIENCE:
            break  # many sockets (SO_REUSEPORT), none of which answers
        recognised = spec.recognise(found)  # that very one: others may hold the port beside it
        if recognised is not None:
            status = ask(found.address, found.port, path, deadline)
            listener = _listener(found, identity)
            answers = is_answer(spec, status)
            view = View(Verdict.ADOPTABLE, found.port, record, listener, status, answers)
            return view._replace(recognised=recognised)
    return None


def _is_orphan(spec: ServerSpec, record: ServerRecord | None, identity: Identity) -> bool:
    if record and record.listener and record.listener.process == identity:
        return True
    return process.has_marker(identity.pid, spec.marker)


def _still_listens(listener: Listener, port: int) -> bool:
    if listener.inode:
        return process.holds(listener)
    pid = listener.process.pid  # no /proc: psutil, for this one process
    return process.is_alive(listener.process) and bool(sockets.listeners(port, pids=(pid,)))


def _listener(found: Socket, identity: Identity) -> Listener:
    inode = procfs.socket_inode(identity.pid, found.fd)
    return Listener(identity, found.address, found.fd, inode)
