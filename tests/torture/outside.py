"""What can be seen from outside: processes, sockets and files, looked at without the package."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from support import TEST_MARK, accepts, describe, is_alive
from torture.program import LEFT
from torture.servers import Server, TortureWorld

CALL = "TORTURE_CALL"  # inherited by a server: the number of the call that started it
WITNESS = "TORTURE_WITNESS"  # in the environment of whatever must never be signalled
NAMESPACES = ("unshare", "--pid", "--fork", "--mount", "--net", "--mount-proc")


class Witness:
    """A process that must not be signalled, and notes it if it is. With an address, a listener.

    A neighbour runs in a container, under the same user and with the mark of that server.
    """

    def __init__(self, server: Server, number: int, address: str = "", manner: str = "") -> None:
        world = server.world
        self.name = f"{address or 'bystander'} {manner}".strip()
        self.notes = world.folder / f"signals-{number}"
        self.listens = bool(address)
        words = [str(self.notes), address, str(server.port or 0), manner]
        words = [sys.executable, "-I", "-S", "-c", _WITNESS, *words]
        more = {WITNESS: str(number)}
        if manner == "neighbour":
            enter = 'mount -t tmpfs none "$1"; shift; DEVSERVERS_SESSION=$$ exec "$@"'
            words = [*NAMESPACES, "sh", "-c", enter, "sh", str(server.pid_file.parent), *words]
            more |= {"DEVSERVERS_SERVER": server.mark, "PATH": os.environ["PATH"]}
        self.child = world.processes.popen(words, env=world.env(more), stdout=subprocess.PIPE)
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


Seen = dict[psutil.Process, tuple[str, str]]


def carriers() -> Seen:
    """Return all live processes of servers: the mark, and which call started each.

    Of what has left the session of its server, LEFT: it may outlive that.
    """
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            env = process.environ()
            if WITNESS not in env and (mark := env.get("DEVSERVERS_SERVER")):
                found[process] = (mark, LEFT if LEFT in env else env.get(CALL, "?"))
    return {process: marks for process, marks in found.items() if is_alive(process)}


def marked(server: Server, seen: Seen | None = None) -> dict[psutil.Process, str]:
    """Return all live processes of the server, and which call started each."""
    found = carriers() if seen is None else seen
    return {process: call for process, (mark, call) in found.items() if mark == server.mark}


def listeners(server: Server) -> list[psutil.Process]:
    """Return who listens on the server's port, whatever the address."""
    found = set()
    port = server.port
    for pid, connection in connections() if port else ():
        is_listening = connection.status == psutil.CONN_LISTEN and pid
        if is_listening and connection.laddr.port == port:
            with contextlib.suppress(psutil.NoSuchProcess):
                found.add(psutil.Process(pid))
    return sorted(found, key=lambda process: process.pid)


def connections() -> Iterator[tuple[int | None, Any]]:
    """Yield every process's TCP connections, as far as they may be known."""
    try:
        yield from ((found.pid, found) for found in psutil.net_connections("tcp"))
    except psutil.AccessDenied:  # macOS
        for pid in psutil.pids():
            with contextlib.suppress(psutil.Error):
                yield from ((pid, found) for found in psutil.Process(pid).net_connections("tcp"))


def recorded(server: Server) -> list[psutil.Process]:
    """Return the live process that the record names, if it has one."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, psutil.Error):
        process = psutil.Process(json.loads(server.record_file.read_text())["pid"])
        return [process] if is_alive(process) else []
    return []


def up(server: Server) -> list[int]:
    """Return who listens on its port; of one without a port, whom its record names."""
    found = recorded(server) if server.kind.offset is None else listeners(server)
    return [process.pid for process in found]


def ours(world: TortureWorld, witnesses: list[Witness]) -> list[psutil.Process]:
    """Return what the callers of this world started, marked or not."""
    known = {witness.child.pid for witness in witnesses}
    found = world.processes.carrying(TEST_MARK, world.processes.mark)
    return [one for one in found if one.pid not in known and not is_witness(one)]


def is_witness(process: psutil.Process) -> bool:
    """Return whether it is something that must never be signalled."""
    with contextlib.suppress(psutil.Error, OSError):
        return WITNESS in process.environ()
    return False


def can_make_containers() -> bool:
    """Return whether this user can: root, on Linux."""
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which(NAMESPACES[0]):
        return False
    return subprocess.run([*NAMESPACES, "true"], check=False, capture_output=True).returncode == 0


def check_opened(world: TortureWorld) -> None:
    """Fail if what a server opened has been signalled or killed."""
    for file in world.folder.glob("opened-*"):
        pid = int(file.name.partition("-")[2])
        assert not file.read_text(), f"pid {pid}, opened by a server, was sent {file.read_text()}"
        assert psutil.pid_exists(pid), f"pid {pid}, opened by a server, was killed"
        assert is_alive(psutil.Process(pid)), f"pid {pid}, opened by a server, was killed"


def check_nothing_left(server: Server) -> None:
    """Fail unless no process, no file and no listener of the server is left."""
    assert [*map(describe, marked(server))] == []
    assert [file.name for file in server.state_files()] == []
    check_free(server)


def check_free(server: Server) -> None:
    """Fail if something takes connections on the server's port."""
    port = server.port
    assert not port or not (accepts(port) or accepts(port, "::1")), (server, port)


def belongs(process: psutil.Process, root: int) -> bool:
    """Return whether a process is `root`, descends from it, or is of the session that it leads."""
    with contextlib.suppress(psutil.Error, OSError):
        ancestors = {parent.pid for parent in process.parents()}
        return root in {process.pid, os.getsid(process.pid), *ancestors}
    return False


def check_one_server(server: Server, seen: Seen | None = None) -> None:
    """Fail if two servers are there at once, each started by another call."""
    found = marked(server, seen)
    if len({*found.values()} - {LEFT}) > 1:
        found = {process: call for process, call in found.items() if is_alive(process)}
    calls = {*found.values()} - {LEFT}
    assert len(calls) < 2, ("two servers at once", server, [*map(describe, found)], calls)


def check_record(server: Server, *, must_be_there: bool) -> None:
    """Fail unless pid file and record name the live process that the listener belongs to."""
    here = server.state_files()
    if not here and not must_be_there:
        assert not marked(server), ("a server without a record", server)
        return
    assert {file.name for file in here} == _names(server), here
    record = json.loads(server.record_file.read_text())
    assert re.fullmatch(r"[0-9]+\n", server.pid_file.read_text()), "not a pid"
    assert int(server.pid_file.read_text()) == record["pid"]
    process = psutil.Process(record["pid"])
    assert is_alive(process), record
    assert record["started"].endswith(_started(process)), record
    assert record["port"] == server.port, (record, server)
    holders = listeners(server) if server.port else [*marked(server)]
    assert any(belongs(holder, record["pid"]) for holder in holders), (record, holders)


def check_files_are_whole(server: Server) -> None:
    """Fail if a file is half written, or is one that should not be there."""
    names = {file.name for file in server.state_files() if not file.name.endswith(".new")}
    assert names <= _names(server), names
    with contextlib.suppress(FileNotFoundError):
        assert isinstance(json.loads(server.record_file.read_text()), dict)


def _names(server: Server) -> set[str]:
    return {server.pid_file.name, server.record_file.name}


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
import contextlib, signal, socket, sys, threading, time
notes, address, port, manner = sys.argv[1:]
def note(number, frame):
    with open(notes, "a") as stream:
        stream.write(f"{number} ")
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    with contextlib.suppress(OSError, ValueError):
        signal.signal(number, note)
if address:  # whoever was asking may be gone when it answers
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listener = socket.create_server((address, int(port)), family=family)
    except OSError:
        sys.exit(1)
print("there", flush=True)
held = []
def drip(connection):
    with connection, contextlib.suppress(OSError):
        while True:
            connection.sendall(b"H")
            time.sleep(0.1)
while True:
    if not address:
        signal.pause()
        continue
    connection, _ = listener.accept()
    if manner == "drip":
        threading.Thread(target=drip, args=[connection], daemon=True).start()
        continue
    if manner == "mute":
        held.append(connection)
        continue
    with connection, contextlib.suppress(OSError):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhello")
"""
