"""What a server opened (an editor, an agent, a daemon): it carries the mark, and is no server."""

import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from support import World, accepts, is_alive, until

# Starts a program as "open in editor" does: it leaves the tree and the session, with the mark.
OPENED = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1], "w").write(str(os.getpid()))
        time.sleep(600)
    os._exit(0)
os.wait()
os.execv(sys.executable, [sys.executable, "-I", "-S", *sys.argv[2:]])
"""


class Opened(World):
    """A world whose server opens an editor."""

    @property
    def editor(self) -> psutil.Process:
        file = self.folder / "editor"
        return psutil.Process(int(until(lambda: file.exists() and file.read_text())))


@pytest.fixture
def opened(world: World) -> Any:
    world.__class__ = Opened
    fake = str(Path(__file__).with_name("fake_cli.py"))
    opener = [sys.executable, "-I", "-S", "-c", OPENED, str(world.folder / "editor"), fake]
    world.configure(command=opener)
    world.leaves_server = True
    return world


def test_stop_leaves_what_the_server_opened_and_names_it(opened: Any) -> None:
    opened.ok("ensure")
    editor = opened.editor
    stopped = opened.ok("stop")
    assert stopped["action"] == "stopped"
    assert editor.pid not in stopped["pidsKilled"]
    (left,) = stopped["left"]
    assert left == {"pid": editor.pid, "name": editor.name(), "command": editor.cmdline()}
    assert f"(pid {editor.pid})" in stopped["warnings"][0]
    assert is_alive(editor)


def test_what_a_server_opened_is_named_to_people_too(opened: Any) -> None:
    opened.ok("ensure")
    done = opened.run("inngest.stop")
    assert done.code == 0
    assert f"Left alone: {opened.editor.name()} (pid {opened.editor.pid})" in done.err


def test_stop_with_force_ends_what_the_server_opened(opened: Any) -> None:
    opened.ok("ensure")
    editor = opened.editor
    stopped = opened.ok("stop", "--force")
    assert editor.pid in stopped["pidsKilled"]
    assert stopped["left"] == []
    assert not is_alive(editor)


def test_an_ensure_after_a_lost_record_leaves_what_the_server_opened(opened: Any) -> None:
    opened.ok("ensure")
    editor = opened.editor
    server = opened.ok("status")["pid"]
    psutil.Process(server).kill()
    until(lambda: not psutil.pid_exists(server) or not is_alive(psutil.Process(server)))
    for file in (opened.pid_file, opened.record_file):
        file.unlink()
    opened.behave()
    started = opened.ok("ensure")
    assert (started["action"], started["pidsKilled"]) == ("started", [])
    assert is_alive(editor)


def test_restart_names_what_the_stopped_server_had_opened(opened: Any) -> None:
    opened.ok("ensure")
    editor = opened.editor
    opened.behave()
    restarted = opened.ok("restart")
    assert restarted["action"] == "restarted"
    assert [one["pid"] for one in restarted["left"]] == [editor.pid]
    assert is_alive(editor)


def test_a_listener_that_made_a_session_of_its_own_is_still_ended(world: World) -> None:
    world.behave("setsid")
    started = world.ok("ensure")
    psutil.Process(started["pid"]).kill()  # its parent, which kept it in the tree
    until(lambda: not is_alive_pid(started["pid"]))
    stopped = world.ok("stop")
    assert started["listenerPid"] in stopped["pidsKilled"]
    world.assert_nothing_left()


def test_a_listener_in_a_session_of_its_own_that_moved_and_was_forgotten_is_ended(
    world: World,
) -> None:
    world.behave("setsid", "moves")
    started = world.ok("ensure", "--no-wait")
    until(lambda: accepts(world.port + 2))
    psutil.Process(started["pid"]).kill()
    until(lambda: not is_alive_pid(started["pid"]))
    for file in (world.pid_file, world.record_file):
        file.unlink()
    assert world.ok("stop")["action"] == "stopped"
    world.assert_nothing_left()
    assert not accepts(world.port + 2)


def test_what_a_killed_start_left_behind_is_named_when_it_is_ended(world: World) -> None:
    gate = world.folder / "gate"
    world.behave(f"gate={gate}")
    caller = world.start("inngest.ensure")
    until(gate.with_name("gate.waiting").exists)
    caller.kill()
    caller.wait()
    (left,) = world.servers()
    for file in (world.pid_file, world.record_file):
        file.unlink()
    world.behave()
    started = world.ok("ensure")
    assert (started["action"], started["pidsKilled"]) == ("started", [left.pid])
    world.leaves_server = True


def is_alive_pid(pid: int) -> bool:
    return psutil.pid_exists(pid) and is_alive(psutil.Process(pid))


# Makes a daemon of itself: its own session, its launcher gone, its port taken only later.
DAEMON = """
import os, sys, time
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
time.sleep(float(sys.argv[1]))
os.execv(sys.executable, [sys.executable, "-I", "-S", *sys.argv[2:]])
"""


@pytest.mark.parametrize("later", ["0", "600"])
def test_a_program_that_makes_a_daemon_of_itself_fails_and_is_ended(
    world: World, later: str
) -> None:
    fake = str(Path(__file__).with_name("fake_cli.py"))
    world.configure(command=[sys.executable, "-I", "-S", "-c", DAEMON, later, fake])
    assert world.fails("ensure", code=13)["code"] == "server-exited"
    world.assert_nothing_left()


def test_a_failed_start_leaves_what_an_earlier_server_opened(opened: Any) -> None:
    opened.ok("ensure")
    editor = opened.editor
    opened.ok("stop")
    opened.behave("exit=3")
    assert opened.fails("ensure", code=13)["code"] == "server-exited"
    assert is_alive(editor)


def test_an_heir_that_holds_a_port_and_never_answers_does_not_hold_up_the_undo(
    world: World,
) -> None:
    """It has the sockets of the server that forked it on SIGTERM, in a session of its own."""
    world.behave("setsid", "fork-on-term", "moves")
    begun = time.monotonic()
    error = world.fails("ensure", "--timeout=3", code=14)
    assert time.monotonic() - begun < 15
    assert error["code"] == "not-ready"
    world.assert_nothing_left()
