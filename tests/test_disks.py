"""Disks that are full or read-only, files with a second name, and other limits of the system."""

import contextlib
import errno
import fcntl
import os
import resource
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devservers import config, inngest, worktree
from devservers.errors import ServerExitedError, StateUnusableError
from devservers.githooks import warm_proof
from devservers.lifecycle import server, state
from devservers.system import spawn
from support import World, accepts

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
NOBODY = 65534


@pytest.fixture
def disk(world: World) -> Iterator[Path]:
    """A small disk of its own, with the world's state on it."""
    place = world.folder / "disk"
    place.mkdir()
    options = ["-t", "tmpfs", "-o", "size=256k,mode=700", "none", str(place)]
    mount = shutil.which("mount") or "mount"
    done = subprocess.run([mount, *options], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    world.pid_file = place / "inngest.pid"
    world.record_file = place / "inngest.pid.json"
    world.lock_file = place / "inngest.pid.lock"
    world.processes.marks.append(("DEVSERVERS_SERVER", f"inngest:{world.pid_file}"))
    world.behave()
    try:
        yield place
    finally:
        world.processes.end()
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path) -> None:
    with open(place / "ballast", "ab", buffering=0) as ballast:
        for length in (4096, 1):
            with contextlib.suppress(OSError):
                while ballast.write(bytes(length)):
                    pass


def make_read_only(place: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)


def test_a_server_can_be_stopped_when_the_disk_is_full(world: World, disk: Path) -> None:
    started = world.ok("ensure")
    world.lock_file.write_bytes(b"")  # there is no room for a name in it
    fill(disk)
    assert world.ok("ensure")["action"] == "already-running"
    assert world.ok("status")["pid"] == started["pid"]
    assert "stand-in" in world.run("inngest.logs").out
    done = world.ok("stop")
    assert (done["action"], done["portFree"], done["warnings"]) == ("stopped", True, [])
    assert world.ok("status", code=3)["state"] == "stopped"


@pytest.mark.parametrize("before", ["nothing", "a run"])
def test_a_start_on_a_full_disk_says_so_and_leaves_nothing(
    world: World, disk: Path, before: str
) -> None:
    if before == "a run":
        world.ok("ensure")
        world.ok("stop")
    fill(disk)
    error = world.fails("ensure", code=17)
    assert "No space left on device" in error["message"]
    assert "disk is full" in error["hint"]
    (disk / "ballast").unlink()
    world.assert_nothing_left()


def test_a_start_whose_log_is_on_a_full_disk_says_so(world: World, disk: Path) -> None:
    pid_file = world.folder / "state" / "inngest.pid"
    world.behave(pidFile=str(pid_file), logFile=str(disk / "x.log"))
    fill(disk)
    error = world.fails("ensure", code=13)
    assert (
        error["hint"] == f"Its log: {disk / 'x.log'}, on a disk that is full: make room there first"
    )
    assert not accepts(world.port)
    assert not pid_file.exists()


def test_a_server_can_be_stopped_when_no_file_may_grow(world: World) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    error = world.fails("ensure", code=17, preexec_fn=limit)
    assert "ulimit -f" in error["hint"]
    world.assert_nothing_left()
    started = world.ok("ensure")
    assert world.ok("status", preexec_fn=limit)["pid"] == started["pid"]
    assert world.ok("stop", preexec_fn=limit)["action"] == "stopped"
    world.assert_nothing_left()


@pytest.mark.parametrize("lock", ["there", "gone"])
def test_a_server_can_be_stopped_when_the_disk_is_read_only(
    world: World, disk: Path, lock: str
) -> None:
    started = world.ok("ensure")
    if lock == "gone":
        world.lock_file.unlink()
    make_read_only(disk)
    assert world.ok("status")["pid"] == started["pid"]
    assert "stand-in" in world.run("inngest.logs").out
    done = world.ok("stop")
    assert (done["action"], done["pidsKilled"], done["portFree"]) == (
        "stopped",
        [started["pid"]],
        True,
    )
    (warning,) = done["warnings"]
    assert f"{world.pid_file} can't be removed: Read-only file system" in warning
    assert world.ok("status", code=3)["state"] == "stale"
    error = world.fails("ensure", code=17)
    assert "read-only" in error["message"]
    assert world.servers() == []
    assert not accepts(world.port)


@pytest.mark.parametrize("how", [fill, make_read_only])
def test_a_restart_that_could_not_start_stops_nothing(
    world: World, disk: Path, how: Callable[[Path], None]
) -> None:
    started = world.ok("ensure")
    how(disk)
    world.fails("restart", code=17)
    assert world.ok("status")["pid"] == started["pid"]
    world.ok("stop")


def test_a_lock_on_a_read_only_disk_excludes(world: World, disk: Path) -> None:
    world.ok("ensure")
    world.ok("stop")
    make_read_only(disk)
    with open(world.lock_file, "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert world.fails("ensure", "--timeout=1", code=15)["code"] == "lock-timeout"


# Second names


@pytest.mark.parametrize("task", ["ensure", "stop", "restart"])
@pytest.mark.parametrize("name", ["lock_file", "pid_file", "record_file"])
def test_a_file_with_a_second_name_is_not_written_to(world: World, name: str, task: str) -> None:
    precious = world.folder / "precious"
    precious.write_text("precious\n")
    file: Path = getattr(world, name)
    os.link(precious, file)
    error = world.fails(task, code=17)
    assert error["code"] == "state-unusable"
    assert f"{file} has a second name (a hard link)" in error["message"]
    assert precious.read_text() == "precious\n"
    assert (file.samefile(precious), world.servers()) == (True, [])


def test_a_lock_that_gets_its_second_name_after_the_first_look_is_not_written_to(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    precious = world.folder / "precious"
    precious.write_text("precious\n")
    check = state._check

    def then_link(path: Path, *rest: object) -> bool:
        found = check(path, *rest)
        if not rest:
            os.link(precious, path)
        return found

    monkeypatch.setattr(state, "_check", then_link)
    with pytest.raises(StateUnusableError, match="second name"), state.lock(world.pid_file, 0, "x"):
        pytest.fail("the lock was taken")
    assert precious.read_text() == "precious\n"


def test_a_log_with_a_second_name_is_not_written_to(world: World) -> None:
    precious = world.folder / "precious"
    precious.write_text("precious\n")
    os.link(precious, world.log)
    error = world.fails("ensure", code=17)
    assert f"The log {world.log} can't be written: it has a second name" in error["message"]
    assert precious.read_text() == "precious\n"
    world.assert_nothing_left()


@as_root
@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_log_of_somebody_else_is_not_written_to(world: World, kind: str) -> None:
    theirs = world.folder / "theirs"
    theirs.write_text("precious\n")
    if kind == "link":
        world.log.symlink_to(theirs)
        os.chown(world.log, NOBODY, NOBODY, follow_symlinks=False)
    else:
        os.chown(theirs, NOBODY, NOBODY)
        theirs.rename(world.log)
        theirs = world.log
    assert "can't be written: it " in world.fails("ensure", code=17)["message"]
    assert theirs.read_text() == "precious\n"
    world.assert_nothing_left()


def test_a_claim_with_a_second_name_is_replaced_and_not_written_to(world: World) -> None:
    precious = world.folder / "precious"
    precious.write_text("precious\n")
    os.link(precious, world.main / ".dev-port")
    port = world.run("ports.assign", "--json").json["port"]
    assert (world.main / ".dev-port").read_text() == f"{port}\n"
    assert precious.read_text() == "precious\n"


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_a_receipt_is_not_written_into_what_is_there(
    running: World, link: Callable[[Path, Path], None]
) -> None:
    precious = running.folder / "precious"
    precious.write_text("precious\n")
    here = worktree.find(running.main)
    spec = inngest.spec(config.load(here.root, here.main, {}), here)
    found = state.read(spec.files.pid)
    assert found
    place = here.state_dir / f"{spec.name}.receipt.{os.getpid()}"
    place.parent.mkdir(exist_ok=True)
    link(precious, place)
    warm_proof.write(str(here.git_dir), str(here.root), spec, found, ())
    assert precious.read_text() == "precious\n"


@as_root
def test_a_strangers_file_in_a_shared_folder_is_not_in_the_way(world: World) -> None:
    folder = world.pid_file.parent
    folder.chmod(0o1777)
    new = world.record_file.with_name(world.record_file.name + ".new")
    new.write_text("theirs")
    os.chown(new, NOBODY, NOBODY)
    world.leaves_server = True
    assert world.ok("ensure")["action"] == "started"
    assert new.read_text() == "theirs"
    assert sorted(file.name for file in folder.iterdir()) == sorted(
        [new.name, *(file.name for file in (world.pid_file, world.record_file, world.lock_file))]
    )


def test_what_a_killed_writer_left_is_removed_by_the_next(world: World) -> None:
    half = world.pid_file.with_name(f"{world.pid_file.name}.{'0a' * 8}.new")
    other = world.pid_file.with_name(f"{world.pid_file.name}.old.new")
    for file in (half, other):
        file.write_text("half")
    world.leaves_server = True
    world.ok("ensure")
    assert (half.exists(), other.exists()) == (False, True)


# Limits


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EMFILE, "ulimit -n"),
        (errno.EAGAIN, "ulimit -u"),
        (errno.ENOMEM, "memory"),
        (errno.ENOENT, "inngest.command"),
        (errno.EACCES, "inngest.command"),
        (errno.ENOEXEC, "inngest.command"),
    ],
)
def test_a_program_is_blamed_only_for_what_it_is_to_blame_for(
    world: World, number: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(spawn, "spawn", fail)
    here = worktree.find(world.main)
    spec = inngest.spec(config.load(here.root, here.main, {}), here)
    with pytest.raises(ServerExitedError) as caught:
        server.ensure(spec)
    assert words in str(caught.value.hint)
    assert os.strerror(number) in caught.value.message


def test_too_few_descriptors_are_said_as_what_they_are(world: World) -> None:
    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (6, 6))

    done = world.run("inngest.ensure", preexec_fn=few)
    assert done.code in (13, 17), done
    assert "ulimit -n" in done.err
    world.assert_nothing_left()


def test_a_claim_that_is_a_pipe_holds_nobody_up(world: World) -> None:
    os.mkfifo(world.main / ".dev-port")
    assert world.run("ports.assign", "--json", timeout=10).code == 0
    assert stat.S_ISREG((world.main / ".dev-port").stat().st_mode)
