"""Client: the connection of a browser, and whom its requests go to, one after another.

What has begun is finished where it began; the next request goes to whom its name stands for then.
"""

import asyncio
import re
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from devservers.door import messages, settings
from devservers.door.backend import Backend
from devservers.door.guest import Guest
from devservers.door.messages import END, LONGEST_HEAD, NoMessageError, Request
from devservers.worktree import Worktree

if TYPE_CHECKING:
    from devservers.door.server import Door

HEALTH = settings.HEALTH.encode()
CONNECT_PATIENCE = 5.0  # seconds
HEAD_PATIENCE = 30.0  # seconds until the head of a request must be there
EMPTY_LINES = re.compile(rb"(?:\r\n)+")
AGAIN = (b"GET", b"HEAD", b"OPTIONS")  # what may be sent once more (RFC 9110, 9.2.2)
QUIET = 0.04  # seconds; from an answer to the next request a program takes less, mostly


class Client(Guest):
    """The connection of a browser, or of any other program: its requests, one after another."""

    def __init__(self, door: "Door") -> None:
        super().__init__()
        self.tunnels = False
        """Bytes are all there is to it: a WebSocket."""
        self.follows = False
        """It came to the address that follows the worktree in use."""
        self.root: Path | None = None
        """The worktree that its last request goes to."""
        self._door = door
        self._head = b""
        self._sent = self._is_full = self._may_repeat = False
        self._idle_since = time.monotonic()
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note of it."""
        super().connection_made(transport)
        self._door.came(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the server at once: it may stop working for nobody."""
        del error
        self._door.left(self)
        self.stop_timer()
        if self._task is not None:
            self._task.cancel()
        if self.backend is not None:
            self.backend.leave()
            self.backend = None

    def data_received(self, data: bytes) -> None:
        """Pass on what it sends, up to the end of its request."""
        if self.has_parted:
            return
        if self.tunnels and self.backend:
            self.backend.send(data)
            return
        self.buffer += data
        self._go_on()

    def eof_received(self) -> bool:
        """Finish what it has asked for, if that is whole: it may still be reading."""
        stays = self.end_reading()
        if self.tunnels and self.backend:
            self.backend.end_writing()
            return stays
        if self.has_parted or self.is_idle or self._breaks_off or self._hears_a_stream:
            return False
        self._door.ended(self)
        asyncio.get_running_loop().call_soon(self._go_on)
        return True

    @property
    def _breaks_off(self) -> bool:
        request = self.request
        return self.has_ended and request is not None and self._sent and not request.body.done

    @property
    def _hears_a_stream(self) -> bool:
        response = self.backend.response if self.backend else None
        return response is not None and response.is_stream

    def pass_on_end(self) -> None:
        """Tell the server that nothing more comes: it knows what that means for its answer."""
        if self.backend and self._sent and not self.buffer:
            self.backend.end_writing()

    def pause_writing(self) -> None:
        """Have the server wait."""
        self._is_full = True
        if self.backend:
            self.backend.hold("client")

    def resume_writing(self) -> None:
        """Let the server go on."""
        self._is_full = False
        if self.backend:
            self.backend.release("client")

    def _go_on(self) -> None:
        """Do what can be done with what has come so far."""
        if self.has_parted or not self.is_open:
            return
        try:
            if self.request is not None and self._sent:
                self._send_body(self.request)
            while self.request is None and self._begin():
                pass
        except NoMessageError as error:
            self.broken(error.status, f"Refused: {error}.")
            return
        if self._breaks_off:
            self.close(at_once=True)
        # What comes behind a request in flight is another one, which has to wait.
        if self.request is not None and len(self.buffer) > LONGEST_HEAD:
            self.hold("turn")
        else:
            self.release("turn")

    def _begin(self) -> bool:
        """Begin with the next request, if its head is whole."""
        if empty := EMPTY_LINES.match(self.buffer):  # RFC 9112, 2.2
            self.buffer = self.buffer[empty.end() :]
        end = self.buffer.find(END) + len(END)
        is_whole = end >= len(END)
        if (end if is_whole else len(self.buffer)) > LONGEST_HEAD:
            raise NoMessageError(431, "the head of the request is too long")
        if not is_whole:
            if self.has_ended:
                self.close()
            elif self.buffer and self.timer is None:
                loop = asyncio.get_running_loop()
                self.timer = loop.call_later(HEAD_PATIENCE, self.close)
            return False
        self.stop_timer()
        self._head, self.buffer = self.buffer[:end], self.buffer[end:]
        self.request = messages.request(self._head)
        self._sent = False
        self._may_repeat = self.request.method in AGAIN and self.request.body.done
        backend = self.backend
        if backend and self._can_reuse(backend, self.request):
            self._send(backend, self.request)
        else:
            self._task = asyncio.get_running_loop().create_task(self._route(self.request))
        return self.request is None

    def _can_reuse(self, backend: Backend, request: Request) -> bool:
        is_good = backend.is_usable or (backend.is_open and self._may_repeat)
        if not is_good or request.target == HEALTH:
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
            self.follows, self.root = place.follows, place.tree.root if place.tree else None
            backend = None
            if place.tree is not None and request.target != HEALTH:
                backend = await self._to(place.tree)
            if backend is None:
                self.answer(await self._door.page(request, place))
                return
            self._send(backend, request)
            self._go_on()
        except NoMessageError as error:
            self.broken(error.status, f"Refused: {error}.")
        except Exception as error:  # noqa: BLE001 - whatever it is: nobody is to wait for ever
            self._door.failed(error)
            self.broken(500, f"The door has failed, see `inv {settings.NAME}.logs`")

    async def _to(self, tree: Worktree) -> Backend | None:
        """Return a connection to the server of a worktree's app, None where none can be had."""
        known = self.backend
        if known and known.root == tree.root and known.is_usable:
            return known
        self.forget_backend()
        way = await self._door.way(tree)
        if way is None:
            return None
        for address in way.addresses:
            loop = asyncio.get_running_loop()
            connecting = loop.create_connection(
                partial(Backend, self, tree.root), address, way.port
            )
            try:
                async with asyncio.timeout(CONNECT_PATIENCE):
                    _, made = await connecting
            except (OSError, TimeoutError):
                continue
            if way.holds:  # else somebody else has the port by now
                self.backend = made
                if self._is_full:
                    made.hold("client")
                return made
            made.leave()
        return None

    def _send(self, backend: Backend, request: Request) -> None:
        backend.response, backend.has_answered = None, False
        backend.used += 1
        self._sent = True
        if not backend.is_open:  # it has been closed since it was made
            self.dropped(backend)
            return
        backend.send(self._head)
        self._send_body(request)

    def _send_body(self, request: Request) -> None:
        if request.body.done or not self.buffer or self.backend is None:
            return
        data = self.buffer
        end = request.body.take(data)
        self.buffer = data[end:]
        self.backend.send(data if end == len(data) else data[:end])
        self.answered()  # the answer may have come before the end of the question

    def begin_tunnel(self) -> None:
        """Pass on bytes from now on, both ways."""
        self.tunnels = True
        data, self.buffer = self.buffer, b""
        if self.backend and data:
            self.backend.send(data)
        if self.backend and self.has_ended:
            self.backend.end_writing()
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
        if last or response.closes or request.closes:
            self.part()
            return
        if not request.body.done:
            return  # the server has answered before it had read all; it may go on reading
        self.request = backend.response = None
        backend.since = self._idle_since = time.monotonic()
        asyncio.get_running_loop().call_soon(self._go_on)  # never deeper with each request

    def dropped(self, backend: Backend) -> None:
        """Make the best of it that the server has closed its connection."""
        request, response, self.backend = self.request, backend.response, None
        self.release("server")
        if self.tunnels:
            self.close()
        elif request is None or not self._sent:
            return  # it was idle, and the next request goes over another
        elif response is not None and response.body.done:
            self.part()  # it has answered, and reads no more of the question
        elif response is not None:
            # The client sees that it isn't whole, unless it ends with the connection.
            self.close(at_once=response.body.ends_with_connection)
        elif backend.has_answered:
            self.broken(502, "The server has ended the connection while it answered.")
        elif backend.used > 1 and self._may_repeat:
            self._sent = False  # it had been idle, and was closed in this very moment
            self._task = asyncio.get_running_loop().create_task(self._route(request))
        else:
            self.broken(502, "The server has ended the connection without an answer.")

    def leave_behind(self) -> bool:
        """Another worktree is in use now: close if that loses nothing; return whether it did.

        What is in flight is finished, and the next request on this connection goes to the new one.
        Who has got an answer a moment ago may have sent that already, and would lose it.
        """
        is_quiet = self.is_idle and time.monotonic() - self._idle_since >= QUIET
        if not (self.tunnels or is_quiet or self._hears_a_stream):
            return False
        self.forget_backend()
        self.close()
        return True
