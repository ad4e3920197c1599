"""One HTTP question with a time limit.

It is asked over a plain socket: a warm call can't afford the import of requests (70 to 190 ms) or
of http.client (20), and a proxy in the environment can't get in the way.
"""

# The C half of socket, and all of it that is used here: the other half is enum and selectors, a
# third of a warm hook's time.
import _socket as socket
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT = 1.2  # seconds for one question; status has two for all it asks
LONGEST_STATUS_LINE = 4096  # bytes
AT_ONCE = 64 * 1024  # bytes
STATUSES = range(100, 600)  # less is half of one, cut off by the time limit or a closed connection
LOOPBACKS = ("127.0.0.1", "::1")


def http_status(address: str, port: int, path: str, timeout: float) -> int | None:
    """Return the HTTP status that `GET path` is answered with, None if there is no answer.

    `timeout` is in seconds and bounds the whole exchange, also with a server that drips.
    """
    request = f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n"
    deadline = time.monotonic() + timeout
    if timeout <= 0:
        return None
    answer = exchange(address, port, request.encode(), deadline, _has_a_line, LONGEST_STATUS_LINE)
    return None if answer is None else status_of(answer)


def exchange(  # noqa: PLR0913, PLR0917 - the parts of one question
    address: str,
    port: int,
    request: bytes,
    deadline: float,
    is_enough: "Callable[[bytes], bool]",
    most: int,
) -> bytes | None:
    """Return what is answered, until that is enough, `most` bytes, or all; None on any error.

    `deadline`, a monotonic instant, bounds the whole, also with a server that drips.
    """
    answer = b""
    try:
        connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    except OSError:  # a kernel without IPv6, or no descriptor left
        return None
    try:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        connection.connect((address, port))
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        connection.sendall(request)
        while not is_enough(answer) and len(answer) < most:
            if (left := deadline - time.monotonic()) <= 0:
                return None
            connection.settimeout(left)
            chunk = connection.recv(min(most, AT_ONCE))
            if not chunk:
                break
            answer += chunk
    except OSError:
        return None
    finally:
        connection.close()
    return answer


def status_of(answer: bytes) -> int | None:
    """Return the status of an HTTP answer, None of what is none."""
    protocol, _, rest = answer.partition(b" ")
    digits = rest[:4].strip()  # one more than there are, so that a fourth would be seen
    status = int(digits) if protocol.startswith(b"HTTP/") and digits.isdigit() else 0
    return status if status in STATUSES else None


def _has_a_line(answer: bytes) -> bool:
    return b"\r\n" in answer


def first_status(address: str, port: int, path: str, timeout: float) -> int | None:
    """Ask a socket that is bound to `address` wherever it can be reached, within `timeout` s."""
    deadline = time.monotonic() + timeout
    for target in reachable(address):
        status = http_status(target, port, path, deadline - time.monotonic())
        if status is not None:
            return status
    return None


def reachable(address: str) -> tuple[str, ...]:
    """Return the addresses to connect to, best first, for a socket that is bound to `address`.

    A socket on `::` takes IPv4 too, and has to where the loopback has no IPv6 (many containers).
    """
    every = {"0.0.0.0": LOOPBACKS[:1], "": LOOPBACKS[:1], "::": LOOPBACKS[::-1]}  # noqa: S104
    every["localhost"] = LOOPBACKS
    return every.get(address, (address,))


def is_name(address: str) -> bool:
    """Return whether `address` is the name of a host, which may stand for several addresses."""
    return ":" not in address and not address.replace(".", "").isdigit()
