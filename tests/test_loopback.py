"""Questions to whoever listens on this machine: an answer, or none in time, whatever comes."""

import contextlib
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devservers import spec
from devservers.inngest import api as inngest_api
from devservers.inngest import endpoint
from devservers.inngest.api import Api
from devservers.lifecycle import record
from devservers.system import http_status, localhost_http, threads
from devservers.system.http_status import first_status
from devservers.system.localhost_http import Answer, NoAnswerError

OK = b"HTTP/1.1 200 OK\r\n"
BOMB = gzip.compress(bytes(64 << 20))
ZIPPED = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB
Serve = Callable[..., int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return what makes a port answer with `first`, then with `each` for ever, and closes."""
    with contextlib.ExitStack() as stack:

        def start(first: bytes, each: bytes = b"", pause: float = 0) -> int:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            threading.Thread(target=run, args=(listener, first, each, pause), daemon=True).start()
            return int(listener.getsockname()[1])

        def run(listener: socket.socket, first: bytes, each: bytes, pause: float) -> None:
            with contextlib.suppress(OSError):
                while True:
                    answer(listener.accept()[0], first, each, pause)

        def answer(connection: socket.socket, first: bytes, each: bytes, pause: float) -> None:
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                connection.sendall(first)
                while each:
                    connection.sendall(each)
                    time.sleep(pause)

        yield start


def ask(port: int, timeout: float = 5) -> Answer:
    return localhost_http.ask("GET", port, "/", timeout=timeout, addresses=("127.0.0.1",))


def ask_ours(port: int, timeout: float = 5) -> Answer | None:
    return localhost_http.ask_ours("GET", port, "/", timeout=timeout, addresses=("127.0.0.1",))


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 2\r\n\r\n{}",
        b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        b"\r\n{}",
    ],
)
def test_a_whole_answer_is_returned(serve: Serve, rest: bytes) -> None:
    port = serve(OK + b"X-Name: v\r\n" + rest)
    for answer in (ask(port), ask_ours(port)):
        assert answer
        assert (answer.status, answer.headers["x-name"], answer.json()) == (200, "v", {})


@pytest.mark.parametrize(
    ("first", "each"),
    [
        (b"HTTP/1.1 2", b"0"),
        (OK, b"X: a\r\n"),
        (OK + b"X: ", b"a"),
        (OK + b"\r\n", b"a"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1", b"0"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", b"a"),
    ],
)
def test_one_that_drips_is_given_up_in_time(serve: Serve, first: bytes, each: bytes) -> None:
    port = serve(first, each, 0.02)
    begun = time.monotonic()
    with pytest.raises(NoAnswerError, match="did not answer within"):
        ask(port, 0.3)
    assert ask_ours(port, 0.3) is None
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize(
    ("first", "each"),
    [
        (OK, b"X: a\r\n" * 999),
        (OK + b"X: ", b"a" * 9999),
        (OK + b"\r\n", b"a" * 65536),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"ff\r\n" + b"a" * 255 + b"\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 999),
    ],
)
def test_one_that_never_ends_is_given_up(serve: Serve, first: bytes, each: bytes) -> None:
    port = serve(first, each)
    begun = time.monotonic()
    with pytest.raises(NoAnswerError):
        ask(port, 20)
    assert ask_ours(port, 20) is None
    assert time.monotonic() - begun < 15, "because of its length"


@pytest.mark.parametrize("first", [OK, b"HTTP/1.1 302 Found\r\nLocation: /\r\n"])
def test_what_is_compressed_stays_so(serve: Serve, first: bytes) -> None:
    answer = ask(serve(first + ZIPPED))
    assert answer.body == BOMB
    assert answer.json() is None


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>HTTP/0.9</html>",
        OK + b"Content-Length: 9\r\n\r\n{}",
        OK + b"Content-Length: 5, 2\r\n\r\n{}",
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 5000,
        b"HTTP/1.1 " + b"9" * 5000 + b" x\r\n\r\n",
    ],
)
def test_what_is_no_whole_answer_is_none(serve: Serve, answer: bytes) -> None:
    with pytest.raises(NoAnswerError, match="closed the connection, or its answer is no HTTP"):
        ask(serve(answer))
    assert ask_ours(serve(answer)) is None


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
        OK + b"Content-Length: -2\r\n\r\n{}",
        OK + b"Content-Length: \xb2\r\n\r\n{}",
        OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        OK + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
        OK + b"Content-Length : 2\r\n\r\n{}",
        OK + b"nonsense\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
    ],
)
def test_an_answer_that_leaves_a_doubt_where_it_ends_is_none_of_ours(
    serve: Serve, answer: bytes
) -> None:
    assert ask_ours(serve(answer)) is None


def test_what_goes_on_after_a_whole_answer_is_not_waited_for(serve: Serve) -> None:
    chunked = b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\nX: y\r\n\r\n"
    begun = time.monotonic()
    for rest in (b"Content-Length: 2\r\n\r\n{}", chunked):
        answer = ask_ours(serve(OK + rest, b"", 5), 20)
        assert answer
        assert answer.json() == {}
    assert time.monotonic() - begun < 15


def test_what_is_sent_arrives_whole(serve: Serve) -> None:
    del serve
    with socket.create_server(("127.0.0.1", 0)) as listener:
        question = threads.Question(
            lambda: localhost_http.ask_ours(
                "POST",
                listener.getsockname()[1],
                "/v0/gql",
                timeout=5,
                data={"query": "\u00fc"},
                addresses=("127.0.0.1",),
            )
        )
        with listener.accept()[0] as connection:
            came = connection.recv(65536)
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            answer = question.answer()
    head, _, body = came.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v0/gql HTTP/1.1\r\nHost: localhost:")
    assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")
    assert json.loads(body) == {"query": "\u00fc"}
    assert answer == Answer(204, {}, b"")


def test_a_listener_that_takes_no_connection_is_given_up_in_time() -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = int(listener.getsockname()[1])
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(("127.0.0.1", port))
        begun = time.monotonic()
        for question in (lambda: ask(port, 0.3), lambda: first_status("", port, "/", 0.3)):
            with contextlib.suppress(NoAnswerError):
                assert question() is None
        assert time.monotonic() - begun < 3


def test_one_deadline_holds_for_all_addresses(serve: Serve) -> None:
    port = serve(b"", b"HTTP/1.1 1", 0.02)
    begun = time.monotonic()
    with pytest.raises(NoAnswerError):
        localhost_http.ask("GET", port, "/", timeout=0.4, addresses=("127.0.0.1",) * 9)
    assert http_status.first_status("127.0.0.1", port, "/", 0.4) is None
    nine = ("127.0.0.1",) * 9
    assert localhost_http.ask_ours("GET", port, "/", timeout=0.4, addresses=nine) is None
    assert time.monotonic() - begun < 3


# What was found in threads


def test_what_a_thread_raises_reaches_who_waits() -> None:
    with pytest.raises(ZeroDivisionError):
        threads.each(lambda number: 1 / number, [1, 0, 2], 2)
    assert threads.each(lambda number: 2 * number, range(9), 2) == [*range(0, 18, 2)]


def test_without_threads_one_is_asked_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert threads.each(lambda number: 2 * number, range(5), 2) == [0, 2, 4, 6, 8]


# What was said

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
URLS = st.one_of(
    JSON,
    st.from_regex(r"https?://[a-z:\[\]@]*:?[0-9]{0,9}/?.*", fullmatch=True),
    st.integers().map(lambda number: f"http://localhost:{number}/api/inngest"),
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {}, optional={"url": URLS, **dict.fromkeys(["externalID", "connected", "error"], JSON)}
    )
    | JSON,
    max_size=4,
)
DEV = st.fixed_dictionaries(
    {},
    optional={
        "version": JSON,
        "startOpts": JSON | st.fixed_dictionaries({"urls": JSON | st.lists(URLS, max_size=4)}),
        "standIn": JSON,
    },
)
MANY = settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


HEADERS = st.sampled_from(
    [
        *(b"Content-Length: %d" % size for size in range(9)),
        *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"X: y", b" z", b"x"),
    ]
)
BODIES = st.lists(
    st.sampled_from([b"2\r\n{}\r\n", b"0\r\n", b"\r\n", b"{}", b"1", b"a\r\n"]), max_size=5
).map(b"".join)


@MANY
@given(headers=st.lists(HEADERS, max_size=3), body=BODIES)
def test_what_is_made_of_an_answer_is_what_others_make_of_it_or_nothing(
    serve: Serve, headers: list[bytes], body: bytes
) -> None:
    port = serve(b"\r\n".join([OK[:-2], *headers, b"", body]))
    ours = ask_ours(port)
    if ours is not None:
        theirs = ask(port)
        assert (ours.status, ours.body) == (theirs.status, theirs.body)


def answering(monkeypatch: pytest.MonkeyPatch, body: object, status: int = 200) -> None:
    answer = Answer(status, {"x-inngest-sdk": "x"}, json.dumps(body).encode())
    monkeypatch.setattr(localhost_http, "ask", lambda *_, **__: answer)


def is_sane(url: str) -> bool:
    kept = record._texts(json.loads(json.dumps([url])))
    return kept == (url,) and 0 < spec.port_of(url) <= spec.HIGHEST_PORT


@MANY
@given(body=JSON | DEV)
def test_whatever_says_what_it_is_is_a_sane_server_or_none(
    body: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, body)
    found = Api(8288).dev()
    assert found is None or all(map(is_sane, found.urls))


@MANY
@given(body=JSON | ROWS.map(lambda rows: {"data": {"apps": rows}}))
def test_whatever_is_listed_is_sane_apps_or_none(
    body: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, body)
    for app in Api(8288).apps() or ():
        assert is_sane(app.url)
        assert inngest_api.same_url(app.url, app.url)
        json.dumps(app)


@MANY
@given(body=JSON | st.fixed_dictionaries({"function_count": JSON, "message": JSON, "code": JSON}))
@pytest.mark.parametrize("status", [200, 500])
def test_whatever_an_endpoint_says_is_a_sane_answer(
    body: object, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, body, status)
    (found,) = endpoint.probe_all(["http://localhost:5001/api/inngest"])
    assert found.found
    assert (found.error is None) == (status == 200)
    assert found.functions is None or type(found.functions) is int


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("http://localhost:5001/x", 5001),
        ("http://localhost/x", 80),
        ("https://localhost", 443),
        ("http://[::1]:5001/x", 5001),
        ("http://localhost:0/x", 0),
        ("http://localhost:65536/x", 0),
        (f"http://localhost:{'9' * 5000}/x", 0),
        ("http://localhost:\u0665\u0660\u0660\u0661/x", 0),
        ("http://localhost:x/", 0),
    ],
)
def test_the_port_of_a_url_is_one_that_can_be_or_none(url: str, port: int) -> None:
    assert spec.port_of(url) == port
