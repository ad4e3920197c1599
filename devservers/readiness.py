"""Readiness: one HTTP question with a time limit, and waiting for a condition with a deadline.

The question is asked over a plain socket: a warm call can't afford the import of requests (70 to
190 ms) or of http.client (20), and a proxy in the environment can't get in the way.
"""

import socket
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
POLL = 0.02  # seconds; the real server answers about 100 ms after it is started
FIRST_NOTE = 2.0  # seconds until a wait is worth a word
NOTE_EVERY = 10.0  # seconds
LONGEST_STATUS_LINE = 4096  # bytes
STATUSES = range(100, 600)  # less is half a status: time was up, or the connection closed


def http_status(address: str, port: int, path: str, timeout: float) -> int | None:
    """Return the HTTP status that `GET path` is answered with, None if there is no answer.

    `timeout` is in seconds and bounds the whole exchange, also with a server that drips.
    """
    deadline = time.monotonic() + timeout
    if timeout <= 0:
        return None
    request = f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection((address, port), timeout) as connection:
            connection.sendall(request.encode())
            answer = b""
            while b"\r\n" not in answer and len(answer) < LONGEST_STATUS_LINE:
                connection.settimeout(max(deadline - time.monotonic(), 0.001))
                chunk = connection.recv(1024)
                if not chunk:
                    break
                answer += chunk
                if time.monotonic() > deadline:
                    break
    except OSError:
        return None
    protocol, _, rest = answer.partition(b" ")
    digits = rest[:4].strip()  # one more than there are, so that a fourth would be seen
    status = int(digits) if protocol.startswith(b"HTTP/") and digits.isdigit() else 0
    return status if status in STATUSES else None


def wait(
    attempt: Callable[[], T | None],
    deadline: float,
    *,
    what: Callable[[], str],
    notify: Callable[[str], None] | None = None,
) -> T | None:
    """Repeat `attempt` until it returns something, and return that; None when time is up.

    `deadline` is a monotonic instant. `attempt` ends the wait early by raising. After two seconds
    and then every ten, `notify` is given "Waiting for …", completed by `what`.
    """
    begun = time.monotonic()
    next_note = begun + FIRST_NOTE
    while True:
        found = attempt()
        now = time.monotonic()
        if found is not None or now >= deadline:
            return found
        if notify and now >= next_note:
            next_note = now + NOTE_EVERY
            notify(f"Waiting for {what()}, {now - begun:.0f} s of {deadline - begun:.0f} s …")
        time.sleep(min(POLL, max(deadline - now, 0)))
