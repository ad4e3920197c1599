"""Guest: whom the door itself answers, and how it parts with them."""

import asyncio
from typing import TYPE_CHECKING

from devservers.door import messages
from devservers.door.side import Side
from devservers.system.connections import End

if TYPE_CHECKING:
    from devservers.door.backend import Backend
    from devservers.door.messages import Request

LINGER = 1.0  # seconds for a refused client to read why, while it may go on sending


class Guest(Side):
    """A connection to the door, with what has come over it so far."""

    def __init__(self) -> None:
        super().__init__()
        self.request: Request | None = None
        """The one in flight, from its head on until both bodies are through."""
        self.backend: Backend | None = None
        """The connection to whom its requests go."""
        self.buffer = b""
        """What has come and was not passed on yet."""
        self.has_parted = False
        """Its last answer is on the way: whatever else it sends is not read."""
        self.timer: asyncio.TimerHandle | None = None
        """Ends the wait for the rest of a head."""

    @property
    def is_idle(self) -> bool:
        """Whether it waits for nothing."""
        return self.request is None and not self.buffer

    @property
    def names(self) -> tuple[End, End] | None:
        """Both ends of the connection, ours first; None where it is none any more."""
        assert self.transport is not None  # noqa: S101 - it was made
        ours, its = (self.transport.get_extra_info(one) for one in ("sockname", "peername"))
        return (End(*ours[:2]), End(*its[:2])) if ours and its else None

    def broken(self, status: int, why: str) -> None:
        """End with an error, told if nothing has been told yet."""
        response = self.backend.response if self.backend else None
        if response is not None:
            self.forget_backend()
            self.close(at_once=response.body.ends_with_connection)
        else:
            method = self.request.method if self.request else b"GET"
            self.answer(messages.answer(status, f"{why}\n".encode(), "text/plain", method))

    def answer(self, whole: bytes) -> None:
        """Send an answer of our own, the last on this connection."""
        self.send(whole)
        self.part()

    def part(self) -> None:
        """Close once the client has had the chance to read its answer."""
        request, self.request = self.request, None
        is_through = request is not None and request.body.done and not self.buffer
        self.has_parted = True
        self.buffer = b""
        self.release("turn")
        self.forget_backend()
        if is_through:
            self.close()
            return
        # To close while it sends would reset the connection, and take the answer away again.
        self.end_writing()
        asyncio.get_running_loop().call_later(LINGER, self.close)

    def forget_backend(self) -> None:
        """End the connection to the server: nobody waits for its answer any more."""
        if self.backend is not None:
            self.backend.leave()
            self.backend = None
            self.release("server")

    def stop_timer(self) -> None:
        """Wait for no head any more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
