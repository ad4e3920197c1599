"""A listener that comes or goes while it is looked at: what only seems so is no stranger."""

import os
import pwd
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from devservers import config, inngest, worktree
from devservers.lifecycle import failures, observation, readiness, verdict
from devservers.lifecycle.record import ServerRecord
from devservers.lifecycle.verdict import Verdict
from devservers.spec import ServerSpec
from devservers.system import procfs, sockets
from devservers.system.identity import Identity, Socket
from support import World, accepts, is_alive, quickly, until


def spec_of(world: World) -> ServerSpec:
    here = worktree.find(world.main)
    return inngest.spec(config.load(here.root, here.main, {}), here, env={})


def answers(monkeypatch: pytest.MonkeyPatch, name: str, *values: Any) -> list[Any]:
    """Let a function of `ports` answer these in turn, the last for ever; return what is left."""
    left = list(values)
    monkeypatch.setattr(sockets, name, lambda *_, **__: left.pop(0) if len(left) > 1 else left[0])
    return left


def pass_by(world: World, connections: int) -> None:
    """Start a listener that ends after so many connections."""
    code = (
        f"import socket; listener = socket.create_server(('127.0.0.1', {world.port}))\n"
        f"print('listens', flush=True)\nfor _ in range({connections}): listener.accept()"
    )
    words = [sys.executable, "-I", "-S", "-c", code]
    child = world.processes.popen(words, env=world.env(), stdout=subprocess.PIPE)
    assert child.stdout
    assert child.stdout.readline() == b"listens\n"


def test_a_listener_that_is_gone_at_the_second_look_is_no_stranger(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = Socket(1, "127.0.0.1", world.port, 3)
    answers(monkeypatch, "is_open", 1, 0)
    answers(monkeypatch, "listeners", (stranger,), ())
    assert verdict.examine(spec_of(world)).verdict is Verdict.STOPPED


def test_what_takes_connections_at_each_look_and_can_not_be_seen_is_a_stranger(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as what a packet filter forwards, without any socket here."""
    answers(monkeypatch, "is_open", 1)
    answers(monkeypatch, "listeners", ())
    assert verdict.examine(spec_of(world)).verdict is Verdict.FOREIGN


def test_a_listener_that_is_still_there_at_the_second_look_is_a_stranger(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, "is_open", 1)
    answers(monkeypatch, "listeners", (Socket(1, "127.0.0.1", world.port, 3),))
    assert verdict.examine(spec_of(world)).verdict is Verdict.FOREIGN


def test_a_listener_that_ends_with_its_first_connection_keeps_nobody_from_starting(
    world: World,
) -> None:
    """Whoever finds a port open and asks who has it may find nobody there any more."""
    pass_by(world, 1)
    assert world.ok("ensure")["action"] == "started"
    assert world.ok("stop")["portFree"]


@pytest.mark.parametrize("connections", [1, 2, 3, 4, 5])
def test_stop_names_whoever_holds_the_port_or_says_that_it_is_free(
    world: World, connections: int
) -> None:
    pass_by(world, connections)
    done = world.ok("stop")
    assert done["portFree"] or done["holders"], done


def test_what_listens_only_at_the_first_look_while_ours_starts_is_no_stranger(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, "listeners", (Socket(1, "127.0.0.1", world.port, 3),), ())
    assert not verdict.has_strangers(spec_of(world), (), world.port)
    answers(monkeypatch, "listeners", (Socket(1, "127.0.0.1", world.port, 3),))
    assert verdict.has_strangers(spec_of(world), (), world.port)


def test_a_socket_whose_process_is_not_known_yet_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """psutil reads who has which socket first, and which sockets there are afterwards."""
    nobody, somebody = Socket(None, "::", 4242, -1), Socket(77, "::", 4242, 3)
    left = answers(monkeypatch, "listening", (nobody,), (somebody,))
    assert sockets.listeners(4242) == (somebody,)
    assert left == [(somebody,)]
    answers(monkeypatch, "listening", (nobody,))
    assert sockets.listeners(4242) == (nobody,)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_users_inngest_server_is_a_stranger_and_is_named_by_its_user(
    world: World,
) -> None:
    theirs = world.inngest_by_another_user()
    error = world.fails("ensure", code=12)
    assert error["code"] == "port-in-use"
    if procfs.HAS_PROC:  # elsewhere nobody is told whose it is
        assert f"user {theirs.username()}" in error["message"]
    assert "--force" not in error["hint"]
    assert world.ok("status", code=3)["state"] == "foreign"
    assert world.ok("stop")["pidsKilled"] == []
    assert world.fails("ensure", "--force", code=12)["code"] == "port-in-use"
    assert is_alive(theirs)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_mark_in_another_users_environment_proves_nothing(world: World) -> None:
    theirs = world.inngest_by_another_user(DEVSERVERS_SERVER=f"inngest:{world.pid_file}")
    assert world.fails("ensure", code=12)["code"] == "port-in-use"
    assert world.ok("stop", "--force", code=12)["action"] == "error"
    assert is_alive(theirs)


def test_a_holder_that_can_not_be_seen_is_named_by_its_user(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, "listeners", (Socket(None, "::", world.port, -1),))
    monkeypatch.setattr(sockets, "owner", lambda _: "ann")
    error = failures.port_in_use(spec_of(world), world.port)
    assert "held by a process of ann that can't be seen from here" in error.message
    assert error.details["holders"] == [
        {**dict.fromkeys(("name", "cmdline", "cwd", "since")), "pid": None, "user": "ann"}
    ]


@pytest.mark.skipif(not procfs.HAS_PROC, reason="the table is in /proc")
def test_the_user_of_a_socket_is_read_from_the_kernels_table(world: World) -> None:
    world.listener()
    assert sockets.owner(world.port) == pwd.getpwuid(os.geteuid()).pw_name
    assert sockets.owner(world.port + 1) is None


def test_a_container_is_said_where_a_holder_runs_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "procfs", SimpleNamespace(is_elsewhere=lambda _: True))
    said = failures.describe_holder({**sockets.holder(os.getpid()), "cwd": None, "since": None})
    assert said.endswith(", in another container)")


def test_only_what_answers_elsewhere_for_a_whole_second_has_moved(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, answered = 0.0, False
    elsewhere = Socket(2, "127.0.0.1", world.port + 2, 3)
    monkeypatch.setattr(observation, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(observation, "sockets", SimpleNamespace(listening=lambda **_: (elsewhere,)))
    asked = SimpleNamespace(of_listener=lambda *_: readiness.Answer(answered))
    monkeypatch.setattr(observation, "readiness", asked)
    gone = Identity(2, "no such start")
    record = ServerRecord(gone, world.port, (), (), None, 0, "/", None, None, 0.0)
    watch = observation.MoveWatch(spec_of(world), record)
    seen = []
    for now, answered in (  # noqa: B007 - what the functions above return
        (0.4, True),  # too early to look
        (0.5, True),
        (1.1, False),  # so it begins anew
        (1.7, True),
        (2.3, True),
        (2.6, True),  # half a second is not over since the last look
        (2.8, True),
    ):
        seen.append(watch.port())
    assert seen == [None] * 6 + [world.port + 2]


def test_an_orphan_is_not_waited_for_beyond_the_deadline(world: World) -> None:
    world.behave("mute")
    world.ok("ensure", "--no-wait")
    until(lambda: accepts(world.port))
    for file in world.state_files():
        file.unlink()
    seen = quickly(1, lambda: verdict.examine(spec_of(world), deadline=time.monotonic()))
    assert (seen.verdict, seen.answers) == (Verdict.ORPHAN, False)
    world.ok("stop")


def test_stop_ends_ours_that_moved_and_reports_an_inngest_by_hand_on_its_port(
    world: World,
) -> None:
    world.behave("moves")
    ours = world.ok("ensure", "--no-wait")
    until(lambda: accepts(world.port + 2))
    theirs = world.inngest_by_hand()
    assert world.ok("status", code=3)["state"] == "foreign"
    stopped = world.ok("stop")
    assert stopped["action"] == "stopped"
    assert ours["pid"] in stopped["pidsKilled"]
    assert theirs.pid not in stopped["pidsKilled"]
    assert [holder["pid"] for holder in stopped["holders"]] == [theirs.pid]
    assert is_alive(theirs)
