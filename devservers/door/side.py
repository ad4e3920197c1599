"""Side: one end of what is passed on: a connection that may be held back for several reasons."""

import asyncio


class Side(asyncio.Protocol):
    """One end: a transport that may be held back for several reasons at once."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.has_ended = False
        """Nothing more comes from there."""
        self._holds: set[str] = set()
        self._says_no_more = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write to."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of TCP
        self.transport = transport

    @property
    def is_open(self) -> bool:
        """Whether it can be written to."""
        return self.transport is not None and not self.transport.is_closing()

    def send(self, data: bytes) -> None:
        """Write, unless the other end has gone."""
        if self.is_open and not self._says_no_more and self.transport is not None:
            self.transport.write(data)

    def hold(self, why: str) -> None:
        """Read no more, until that reason is gone."""
        if not self._holds and self.is_open and self.transport is not None:
            self.transport.pause_reading()
        self._holds.add(why)

    def release(self, why: str) -> None:
        """Read again, unless there is another reason not to."""
        if why not in self._holds:
            return
        self._holds.discard(why)
        if not self._holds and self.is_open and self.transport is not None:
            self.transport.resume_reading()

    def end_writing(self) -> None:
        """Say that nothing more will come, and go on reading."""
        if self.is_open and self.transport is not None and self.transport.can_write_eof():
            self._says_no_more = True
            self.transport.write_eof()

    def end_reading(self) -> bool:
        """Note that nothing more comes; return whether there may still be something to write."""
        self.has_ended = True
        return not self._says_no_more

    def close(self, *, at_once: bool = False) -> None:
        """Close it, by default once all is written."""
        if self.transport is not None:
            if at_once:
                self.transport.abort()
            else:
                self.transport.close()
