"""The front door inside this process: its limits, made small, and its failures."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devservers import worktree
from devservers.door import client, server
from devservers.door.client import Client
from devservers.door.server import Door
from devservers.door.table import Table, Way, _find
from devservers.system import connections
from door_support import DoorWorld, Wire, door_world
from support import until


class Inside:
    """A door of this process, in a thread."""

    def __init__(self, world: DoorWorld) -> None:
        self.port = world.port + 2
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self.door = Door(worktree.find(world.main), self.port)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._over = asyncio.Event()
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        loop = self._loop
        made = [
            await loop.create_server(lambda: Client(self.door), sock=own)
            for own in server.listen(self.port)
        ]
        watching = loop.create_task(self.door.watch())
        self._ready.set()
        await self._over.wait()
        watching.cancel()
        for one in made:
            one.close()
        for one in [*self.door.clients]:
            one.close(at_once=True)
        await asyncio.sleep(0.05)

    def wire(self) -> Wire:
        return Wire(self.port)

    def call(self, act: Callable[[], None]) -> None:
        """Do that in the door's thread."""
        self._loop.call_soon_threadsafe(act)

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DoorWorld]:
    with door_world(tmp_path_factory.mktemp("process")) as made:
        yield made


@pytest.fixture
def inside(shared: DoorWorld) -> Iterator[Inside]:
    made = Inside(shared)
    try:
        yield made
    finally:
        made.end()


def test_it_leads_as_the_one_in_a_process_of_its_own(inside: Inside) -> None:
    with inside.wire() as wire:
        assert wire.get().text == "a"


def test_a_head_that_doesnt_come_to_its_end_is_not_waited_for(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "HEAD_PATIENCE", 0.2)
    with inside.wire() as wire, inside.wire() as second, inside.wire() as idle:
        assert idle.get().text == "a"
        wire.send("GET / HTTP/1.1\r\nHost:")
        second.get()
        second.send("G")
        assert wire.is_closed()
        assert second.is_closed()
        assert idle.get().text == "a"  # what is idle is in nobody's way


def test_who_is_idle_for_longest_makes_room_for_who_comes(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MOST", 3)
    with contextlib.ExitStack() as held:
        busy = held.enter_context(inside.wire())
        busy.ask("/events").upto(b"\n\n")
        first, second, third = (held.enter_context(inside.wire()) for _ in range(3))
        assert first.is_closed()
        assert (second.get().text, third.get().text) == ("a", "a")
        for wire in (second, third):
            wire.ask("/events").upto(b"\n\n")
        late = held.enter_context(inside.wire())
        assert late.is_closed()  # nobody is idle: it has to go itself
        assert len(inside.door.clients) == 3


def test_who_reads_nothing_holds_up_a_connection_to_the_server_that_is_made_meanwhile(
    inside: Inside,
) -> None:
    with inside.wire() as wire:
        (one,) = until(lambda: [*inside.door.clients])
        inside.call(one.pause_writing)  # as when an answer before has filled its buffer
        wire.ask("/big?n=100000")
        backend = until(lambda: one.backend)
        assert backend._holds == {"client"}
        inside.call(one.resume_writing)
        assert len(wire.answer().body) == 100_000


def test_at_the_port_of_http_itself_a_host_has_none(shared: DoorWorld) -> None:
    table = Table(worktree.find(shared.main), 80)

    async def places(*hosts: bytes) -> list[Path | None]:
        found = [await table.place(host) for host in hosts]
        return [place.tree.root if place and place.tree else None for place in found]

    hosts = (b"localhost", b"localhost:80", b"[::1]", b"b.main.localhost", b"B.main.localhost:80")
    assert asyncio.run(places(*hosts)) == [shared.a, shared.a, shared.a, shared.b, shared.b]
    assert asyncio.run(places(b"localhost:8080", b"evil.example", b"")) == [None] * 3
    assert table.follows(b"LOCALHOST")
    assert table.leads(b"b.main.localhost", shared.b)


def test_a_port_that_changes_hands_while_it_connects_gets_not_a_byte(
    inside: Inside, shared: DoorWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = [True]  # before it connects, and not any more after
    monkeypatch.setattr(Way, "holds", property(lambda _: bool(held and held.pop())))
    with inside.wire() as wire:
        inside.door.table._ways.update(proved(shared))
        assert wire.get("/?changed-hands").status == 503
    assert not held
    assert not shared.seen(shared.a, "/?changed-hands")


def proved(world: DoorWorld) -> dict[Path, Way]:
    found = _find(worktree.find(world.a))
    assert found
    return {world.a: found}


def test_a_failure_of_the_door_is_an_answer_and_a_line_in_its_log(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("why\x1b[31m")

    inside.door.table._looked = -1000
    with monkeypatch.context() as patch:
        patch.setattr(worktree, "every", fail)
        with inside.wire() as wire:
            wire.sock.settimeout(5)
            answer = wire.get()
            assert (answer.status, answer.is_ours) == (500, True)
    said = capsys.readouterr().out
    assert "ZeroDivisionError: why" in said
    assert "\x1b" not in said
    with inside.wire() as wire:
        assert wire.get().text == "a"


def test_a_failure_while_it_looks_for_a_switch_doesnt_lose_the_switch(
    inside: Inside, shared: DoorWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = 0
    used = inside.door.table.used

    async def fails_twice() -> object:
        nonlocal failures
        failures += 1
        if failures < 3:
            raise OSError("for a moment")
        return await used()

    with inside.wire() as idle:
        assert idle.get().text == "a"
        monkeypatch.setattr(inside.door.table, "used", fails_twice)
        try:
            shared.use(shared.b)
            assert idle.is_closed()
            assert failures >= 3
        finally:
            shared.use(shared.a)


def test_where_nobody_can_tell_who_still_listens_the_server_is_told(
    inside: Inside, shared: DoorWorld, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(connections, "CAN_TELL", False)
    gate = tmp_path / "gate"
    with inside.wire() as wire:
        wire.ask(f"/slow?gate={gate}")
        (number,) = shared.asked(shared.a, f"/slow?gate={gate}")
        wire.sock.shutdown(socket.SHUT_WR)
        until(lambda: f"end {number}" in shared.events(shared.a))
        gate.touch()
        assert wire.answer().text == "a"  # this server answers all the same
        assert wire.is_closed()
    with inside.wire() as wire:  # and what waits behind is asked for, too
        wire.ask().ask("/bytes", method="POST", body=b"123")
        wire.sock.shutdown(socket.SHUT_WR)
        assert [wire.answer().text, wire.answer().text] == ["a", "3"]
        assert wire.is_closed()


@pytest.mark.skipif(not connections.CAN_TELL, reason="nobody can tell without /proc")
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_connection_is_held_until_its_other_end_is_closed(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listener = socket.create_server((address, 0), family=family)
    except OSError:
        pytest.skip("this machine has no ::1")
    with listener, socket.create_connection(listener.getsockname()[:2]) as other:
        own, _ = listener.accept()
        with own:
            names = [own.getsockname()[:2], own.getpeername()[:2]]
            pair = (connections.End(*names[0]), connections.End(*names[1]))
            assert connections.held([pair]) == {pair}
            other.shutdown(socket.SHUT_WR)
            assert own.recv(1) == b""
            assert connections.held([pair]) == {pair}
            other.close()
            until(lambda: connections.held([pair]) == set())
    assert connections.held([]) == set()
