"""What the tests of the front door stand on: a world with a door, and its requests byte by byte."""

import contextlib
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import psutil

from next_support import NextWorld, next_world
from support import CONFIG, PATIENCE, until

UPSTREAM = Path(__file__).with_name("upstream.py")
HEALTH = "/.well-known/devservers-door"


class Answer(NamedTuple):
    """A response, as it came."""

    status: int
    head: str
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode().strip()

    @property
    def is_ours(self) -> bool:
        """Whether it is the door's own."""
        return "X-Devservers-Door: 1" in self.head

    def field(self, name: str) -> str | None:
        """Return the value of a header."""
        for line in self.head.split("\r\n")[1:]:
            if line.lower().startswith(f"{name.lower()}:"):
                return line.partition(":")[2].strip()
        return None


class Wire:
    """A connection to the door that says nothing of its own accord."""

    def __init__(self, port: int, address: str = "127.0.0.1", **options: Any) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.sock = socket.socket(family)
        for name, value in options.items():
            self.sock.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
        self.sock.settimeout(PATIENCE)
        self.sock.connect((address, port))
        self.port, self.buffer = port, b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, text: str | bytes) -> "Wire":
        """Send these bytes."""
        self.sock.sendall(text if isinstance(text, bytes) else text.encode("latin-1"))
        return self

    def ask(
        self,
        target: str = "/",
        *fields: str,
        method: str = "GET",
        host: str = "",
        body: bytes = b"",
    ) -> "Wire":
        """Send a request."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host or f'localhost:{self.port}'}"]
        lines += fields
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def more(self) -> bytes:
        """Return what comes next; nothing at the end."""
        data, self.buffer = self.buffer, b""
        return data or self.sock.recv(1 << 16)

    def some(self, count: int) -> bytes:
        """Return so many bytes."""
        data = bytearray()
        while len(data) < count:
            part = self.more()
            assert part, bytes(data[:1000])
            data += part
        self.buffer = bytes(data[count:])
        return bytes(data[:count])

    def upto(self, end: bytes) -> bytes:
        """Return what comes up to `end`, and that."""
        data = b""
        while end not in data:
            part = self.more()
            assert part, data
            data += part
        data, mark, self.buffer = data.partition(end)
        return data + mark

    def rest(self) -> bytes:
        """Return all that comes until the connection is closed."""
        data = b""
        while part := self.more():
            data += part
        return data

    def answer(self, method: str = "GET") -> Answer:
        """Return the next response."""
        head = self.upto(b"\r\n\r\n").decode("latin-1")
        status = int(head.split(" ", 2)[1])
        found = Answer(status, head, b"")
        length = found.field("Content-Length")
        if method == "HEAD" or status < 200 or status in {204, 304}:
            body = b""
        elif found.field("Transfer-Encoding"):
            body = self.upto(b"\r\n0\r\n")
            while (line := self.upto(b"\r\n")) != b"\r\n":
                body += line
        else:
            body = self.rest() if length is None else self.some(int(length))
        return found._replace(body=body)

    def get(self, target: str = "/", *fields: str, **options: Any) -> Answer:
        """Return the response to a request."""
        self.ask(target, *fields, **options)
        return self.answer(options.get("method", "GET"))

    def is_closed(self) -> bool:
        """Wait until the other end has closed it; False where something else comes."""
        try:
            return self.more() == b""
        except ConnectionResetError:
            return True


class DoorWorld(NextWorld):
    """A repository with a front door, whose worktrees' servers are `upstream.py`."""

    @property
    def door(self) -> int:
        """The door's port."""
        return self.port + 3

    def behave(self, *behaviours: str, **inngest: object) -> None:
        """Write the configuration."""
        del behaviours
        self.set_up(inngest={"enabled": False, **inngest})

    def set_up(self, **more: object) -> None:
        """Write the configuration, with other sections as given."""
        data = {
            "nextjs": {
                "ports": self.pool,
                "command": [sys.executable, "-I", "-S", str(UPSTREAM), "{port}"],
            },
            "door": {"enabled": True, "port": self.door},
            "inngest": {"enabled": False},
            "board": {"port": self.port + 4},
            **more,
        }
        (self.main / CONFIG).write_text(json.dumps(data))

    @property
    def zone(self) -> str:
        return f"main.localhost:{self.door}"

    def wire(self, address: str = "127.0.0.1", **options: Any) -> Wire:
        """Connect to the door."""
        return Wire(self.door, address, **options)

    def get(self, target: str = "/", *fields: str, **options: Any) -> Answer:
        """Ask the door, on a connection of its own."""
        with self.wire() as wire:
            return wire.get(target, *fields, **options)

    def named(self, name: str, target: str = "/", *fields: str, **options: Any) -> Answer:
        """Ask for a worktree by its name."""
        return self.get(target, *fields, host=f"{name}.{self.zone}", **options)

    def use(self, folder: Path) -> Any:
        """Let a worktree be the one in use."""
        return self.call("dev.use", cwd=folder)

    def door_process(self) -> psutil.Process:
        """Return the door's own process."""
        return psutil.Process(int(self.door_pid_file.read_text()))

    @property
    def door_pid_file(self) -> Path:
        return self.main / ".git/devservers/door.pid"

    @property
    def note(self) -> Path:
        """Where the worktree in use is noted."""
        return self.main / ".git/devservers/in-use"

    def events(self, folder: Path) -> list[str]:
        """Return what an upstream has written into its log."""
        with contextlib.suppress(FileNotFoundError):
            return (folder / "upstream.log").read_text("utf-8", "surrogateescape").splitlines()
        return []

    def asked(self, folder: Path, target: str) -> list[str]:
        """Wait until an upstream has been asked for that; return the connections' numbers."""
        return until(lambda: self.seen(folder, target))

    def seen(self, folder: Path, target: str) -> list[str]:
        """Return the numbers of the connections on which that was asked for."""
        found = [line.split(" ") for line in self.events(folder) if line.startswith("request ")]
        return [words[1] for words in found if words[3] == target]


@contextlib.contextmanager
def door_world(folder: Path, *, size: int = 3, up: bool = True) -> Iterator[DoorWorld]:
    """Yield a world with a door; with `up` the servers of a and b run, and a is in use."""
    with next_world(folder, size=size, make=DoorWorld) as made:
        assert isinstance(made, DoorWorld)
        made.leaves_server = True
        if up:
            for child in [made.start("nextjs.ensure", cwd=tree) for tree in (made.a, made.b)]:
                assert made.result(child).code == 0
            made.use(made.a)
        yield made


__all__ = ["HEALTH", "Answer", "DoorWorld", "Wire", "door_world"]
