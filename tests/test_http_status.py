"""One HTTP question to all sorts of servers, and waiting with a deadline."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from devservers.system import polling
from devservers.system.http_status import http_status

Act = Callable[[socket.socket, threading.Event], None]
Serve = Callable[[Act], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve one connection with `act`, which gets the connection and an event set at the end."""
    over = threading.Event()
    opened: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def begin(act: Act) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(10)
        opened.append(listener)

        def run() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(10)
                    act(connection, over)

        thread = threading.Thread(target=run)
        thread.start()
        threads.append(thread)
        port: int = listener.getsockname()[1]
        return port

    yield begin
    over.set()
    for listener in opened:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes an accept that nobody came to
        listener.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def replies(answer: bytes) -> Act:
    def act(connection: socket.socket, _: threading.Event) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    return act


def drips(answer: bytes, pause: float) -> Act:
    def act(connection: socket.socket, over: threading.Event) -> None:
        connection.recv(4096)
        for byte in answer:
            connection.sendall(bytes([byte]))
            if over.wait(pause):
                return

    return act


def hangs(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(4096)
    over.wait(10)


def hangs_after(answer: bytes) -> Act:
    def act(connection: socket.socket, over: threading.Event) -> None:
        replies(answer)(connection, over)
        over.wait(10)

    return act


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", 200),
        (b"HTTP/1.0 200 OK\r\n\r\n", 200),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404),
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", 500),
        (b"HTTP/1.1 302 \r\n\r\n", 302),
        (b"HTTP/1.1 200\r\n\r\n", 200),
        (b"HTTP/1.1 200", 200),
        (b"HTTP/1.1 204 No Content\r\n" + b"X: y\r\n" * 10_000, 204),
    ],
    ids=[
        "1.1",
        "1.0",
        "not found",
        "server error",
        "empty reason",
        "no reason",
        "closed after the status",
        "many headers",
    ],
)
def test_the_status_is_the_one_that_was_answered(serve: Serve, answer: bytes, status: int) -> None:
    assert http_status("127.0.0.1", serve(replies(answer)), "/health", 5) == status


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\r\n\r\n",
        b"HTTP/1.1",
        b"HTTP/1.1 ",
        b"HTTP/1.1 2",
        b"HTTP/1.1 20",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 OK 200\r\n\r\n",
        b"HTTP/1.1 000 Nothing\r\n\r\n",
        b"HTTP/1.1 -20 Nothing\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"220 mail.example.org ESMTP 200\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16",
        b"\0" * 10_000,
        b"x" * 1_000_000,
    ],
    ids=lambda answer: repr(answer[:20])[2:-1] or "nothing",
)
def test_what_is_no_http_status_is_no_answer(serve: Serve, answer: bytes) -> None:
    assert http_status("127.0.0.1", serve(replies(answer)), "/health", 5) is None


def test_a_status_is_known_before_the_body_has_come(serve: Serve) -> None:
    begun = time.monotonic()
    port = serve(hangs_after(b"HTTP/1.1 200 OK\r\n"))
    assert http_status("127.0.0.1", port, "/", 5) == 200
    assert time.monotonic() - begun < 2


def test_a_status_that_comes_in_pieces_is_put_together(serve: Serve) -> None:
    port = serve(drips(b"HTTP/1.1 418 Teapot\r\n", 0.001))
    assert http_status("127.0.0.1", port, "/", 5) == 418


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(hangs, id="hangs"),
        pytest.param(hangs_after(b"HTTP/1.1 2"), id="hangs in the status"),
        pytest.param(drips(b"HTTP/1.1 200 OK\r\n", 0.1), id="drips the protocol"),
        pytest.param(drips(b"H" * 1000, 0.005), id="drips quickly"),
    ],
)
def test_the_time_limit_bounds_the_whole_exchange(serve: Serve, act: Act) -> None:
    begun = time.monotonic()
    assert http_status("127.0.0.1", serve(act), "/", 0.3) is None
    assert 0.25 <= time.monotonic() - begun < 1.2


def test_half_a_status_is_no_answer_when_time_is_up(serve: Serve) -> None:
    def act(connection: socket.socket, over: threading.Event) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 2")  # and then a byte whenever the asker looks again
        while not over.wait(0.01):
            connection.sendall(b"0")

    status = http_status("127.0.0.1", serve(act), "/", 0.25)
    assert status is None


@pytest.mark.parametrize("timeout", [0, -1, 0.0])
def test_without_time_nothing_is_asked(serve: Serve, timeout: float) -> None:
    asked = threading.Event()

    def act(_: socket.socket, __: threading.Event) -> None:
        asked.set()

    assert http_status("127.0.0.1", serve(act), "/", timeout) is None
    assert not asked.wait(0.05)


def test_nobody_listening_is_no_answer() -> None:
    with socket.socket() as bound:  # bound, and so nobody else's, but not listening
        bound.bind(("127.0.0.1", 0))
        begun = time.monotonic()
        assert http_status("127.0.0.1", bound.getsockname()[1], "/", 5) is None
        assert time.monotonic() - begun < 2


def test_a_listener_that_never_accepts_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        begun = time.monotonic()
        assert http_status("127.0.0.1", listener.getsockname()[1], "/", 0.3) is None
        assert time.monotonic() - begun < 1.2


def test_a_connection_that_is_reset_is_no_answer(serve: Serve) -> None:
    def act(connection: socket.socket, _: threading.Event) -> None:
        connection.recv(1)  # closing with data unread resets the connection

    assert http_status("127.0.0.1", serve(act), "/", 5) is None


def test_the_request_is_one_that_any_server_understands(serve: Serve) -> None:
    heard: list[bytes] = []

    def act(connection: socket.socket, _: threading.Event) -> None:
        heard.append(connection.recv(4096))
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

    port = serve(act)
    assert http_status("127.0.0.1", port, "/api?x=1", 5) == 200
    line, *headers = heard[0].decode().split("\r\n")
    assert line == "GET /api?x=1 HTTP/1.1"
    assert f"Host: localhost:{port}" in headers
    assert "Connection: close" in headers
    assert headers[-2:] == ["", ""]


def test_a_proxy_in_the_environment_is_not_asked(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert http_status("127.0.0.1", serve(replies(b"HTTP/1.1 200 OK\r\n\r\n")), "/", 5) == 200


def wait(attempt: Callable[[], object], seconds: float, **more: object) -> object:
    deadline = time.monotonic() + seconds
    return polling.wait(attempt, deadline=deadline, what=lambda: "it", **more)  # type: ignore[arg-type]


def test_wait_returns_what_the_attempt_found() -> None:
    found = iter([None, None, "found"])
    assert wait(lambda: next(found), 10) == "found"


@pytest.mark.parametrize("value", [0, "", False, ()], ids=repr)
def test_only_none_means_not_yet(value: object) -> None:
    assert wait(lambda: value, 10) == value


def test_wait_gives_up_at_its_deadline() -> None:
    begun = time.monotonic()
    assert wait(lambda: None, 0.2) is None
    assert 0.2 <= time.monotonic() - begun < 1


@pytest.mark.parametrize("seconds", [0, -5])
def test_there_is_one_attempt_even_if_time_is_up(seconds: float) -> None:
    attempts: list[int] = []
    assert wait(lambda: attempts.append(1), seconds) is None
    assert attempts == [1]


def test_an_attempt_that_succeeds_at_the_very_end_counts() -> None:
    def late() -> str:
        time.sleep(0.1)  # longer than there is time
        return "late"

    assert wait(late, 0.05) == "late"


def test_an_attempt_that_raises_ends_the_wait() -> None:
    def fail() -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        wait(fail, 10)


def test_people_are_told_after_two_seconds_and_then_every_ten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = 1000.0

    def sleep(seconds: float) -> None:
        nonlocal clock
        clock += seconds

    monkeypatch.setattr(polling.time, "monotonic", lambda: clock)
    monkeypatch.setattr(polling.time, "sleep", sleep)
    told: list[tuple[float, str]] = []
    found = polling.wait(
        lambda: None,
        deadline=1025.0,
        what=lambda: "the server on port 8288",
        notify=lambda text: told.append((round(clock - 1000), text)),
    )
    assert found is None
    assert told == [
        (2, "Waiting for the server on port 8288, 2 s of 25 s …"),
        (12, "Waiting for the server on port 8288, 12 s of 25 s …"),
        (22, "Waiting for the server on port 8288, 22 s of 25 s …"),
    ]


def test_people_are_told_nothing_about_a_short_wait() -> None:
    told: list[str] = []
    found = iter([None, None, "found"])
    assert wait(lambda: next(found), 10, notify=told.append) == "found"
    assert told == []


def test_the_wait_polls_in_tens_of_milliseconds() -> None:
    attempts: list[int] = []
    wait(lambda: attempts.append(1), 0.5)
    assert 5 <= len(attempts) <= 51
