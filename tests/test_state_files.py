"""The pid file and the record: whatever lies there, no stranger is signalled and nothing breaks."""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from support import World, is_alive, until

as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away"
)
PLACES = [
    ("ensure", "pid_file"),
    ("stop", "pid_file"),
    ("restart", "record_file"),
    ("stop", "record_file"),
    ("ensure", "lock_file"),
    ("stop", "lock_file"),
]
HUGE = b"9" * 1_000_000
RUBBISH = [b"", b"garbage\n", b"-1\n", b"1\n", HUGE, b"\xff\xfe\0"]


@pytest.mark.parametrize("content", RUBBISH, ids=lambda content: repr(content[:12]))
def test_rubbish_is_replaced(world: World, content: bytes) -> None:
    world.pid_file.write_bytes(content)
    world.record_file.write_bytes(content)
    assert world.ok("status", code=3)["state"] == "stale"
    started = world.ok("ensure")
    assert started["action"] == "started"
    assert world.pid_file.read_text() == f"{started['pid']}\n"
    world.ok("stop")
    world.assert_nothing_left()


@pytest.mark.parametrize("content", [b"", HUGE], ids=len)
def test_rubbish_in_the_pid_file_of_a_running_server_is_put_right(
    running: World, content: bytes
) -> None:
    running.pid_file.write_bytes(content)
    assert running.ok("status")["pid"] == running.started["pid"]
    done = running.ok("ensure")
    assert (done["action"], done["pid"]) == ("already-running", running.started["pid"])
    assert running.pid_file.read_text() == f"{done['pid']}\n"


def test_stop_removes_rubbish(world: World) -> None:
    world.pid_file.write_text("garbage\n")
    world.record_file.write_text("{")
    assert world.ok("stop")["action"] == "not-running"
    world.assert_nothing_left()


def a_pid_file_alone(world: World, pid: int) -> None:
    world.pid_file.write_text(f"{pid}\n")


def a_record_with_another_start(world: World, pid: int) -> None:
    a_record(world, pid, "00000000-0000-0000-0000-000000000000:1")


def a_record_with_another_start_in_this_boot(world: World, pid: int) -> None:
    started = json.loads(world.record_file.read_text())["started"]
    boot, _, ticks = started.partition(":")
    a_record(world, pid, f"{boot}:{int(ticks) - 1}" if ticks else f"{float(started) - 60}")


def a_record(world: World, pid: int, started: str) -> None:
    data = json.loads(world.record_file.read_text())
    data |= {"pid": pid, "started": started}
    data["listener"] |= {"pid": pid, "started": started}
    world.record_file.write_text(json.dumps(data))
    world.pid_file.write_text(f"{pid}\n")


FORGERIES = [
    a_pid_file_alone,
    a_record_with_another_start,
    a_record_with_another_start_in_this_boot,
]
STARTS = ["ensure", "restart", "ensure"]


@pytest.mark.parametrize(
    ("task", "forge"),
    [*(("stop", forge) for forge in FORGERIES), *zip(STARTS, FORGERIES, strict=True)],
)
def test_a_living_stranger_with_the_pid_is_never_signalled(
    world: World, forge: Callable[[World, int], None], task: str
) -> None:
    world.ok("ensure")
    for process in world.servers():
        process.kill()
    until(lambda: not world.servers())
    stranger = world.bystander()
    forge(world, stranger.pid)
    done = world.ok(task)
    assert done["pidsKilled"] == []
    assert done["action"] == ("not-running" if task == "stop" else "started")
    assert is_alive(stranger)
    world.leaves_server = task != "stop"


def test_a_stranger_named_beside_a_running_server_is_never_signalled(running: World) -> None:
    stranger = running.bystander()
    a_record_with_another_start(running, stranger.pid)
    done = running.ok("stop")
    assert done["pidsKilled"] == [running.started["pid"]]
    assert is_alive(stranger)
    running.assert_nothing_left()


@pytest.mark.skipif(sys.platform != "linux", reason="needs no more than /proc")
def test_a_stranger_in_the_session_that_a_dead_server_led_is_never_signalled(
    world: World,
) -> None:
    world.behave("hidden")
    launcher = psutil.Process(world.ok("ensure")["pid"])
    launcher.send_signal(signal.SIGKILL)
    stranger = world.bystander()  # its session is another; what counts is that it has no mark
    assert world.ok("stop")["action"] == "stopped"
    assert is_alive(stranger)
    world.assert_nothing_left()


@pytest.mark.parametrize(
    ("task", "name"),
    [("ensure", "pid_file"), ("stop", "pid_file"), ("status", "pid_file"), ("stop", "record_file")],
)
def test_a_folder_in_the_place_of_a_file_is_refused(world: World, task: str, name: str) -> None:
    file: Path = getattr(world, name)
    file.mkdir()
    refused(world, task, file, "is a folder")


@pytest.mark.parametrize(("task", "name"), PLACES)
def test_a_link_is_not_followed(world: World, task: str, name: str) -> None:
    file: Path = getattr(world, name)
    target = world.folder / "target"
    target.write_text("precious\n")
    file.symlink_to(target)
    refused(world, task, file, f"is a link to {target}")
    assert target.read_text() == "precious\n"
    assert file.is_symlink()


@as_root
@pytest.mark.parametrize(("task", "name"), PLACES)
def test_somebody_elses_file_is_refused(world: World, task: str, name: str) -> None:
    file: Path = getattr(world, name)
    stranger = world.bystander()
    file.write_text(f"{stranger.pid}\n")
    os.chown(file, 65534, 65534)
    refused(world, task, file, "belongs to user id 65534")
    assert is_alive(stranger)
    assert file.read_text() == f"{stranger.pid}\n"


def refused(world: World, task: str, file: Path, why: str) -> None:
    error = world.fails(task, code=17)
    assert error["code"] == "state-unusable"
    assert error["file"] == str(file)
    assert str(file) in error["message"]
    assert why in error["message"]
    assert world.servers() == []


@pytest.mark.parametrize("task", ["ensure", "restart", "stop"])
def test_a_missing_folder_is_named_with_the_command_that_makes_it(world: World, task: str) -> None:
    pid_file = world.folder / "no" / "such" / "x.pid"
    world.behave(pidFile=str(pid_file))
    error = world.fails(task, code=17)
    assert error["code"] == "state-unusable"
    assert error["hint"] == f"Create it: mkdir -p {pid_file.parent}"
    assert not (world.folder / "no").exists()


@pytest.mark.parametrize("task", ["ensure", "stop", "restart", "status"])
def test_a_file_in_the_place_of_the_folder_is_refused(world: World, task: str) -> None:
    (world.folder / "occupied").write_text("precious\n")
    pid_file = world.folder / "occupied" / "x.pid"
    world.behave(pidFile=str(pid_file))
    assert str(pid_file) in world.fails(task, code=17)["message"]
    assert world.servers() == []


def test_a_pid_file_is_relative_to_the_main_worktree(world: World) -> None:
    world.leaves_server = True
    world.behave(pidFile="x.pid")
    done = world.ok("ensure", cwd=world.a)
    assert (world.main / "x.pid").read_text() == f"{done['pid']}\n"
    assert world.ok("status", cwd=world.b)["pidFile"] == str(world.main / "x.pid")


def test_only_the_user_can_read_what_is_written(running: World) -> None:
    for file in (running.pid_file, running.record_file, running.lock_file):
        assert file.stat().st_mode & 0o777 == 0o600, file.name
    assert {file.name for file in running.state_files()} == {"inngest.pid", "inngest.pid.json"}


def test_the_lock_stays_and_a_killed_holder_does_not_keep_it(world: World) -> None:
    world.behave("hang")
    caller = world.start("inngest.ensure")
    while not world.pid_file.exists():
        assert caller.poll() is None
    inode = world.lock_file.stat().st_ino
    caller.kill()
    caller.wait()
    world.ok("stop")
    assert world.lock_file.stat().st_ino == inode


def test_a_leftover_of_a_killed_writer_does_not_stand_in_the_way(world: World) -> None:
    for file in (world.pid_file, world.record_file):
        file.with_name(file.name + ".new").write_text("half")
    assert world.ok("ensure")["action"] == "started"
    world.ok("stop")
    world.assert_nothing_left()
