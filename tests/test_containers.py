"""Containers on the same machine: their processes are visible, and are never ours."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from devservers.githooks import warm_proof
from devservers.system import procfs
from hooking import accept, warm
from support import INV, World, accepts, is_alive, until

pytestmark = [
    pytest.mark.skipif(not procfs.HAS_PROC, reason="namespaces are Linux's, and told by /proc"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make namespaces everywhere"),
]

# A container of its own pid, mount and network namespaces, with nothing at the pid file's place,
# as a devcontainer has it: the same user, the same paths, the same repository.
NSENTER = shutil.which("nsenter") or ""
UP = """
import fcntl, socket, struct
with socket.socket() as one:  # SIOCSIFFLAGS: neither ip nor ifconfig need be there
    fcntl.ioctl(one, 0x8914, struct.pack("16sh", b"lo", 1))
"""


class Container:
    """Namespaces that last until `end`."""

    def __init__(self, world: World, *flags: str, shares: bool = False) -> None:
        """With `shares`, the pid file's folder is that of the host, as with a shared /tmp."""
        self.world = world
        own = "" if shares else 'mount -t tmpfs none "$1"; '
        up = f"{sys.executable} -I -S -c '{UP}'; " if "--net" in flags else ""
        script = f"{up}{own}echo up; exec cat"
        self.child = world.processes.popen(
            ["unshare", *flags, "sh", "-c", script, "sh", str(world.pid_file.parent)],
            env=world.env({"PATH": os.environ["PATH"]}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.child.stdout
        assert self.child.stdout.readline() == b"up\n"
        parent = psutil.Process(self.child.pid)
        self.inner = parent.children()[0].pid if "--fork" in flags else parent.pid
        kinds = [flag for flag in flags if flag in ("--mount", "--net", "--pid")]
        self.enter = [NSENTER, "--target", str(self.inner), *kinds]

    def call(self, task: str, *words: str) -> Any:
        """Run a task of ours in it, with --json."""
        there = ["/bin/sh", "-c", 'cd "$1"; shift; exec "$@"', "sh", str(self.world.main)]
        done = subprocess.run(
            [*self.enter, *there, str(INV), task, "--json", *words],
            env=self.world.env(),
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.stdout, done
        return json.loads(done.stdout)

    def servers(self) -> list[psutil.Process]:
        """Return the processes of the server in it, as the host sees them."""
        inside = os.readlink(f"/proc/{self.inner}/ns/net")
        return [
            process
            for process in self.world.servers()
            if os.readlink(f"/proc/{process.pid}/ns/net") == inside
        ]


def answer(world: World, caller: "World | Container", task: str, *words: str) -> Any:
    """Return what a task says to the host (the world itself), or in a container."""
    if isinstance(caller, Container):
        return caller.call(task, *words)
    return world.run(task, "--json", *words).json


@pytest.fixture
def container(world: World) -> Container:
    world.leaves_server = True
    return Container(world, "--pid", "--fork", "--mount", "--net", "--mount-proc")


def test_a_cold_ensure_leaves_the_server_of_a_container_alone(
    world: World, container: Container
) -> None:
    assert container.call("inngest.ensure")["action"] == "started"
    theirs = container.servers()
    assert theirs
    ours = world.ok("ensure")
    assert ours["action"] == "started"
    assert ours["pidsKilled"] == []
    assert all(map(is_alive, theirs))
    assert container.call("inngest.status")["state"] == "running"
    assert world.ok("stop")["action"] == "stopped"
    assert all(map(is_alive, theirs))


def test_stop_leaves_the_server_of_a_container_alone_and_says_that_nothing_runs(
    world: World, container: Container
) -> None:
    container.call("inngest.ensure")
    theirs = container.servers()
    assert world.ok("stop")["action"] == "not-running"
    assert world.ok("stop", "--force")["pidsKilled"] == []
    assert world.ok("status", code=3)["state"] == "stopped"
    assert all(map(is_alive, theirs))


def test_a_server_in_another_mount_namespace_that_holds_our_port_is_foreign(world: World) -> None:
    """As with `docker run --network host --pid host`: its port is ours, its files are not."""
    world.leaves_server = True
    container = Container(world, "--mount")
    container.enter = [NSENTER, "--target", str(container.inner), "--mount"]
    assert container.call("inngest.ensure")["action"] == "started"
    (listener,) = [found for found in world.servers() if found.net_connections("tcp")]
    error = world.fails("ensure", code=12)
    assert f"pid {listener.pid}" in error["message"]
    assert "in another container" in error["message"]
    assert world.fails("ensure", "--force", code=12)["code"] == "port-in-use"
    assert world.ok("status", code=3)["state"] == "foreign"
    stopped = world.ok("stop")
    assert (stopped["action"], stopped["portFree"]) == ("not-running", False)
    assert is_alive(listener)
    assert accepts(world.port)
    until(lambda: container.call("inngest.stop")["action"] == "stopped")


def test_a_record_that_a_container_left_in_a_shared_folder_names_nobody_here(
    world: World, container: Container, tmp_path: Path
) -> None:
    container.call("inngest.ensure")
    kept = tmp_path / "kept"
    kept.mkdir()
    inside = Path(f"/proc/{container.inner}/root{world.pid_file.parent}")
    for file in (world.pid_file, world.record_file):
        file.write_bytes((inside / file.name).read_bytes())
        file.chmod(0o600)
    theirs = container.servers()
    assert world.ok("status", code=3)["state"] == "stale"
    assert world.ok("stop")["pidsKilled"] == []
    assert all(map(is_alive, theirs))


SHARED = {
    "with a network of its own": ("--pid", "--fork", "--mount", "--net", "--mount-proc"),
    "with the host's network": ("--pid", "--fork", "--mount", "--mount-proc"),
    "with the host's processes": ("--mount", "--net"),
}


@pytest.mark.parametrize("flags", SHARED.values(), ids=SHARED)
@pytest.mark.parametrize("inside", [True, False], ids=["server inside", "server outside"])
def test_where_a_container_shares_the_files_each_side_says_what_is_true(
    world: World, flags: tuple[str, ...], *, inside: bool
) -> None:
    """As with a shared /tmp: the record is there, and the process it names is none of one's own."""
    world.leaves_server = True
    container = Container(world, *flags, shares=True)
    starter, other = (container, world) if inside else (world, container)
    assert answer(world, starter, "inngest.ensure")["action"] == "started"
    theirs = world.servers()
    assert theirs
    found = answer(world, other, "inngest.status")
    assert (found["running"], found["pid"]) == (False, None)
    assert found["state"] == ("foreign" if "--net" not in flags else "stale")
    stopped = answer(world, other, "inngest.stop", "--force")
    if "--net" in flags:
        assert (stopped["action"], stopped["pidsKilled"]) == ("not-running", [])
    else:  # it can't be forced either
        assert stopped["error"]["code"] == "port-in-use"
    said = answer(world, other, "inngest.ensure")
    if "--net" in flags:  # its port is free here: one of its own
        assert said["action"] == "started"
    else:
        assert said["error"]["code"] == "port-in-use"
    assert all(map(is_alive, theirs))
    again = answer(world, starter, "inngest.status")
    assert (again["running"], again["state"]) == (True, "running")
    assert answer(world, other, "inngest.status")["running"] == ("--net" in flags)


def test_a_receipt_of_a_server_in_other_namespaces_proves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The note lies in the repository, which a container may share."""
    accept(world)
    warm(world)
    monkeypatch.setenv("HOME", str(world.folder / "home"))
    monkeypatch.delenv("DEVSERVERS_CONFIG", raising=False)
    assert warm_proof.is_good(str(world.main), "inngest")
    monkeypatch.setattr(procfs, "is_elsewhere", lambda _: True)
    assert not warm_proof.is_good(str(world.main), "inngest")
    world.ok("stop")


# No view of the processes: no /proc, and that of another pid namespace
BLIND = [["--mount", "sh", "-c", 'umount -l /proc && exec "$@"', "sh"], ["--pid", "--fork"]]


@pytest.mark.parametrize("blind", BLIND, ids=["none", "another's"])
@pytest.mark.parametrize("task", ["status", "ensure", "stop", "restart"])
def test_without_a_proc_of_its_own_it_does_nothing(
    world: World, task: str, blind: list[str]
) -> None:
    """There a pid means one process to be seen, and another to be signalled."""
    unshare = Path(shutil.which("unshare") or "unshare")
    env = {"PATH": os.environ["PATH"]}
    done = world.run(*blind, str(INV), f"inngest.{task}", "--json", program=unshare, env=env)
    assert (done.code, "Traceback" in done.err) == (17, False), done
    assert "mount -t proc" in done.error["hint"]
    assert not world.pid_file.exists()
    assert world.servers() == []
