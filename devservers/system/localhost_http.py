"""Loopback: HTTP questions to servers on this machine, bounded in time and size, past any proxy.

Whoever listens may be anybody: it may drip, go on for ever, or send what is no HTTP. The bounds lie
in the connection, where nothing that reads from it can get round them.
"""

import json
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from devservers.system import http_status

LOOPBACKS = http_status.LOOPBACKS
LARGEST_ANSWER = 4 << 20  # bytes, status line and headers included
LARGEST_FROM_OURS = 1 << 20  # bytes; it is parsed here, byte by byte at worst

BODILESS = (204, 304)
FRAMING = ("content-length", "transfer-encoding")
LAST_CHUNK = b"\r\n\r\n"  # and a trailer, if there is one
HEX = b"0123456789abcdefABCDEF"


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
    from devservers.system import bounded  # noqa: PLC0415 - with requests it costs 70 to 190 ms

    deadline = time.monotonic() + timeout
    problem = "nothing listens there"
    for family, place in bounded.places(addresses, port):
        try:
            connection = bounded.connect(family, place, deadline, LARGEST_ANSWER)
        except TimeoutError:
            break
        except OSError:
            continue
        with connection:
            url = f"http://localhost:{port}{path}"
            answer = bounded.exchange(connection, method, url, data)
        if answer is not None:
            return Answer(*answer)
        problem = connection.problem or "it closed the connection, or its answer is no HTTP"
    if time.monotonic() >= deadline:
        problem = f"it did not answer within {timeout:g} s"
    raise NoAnswerError(problem)


def ask_ours(  # noqa: PLR0913 - the parts of one HTTP question
    method: str,
    port: int,
    path: str,
    *,
    timeout: float,
    data: object = None,
    addresses: Sequence[str] = LOOPBACKS,
    accept: str = "*/*",
) -> Answer | None:
    """Return what a server that is proved ours says in a few bytes, within `timeout` s in all.

    As `ask`, but without requests, whose import takes longer than all else that a status does. None
    for no answer, and for one in a form that leaves any doubt of where it ends.
    """
    deadline = time.monotonic() + timeout
    body = b"" if data is None else json.dumps(data).encode()
    sends = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    request = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\nAccept-Encoding: identity\r\n"
        f"Accept: {accept}\r\n"
        f"Connection: close\r\n{sends}\r\n"
    )
    whole = request.encode() + body
    for address in addresses:
        if time.monotonic() >= deadline:
            break
        came = http_status.exchange(address, port, whole, deadline, _is_whole, LARGEST_FROM_OURS)
        if came and (answer := _parsed(came, closed=len(came) < LARGEST_FROM_OURS)):
            return answer
    return None


def _is_whole(came: bytes) -> bool:
    return _parsed(came, closed=False) is not None


def _parsed(came: bytes, *, closed: bool) -> Answer | None:
    """Return the answer in these bytes; None if it isn't whole, or not of a plain form.

    One that doesn't say how long it is ends where the connection is `closed`.
    """
    head, end, body = came.partition(b"\r\n\r\n")
    status = http_status.status_of(head)
    headers = _headers(head)
    if not end or status is None or status < 200 or headers is None:  # noqa: PLR2004 - informing
        return None
    length, coding = headers.get("content-length"), headers.get("transfer-encoding")
    whole: bytes | None
    if status in BODILESS:
        whole = b""
    elif coding is not None:
        plain = length is None and coding.lower() == "chunked"
        whole = _joined(body) if plain and body.endswith(LAST_CHUNK) else None
    elif length is not None:
        usable = length.isascii() and length.isdigit() and len(length) < 10  # noqa: PLR2004 - 1 GB
        whole = body[: int(length)] if usable and int(length) <= len(body) else None
    else:
        whole = body if closed else None
    return None if whole is None else Answer(status, headers, whole)


def _headers(head: bytes) -> dict[str, str] | None:
    """Return the headers by lower-case name; None if one of them is odd, or stands there twice."""
    found: dict[str, str] = {}
    for line in head.split(b"\r\n")[1:]:
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or not name or name != name.strip():  # also one that goes on in another line
            return None
        if name.lower() in FRAMING and name.lower() in found:
            return None
        found[name.lower()] = value.strip()
    return found


def _joined(body: bytes) -> bytes | None:
    """Return the content of a chunked body, None if that isn't whole."""
    pieces: list[bytes] = []
    at = 0
    while True:
        end = body.find(b"\r\n", at, at + 64)
        digits = body[at:end].partition(b";")[0].strip() if end >= 0 else b""
        if not digits or len(digits) > 8 or digits.strip(HEX):  # noqa: PLR2004 - 4 GB
            return None
        size, at = int(digits, 16), end + 2
        if size == 0:
            return b"".join(pieces)
        if body[at + size : at + size + 2] != b"\r\n":
            return None
        pieces.append(body[at : at + size])
        at += size + 2
