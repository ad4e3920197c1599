"""Polling: waiting for a condition with a deadline, and saying so when it takes long."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
POLL = 0.02  # seconds; the real server answers about 100 ms after it is started
FIRST_NOTE = 2.0  # seconds until a wait is worth a word
NOTE_EVERY = 10.0  # seconds


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
