"""Client: the connection of a browser, and whom its requests go to, one after another.

What has begun is finished where it began; the next request goes to whom its name stands for then.
"""

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

from devservers.door import messages, settings
from devservers.door.backend import Backend
from devservers.door.messages import END, LONGEST_HEAD, NoMessageError, Request
from devservers.door.side import Side
from devservers.worktree import Worktree

if TYPE_CHECKING:
    from devservers.door.server import Door

HEALTH = settings.HEALTH.encode()
CONNECT_PATIENCE = 5.0  # seconds
HEAD_PATIENCE = 30.0  # seconds until the head of a request must be there
LINGER = 1.0  # seconds for a refused client to read why, while it may go on sending
AGAIN = (b"GET", b"HEAD", b"OPTIONS")  # what may be sent once more (RFC 9110, 9.2.2)
IDLE = 1.0  # seconds; Node.js ends what has been idle for five, and may do so in this moment


class Client(Side):
    """The connection of a browser, or of any other program: its requests, one after another."""

    def __init__(self, door: "Door") -> None:
        super().__init__()
        self.request: Request | None = None
        """The one in flight, from its head on until both bodies are through."""
        self.backend: Backend | None = None
        self.tunnels = False
        """Bytes are all there is to it: a WebSocket."""
        self.follows = False
        """It came to the address that follows the worktree in use."""
        self._door = door
        self._buffer = b""
        self._head = b""
        self._sent = self._ended = self._last = self._refused = False
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether it waits for nothing."""
        return self.request is None and not self._buffer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note of it."""
        super().connection_made(transport)
        self._door.came(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the server at once: it may stop working for nobody."""
        del error
        self._door.left(self)
        self._stop_timer()
        if self._task is not None:
            self._task.cancel()
        if self.backend is not None:
            self.backend.leave()
            self.backend = None

    def data_received(self, data: bytes) -> None:
        """Pass on what it sends, up to the end of its request."""
        if self._refused:
            return
        if self.tunnels and self.backend:
            self.backend.send(data)
            return
        self._buffer += data
        self._go_on()

    def eof_received(self) -> bool:
        """Finish what it has asked for, if that is whole: it may still be reading."""
        if self.tunnels and self.backend:
            self.backend.end_writing()
            return True
        self._ended = True
        return self.request is not None and (self.request.body.done or not self._sent)

    def pause_writing(self) -> None:
        """Have the server wait."""
        if self.backend:
            self.backend.hold("client")

    def resume_writing(self) -> None:
        """Let the server go on."""
        if self.backend:
            self.backend.release("client")

    def _go_on(self) -> None:
        """Do what can be done with what has come so far."""
        if not self.is_open:
            return
        try:
            if self.request is not None and self._sent:
                self._send_body(self.request)
            while self.request is None and self._begin():
                pass
        except NoMessageError as error:
            self.broken(error.status, f"Refused: {error}.")
            return
        # What comes behind a request in flight is another one, which has to wait.
        if self.request is not None and len(self._buffer) > LONGEST_HEAD:
            self.hold("turn")
        else:
            self.release("turn")

    def _begin(self) -> bool:
        """Begin with the next request, if its head is whole."""
        while self._buffer.startswith(b"\r\n"):  # RFC 9112, 2.2
            self._buffer = self._buffer[2:]
        end = self._buffer.find(END) + len(END)
        if end < len(END):
            if len(self._buffer) > LONGEST_HEAD:
                raise NoMessageError(431, "the head of the request is too long")
            if self._buffer and self._timer is None:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(HEAD_PATIENCE, self.close)
            elif self._ended:
                self.close()
            return False
        self._stop_timer()
        self._head, self._buffer = self._buffer[:end], self._buffer[end:]
        self.request = messages.request(self._head)
        self._sent = False
        backend = self.backend
        if backend and self._can_reuse(backend, self.request):
            self._send(backend, self.request)
        else:
            self._task = asyncio.get_running_loop().create_task(self._route(self.request))
        return self.request is None

    def _can_reuse(self, backend: Backend, request: Request) -> bool:
        is_fresh = time.monotonic() - backend.since < IDLE or request.method in AGAIN
        if not (backend.is_open and is_fresh and request.target != HEALTH):
            return False
        self.follows = self._door.follows(request.host)
        return self._door.leads(request.host, backend.root)

    async def _route(self, request: Request) -> None:
        """Find out whose request it is, connect if need be, and send it."""
        try:
            place = await self._door.place(request.host)
            if place is None:
                self.broken(421, "No name leads here but this repository's own.")
                return
            self.follows = place.follows
            backend = None
            if place.tree is not None and request.target != HEALTH:
                backend = await self._to(place.tree)
            if backend is None:
                self._answer(await self._door.page(request, place))
                return
            self._send(backend, request)
            self._go_on()
        except NoMessageError as error:
            self.broken(error.status, f"Refused: {error}.")

    async def _to(self, tree: Worktree) -> Backend | None:
        """Return a connection to the server of a worktree's app, None where none can be had."""
        known = self.backend
        if known and known.root == tree.root and self._is_usable(known):
            return known
        self._forget_backend()
        way = await self._door.way(tree)
        if way is None:
            return None
        for address in way.addresses:
            loop = asyncio.get_running_loop()
            connecting = loop.create_connection(
                partial(Backend, self, tree.root), address, way.port
            )
            try:
                _, made = await asyncio.wait_for(connecting, CONNECT_PATIENCE)
            except (OSError, TimeoutError):
                continue
            if way.holds:  # else somebody else has the port by now
                self.backend = made
                return made
            made.leave()
        return None

    @staticmethod
    def _is_usable(backend: Backend) -> bool:
        return backend.is_open and time.monotonic() - backend.since < IDLE

    def _send(self, backend: Backend, request: Request) -> None:
        backend.response, backend.has_answered = None, False
        backend.used += 1
        backend.send(self._head)
        self._sent = True
        self._send_body(request)

    def _send_body(self, request: Request) -> None:
        if request.body.done or not self._buffer or self.backend is None:
            return
        data = self._buffer
        end = request.body.take(data)
        self._buffer = data[end:]
        self.backend.send(data if end == len(data) else data[:end])
        self.answered()  # the answer may have come before the end of the question

    def begin_tunnel(self) -> None:
        """Pass on bytes from now on, both ways."""
        self.tunnels = True
        data, self._buffer = self._buffer, b""
        if self.backend and data:
            self.backend.send(data)
        self.release("turn")

    def answered(self, *, last: bool = False) -> None:
        """Go on to the next request, if this one and its answer are through.

        With `last` the answer has ended with the connection.
        """
        request, backend = self.request, self.backend
        response = backend.response if backend else None
        if request is None or backend is None or response is None:
            return
        if not (last or response.body.done):
            return
        if last or response.closes or self._last:
            self._forget_backend()
            self.close()
            return
        if not request.body.done:
            return  # the server has answered before it had read all; it may go on reading
        self.request = None
        backend.since = time.monotonic()
        asyncio.get_running_loop().call_soon(self._go_on)  # never deeper with each request

    def dropped(self, backend: Backend) -> None:
        """Make the best of it that the server has closed its connection."""
        request, self.backend = self.request, None
        self.release("server")
        if self.tunnels or backend.response is not None:
            self.close(at_once=not self.tunnels and request is not None)
        elif request is None:
            return
        elif backend.has_answered or not self._sent:
            self.broken(502, "The server has ended the connection while it answered.")
        elif backend.used > 1 and request.method in AGAIN and request.body.done:
            self._sent = False  # it had been idle, and was closed in this very moment
            self._task = asyncio.get_running_loop().create_task(self._route(request))
        else:
            self.broken(502, "The server has ended the connection without an answer.")

    def broken(self, status: int, why: str) -> None:
        """End with an error, told if nothing has been told yet."""
        backend = self.backend
        begun = backend is not None and backend.response is not None
        self._forget_backend()
        if begun:
            self.close(at_once=True)
        else:
            self._answer(messages.answer(status, f"{why}\n".encode(), "text/plain", b"GET"))

    def _answer(self, whole: bytes) -> None:
        """Send an answer of our own, the last on this connection."""
        request, self.request = self.request, None
        is_through = request is not None and request.body.done and not self._buffer
        self._refused = True
        self._buffer = b""
        self.release("turn")
        self._forget_backend()
        self.send(whole)
        if is_through:
            self.close()
            return
        # To close while it sends would reset the connection, and take the answer away again.
        self.end_writing()
        asyncio.get_running_loop().call_later(LINGER, self.close)

    def leave_behind(self) -> None:
        """Another worktree is in use now: close as soon as nothing that has begun is lost."""
        response = self.backend.response if self.backend else None
        if self.tunnels or self.is_idle or (response and response.is_stream):
            self._forget_backend()
            self.close()
        else:
            self._last = True

    def _forget_backend(self) -> None:
        if self.backend is not None:
            self.backend.leave()
            self.backend = None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
