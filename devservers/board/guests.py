"""Guests: who is connected to the board, and for how long somebody may keep it waiting."""

import contextlib
import socket
import threading
import time

Connection = socket.socket


class Guests:
    """A limited number of connections; who hasn't asked for anything goes first.

    Anybody on this machine can connect, and drip a request for as long as each wait allows. So the
    time counts until it is there as a whole, and a full house has room for one more all the same.
    """

    def __init__(self, most: int, patience: float) -> None:
        self._most, self._patience = most, patience
        self._lock = threading.Lock()
        self._all: set[Connection] = set()
        self._waited_for: dict[Connection, float] = {}  # who has waited longest is first

    def admit(self, guest: Connection) -> bool:
        """Return whether there is room for another, made if it must be."""
        with self._lock:
            if len(self._all) >= self._most:
                if not self._waited_for:
                    return False
                self._dismiss(next(iter(self._waited_for)))
            self._all.add(guest)
            self._waited_for[guest] = time.monotonic()
            return True

    def wait_for(self, guest: Connection) -> None:
        """Begin to wait for what it asks."""
        with self._lock:
            if guest in self._all:
                self._waited_for.pop(guest, None)
                self._waited_for[guest] = time.monotonic()

    def has_asked(self, guest: Connection) -> None:
        """Stop to wait: the request is there."""
        with self._lock:
            self._waited_for.pop(guest, None)

    def dismiss_late(self) -> None:
        """End the connections of those who have kept us waiting for too long."""
        latest = time.monotonic() - self._patience
        with self._lock:
            for guest in [one for one, since in self._waited_for.items() if since < latest]:
                self._dismiss(guest)

    def left(self, guest: Connection) -> None:
        """Make room: its connection is about to be closed."""
        with self._lock:
            self._all.discard(guest)
            self._waited_for.pop(guest, None)

    def _dismiss(self, guest: Connection) -> None:
        self._all.discard(guest)
        del self._waited_for[guest]
        with contextlib.suppress(OSError):  # its thread is woken, and closes it
            guest.shutdown(socket.SHUT_RDWR)
