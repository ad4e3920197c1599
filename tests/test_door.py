"""The front door moves bytes: HTTP/1.1 in both directions, as it is and as it is bent."""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from devservers.system import procfs
from door_support import DoorWorld, Wire, door_world
from support import until

SWITCH = "Connection: Upgrade", "Upgrade: echo"
MB = 1 << 20


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DoorWorld]:
    """A world that the tests of a process share: they move bytes, and break nothing."""
    with door_world(tmp_path_factory.mktemp("door")) as made:
        yield made


@pytest.fixture
def place(shared: DoorWorld) -> DoorWorld:
    """The shared world, with `a` in use."""
    if shared.note.read_text() != f"{shared.a}\n":
        shared.use(shared.a)
    return shared


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file that isn't there yet."""
    return tmp_path / "gate"


def told(place: DoorWorld, target: str) -> str | None:
    """Return what the server was told of the connection that asked for that, if anything."""
    (number,) = place.asked(place.a, target)
    ends = [line for line in place.events(place.a) if line in {f"end {number}", f"reset {number}"}]
    return ends[0] if ends else None


# Answers


@pytest.mark.parametrize("target", ["/", "/chunks", "/trailers", "/last"])
def test_a_connection_goes_on_after_an_answer_that_says_where_it_ends(
    place: DoorWorld, target: str
) -> None:
    with place.wire() as wire:
        for _ in range(3):
            answer = wire.get(target)
            assert answer.body.replace(b"\r\n1;ext=1\r\n", b"").find(b"a\n") >= 0, answer
            assert (b"Digest: abc" in answer.body) == (target == "/trailers")


def test_an_answer_that_ends_with_the_connection_ends_so_here_too(place: DoorWorld) -> None:
    with place.wire() as wire:
        assert wire.get("/close").body == b"a\n"
        assert wire.is_closed()


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_is_followed_by_the_next(place: DoorWorld, status: int) -> None:
    with place.wire() as wire:
        assert wire.get(f"/status?s={status}").status == status
        assert wire.get().text == "a"


def test_an_answer_to_head_has_no_body(place: DoorWorld) -> None:
    with place.wire() as wire:
        for _ in range(2):
            wire.ask("/status?s=200", method="HEAD")
            assert wire.answer("HEAD").field("Content-Length") == "5"
        assert wire.get().text == "a"


def test_not_a_byte_is_changed(place: DoorWorld) -> None:
    head = (
        f"PATCH /seen?a=%7e&b=;'\xe9 HTTP/1.1\r\nhOST:   LocalHost:{place.door}\t\r\n"
        'X-Twice: 1\r\nCookie: a=1; b="2"\r\nx-twice:2\r\nX-Empty:\r\nX-\xc3: \xff\r\n'
        "Forwarded: for=1.2.3.4\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\r\n"
    ).replace("X-\xc3", "X-Odd").encode("latin-1")  # fmt: skip
    with place.wire() as wire:
        wire.send(head)
        assert wire.answer().body == head
    with place.wire() as wire, Wire(int(place.claim(place.a))) as direct:
        for target in ("/", "/chunks", "/trailers", "/continue", "/status?s=304"):
            for one in (wire, direct):
                one.ask(target)
        wire.ask("/close")
        direct.ask("/close")
        assert wire.rest() == direct.rest()


def test_all_requests_of_a_client_go_over_one_connection(place: DoorWorld) -> None:
    with place.wire() as wire:
        for _ in range(20):
            wire.get("/?one-connection")
    assert len(set(place.seen(place.a, "/?one-connection"))) == 1


def test_requests_that_come_at_once_are_answered_in_order(place: DoorWorld) -> None:
    with place.wire() as wire:
        wire.ask("/chunks").ask("/bytes", method="POST", body=b"x" * 5000).ask("/big?n=300000")
        wire.ask("/status?s=204").ask("/bytes", method="PUT", body=b"GET / HTTP/1.1\r\n\r\n").ask()
        assert wire.answer().status == 200
        assert wire.answer().text == "5000"
        assert len(wire.answer().body) == 300_000
        assert wire.answer().status == 204
        assert wire.answer().text == "18"
        assert wire.answer().text == "a"


def test_thousands_of_requests_that_come_at_once_are_answered_in_order(place: DoorWorld) -> None:
    with place.wire() as wire:
        for number in range(50):
            for _ in range(40):
                wire.ask("/seen")
            wire.ask(f"/seen?{number}")
        for number in range(50):
            for _ in range(40):
                assert wire.answer().body.startswith(b"GET /seen HTTP")
            assert wire.answer().body.startswith(b"GET /seen?%d HTTP" % number)


def test_empty_lines_before_a_request_are_passed_over(place: DoorWorld) -> None:
    with place.wire() as wire:
        wire.send("\r\n").ask().send("\r").send("\n\r\n").ask()
        assert [wire.answer().text, wire.answer().text] == ["a", "a"]
        began = time.monotonic()
        wire.send(b"\r\n" * 500_000).ask()
        assert wire.answer().text == "a"
        assert time.monotonic() - began < 3


def test_a_request_may_come_byte_by_byte(place: DoorWorld) -> None:
    text = f"POST /bytes HTTP/1.1\r\nHost: localhost:{place.door}\r\nTransfer-Encoding: chunked\r\n"
    with place.wire() as wire:
        wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in (text + "\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\n").encode():
            wire.send(bytes([byte]))
        assert wire.answer().text == "5"
        assert wire.get().text == "a"


@pytest.mark.parametrize(
    "lines", [["Connection: close"], [], ["Connection: keep-alive"]], ids=["1.1", "1.0", "kept"]
)
def test_who_wants_the_connection_closed_after_the_answer_has_it_closed(
    place: DoorWorld, lines: list[str]
) -> None:
    minor = 1 if "close" in "".join(lines) else 0
    target = f"/?after-{minor}-{len(lines)}"
    with place.wire() as wire:
        head = [f"GET /bytes HTTP/1.{minor}", f"Host: localhost:{place.door}", *lines, "", ""]
        wire.send("\r\n".join(head))
        if "Connection: keep-alive" not in lines:
            wire.ask(target)  # that server doesn't close
        assert wire.answer().text == "0"
        if "Connection: keep-alive" in lines:
            assert wire.get().text == "a"
        else:
            assert wire.is_closed()
    assert not place.seen(place.a, target)


# Uploads


def test_a_body_is_sent_once_the_server_asks_for_it(place: DoorWorld) -> None:
    with place.wire() as wire:
        wire.ask("/continue", "Expect: 100-continue", "Content-Length: 5", method="POST")
        assert wire.answer().status == 100
        wire.send("hello")
        assert wire.answer().text == "5"
        assert wire.get().text == "a"


def test_an_upload_arrives_whole(place: DoorWorld) -> None:
    with place.wire() as wire:
        wire.ask("/bytes", f"Content-Length: {32 * MB}", method="POST")
        for _ in range(32):
            wire.send(b"x" * MB)
        assert wire.answer().text == str(32 * MB)
        wire.ask("/bytes", "Transfer-Encoding: chunked", method="POST")
        for _ in range(100):
            wire.send(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
        wire.send("0\r\nDigest: a\r\n\r\n")
        assert wire.answer().text == "1000000"
        assert wire.get().text == "a"


@pytest.mark.parametrize("target", ["/early", "/early?close"])
def test_an_answer_that_comes_before_the_body_is_read_arrives(
    place: DoorWorld, target: str
) -> None:
    for _ in range(5):
        with place.wire() as wire:
            wire.ask(target, f"Content-Length: {64 * MB}", method="POST")
            wire.sock.settimeout(0)
            with contextlib.suppress(OSError):
                while True:
                    wire.sock.send(b"x" * MB)
            wire.sock.settimeout(10)
            assert (wire.answer().text, wire.port) == ("a", place.door)


def test_an_upload_that_breaks_off_is_not_taken_for_a_whole_one(place: DoorWorld) -> None:
    for number, (shut, waits) in enumerate(((True, True), (True, False), (False, True))):
        target = f"/bytes?broken-{number}"
        with place.wire() as wire:
            wire.ask(target, "Content-Length: 100", method="POST").send("half")
            if waits:  # else it ends while the door is still looking for the server
                place.asked(place.a, target)
            if shut:
                wire.sock.shutdown(socket.SHUT_WR)
                assert wire.is_closed()
        until(lambda target=target: told(place, target))


# Streams, and who goes


def test_an_event_arrives_at_once_and_the_server_is_told_who_goes(place: DoorWorld) -> None:
    with place.wire() as wire:
        wire.ask("/events?gone")
        assert wire.upto(b"\n\n").endswith(b"data: a\n\n")
    until(lambda: told(place, "/events?gone"))


def test_the_server_is_told_at_once_that_who_waits_has_gone(place: DoorWorld, gate: Path) -> None:
    target = f"/slow?gate={gate}"
    with place.wire() as wire:
        wire.ask(target)
        place.asked(place.a, target)
    began = time.monotonic()
    until(lambda: told(place, target))
    assert time.monotonic() - began < 2
    assert not gate.exists()


def test_who_goes_while_a_connection_is_made_leaves_none_behind(place: DoorWorld) -> None:
    door = place.door_process()
    before = connections(door)
    for _ in range(50):
        with place.wire() as wire:
            wire.ask("/").ask("/")
    until(lambda: connections(door) <= before)


def connections(door: psutil.Process) -> int:
    """Return how many sockets it has open, connected or not."""
    return int(door.num_fds())


def test_who_sends_nothing_more_still_has_the_answer(place: DoorWorld, gate: Path) -> None:
    target = f"/slow?gate={gate}"
    with place.wire() as wire:
        wire.ask(target).ask("/bytes", method="POST", body=b"12345")
        wire.sock.shutdown(socket.SHUT_WR)
        place.asked(place.a, target)
        time.sleep(0.2)  # nothing is to happen
        gate.touch()
        assert wire.answer().text == "a"
        assert wire.answer().text == "5"
        assert wire.is_closed()


def test_who_breaks_off_in_a_head_has_no_more_to_wait_for(place: DoorWorld, gate: Path) -> None:
    for first in ("", f"GET /slow?gate={gate} HTTP/1.1\r\nHost: localhost:{place.door}\r\n\r\n"):
        with place.wire() as wire:
            wire.send(f"{first}GET / HT")
            if first:
                place.asked(place.a, f"/slow?gate={gate}")
            wire.sock.shutdown(socket.SHUT_WR)
            gate.touch()
            wire.sock.settimeout(5)
            wire.rest()


# Other protocols


def test_another_protocol_goes_both_ways_and_each_way_ends_by_itself(place: DoorWorld) -> None:
    with place.wire() as wire:
        wire.ask("/socket", *SWITCH).send("early")
        assert wire.answer().status == 101
        assert wire.some(5) == b"early"
        wire.send(bytes(range(256)) * 1000)
        assert wire.some(256_000) == bytes(range(256)) * 1000
        wire.sock.shutdown(socket.SHUT_WR)
        assert wire.rest() == b"bye"


def test_who_has_said_all_before_the_protocol_changes_is_answered_to_the_end(
    place: DoorWorld,
) -> None:
    with place.wire() as wire:
        wire.ask("/socket", *SWITCH).send("early")
        wire.sock.shutdown(socket.SHUT_WR)
        wire.sock.settimeout(5)
        assert wire.answer().status == 101
        assert wire.rest() == b"earlybye"


def test_a_server_that_says_nothing_more_gets_what_comes_to_the_last_byte(place: DoorWorld) -> None:
    for number in range(5):
        target = f"/stays?{number}"
        with place.wire() as wire:
            wire.ask(target, *SWITCH)
            assert wire.answer().status == 101
            assert wire.rest() == b"over"
            wire.send(b"x" * 8 * MB)
        (server,) = place.asked(place.a, target)
        until(lambda server=server: f"got {server} {8 * MB}" in place.events(place.a))


def test_what_has_ended_both_ways_is_closed(place: DoorWorld) -> None:
    door = place.door_process()
    before = connections(door)
    for number in range(20):
        with place.wire() as wire:
            wire.ask("/socket", *SWITCH)
            assert wire.answer().status == 101
            if number % 2:
                wire.sock.shutdown(socket.SHUT_WR)
                assert wire.rest() == b"bye"
    until(lambda: connections(door) <= before)


def test_a_protocol_that_nobody_asked_for_is_refused(place: DoorWorld) -> None:
    raw = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nGET / HTTP/1.1\r\n"
    answer = place.get(f"/raw?x={raw.hex()}")
    assert (answer.status, answer.is_ours) == (502, True)


def test_a_server_that_doesnt_change_the_protocol_just_answers(place: DoorWorld) -> None:
    with place.wire() as wire:
        assert wire.get("/", *SWITCH).text == "a"
        assert wire.get().text == "a"


# Servers that close


def test_a_server_that_ends_the_connection_without_an_answer_is_told_of(place: DoorWorld) -> None:
    for method in ("GET", "POST"):
        with place.wire() as wire:
            answer = wire.get("/drop", method=method)
            assert (answer.status, answer.is_ours) == (502, True)
            assert "without an answer" in answer.text


def test_what_is_dropped_with_an_idle_connection_is_sent_again_if_that_does_no_harm(
    place: DoorWorld,
) -> None:
    with place.wire() as wire:
        assert wire.get("/once").text == "a"
        assert wire.get("/seen?again").status == 200
        first, second = place.asked(place.a, "/seen?again")
        assert first != second
        assert wire.get("/once").text == "a"
        assert wire.get("/seen?not-again", method="POST").status == 502
    assert len(place.seen(place.a, "/seen?not-again")) == 1


def test_a_request_with_a_body_is_never_sent_again_without_it(place: DoorWorld) -> None:
    with place.wire() as wire:
        assert wire.get("/once").text == "a"
        assert wire.get("/bytes?whole", body=b"12345").status in {200, 502}
    assert len(place.seen(place.a, "/bytes?whole")) == 1


def test_a_connection_stays_when_the_server_closes_its_own(place: DoorWorld) -> None:
    door = place.door_process()
    before = connections(door)
    with place.wire() as wire:
        assert wire.get("/last").text == "a"
        until(lambda: connections(door) <= before + 1)
        for _ in range(3):
            assert wire.get("/bytes", method="POST", body=b"123").text == "3"


def test_what_must_not_be_sent_twice_goes_over_no_connection_that_was_idle_for_long(
    place: DoorWorld,
) -> None:
    with place.wire() as wire:
        assert wire.get("/?long-ago").text == "a"
        time.sleep(1.1)  # the time is the point
        assert wire.get("/bytes?later", method="POST", body=b"123").text == "3"
    assert place.asked(place.a, "/bytes?later") != place.asked(place.a, "/?long-ago")


# Doubtful bytes


WRONG = {
    "no HTTP": "hello\r\n\r\n",
    "a length and chunks": "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\n"
    "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two Hosts": "GET / HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n",
    "no Host": "GET / HTTP/1.1\r\nAccept: */*\r\n\r\n",
    "a bare line feed": "GET / HTTP/1.1\r\nHost: HOST\r\nX: a\nY: b\r\n\r\n",
    "an absolute target": "GET http://HOST/ HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "a tunnel": "CONNECT HOST HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "a wrong chunk": "POST /wrong HTTP/1.1\r\nHost: HOST\r\n"
    "Transfer-Encoding: chunked\r\n\r\n0x5\r\n",
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("first", [True, False], ids=["first", "second"])
def test_what_is_doubtful_is_refused_and_reaches_no_server(
    place: DoorWorld, text: str, *, first: bool
) -> None:
    data = text.replace("HOST", f"localhost:{place.door}")
    with place.wire() as wire:
        if not first:
            wire.ask("/big?n=400000")
        wire.send(data).ask("/?smuggled")
        if not first:
            assert len(wire.answer().body) == 400_000
        answer = wire.answer()
        assert (answer.status, answer.is_ours) == (400, True), answer
        assert wire.is_closed()
    assert not place.seen(place.a, "/?smuggled")


@pytest.mark.parametrize("piece", [1 << 20, 10_000], ids=["at once", "in pieces"])
@pytest.mark.parametrize("ends", [True, False])
def test_a_head_that_is_too_long_is_refused(place: DoorWorld, piece: int, *, ends: bool) -> None:
    line = "X: " + "y" * 997
    target = f"/?long-{piece}-{ends}"
    head = "\r\n".join([f"GET {target} HTTP/1.1", f"Host: localhost:{place.door}", *[line] * 70])
    data = head + ("\r\n\r\n" if ends else "")
    with place.wire() as wire:
        for at in range(0, len(data), piece):
            with contextlib.suppress(OSError):
                wire.send(data[at : at + piece])
        assert wire.answer().status == 431
    assert not place.seen(place.a, target)


def test_a_head_of_forty_kilobytes_is_none(place: DoorWorld) -> None:
    cookies = [f"Cookie: {number}={'x' * 990}" for number in range(40)]
    assert place.get("/seen", *cookies).body.count(b"Cookie: ") == 40


WRONG_ANSWERS = {
    "no HTTP": b"hello\r\n\r\n",
    "a length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-",
}


@pytest.mark.parametrize("raw", WRONG_ANSWERS.values(), ids=WRONG_ANSWERS)
def test_an_answer_that_is_no_http_is_a_bad_gateway(place: DoorWorld, raw: bytes) -> None:
    answer = place.get(f"/raw?x={raw.hex()}")
    assert (answer.status, answer.is_ours) == (502, True)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    ],
)
def test_half_an_answer_doesnt_look_like_a_whole_one(place: DoorWorld, raw: bytes) -> None:
    with place.wire() as wire:
        wire.ask(f"/raw?x={raw.hex()}")
        got = b""
        with contextlib.suppress(ConnectionResetError):
            got = wire.rest()
        assert raw[:10] == got[:10]
        assert b"\r\n0\r\n" not in got


def test_a_head_of_an_answer_that_is_too_long_is_a_bad_gateway(place: DoorWorld) -> None:
    for target in ("/head?n=70000", "/head?n=70000&end"):
        answer = place.get(target)
        assert (answer.status, answer.is_ours) == (502, True)
    assert place.get("/head?n=60000&end").status == 200


def test_what_comes_behind_an_answer_is_passed_on_to_nobody(place: DoorWorld) -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    raw += b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    with place.wire() as wire:
        assert wire.get(f"/raw?x={raw.hex()}").text == "ok"
        assert wire.get("/").text == "a"


# Memory


def rss(place: DoorWorld) -> int:
    return int(place.door_process().memory_info().rss)


def test_who_reads_slowly_holds_the_server_up_and_costs_no_memory(place: DoorWorld) -> None:
    place.get()
    before = rss(place)
    with place.wire(SO_RCVBUF=4096) as wire:
        wire.ask(f"/big?n={64 * MB}")
        (number,) = place.asked(place.a, f"/big?n={64 * MB}")
        time.sleep(0.3)
        assert f"sent {number}" not in place.events(place.a)
        wire.upto(b"\r\n\r\n")
        seen, left = 0, 64 * MB
        while left:
            left -= len(wire.some(min(left, 1 << 16)))
            if left % (16 * MB) == 0:
                seen = max(seen, rss(place))
        assert seen - before < 8 * MB
        assert wire.get().text == "a"


def test_a_server_that_reads_slowly_holds_the_upload_up_and_costs_no_memory(
    place: DoorWorld, gate: Path
) -> None:
    place.get()
    before = rss(place)
    target = f"/sink?gate={gate}"
    with place.wire() as wire:
        wire.ask(target, f"Content-Length: {192 * MB}", method="POST")
        place.asked(place.a, target)
        sent = fill(wire, 192 * MB)
        assert sent < 128 * MB  # kernels hold some, the more the larger their buffers may be
        assert rss(place) - before < 8 * MB
        gate.touch()
        for at in range(sent, 192 * MB, MB):
            wire.send(b"x" * min(MB, 192 * MB - at))
        assert wire.answer().text == str(192 * MB)
        assert rss(place) - before < 8 * MB


def fill(wire: Wire, most: int) -> int:
    """Send until nobody takes any more; return how much that was."""
    wire.sock.settimeout(0.3)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < most:
            sent += wire.sock.send(b"x" * min(MB, most - sent))
    wire.sock.settimeout(20)
    return sent


def test_requests_behind_one_that_takes_long_wait_outside(place: DoorWorld, gate: Path) -> None:
    place.get()
    before = rss(place)
    one = f"GET /?behind HTTP/1.1\r\nHost: localhost:{place.door}\r\n\r\n".encode()
    with place.wire() as wire:
        wire.ask(f"/slow?gate={gate}")
        wire.sock.settimeout(0.3)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 32 * MB:
                sent += wire.sock.send(one * 1000)
        assert sent < 24 * MB
        assert rss(place) - before < 4 * MB
        assert not place.seen(place.a, "/?behind")
    gate.touch()


def test_a_flood_through_another_protocol_waits_for_who_reads(place: DoorWorld) -> None:
    place.get()
    before = rss(place)
    with place.wire() as wire:
        wire.ask("/socket", *SWITCH)
        wire.answer()
        assert fill(wire, 256 * MB) < 256 * MB  # it echoes, nobody reads: only kernels hold some
        assert rss(place) - before < 8 * MB


def test_an_answer_in_pieces_waits_for_no_acknowledgement(place: DoorWorld) -> None:
    """40 ms, where the second piece waits until the first one was acknowledged (Nagle)."""
    took = []
    with place.wire() as wire:
        for _ in range(60):
            began = time.monotonic()
            wire.ask("/continue", "Expect: 100-continue", method="POST", body=b"x")
            while b"\r\n\r\n1" not in wire.buffer:
                wire.buffer += wire.sock.recv(1 << 16)
            wire.buffer = b""
            took.append(time.monotonic() - began)
    assert sorted(took)[10] < 0.03  # a few are quick in any case


def test_hundreds_of_idle_connections_hold_nobody_up(place: DoorWorld) -> None:
    # Without /proc each costs two proofs by psutil, which reads the table of all sockets for each.
    count = 400 if procfs.HAS_PROC else 60
    with contextlib.ExitStack() as held:
        wires = [held.enter_context(place.wire()) for _ in range(count)]
        for wire in wires:
            wire.ask()
        assert {wire.answer().text for wire in wires} == {"a"}
        began = time.monotonic()
        assert place.get().text == "a"
        assert time.monotonic() - began < 1
