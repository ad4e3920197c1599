"""Verdict: what the record on disk and the live system say together about a declared server."""

import enum
import math
import time
from collections.abc import Iterable
from typing import NamedTuple

from devservers.errors import StateUnusableError
from devservers.lifecycle import readiness, state
from devservers.lifecycle.record import ServerRecord
from devservers.spec import Http, Log, Recognised, ServerSpec, Tcp
from devservers.system import process, procfs, sockets
from devservers.system.identity import Identity, Listener, Socket
from devservers.system.process import Family

RECOGNISE_PATIENCE = 1.0  # seconds after which no further socket on the port is asked what it is
SECOND_LOOK = 0.05  # seconds; a process that ends has no environment while its sockets still close
LOOKS = 3


class Verdict(enum.Enum):
    """The rows of the decision table in docs/architecture.md."""

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
    port: int | None
    record: ServerRecord | None
    """As it is on disk; stale if the verdict says so."""
    listener: Listener | None = None
    """Who listens, if that is ours or adoptable and may be known."""
    leader: Identity | None = None
    """Of an orphan that has no port: the process that the others descend from."""
    http_status: int | None = None
    answers: bool = False
    """That status counts as an answer of such a server."""
    recognised: Recognised | None = None


def quick_proof(spec: ServerSpec, deadline: float = math.inf) -> ServerRecord | None:
    """Return the record if it is proved, at almost no cost, that nothing has to be done.

    That is: pid file and record agree, the recorded processes are the very same, the recorded
    listener has the very same socket open, it answers, and it watches all that `spec` asks for.
    No lock, no psutil on Linux, and no cost that grows with the machine's processes or sockets.
    It is not waited for an answer beyond `deadline`, a monotonic instant.
    """
    record = state.read(spec.files.pid)
    if record is None or not set(spec.behaviour.urls) <= set(record.urls):
        return None
    if state.read_pid(spec.files.pid) != record.process.pid or not process.is_alive(record.process):
        return None
    if not (record.ready or isinstance(spec.ready, (Http, Tcp))):
        return None
    if record.port is None:
        return record if spec.port is None else None
    if record.listener is None or not still_listens(record.listener, record.port):
        return None
    said = readiness.of_listener(spec, record.listener.address, record.port, deadline)
    return record if said.ok else None


def require_sight() -> None:
    """Raise StateUnusableError where nothing can be proved of any process."""
    if not procfs.sees_itself():
        raise StateUnusableError(
            "What runs here can't be seen: /proc is not mounted, or is another pid namespace's.",
            hint="Mount it: `mount -t proc proc /proc` (`unshare --mount-proc`, `bwrap --proc`).",
        )


def examine(spec: ServerSpec, deadline: float = math.inf, *, home: bool = False) -> View:
    """Return what is true now; with `home` the page is asked for that a person would look at.

    It is not waited for the answer of a server beyond `deadline`, a monotonic instant. Raises
    StateUnusableError.
    """
    require_sight()
    record = state.read(spec.files.pid)
    if record is not None and process.is_alive(record.process):
        return _examine_ours(spec, record, deadline, home=home)
    if spec.port is None:
        return _examine_mark(spec, record)
    return _examine_port(spec, record, spec.port, deadline, home=home)


def family(
    spec: ServerSpec, roots: Iterable[Identity], port: int | None, *, ask_strays: bool = True
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
    until = time.monotonic() + (RECOGNISE_PATIENCE if ask_strays and spec.behaviour.moves else 0)
    serving: set[int | None] = set()
    for socket in sockets.listening(by_pid):
        if socket.pid in serving:
            continue
        if socket.port == port or (time.monotonic() < until and spec.behaviour.recognise(socket)):
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


def _examine_ours(spec: ServerSpec, record: ServerRecord, deadline: float, *, home: bool) -> View:
    port, listener = record.port, record.listener
    if port is None:
        is_up = readiness.of_output(spec, record)
        verdict = Verdict.RUNNING if is_up else Verdict.STARTING
        return View(verdict, None, record, answers=is_up)
    if listener is None or not still_listens(listener, port):
        if not sockets.is_open(port, spec.host):
            return View(Verdict.STARTING, port, record)
        roots = (record.process,)
        listener = proved_listener(port, family(spec, roots, port).members)
        if listener is None:
            others = has_strangers(spec, roots, port)
            return View(Verdict.CONFLICT if others else Verdict.STARTING, port, record)
    said = readiness.of_listener(spec, listener.address, port, deadline, home=home)
    verdict = Verdict.RUNNING if said.ok else Verdict.UNRESPONSIVE
    if said.ok and not readiness.of_output(spec, record):
        verdict, said = Verdict.STARTING, said._replace(ok=False)
    return View(verdict, port, record, listener, http_status=said.http_status, answers=said.ok)


def _examine_mark(spec: ServerSpec, record: ServerRecord | None) -> View:
    """Return the view of a server without a port whose recorded process is gone, if it has one."""
    members = process.family((), spec.marker).members
    if not members:
        verdict = Verdict.STALE if state.exists(spec.files.pid) else Verdict.STOPPED
        return View(verdict, None, record)
    leader = next((one for one in members if process.leads(one.pid)), members[0])
    # Where its output since its start begins is lost with the record.
    can_be_told = record is not None or not isinstance(spec.ready, Log)
    return View(Verdict.ORPHAN, None, record, leader=leader, answers=can_be_told)


def _examine_port(
    spec: ServerSpec, record: ServerRecord | None, port: int, deadline: float, *, home: bool
) -> View:
    if record and record.port and record.listener and process.is_alive(record.listener.process):
        port = record.port  # what we spawned is gone, what it spawned is not
    for _ in range(LOOKS):
        if not sockets.is_open(port, spec.host):
            break
        listeners = sockets.listeners(port)
        found = _examine_sockets(spec, record, listeners, deadline, home=home)
        if found:
            return found
        time.sleep(SECOND_LOOK)
        if set(listeners) & set(sockets.listeners(port)):
            return View(Verdict.FOREIGN, port, record)
    else:  # it is there at each look, and can't be seen from here
        return View(Verdict.FOREIGN, port, record)
    verdict = Verdict.STALE if state.exists(spec.files.pid) else Verdict.STOPPED
    return View(verdict, port, record)


def _examine_sockets(
    spec: ServerSpec,
    record: ServerRecord | None,
    listeners: tuple[Socket, ...],
    deadline: float,
    *,
    home: bool,
) -> View | None:
    """Return the view of a server of this kind among `listeners`, None if they are all foreign.

    What belongs to another user, or runs in another container, is asked nothing.
    """
    near = [found for found in listeners if found.pid and procfs.is_within_reach(found.pid)]
    known = [(found, who) for found in near if found.pid and (who := process.identify(found.pid))]
    for found, identity in known:
        if _is_orphan(spec, record, identity):
            said = readiness.of_listener(spec, found.address, found.port, deadline, home=home)
            view = View(Verdict.ORPHAN, found.port, record, _listener(found, identity))
            return view._replace(http_status=said.http_status, answers=said.ok)
    begun = time.monotonic()
    for found, identity in known:
        if time.monotonic() - begun > RECOGNISE_PATIENCE:
            break  # many sockets (SO_REUSEPORT), none of which answers
        recognised = spec.behaviour.recognise(
            found
        )  # that very one: others may hold the port beside it
        if recognised is not None:
            said = readiness.of_listener(spec, found.address, found.port, deadline, home=home)
            view = View(Verdict.ADOPTABLE, found.port, record, _listener(found, identity))
            return view._replace(
                http_status=said.http_status, answers=said.ok, recognised=recognised
            )
    return None


def _is_orphan(spec: ServerSpec, record: ServerRecord | None, identity: Identity) -> bool:
    if record and record.listener and record.listener.process == identity:
        return True
    return process.has_marker(identity.pid, spec.marker)


def still_listens(listener: Listener, port: int) -> bool:
    """Return whether that very process still has that very socket open, at almost no cost."""
    if listener.inode:
        return process.holds(listener)
    from devservers.system import by_psutil  # noqa: PLC0415 - only where there is no /proc

    pid, fd, address = listener.process.pid, listener.fd, listener.address
    return process.is_alive(listener.process) and by_psutil.listens(pid, fd, address, port)


def _listener(found: Socket, identity: Identity) -> Listener:
    inode = procfs.socket_inode(identity.pid, found.fd)
    return Listener(identity, found.address, found.fd, inode)
