"""Bounded: requests, on a connection that has one deadline and one limit of size.

The bounds lie in the socket itself, where nothing that reads from it can get round them.
"""

import contextlib
import socket
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


class Bounded(socket.socket):
    """A connection with one deadline for all that is sent and read, and one limit on what is read.

    requests and urllib3 give a time-out to each wait only.
    """

    deadline = 0.0
    most = 0
    """How many bytes are still read."""
    problem = ""
    """Why no more is read."""

    def settimeout(self, value: float | None) -> None:
        """Do nothing: the deadline counts, whatever a client thinks."""

    def connect(self, address: object) -> None:  # noqa: D102
        self._hurry()
        super().connect(address)  # type: ignore[arg-type]

    def sendall(self, data: "ReadableBuffer", flags: int = 0) -> None:  # noqa: D102
        self._hurry()
        super().sendall(data, flags)  # its time-out is for the whole of `data`

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int = 0, flags: int = 0) -> int:  # noqa: D102
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


def places(addresses: Sequence[str], port: int) -> Iterator[tuple[int, object]]:
    """Yield every family and place that `addresses`, which may be names, stand for."""
    for address in addresses:  # a configuration may name a host
        with contextlib.suppress(OSError):
            for family, *_, place in socket.getaddrinfo(address, port, type=socket.SOCK_STREAM):
                yield family, place


def connect(family: int, place: object, deadline: float, most: int) -> Bounded:
    """Return a connection with these two limits: an instant, and bytes. Raises OSError."""
    connection = Bounded(family, socket.SOCK_STREAM)
    connection.deadline, connection.most = deadline, most
    try:
        connection.connect(place)
    except BaseException:
        connection.close()
        raise
    return connection


def exchange(
    connection: Bounded, method: str, url: str, data: object
) -> tuple[int, dict[str, str], bytes] | None:
    """Ask, and return status, headers and body; None for what is no HTTP, or not whole in time."""
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
                return answer.status_code, headers, body
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
