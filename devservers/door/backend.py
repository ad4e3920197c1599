"""Backend: the connection to a server, over which the requests of one client go."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from devservers.door import messages
from devservers.door.messages import END, LONGEST_HEAD, NoMessageError, Request, Response
from devservers.door.side import Side

if TYPE_CHECKING:
    from devservers.door.client import Client

IDLE = 1.0  # seconds; Node.js ends what has been idle for five, and may do so in this moment


class Backend(Side):
    """The connection to a server."""

    def __init__(self, client: "Client", root: Path) -> None:
        super().__init__()
        self.root = root
        """The worktree whose server it is."""
        self.used = 0
        """How many requests it has been sent."""
        self.since = time.monotonic()
        """When it was last idle."""
        self._client: Client | None = client
        self._buffer = b""
        self.response: Response | None = None
        self.has_answered = False
        """Something of the response to the request in flight has come."""

    @property
    def is_usable(self) -> bool:
        """Whether whatever is sent over it will arrive."""
        return self.is_open and time.monotonic() - self.since < IDLE

    def leave(self) -> None:
        """Close it: nobody waits for its answer any more."""
        client, self._client = self._client, None
        # Of a tunnel that both ends have closed, the last bytes may still be on their way.
        self.close(at_once=not (client and client.tunnels and client.has_ended))

    def data_received(self, data: bytes) -> None:
        """Pass on what it answers."""
        client = self._client
        if client is None:
            return
        if client.tunnels:
            client.send(data)
            return
        try:
            self._take(client, data)
        except NoMessageError as error:
            client.broken(502, f"What the server answered is no HTTP: {error}.")

    def _take(self, client: "Client", data: bytes) -> None:
        while data:
            request = client.request
            if request is None or client.backend is not self:
                self.leave()  # nobody has asked for that
                client.dropped(self)
                return
            self.has_answered = True
            start = 0
            if self.response is None:
                data = self._buffer + data
                start = self._take_head(client, request, data)
            if client.tunnels:
                client.send(data)
                return
            end = start
            if self.response is not None:
                try:
                    end = self.response.body.take(data, start)
                except NoMessageError:
                    client.send(data[:start])  # so that the client sees that the rest is missing
                    raise
            if end:  # head and body in one piece, where they came so
                client.send(data if end == len(data) else data[:end])
            data = data[end:] if start or self.response else b""
            if self.response is not None and self.response.body.done:
                client.answered()

    def _take_head(self, client: "Client", request: Request, data: bytes) -> int:
        """Read a head, if it is whole; return where it ends, 0 while it doesn't."""
        end = data.find(END) + len(END)
        if max(end, 0 if end >= len(END) else len(data)) > LONGEST_HEAD:
            raise NoMessageError(502, "its head is too long")
        if end < len(END):
            self._buffer = data
            return 0
        self._buffer = b""
        found = messages.response(data[:end], request.method)
        if found.status == 101:  # noqa: PLR2004 - Switching Protocols
            if not request.upgrades:
                raise NoMessageError(502, "it changes the protocol unasked")
            client.begin_tunnel()
        elif found.status >= 200:  # noqa: PLR2004 - else another head follows
            self.response = found
        return end

    def eof_received(self) -> bool:
        """Say so to the client of a tunnel, which may go on sending; else it is over."""
        client = self._client
        if client is not None and client.tunnels:
            client.end_writing()
            return self.end_reading()
        body = self.response.body if self.response else None
        if client is not None and client.backend is self and body and body.ends_with_connection:
            client.answered(last=True)
        self._over()
        self.close(at_once=True)  # what it has not read yet, it won't read
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the client what that means for it."""
        del error
        self._over()

    def _over(self) -> None:
        client, self._client = self._client, None
        if client is not None and client.backend is self:
            client.dropped(self)

    def pause_writing(self) -> None:
        """Have the client wait."""
        if self._client:
            self._client.hold("server")

    def resume_writing(self) -> None:
        """Let the client go on."""
        if self._client:
            self._client.release("server")
