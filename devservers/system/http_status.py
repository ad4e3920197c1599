"""One HTTP question with a time limit.

It is asked over a plain socket: a warm call can't afford the import of requests (70 to 190 ms) or
of http.client (20), and a proxy in the environment can't get in the way.
"""

# The C half of socket, and all of it that is used here: the other half is enum and selectors, a
# third of a warm hook's time.
import _socket as socket
import time

TIMEOUT = 1.2  # seconds for one question; status has two for all it asks
LONGEST_STATUS_LINE = 4096  # bytes
STATUSES = range(100, 600)  # less is half of one, cut off by the time limit or a closed connection
LOOPBACKS = ("127.0.0.1", "::1")


def http_status(address: str, port: int, path: str, timeout: float) -> int | None:
    """Return the HTTP status that `GET path` is answered with, None if there is no answer.

    `timeout` is in seconds and bounds the whole exchange, also with a server that drips.
    """
    deadline = time.monotonic() + timeout
    if timeout <= 0:
        return None
    request = f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n"
    answer = b""
    try:
        connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    except OSError:  # a kernel without IPv6, or no descriptor left
        return None
    try:
        connection.settimeout(timeout)
        connection.connect((address, port))
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        connection.sendall(request.encode())
        while b"\r\n" not in answer and len(answer) < LONGEST_STATUS_LINE:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            chunk = connection.recv(1024)
            if not chunk:
                break
            answer += chunk
            if time.monotonic() > deadline:
                break
    except OSError:
        return None
    finally:
        connection.close()
    protocol, _, rest = answer.partition(b" ")
    digits = rest[:4].strip()  # one more than there are, so that a fourth would be seen
    status = int(digits) if protocol.startswith(b"HTTP/") and digits.isdigit() else 0
    return status if status in STATUSES else None


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
    return every.get(address, (address,))
