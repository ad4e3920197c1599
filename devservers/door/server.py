"""Server: the door's own process: takes connections, and sees when another worktree is in use."""

import asyncio
import contextlib
import json
import shlex
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

from devservers import kinds, terminal, worktree
from devservers.door import pages
from devservers.door.client import HEALTH, Client
from devservers.door.messages import Request, answer
from devservers.door.pages import Entry
from devservers.door.table import Place, Table
from devservers.system import connections
from devservers.system.http_status import LOOPBACKS  # browsers try both for localhost
from devservers.worktree import Worktree

MOST = 2000  # connections at once
BACKLOG = 512
DESCRIPTORS = 8192  # two for each connection, and some; macOS allows 256 unless it is asked
GLANCE = 0.025  # seconds from one look at the note of the worktree in use to the next
AGAIN = 1.0  # seconds until it is asked again whether somebody still waits who sends nothing more
CHOOSE = "`inv dev.use` in a worktree makes it the one that this address leads to."


class Door:
    """All connections, and the table that says where they lead."""

    def __init__(self, here: Worktree, port: int) -> None:
        self.port = port
        self.table = Table(here, port)
        self.clients: dict[Client, None] = {}  # who came first is first
        self._ended: dict[Client, float] = {}
        self._behind: set[Client] = set()  # who came before a switch, and may not have seen it
        self._somebody = asyncio.Event()
        self.place, self.way = self.table.place, self.table.way
        self.follows, self.leads = self.table.follows, self.table.leads

    def came(self, client: Client) -> None:
        """Make room for it: who is idle for longest goes first; without any, it has to go."""
        if len(self.clients) >= MOST:
            idle = next((one for one in self.clients if one.is_idle), client)
            idle.close(at_once=True)
        self.clients[client] = None
        self._somebody.set()

    def left(self, client: Client) -> None:
        """Forget it."""
        self.clients.pop(client, None)
        self._ended.pop(client, None)

    def ended(self, client: Client) -> None:
        """Find out whether a client that sends nothing more still reads."""
        if connections.CAN_TELL:
            self._ended[client] = 0.0
        else:
            client.pass_on_end()

    @staticmethod
    def failed(error: Exception) -> None:
        """Write a defect of ours into the log."""
        for line in traceback.format_exception(error):
            say(line.rstrip("\n"))

    def _end_for_nobody(self) -> None:
        """Close what is asked for by clients that nobody has open any more."""
        now = time.monotonic()
        due = {one: one.names for one, then in self._ended.items() if then <= now}
        held = connections.held([names for names in due.values() if names]) if due else ()
        for client, names in due.items():
            self._ended[client] = now + AGAIN
            if names not in held:
                client.close(at_once=True)

    async def watch(self) -> None:
        """Close what leads to the worktree that was in use until now. Costs one `stat` a look."""
        self.table.noted()
        seen = self.table.switches
        while True:
            await self._somebody.wait()
            try:
                self.table.noted()
                if not self.clients:
                    self._somebody.clear()
                elif (switches := self.table.switches) != seen:
                    await self._switch()
                    seen = switches
                self._leave_behind()
                self._end_for_nobody()
            except Exception as error:  # noqa: BLE001 - whatever it is: it goes on watching
                self.failed(error)
            await asyncio.sleep(GLANCE)

    async def _switch(self) -> None:
        tree = await self.table.used()
        say(f"in use: {tree.root if tree else 'no worktree'}")
        self._behind = {client for client in self.clients if client.follows}

    def _leave_behind(self) -> None:
        """Close, of those that came before the switch, whose requests went elsewhere before it."""
        root = self.table.noted() if self._behind else None
        for client in [*self._behind]:
            gone = client not in self.clients or (root is not None and client.root == root)
            if gone or client.leave_behind():
                self._behind.discard(client)

    async def page(self, request: Request, place: Place) -> bytes:
        """Return the door's own answer: its health, a server that is down, or what there is."""
        if request.target == HEALTH and place.follows:
            tree = place.tree
            told = {"door": True, "inUse": str(tree.root) if tree else None}
            return answer(200, json.dumps(told).encode(), "application/json", request.method)
        entries = await self._entries()
        status, title, text = self._told(place, request)
        waits = place.tree is not None
        if not request.accepts_html:
            body = pages.plain(title, text, entries).encode("utf-8", "replace")
            return answer(status, body, "text/plain", request.method)
        body, policy = pages.sealed(pages.listing(title, text, entries, waits=waits))
        return answer(status, body, "text/html", request.method, policy)

    def _told(self, place: Place, request: Request) -> tuple[int, str, tuple[str, ...]]:
        """Return status, title and sentences."""
        kind = kinds.of_app()
        if place.tree is not None:
            name = place.tree.branch or place.tree.root.name
            folder = shlex.quote(str(place.tree.root))
            start = f"Start it there: `cd {folder}`, `inv {kind.name}.ensure`."
            shown = "This page loads again as soon as it answers."
            return 503, f"The {kind.title} of {name} is down", (start, shown)
        if place.follows:
            if gone := self.table.noted():
                return (
                    503,
                    "The worktree in use is gone",
                    (f"{gone} is no worktree of this repository any more.", CHOOSE),
                )
            return 503, "No worktree is in use", (CHOOSE,)
        if place.is_zone:
            return 200, self.table.zone, ("Each worktree has an address of its own here.",)
        host = request.host.decode("latin-1")
        return 404, f"No worktree is called {host}", ("There are these:",)

    async def _entries(self) -> list[Entry]:
        trees = await self.table.look(0)
        used = await self.table.used()
        ways = await asyncio.gather(*(self.table.way(tree) for tree in trees.values()))
        return [
            Entry(
                label=label,
                url=f"http://{label}.{self.table.zone}:{self.port}/",
                branch=tree.branch or tree.root.name,
                runs=way is not None,
                used=used is not None and tree.root == used.root,
            )
            for (label, tree), way in zip(trees.items(), ways, strict=True)
        ]


def say(text: str) -> None:
    """Write a line into the log."""
    sys.stdout.write(f"{terminal.line(text)}\n")
    sys.stdout.flush()


def listen(port: int) -> list[socket.socket]:
    """Return a listening socket for each loopback address that there is. Raises OSError."""
    made: list[socket.socket] = []
    for address in LOOPBACKS:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            # With its protocol named: asyncio sets TCP_NODELAY on no other, and an answer in two
            # pieces waits 40 ms between them for an acknowledgement then (Nagle).
            own = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        except OSError:  # a kernel without IPv6
            continue
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            own.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            own.bind((address, port))
        except OSError:
            own.close()
            if made and not _is_there(family, address):
                continue
            raise
        made.append(own)
    return made


def _is_there(family: int, address: str) -> bool:
    """Return whether this machine has that address at all: many containers have no `::1`."""
    with socket.socket(family) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def _raise_limit() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # noqa: PLC0415 - Unix only

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < DESCRIPTORS:
            most = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


async def serve(here: Worktree, port: int) -> None:
    """Serve until told to end."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    door = Door(here, port)
    servers = [
        await loop.create_server(lambda: Client(door), sock=own, backlog=BACKLOG)
        for own in listen(port)
    ]
    watching = loop.create_task(door.watch())
    say(f"http://localhost:{port} follows the worktree in use; names end with {door.table.zone}")
    await over.wait()
    watching.cancel()
    for server in servers:
        server.close()
    for client in [*door.clients]:
        client.close(at_once=True)


def main(words: list[str]) -> int:
    """Serve the repository that the working directory is in, on the port that is named."""
    _raise_limit()
    try:
        asyncio.run(serve(worktree.find(Path.cwd()), int(words[0])))
    except OSError as error:
        sys.exit(f"Port {words[0]} can't be listened on: {error.strerror or error}.")
    return 0
