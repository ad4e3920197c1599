"""Loopback: HTTP questions to servers on this machine, bounded in time and size, past any proxy.

Whoever listens may be anybody: it may drip, go on for ever, or send what is no HTTP. The bounds lie
in the socket itself, where nothing that reads from it can get round them.
"""

import contextlib
import json
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

LARGEST_ANSWER = 4 << 20  # bytes, status line and headers included
LOOPBACKS = ("127.0.0.1", "::1")


class Answer(NamedTuple):
    """An HTTP answer; `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    """As it came: what is compressed, although nobody asked for that, stays so."""

    def json(self) -> object:
        """Return the body as JSON, None if it is something else."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class NoAnswerError(Exception):
    """Nothing listens, or it did not answer in time; the text says which."""


def ask(  # noqa: PLR0913 - the parts of one HTTP question
    method: str,
    port: int,
    path: str,
    *,
    timeout: float,
    data: object = None,
    addresses: Sequence[str] = LOOPBACKS,
) -> Answer:
    """Return what the first of `addresses` that answers says within `timeout` seconds in all.

    That is one deadline for all of them, from the first connection to the last byte. Always under
    the name `localhost`: the inngest SDK registers itself under the host it was asked by. Redirects
    are not followed. Raises NoAnswerError.
    """
    deadline = time.monotonic() + timeout
    problem = "nothing listens there"
    for family, place in _places(addresses, port):
        try:
            connection = _connect(family, place, deadline)
        except TimeoutError:
            break
        except OSError:
            continue
        with connection:
            answer = _exchange(connection, method, f"http://localhost:{port}{path}", data)
        if answer is not None:
            return answer
        problem = connection.problem or "it closed the connection, or its answer is no HTTP"
    if time.monotonic() >= deadline:
        problem = f"it did not answer within {timeout:g} s"
    raise NoAnswerError(problem)


class _Bounded(socket.socket):
    """A connection with one deadline for all that is sent and read, and one limit on what is read.

    requests and urllib3 give a time-out to each wait only.
    """

    deadline = 0.0
    most = LARGEST_ANSWER
    problem = ""
    """Why no more is read."""

    def settimeout(self, value: float | None) -> None:
        """Do nothing: the deadline counts, whatever a client thinks."""

    def connect(self, address: object) -> None:
        self._hurry()
        super().connect(address)  # type: ignore[arg-type]

    def sendall(self, data: "ReadableBuffer", flags: int = 0) -> None:
        self._hurry()
        super().sendall(data, flags)  # its time-out is for the whole of `data`

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int = 0, flags: int = 0) -> int:
        if self.most <= 0:
            self.problem = "its answer is too long"
            raise ConnectionAbortedError(self.problem)
        self._hurry()
        count = super().recv_into(buffer, nbytes, flags)
        self.most -= count
        return count

    def _hurry(self) -> None:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        super().settimeout(left)


def _places(addresses: Sequence[str], port: int) -> Iterator[tuple[int, object]]:
    for address in addresses:  # a configuration may name a host
        with contextlib.suppress(OSError):
            for family, *_, place in socket.getaddrinfo(address, port, type=socket.SOCK_STREAM):
                yield family, place


def _connect(family: int, place: object, deadline: float) -> _Bounded:
    connection = _Bounded(family, socket.SOCK_STREAM)
    connection.deadline = deadline
    try:
        connection.connect(place)
    except BaseException:
        connection.close()
        raise
    return connection


def _exchange(connection: _Bounded, method: str, url: str, data: object) -> Answer | None:
    """Ask, and return the answer; None if there is none that is HTTP, whole and in time."""
    with _session(connection) as session:
        try:
            with session.request(
                method,
                url,
                json=data,
                headers={"Accept-Encoding": "identity", "Connection": "close"},
                allow_redirects=False,
                stream=True,
            ) as answer:
                # Raw: a megabyte can be compressed to a kilobyte, and a gigabyte to one.
                body = answer.raw.read(decode_content=False)
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return Answer(answer.status_code, headers, body)
        except Exception:  # noqa: BLE001 - a stranger's bytes, read by five layers of others' code
            return None


def _session(connection: socket.socket) -> Any:  # noqa: ANN401 - whose import is what it saves
    """Return a requests.Session that has this one connection, and nothing of the environment."""
    import requests  # noqa: PLC0415 - 70 to 190 ms that a warm call saves
    from urllib3 import HTTPConnectionPool  # noqa: PLC0415
    from urllib3.connection import HTTPConnection  # noqa: PLC0415

    class Connection(HTTPConnection):
        def connect(self) -> None:
            self.sock = connection

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class Session(requests.Session):
        def get_redirect_target(self, resp: requests.Response) -> None:
            """Return none: requests reads, and decompresses, the whole of one it doesn't follow."""

    session = Session()
    session.trust_env = False  # a proxy in the environment breaks every call to localhost
    adapter = requests.adapters.HTTPAdapter()
    adapter.poolmanager.pool_classes_by_scheme = {"http": Pool}
    session.mount("http://", adapter)
    return session
