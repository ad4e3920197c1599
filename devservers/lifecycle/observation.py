"""Observation: what has become of a start, as a value, at one moment after another."""

import enum
import time
from typing import NamedTuple

from devservers.lifecycle import readiness
from devservers.lifecycle.record import ServerRecord
from devservers.lifecycle.verdict import family, has_strangers, proved_listener
from devservers.spec import ServerSpec
from devservers.system import process, sockets
from devservers.system.identity import Socket

MOVE_GRACE = 1.0  # seconds that a server may answer on another port before its own


class Start(enum.Enum):
    """What has become of a start, as far as can be seen at one moment."""

    WAITING = "it may come up"
    READY = "its listener, if it is to have one, is proved ours, and it counts as up"
    EXITED = "its process has ended"
    TAKEN = "somebody else has its port"
    MOVED = "it went to another port, because its own was taken for a moment"


class Observed(NamedTuple):
    """A start as it was seen."""

    start: Start
    record: ServerRecord
    """With the proved listener, once there is one."""
    port: int | None = None
    """Where it serves, if it has moved."""


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
        self.moved_to: int | None = None

    def port(self) -> int | None:
        """Return where it serves instead, if it has done so for MOVE_GRACE seconds.

        It is looked at twice a second at most.
        """
        now = time.monotonic()
        if not self.spec.behaviour.moves or now < self.next_check:
            return self.moved_to
        self.next_check = now + MOVE_GRACE / 2
        members = process.family((self.record.process,), self.spec.marker).members
        listeners = sockets.listening(pids=[member.pid for member in members])
        serves = next((found.port for found in listeners if self._answers(found)), None)
        if serves is None:
            self.first_seen = None
        elif self.first_seen is None:
            self.first_seen = now
        lasts = self.first_seen is not None and now - self.first_seen >= MOVE_GRACE
        self.moved_to = serves if lasts else None
        return self.moved_to

    def _answers(self, found: Socket) -> bool:
        return readiness.of_listener(self.spec, found.address, found.port).ok


def observe(
    spec: ServerSpec, record: ServerRecord, moves: MoveWatch, *, ended: bool, deadline: float
) -> Observed:
    """Return what has become of the start of `record`; `ended`: its process has.

    No answer is waited for beyond `deadline`, a monotonic instant.
    """
    if ended:
        return Observed(Start.EXITED, record)
    if spec.port is None:
        return _by_output(spec, record)
    if not sockets.is_open(spec.port, spec.host):
        moved = moves.port()
        return Observed(Start.MOVED if moved else Start.WAITING, record, moved)
    roots = (record.process,)
    listener = proved_listener(spec.port, family(spec, roots, spec.port).members)
    if listener is None:
        taken = has_strangers(spec, roots, spec.port)
        return Observed(Start.TAKEN if taken else Start.WAITING, record)
    if not readiness.of_listener(spec, listener.address, spec.port, deadline).ok:
        return Observed(Start.WAITING, record)
    return _by_output(spec, record._replace(listener=listener))


def _by_output(spec: ServerSpec, record: ServerRecord) -> Observed:
    if not readiness.of_output(spec, record):
        return Observed(Start.WAITING, record)
    return Observed(Start.READY, record._replace(ready=True))
