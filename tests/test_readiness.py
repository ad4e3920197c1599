"""Servers that are told up by other things than HTTP: their output, a listener, that they live."""

import os
import sys
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from devservers.errors import NotReadyError, ServerExitedError
from devservers.lifecycle import server, state, status
from devservers.spec import Alive, Files, Log, Ready, ServerSpec, Tcp
from support import PATIENCE, World, is_alive, until

STAYS = "import time\nwhile True: time.sleep(0.05)\n"
FORKS = f"import os\npids = [os.fork() for _ in range(2)]\n{STAYS}"


class Workshop:
    """One declared server without a port, unless it is given one."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.folder = world.folder / "devservers"
        world.processes.marks.append(("DEVSERVERS_SERVER", f"worker:{self.folder / 'worker.pid'}"))

    def spec(self, ready: Ready, code: str = STAYS, port: int | None = None) -> ServerSpec:
        return ServerSpec(
            name="worker",
            title="worker",
            port=port,
            command=lambda: (sys.executable, "-u", "-c", code),
            cwd=self.world.folder,
            env=dict(os.environ),
            files=Files(self.folder / "worker.pid", self.folder / "worker.log", owned=True),
            worktree=self.world.folder,
            branch=None,
            ready=ready,
        )

    def members(self) -> list[int]:
        name, _, value = self.spec(Alive(0)).marker.partition("=")
        return [process.pid for process in self.world.processes.carrying(name, value)]


@pytest.fixture
def shop(world: World) -> Iterator[Workshop]:
    made = Workshop(world)
    yield made
    server.stop(made.spec(Alive(0)))
    assert made.members() == []


def says(*pieces: str) -> str:
    """Return a program that writes the pieces one after another, and stays."""
    out = f"import sys, time\nfor piece in {pieces!r}:\n"
    return f"{out}    sys.stdout.write(piece); sys.stdout.flush(); time.sleep(0.1)\n{STAYS}"


def test_one_that_is_to_live_counts_as_up_after_so_long_and_not_before(shop: Workshop) -> None:
    begun = time.monotonic()
    done = server.ensure(shop.spec(Alive(0.6)), timeout=PATIENCE)
    assert time.monotonic() - begun >= 0.6
    assert (done.action, done.port, done.url, done.listener_pid) == ("started", None, None, None)
    assert done.pid in shop.members()


def test_one_that_ends_before_its_time_is_up_has_failed_and_leaves_nothing(shop: Workshop) -> None:
    spec = shop.spec(Alive(5), "print('no luck'); raise SystemExit(3)")
    with pytest.raises(ServerExitedError, match="exit status 3") as caught:
        server.ensure(spec, timeout=PATIENCE)
    assert "no luck" in str(caught.value.lines)
    assert not state.exists(spec.files.pid)


@pytest.mark.parametrize(
    "pieces",
    [
        ("Ready!\n",),
        ("Re", "ad", "y!"),
        ("\x1b[32mRe", "ady\x1b[0m!\n"),
        ("x" * 70_000, "\nReady!\n"),
    ],
    ids=["a line", "in pieces", "in colours", "after much else"],
)
def test_one_that_is_to_say_so_counts_as_up_once_it_did(
    shop: Workshop, pieces: tuple[str, ...]
) -> None:
    done = server.ensure(shop.spec(Log("^Ready!$|Ready!"), says(*pieces)), timeout=PATIENCE)
    assert done.action == "started"
    assert server.ensure(shop.spec(Log("Ready!"))).action == "already-running"


def test_what_an_earlier_run_said_does_not_count(shop: Workshop) -> None:
    server.ensure(shop.spec(Log("Ready!"), says("Ready!\n")), timeout=PATIENCE)
    server.stop(shop.spec(Log("Ready!")))
    with pytest.raises(NotReadyError, match="was not up within"):
        server.ensure(shop.spec(Log("Ready!"), STAYS), timeout=1)
    assert shop.members() == []


def test_it_is_one_however_many_ask(shop: Workshop) -> None:
    spec = shop.spec(Log("Ready!"), says("...", "Ready!\n"))
    pids: list[int | None] = []
    calls = [
        threading.Thread(target=lambda: pids.append(server.ensure(spec, timeout=PATIENCE).pid))
        for _ in range(6)
    ]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert len(pids) == 6
    assert set(pids) == set(shop.members())


def test_it_is_stopped_with_all_that_it_forked(shop: Workshop) -> None:
    spec = shop.spec(Alive(0.2), FORKS)
    server.ensure(spec, timeout=PATIENCE)
    members = until(lambda: len(shop.members()) >= 4 and shop.members())
    done = server.stop(spec)
    assert (done.action, done.port, done.port_free) == ("stopped", None, None)
    assert set(done.pids_killed) == set(members or ())
    assert server.stop(spec).action == "not-running"


def test_a_status_says_what_is_true_of_it(shop: Workshop) -> None:
    spec = shop.spec(Alive(0.1))
    assert status.status(spec).state == "stopped"
    done = server.ensure(spec, timeout=PATIENCE)
    now = status.status(spec)
    assert (now.state, now.pid, now.port, now.url) == ("running", done.pid, None, None)
    killed = psutil.Process(done.pid)
    killed.kill()
    until(lambda: not is_alive(killed))  # its environment is gone before it is
    assert status.status(spec).state == "stale"


def test_one_whose_starter_died_counts_as_up_only_when_it_is(shop: Workshop) -> None:
    spec = shop.spec(Log("Ready!"), STAYS)
    server.ensure(spec, wait=False)
    assert status.status(spec).state == "starting"
    with pytest.raises(NotReadyError, match="left alone"):
        server.ensure(spec, timeout=0.5)
    with spec.files.log.open("a") as log:
        log.write("Ready!\n")
    assert server.ensure(spec, timeout=PATIENCE).action == "already-running"


def test_one_whose_record_is_lost_is_taken_over_if_its_state_can_be_told(shop: Workshop) -> None:
    spec = shop.spec(Alive(0.1))
    first = server.ensure(spec, timeout=PATIENCE)
    state.record_file(spec.files.pid).unlink()
    spec.files.pid.unlink()
    again = server.ensure(spec, timeout=PATIENCE)
    assert (again.action, again.pid) == ("already-running", first.pid)
    assert again.log_file == str(spec.files.log)


def test_one_whose_record_is_lost_is_replaced_where_its_output_had_to_tell(shop: Workshop) -> None:
    spec = shop.spec(Log("Ready!"), says("Ready!\n"))
    first = server.ensure(spec, timeout=PATIENCE)
    state.record_file(spec.files.pid).unlink()
    again = server.ensure(spec, timeout=PATIENCE)
    assert again.action == "started"
    assert first.pid in again.pids_killed


def test_a_listener_alone_counts_where_tcp_is_asked_for(shop: Workshop) -> None:
    port = shop.world.port
    silent = f"import socket\nsocket.create_server(('127.0.0.1', {port}))\n{STAYS}".replace(
        "socket.create_server", "kept = socket.create_server"
    )
    done = server.ensure(shop.spec(Tcp(), silent, port), timeout=PATIENCE)
    assert (done.action, done.listener_pid) == ("started", done.pid)
    assert server.ensure(shop.spec(Tcp(), silent, port)).action == "already-running"
    assert server.stop(shop.spec(Tcp(), silent, port)).port_free is True


def test_a_port_and_a_line_are_both_waited_for(shop: Workshop) -> None:
    port = shop.world.port
    late = (
        f"import socket, time\nkept = socket.create_server(('127.0.0.1', {port}))\n"
        f"time.sleep(0.6)\nprint('Ready!')\n{STAYS}"
    )
    begun = time.monotonic()
    done = server.ensure(shop.spec(Log("Ready!"), late, port), timeout=PATIENCE)
    assert time.monotonic() - begun >= 0.6
    assert done.listener_pid == done.pid
    server.stop(shop.spec(Log("Ready!"), late, port))
