"""Messages: where an HTTP/1.1 message begins and ends (RFC 9112). What is doubtful is refused.

The door moves bytes and changes none. It only has to know where a message ends, and has to see it
where the server behind does: two that disagree could be made to take one request for two.
"""

import re
from http import HTTPStatus
from typing import NamedTuple

LONGEST_HEAD = 64 * 1024  # bytes; Next.js takes 16 kB
LONGEST_LINE = 4096  # bytes of a line between the chunks
END = b"\r\n\r\n"
_REQUEST = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~\x80-\xff]+) HTTP/1\.([01])")
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [^\r\n\0]*)?")
# No space before a colon, no line that goes on in the next, no bare CR or LF: RFC 9112, 2.2 and 5.
# And no other control character: who takes "\vchunked" for chunked, and who doesn't?
_FIELDS = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n)*")
_FIELD = re.compile(rb"([^:\r\n]+):[ \t]*([^\r\n]*?)[ \t]*\r\n")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n\0]*)?\r\n")
_LENGTH = re.compile(rb"[0-9]{1,15}")
_BODILESS = (204, 304)


class NoMessageError(Exception):
    """What came is no message that can be passed on; the status to refuse it with, and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Body:
    """Counts the bytes of one body: so many, in chunks, or until the connection is closed."""

    def __init__(self, length: int | None = 0, *, chunked: bool = False) -> None:
        self._left = -1 if length is None else length
        self._chunked = chunked
        self._line = b""
        self._in_trailers = self._after_data = False
        self.done = not chunked and length == 0
        self.ends_with_connection = length is None and not chunked

    def take(self, data: bytes, start: int = 0) -> int:
        """Return where in `data`, from `start` on, what doesn't belong to it any more begins.

        Raises NoMessageError.
        """
        if self.ends_with_connection:
            return len(data)
        if not self._chunked:
            step = min(self._left, len(data) - start)
            self._left -= step
            self.done = self._left == 0
            return start + step
        return self._take_chunks(data, start)

    def _take_chunks(self, data: bytes, at: int) -> int:
        self._left = max(self._left, 0)
        while at < len(data) and not self.done:
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                continue
            end = data.find(b"\n", at) + 1
            self._line += data[at : end or len(data)]
            at = end or len(data)
            if len(self._line) > LONGEST_LINE:
                raise NoMessageError(400, "a line between the chunks is too long")
            if end:
                self._take_line(self._line)
                self._line = b""
        return at

    def _take_line(self, line: bytes) -> None:
        if self._in_trailers:
            self.done = line == b"\r\n"
            if not self.done and not _FIELDS.fullmatch(line):
                raise NoMessageError(400, "a trailer is malformed")
        elif self._after_data:
            if line != b"\r\n":
                raise NoMessageError(400, "a chunk is longer than it says")
            self._after_data = False
        else:
            found = _SIZE.fullmatch(line)
            if found is None:
                raise NoMessageError(400, "the size of a chunk is malformed")
            self._left = int(found[1], 16)
            self._in_trailers = self._left == 0
            self._after_data = self._left > 0


class Request(NamedTuple):
    """The head of a request."""

    method: bytes
    target: bytes
    host: bytes
    body: Body
    upgrades: bool
    """It asks for another protocol, such as WebSocket."""
    closes: bool
    """The connection carries no more after it."""
    accepts_html: bool


class Response(NamedTuple):
    """The head of a response."""

    status: int
    body: Body
    is_stream: bool
    """Server-sent events, which the server goes on sending for as long as somebody listens."""
    closes: bool
    """The connection carries no more after it."""


def request(head: bytes) -> Request:
    """Return what the head of a request says; `head` ends with the empty line.

    Raises NoMessageError.
    """
    line, _, rest = head.partition(b"\r\n")
    found = _REQUEST.fullmatch(line)
    if found is None or found[1] == b"CONNECT":
        raise NoMessageError(400, "the request line is malformed")
    method, target, minor = found[1], found[2], found[3]
    if not (target.startswith(b"/") or (target == b"*" and method == b"OPTIONS")):
        raise NoMessageError(400, "the target of the request is no path")
    fields = _fields(rest)
    hosts = fields.get(b"host", [])
    if len(hosts) != 1:
        raise NoMessageError(400, "the request has not exactly one Host")
    body = _body(fields, None, minor)
    said = _connection(fields)
    return Request(
        method,
        target,
        hosts[0],
        body or Body(0),
        upgrades=b"upgrade" in fields and b"upgrade" in said,
        closes=_closes(said, minor),
        accepts_html=b"text/html" in b",".join(fields.get(b"accept", ())),
    )


def response(head: bytes, method: bytes) -> Response:
    """Return what the head of the response to a request with that method says.

    Raises NoMessageError.
    """
    line, _, rest = head.partition(b"\r\n")
    found = _STATUS.fullmatch(line)
    if found is None:
        raise NoMessageError(502, "the status line is malformed")
    status = int(found[2])
    fields = _fields(rest)
    if status < 200 or status in _BODILESS or method == b"HEAD":  # noqa: PLR2004 - 1xx
        body = Body(0)
    else:
        body = _body(fields, status, found[1]) or Body(None)
    kinds = b",".join(fields.get(b"content-type", ())).lower()
    closes = _closes(_connection(fields), found[1])
    return Response(status, body, kinds.startswith(b"text/event-stream"), closes)


def answer(status: int, body: bytes, kind: str, method: bytes, more: str = "") -> bytes:
    """Return an answer of the door's own, the last on its connection."""
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        f"Content-Type: {kind}; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        f"Cache-Control: no-store\r\nX-Devservers-Door: 1\r\n{more}Connection: close\r\n\r\n"
    )
    return head.encode() + (b"" if method == b"HEAD" else body)


def _fields(text: bytes) -> dict[bytes, list[bytes]]:
    """Return the fields of a head, by lower-case name; `text` ends with the empty line."""
    end = len(text) - 2
    if not _FIELDS.fullmatch(text, 0, end):
        raise NoMessageError(400, "a header is malformed")
    found: dict[bytes, list[bytes]] = {}
    for name, value in _FIELD.findall(text, 0, end):
        found.setdefault(name.lower(), []).append(value)
    return found


def _connection(fields: dict[bytes, list[bytes]]) -> set[bytes]:
    """Return what the fields say of the connection."""
    words = b",".join(fields.get(b"connection", ())).lower()
    return {word.strip(b" \t") for word in words.split(b",")}


def _closes(said: set[bytes], minor: bytes) -> bool:
    return b"close" in said or (minor == b"0" and b"keep-alive" not in said)


def _body(fields: dict[bytes, list[bytes]], status: int | None, minor: bytes) -> Body | None:
    """Return the body that the fields announce, None where they announce none."""
    refused = 400 if status is None else 502
    codings = fields.get(b"transfer-encoding", [])
    lengths = fields.get(b"content-length", [])
    if codings:
        # Both, or another coding, is what smugglers send: RFC 9112, 6.1 and 6.3.
        if [one.lower() for one in codings] != [b"chunked"] or lengths or minor == b"0":
            raise NoMessageError(refused, "where the body ends is doubtful")
        return Body(None, chunked=True)
    if not lengths:
        return None
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
        raise NoMessageError(refused, "the length of the body is doubtful")
    return Body(int(lengths[0]))
