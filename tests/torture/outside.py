"""What can be seen from outside: processes, sockets and files, looked at without the package."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from support import TEST_MARK, World, describe, is_alive

CALL = "TORTURE_CALL"  # inherited by a server: the number of the call that started it


class Witness:
    """A process that must not be signalled, and notes it if it is. With an address, a listener."""

    def __init__(self, world: World, number: int, address: str = "", manner: str = "") -> None:
        self.name = f"{address or 'bystander'} {manner}".strip()
        self.notes = world.folder / f"signals-{number}"
        words = [str(self.notes), address, str(world.port), manner]
        self.child = world.processes.popen(
            [sys.executable, "-I", "-S", "-c", _WITNESS, *words],
            env=world.env(),
            stdout=subprocess.PIPE,
        )
        assert self.child.stdout
        self.is_there = self.child.stdout.readline() == b"there\n"

    def check(self) -> None:
        """Fail if it has been signalled."""
        what = f"the {self.name} with pid {self.child.pid}"
        assert not self.notes.exists(), f"{what} was sent signal {self.notes.read_text()}"
        assert not self.is_there or self.child.poll() is None, f"{what} was killed"

    def leave(self) -> None:
        """Check it and end it."""
        self.check()
        self.is_there = False
        self.child.kill()
        self.child.wait()


def marked(world: World) -> dict[psutil.Process, str]:
    """Return all live processes of the world's servers, and which call started each."""
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            env = process.environ()
            if env.get("DEVSERVERS_SERVER") == f"inngest:{world.pid_file}":
                found[process] = env.get(CALL, "?")
    return {process: call for process, call in found.items() if is_alive(process)}


def listeners(world: World) -> list[psutil.Process]:
    """Return who listens on the world's port, whatever the address."""
    found = set()
    for connection in psutil.net_connections("tcp"):
        is_listening = connection.status == psutil.CONN_LISTEN and connection.pid
        if is_listening and connection.laddr.port == world.port:
            with contextlib.suppress(psutil.NoSuchProcess):
                found.add(psutil.Process(connection.pid))
    return sorted(found, key=lambda process: process.pid)


def ours(world: World, witnesses: list[Witness]) -> list[psutil.Process]:
    """Return what the callers of this world started, marked or not."""
    known = {witness.child.pid for witness in witnesses}
    found = world.processes.carrying(TEST_MARK, world.processes.mark)
    return [process for process in found if process.pid not in known]


def belongs(process: psutil.Process, root: int) -> bool:
    """Return whether a process is `root`, descends from it, or is of the session that it leads."""
    with contextlib.suppress(psutil.Error, OSError):
        ancestors = {parent.pid for parent in process.parents()}
        return root in {process.pid, os.getsid(process.pid), *ancestors}
    return False


def check_one_server(world: World) -> None:
    """Fail if two servers are there at once, each started by another call."""
    found = marked(world)
    if len(set(found.values())) > 1:
        found = {process: call for process, call in found.items() if is_alive(process)}
    calls = set(found.values())
    assert len(calls) < 2, ("two servers at once", [*map(describe, found)], calls)


def check_record(world: World, *, must_be_there: bool) -> None:
    """Fail unless pid file and record name the live process that the listener belongs to."""
    here = world.state_files()
    if not here and not must_be_there:
        assert not marked(world), "a server without a record"
        return
    assert {file.name for file in here} == {"inngest.pid", "inngest.pid.json"}, here
    record = json.loads(world.record_file.read_text())
    assert re.fullmatch(r"[0-9]+\n", world.pid_file.read_text()), "not a pid"
    assert int(world.pid_file.read_text()) == record["pid"]
    process = psutil.Process(record["pid"])
    assert is_alive(process), record
    assert record["started"].endswith(_started(process)), record
    holders = listeners(world)
    assert any(belongs(holder, record["pid"]) for holder in holders), (record, holders)


def check_files_are_whole(world: World) -> None:
    """Fail if a file is half written, or is one that should not be there."""
    names = {file.name for file in world.state_files() if not file.name.endswith(".new")}
    assert names <= {"inngest.pid", "inngest.pid.json"}, names
    with contextlib.suppress(FileNotFoundError):
        assert isinstance(json.loads(world.record_file.read_text()), dict)


def _started(process: psutil.Process) -> str:
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_text()
    except FileNotFoundError:
        return f"{process.create_time():.3f}"
    return f":{stat.rpartition(')')[2].split()[19]}"


def addresses() -> Iterator[str]:
    """Yield what a listener may be bound to on this machine."""
    yield from ("127.0.0.1", "0.0.0.0")  # noqa: S104 - as dev servers do
    with contextlib.suppress(OSError):
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        yield from ("::1", "::")


_WITNESS = """
import contextlib, signal, socket, sys
notes, address, port, manner = sys.argv[1:]
def note(number, frame):
    with open(notes, "a") as stream:
        stream.write(f"{number} ")
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    with contextlib.suppress(OSError, ValueError):
        signal.signal(number, note)
if address:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listener = socket.create_server((address, int(port)), family=family)
    except OSError:
        sys.exit(1)
print("there", flush=True)
held = []
while True:
    if not address:
        signal.pause()
        continue
    connection, _ = listener.accept()
    if manner == "mute":
        held.append(connection)
        continue
    with connection, contextlib.suppress(OSError):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhello")
"""
