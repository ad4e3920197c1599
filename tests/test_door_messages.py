"""Where an HTTP message begins and ends: the same however it is cut, and never what is doubtful."""

import contextlib
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devservers.door import messages
from devservers.door.messages import LONGEST_LINE, Body, NoMessageError, Request, Response


def request(*lines: str | bytes, first: str = "POST /upload HTTP/1.1") -> Request:
    return messages.request(head(first, "Host: localhost:3000", *lines))


def response(*lines: str | bytes, first: str = "HTTP/1.1 200 OK", method: str = "GET") -> Response:
    return messages.response(head(first, *lines), method.encode())


def head(*lines: str | bytes) -> bytes:
    encoded = [line if isinstance(line, bytes) else line.encode("latin-1") for line in lines]
    return b"\r\n".join([*encoded, b"", b""])


def fed(body: Body, pieces: Iterable[bytes]) -> bytes:
    """Return what of the pieces doesn't belong to the body."""
    rest = b""
    for piece in pieces:
        rest += piece if body.done else piece[body.take(piece) :]
    return rest


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    at = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[start:end] for start, end in pairwise(at) if start < end]


PLACES = st.lists(st.integers(min_value=0, max_value=10**6))
EXTENSIONS = st.sampled_from([b"", b";a", b';a="b; c"', b" ;x=1"])
TRAILERS = st.sampled_from([b"", b"Digest: abc\r\n", b"A: 1\r\nB:\r\n"])


# Bodies


@given(st.binary(max_size=300), st.binary(max_size=30), PLACES)
def test_a_body_of_a_length_ends_there_however_it_is_cut(
    text: bytes, more: bytes, places: list[int]
) -> None:
    body = Body(len(text))
    assert fed(body, cut(text + more, places)) == more
    assert body.done


@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=40), EXTENSIONS)),
    TRAILERS,
    st.binary(max_size=30),
    PLACES,
)
def test_a_body_in_chunks_ends_after_its_trailers_however_it_is_cut(
    chunks: list[tuple[bytes, bytes]], trailers: bytes, more: bytes, places: list[int]
) -> None:
    whole = b"".join(b"%X%s\r\n%s\r\n" % (len(one), extra, one) for one, extra in chunks)
    body = Body(None, chunked=True)
    assert fed(body, cut(whole + b"0\r\n" + trailers + b"\r\n" + more, places)) == more
    assert body.done


@given(PLACES)
def test_a_body_without_an_end_takes_everything(places: list[int]) -> None:
    body = Body(None)
    assert fed(body, cut(b"0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", places)) == b""
    assert not body.done


WRONG_CHUNKS = [
    b"\r\n", b" 5\r\n", b"+5\r\n", b"-5\r\n", b"0x5\r\n", b"5_0\r\n", b"5,\r\n", b"g\r\n",
    b";a\r\n", b"5\n", b"5\r\r\n", b"5;a\rb\r\n", b"5;a\0\r\n",
    b"5 5\r\n", b"\xb2\r\n", b"1" * 16 + b"\r\n",
    b"3\r\nabcd\r\n", b"3\r\nabc\n", b"3\r\nabc0\r\n\r\n", b"3\r\nabc\r0\r\n\r\n",
    b"0\r\nno field\r\n\r\n", b"0\r\nA : b\r\n\r\n", b"0\r\n folded\r\n\r\n", b"0\r\nA: b\n\r\n",
    b"0\r\n\n", b"0\r\nA: \0\r\n\r\n", b"5;" + b"a" * LONGEST_LINE + b"\r\n",
    b"0\r\nA:" + b"b" * LONGEST_LINE + b"\r\n\r\n", b"0" * (LONGEST_LINE + 1),
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_CHUNKS, ids=lambda wrong: ascii(wrong[:20]))
def test_a_malformed_chunk_is_refused_however_it_is_cut(wrong: bytes) -> None:
    for pieces in ([wrong], [wrong[at : at + 1] for at in range(len(wrong))]):
        with pytest.raises(NoMessageError):
            fed(Body(None, chunked=True), pieces)


# Requests


def test_a_request_says_what_the_door_has_to_know() -> None:
    one = request("Content-Length: 5", "Accept: text/html,*/*;q=0.8", "Upgrade: h2c")
    assert (one.method, one.target, one.host) == (b"POST", b"/upload", b"localhost:3000")
    assert not one.body.done
    assert one.accepts_html
    assert not one.upgrades
    assert not one.closes
    plain = request(first="GET /caf\xe9?a=%20 HTTP/1.1")
    assert plain.body.done
    assert not plain.accepts_html


@pytest.mark.parametrize(
    ("lines", "upgrades", "closes"),
    [
        (["Connection: keep-alive, Upgrade", "Upgrade: websocket"], True, False),
        (["Connection: close", "connection: UPGRADE", "UPGRADE: websocket"], True, True),
        (["Connection: Upgrade"], False, False),
        (["Connection: x-upgrade", "Upgrade: websocket"], False, False),
        (["Connection: closed, x-close"], False, False),
        (["Connection:keep-alive\t,\tClose"], False, True),
    ],
)
def test_what_a_request_says_of_its_connection_is_read_by_whole_words(
    lines: list[str], *, upgrades: bool, closes: bool
) -> None:
    one = request(*lines)
    assert (one.upgrades, one.closes) == (upgrades, closes)


def test_http_1_0_ends_the_connection_unless_it_says_otherwise() -> None:
    assert request(first="GET / HTTP/1.0").closes
    assert not request("Connection: Keep-Alive", first="GET / HTTP/1.0").closes
    assert response(first="HTTP/1.0 200 OK").closes
    assert not response("Connection: keep-alive", first="HTTP/1.0 200 OK").closes
    assert response("Connection: close").closes
    assert not response().closes


@pytest.mark.parametrize("coding", ["chunked", "Chunked", "  CHUNKED\t"])
def test_a_body_in_chunks_is_known_however_it_is_spelled(coding: str) -> None:
    one = request(f"transfer-ENCODING:{coding}")
    assert fed(one.body, [b"1\r\na\r\n0\r\n\r\nGET"]) == b"GET"


DOUBTFUL = {
    "a length and chunks": ["Content-Length: 5", "Transfer-Encoding: chunked"],
    "chunks and a length": ["Transfer-Encoding: chunked", "Content-Length: 5"],
    "two lengths": ["Content-Length: 5", "Content-Length: 6"],
    "one length twice": ["Content-Length: 5", "content-length: 5"],
    "two lengths in one line": ["Content-Length: 5, 6"],
    "one length twice in one line": ["Content-Length: 5, 5"],
    "no length": ["Content-Length:"],
    "a length with a sign": ["Content-Length: +1"],
    "a negative length": ["Content-Length: -1"],
    "a hexadecimal length": ["Content-Length: 0x5"],
    "a length with an underscore": ["Content-Length: 1_0"],
    "a length with a point": ["Content-Length: 1.0"],
    "a length with a space": ["Content-Length: 1 0"],
    "a length in other digits": ["Content-Length: \xb2"],
    "a length beyond all numbers": ["Content-Length: " + "9" * 20],
    "another coding": ["Transfer-Encoding: gzip"],
    "another coding beside chunks": ["Transfer-Encoding: gzip, chunked"],
    "another coding after chunks": ["Transfer-Encoding: chunked, identity"],
    "chunks twice": ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
    "chunks twice in one line": ["Transfer-Encoding: chunked, chunked"],
    "a coding without a name": ["Transfer-Encoding:", "Content-Length: 5"],
    "a coding with a parameter": ["Transfer-Encoding: chunked;a=b"],
    "a coding in quotes": ['Transfer-Encoding: "chunked"'],
    "a coding behind a control character": ["Transfer-Encoding: \vchunked"],
    "a length behind a control character": ["Content-Length: \f5"],
    "a space before the colon": ["Content-Length : 5"],
    "a tab before the colon": ["Transfer-Encoding\t: chunked"],
    "a folded header": ["X-Long: a", " b"],
    "a header folded with a tab": ["X-Long: a", "\tTransfer-Encoding: chunked"],
    "a bare line feed": ["X: a\nTransfer-Encoding: chunked"],
    "a bare carriage return": ["X: a\rTransfer-Encoding: chunked"],
    "a NUL": ["X: a\0b"],
    "a NUL in a name": ["X\0: a"],
    "no colon": ["Content-Length 5"],
    "no name": [": 5"],
    "a name with a bracket": ["X[]: 5"],
    "another Host": ["Host: evil.example"],
    "the same Host": ["host: localhost:3000"],
}


@pytest.mark.parametrize("lines", DOUBTFUL.values(), ids=DOUBTFUL)
def test_a_doubtful_request_is_refused(lines: list[str]) -> None:
    with pytest.raises(NoMessageError) as caught:
        request(*lines)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "first",
    [
        "", "CONNECT localhost:3000 HTTP/1.1", "GET http://localhost:3000/ HTTP/1.1",
        "GET HTTP/1.1", "GET * HTTP/1.1", "GET  / HTTP/1.1", "GET /  HTTP/1.1",
        " GET / HTTP/1.1", "GET / HTTP/1.1 ", "GET /\tHTTP/1.1",
        "GET /a b HTTP/1.1", "GET / HTTP/2.0", "GET / HTTP/1.2", "GET / http/1.1",
        "GET / HTTP/1.10", "GET /\0 HTTP/1.1", "GET /\n HTTP/1.1", "GET /\x7f HTTP/1.1", "GET /",
        "G(T / HTTP/1.1", "\x16\x03\x01 / HTTP/1.1", "PRI * HTTP/2.0",
    ],
)  # fmt: skip
def test_a_malformed_request_line_is_refused(first: str) -> None:
    with pytest.raises(NoMessageError) as caught:
        request(first=first)
    assert caught.value.status == 400


def test_a_request_for_the_server_as_a_whole_is_none_of_a_path() -> None:
    assert request(first="OPTIONS * HTTP/1.1").target == b"*"


def test_a_request_without_a_host_is_refused() -> None:
    for version in ("1.0", "1.1"):
        with pytest.raises(NoMessageError):
            messages.request(head(f"GET / HTTP/{version}", "Accept: */*"))


def test_chunks_are_refused_where_http_has_none() -> None:
    with pytest.raises(NoMessageError):
        request("Transfer-Encoding: chunked", first="POST / HTTP/1.0")
    with pytest.raises(NoMessageError):
        response("Transfer-Encoding: chunked", first="HTTP/1.0 200 OK")


@given(st.binary(max_size=200))
def test_whatever_comes_is_a_message_or_refused(text: bytes) -> None:
    for read in (messages.request, lambda data: messages.response(data, b"GET")):
        for data in (text, b"GET / HTTP/1.1\r\nHost: a\r\n" + text, b"HTTP/1.1 200 OK\r\n" + text):
            with contextlib.suppress(NoMessageError):
                read(data + b"\r\n\r\n")


# Responses


@pytest.mark.parametrize(
    ("first", "method", "lines"),
    [
        ("HTTP/1.1 200 OK", "HEAD", ["Content-Length: 5"]),
        ("HTTP/1.1 200 OK", "HEAD", ["Transfer-Encoding: chunked"]),
        ("HTTP/1.1 304 Not Modified", "GET", ["Content-Length: 5"]),
        ("HTTP/1.1 204 No Content", "GET", []),
        ("HTTP/1.1 103 Early Hints", "GET", ["Link: </a>"]),
        ("HTTP/1.1 200", "GET", ["Content-Length: 0"]),
        ("HTTP/1.1 200 ", "GET", ["Content-Length: 0"]),
    ],
)
def test_a_response_without_a_body_ends_with_its_head(
    first: str, method: str, lines: list[str]
) -> None:
    assert response(*lines, first=first, method=method).body.done


def test_a_response_ends_by_length_by_chunks_or_with_the_connection() -> None:
    assert fed(response("Content-Length: 3").body, [b"abcdef"]) == b"def"
    assert fed(response("Transfer-Encoding: chunked").body, [b"0\r\n\r\nx"]) == b"x"
    assert response().body.ends_with_connection
    assert not response("Content-Length: 3").body.ends_with_connection


def test_an_event_stream_is_told_from_other_answers() -> None:
    assert response("Content-Type: Text/Event-Stream; charset=utf-8").is_stream
    assert not response("Content-Type: text/html").is_stream


ALSO_OF_RESPONSES = [one for one in DOUBTFUL if not one.endswith("Host")]


@pytest.mark.parametrize(
    "lines", [DOUBTFUL[one] for one in ALSO_OF_RESPONSES], ids=ALSO_OF_RESPONSES
)
def test_a_doubtful_response_is_refused(lines: list[str]) -> None:
    with pytest.raises(NoMessageError):
        response(*lines)


@pytest.mark.parametrize(
    "first",
    ["HTTP/2 200 OK", "HTTP/1.1 20 OK", "HTTP/1.1 600 No", "HTTP/1.1  200 OK", "ICY 200 OK", "",
     "HTTP/1.1 200 O\0K", "HTTP/1.1 2OO OK", "HTTP/1.1 200\tOK", "hello"],
)  # fmt: skip
def test_a_malformed_status_line_is_refused(first: str) -> None:
    with pytest.raises(NoMessageError):
        response(first=first)


# Answers of the door's own


def test_an_answer_of_the_doors_own_is_a_whole_message() -> None:
    text = messages.answer(503, b"down", "text/plain", b"GET", "X-More: 1\r\n")
    top, _, body = text.partition(b"\r\n\r\n")
    found = messages.response(top + b"\r\n\r\n", b"GET")
    assert (found.status, found.closes, body) == (503, True, b"down")
    assert fed(found.body, [body]) == b""
    assert b"X-Devservers-Door: 1\r\n" in text
    assert messages.answer(503, b"down", "text/plain", b"HEAD").endswith(b"\r\n\r\n")
