"""Readiness: whether a server that is there counts as up, by what its declaration says of that."""

import contextlib
import math
import re
import time
from pathlib import Path
from typing import NamedTuple

from devservers import terminal
from devservers.lifecycle.record import ServerRecord
from devservers.spec import Alive, Http, ServerSpec, Tcp
from devservers.system import http_status, logs

ANSWER_TIMEOUT = http_status.TIMEOUT
LEAST_PATIENCE = 0.25  # seconds; for a server that is well, on a machine that is busy
MOST_SEARCHED = 16 * 1024 * 1024  # bytes of a log in which a line is looked for
LONGEST_LINE = 4096  # characters; an expression may take long over a line without an end


class Answer(NamedTuple):
    """What a server says when it is asked whether it is up."""

    ok: bool
    http_status: int | None = None
    """None: it gave none, or isn't asked over HTTP."""


def of_listener(
    spec: ServerSpec, address: str, port: int, deadline: float = math.inf, *, home: bool = False
) -> Answer:
    """Return what the listener on `address` says, as far as a listener alone can tell.

    It is waited for ANSWER_TIMEOUT at most, and not beyond `deadline` (a monotonic instant), but
    always for the moment that a server needs that is well. With `home` the page is asked for that
    a person would want to know about.
    """
    if not isinstance(spec.ready, Http):
        return Answer(ok=True)
    path = (home and spec.ready.home) or spec.ready.path
    patience = min(ANSWER_TIMEOUT, max(deadline - time.monotonic(), LEAST_PATIENCE))
    status = http_status.first_status(address, port, path, patience)
    return Answer(status is not None and status <= spec.ready.worst, status)


def of_output(spec: ServerSpec, record: ServerRecord) -> bool:
    """Return whether what it wrote, or the time that it has been there, makes it count as up.

    True for what is asked over the network only. Once it was so, it stays so.
    """
    if record.ready or isinstance(spec.ready, (Http, Tcp)):
        return True
    if isinstance(spec.ready, Alive):
        return time.time() - record.started_at >= spec.ready.seconds
    return record.log_file is not None and _has_line(record, spec.ready.pattern)


def _has_line(record: ServerRecord, pattern: str) -> bool:
    """Return whether it has written a line that matches, also one that is not complete yet."""
    wanted = re.compile(pattern)
    lines = logs.lines_since(Path(str(record.log_file)), record.log_offset, MOST_SEARCHED)
    with contextlib.suppress(OSError):
        return any(wanted.search(terminal.without_colours(line)[:LONGEST_LINE]) for line in lines)
    return False
