"""The servers in question: which there are in a world, whose they are, their files and ports."""

import json
import sys
from pathlib import Path
from typing import NamedTuple

from support import CONFIG, PORTS, World

PROGRAM = Path(__file__).with_name("program.py")
MACHINE, WORKTREE = "machine", "worktree"


class Kind(NamedTuple):
    """What the checks have to know of a kind of server."""

    name: str
    scope: str
    offset: int | None
    """Of its port in its block; None: it has none."""
    declares: str = ""
    """What decides that it is up, if the configuration declares it (see program.py)."""

    @property
    def is_declared(self) -> bool:
        """Whether it is one that the configuration declares."""
        return bool(self.declares)


INNGEST = Kind("inngest", MACHINE, 0)
WEB = Kind("web", WORKTREE, PORTS - 2, "http")
WORKER = Kind("worker", WORKTREE, None, "log")
LOOP = Kind("worker", WORKTREE, None, "alive")
MAIL = Kind("mail", MACHINE, PORTS - 2, "tcp")
READY = {"http": {"http": "/"}, "tcp": {"tcp": True}, "log": {"log": "^Ready!$"}}
READY["alive"] = {"alive": 0.5}


class TortureWorld(World):
    """A world with a slot for each block of ports but the first, which is the machine's."""

    def __init__(
        self, folder: Path, blocks: list[int], repository: Path, kinds: tuple[Kind, ...]
    ) -> None:
        self.kinds, self.blocks = kinds, blocks
        self.pool = [first + PORTS - 1 for first in blocks[1:]]
        self.manner: tuple[str, ...] = ()
        self.found: dict[tuple[Path | None, Kind], Server] = {}
        super().__init__(folder, blocks[0], repository)

    def configure(self, *, folder: Path | None = None, **inngest: object) -> None:
        """Write the configuration; where a worktree's own servers lie is left to the package."""
        own: dict[str, object] = {"port": self.port, "pidFile": str(self.pid_file)}
        if self.is_scoped:
            own = {"scope": WORKTREE, "ports": self.blocks[1:]}
        data: dict[str, object] = {"nextjs": {"ports": self.pool}, "inngest": {**own, **inngest}}
        declared = [kind for kind in self.kinds if kind.is_declared]
        data |= {"servers": {kind.name: self.declaration(kind) for kind in declared}}
        file = folder / CONFIG if folder else self.config
        file.write_text(json.dumps(data))

    def declaration(self, kind: Kind) -> dict[str, object]:
        """Return what the configuration says of a declared server."""
        command = [sys.executable, "-I", "-S", str(PROGRAM), *self.manner]
        said: dict[str, object] = {"scope": kind.scope, "ready": READY[kind.declares]}
        if kind.offset is None:
            return {**said, "command": command, "needs": ["web"]}
        said |= {"command": [*command, "port={port}"]}
        if kind.scope == MACHINE:
            return {**said, "port": self.port + kind.offset}
        return {**said, "ports": [first + kind.offset for first in self.blocks[1:]]}

    @property
    def is_scoped(self) -> bool:
        """Whether each worktree has an Inngest server of its own."""
        return self.kinds[0].scope == WORKTREE

    def be(self, inngest: tuple[str, ...] = (), declared: tuple[str, ...] = ()) -> None:
        """Let both have these manners from the next start on (see fake_cli.py and program.py)."""
        self.manner = declared
        self.behave(*inngest)

    def server(self, kind: Kind, folder: Path) -> "Server":
        """Return the server of that kind that a worktree uses."""
        whose = folder if kind.scope == WORKTREE else None
        if (whose, kind) not in self.found:
            self.found[whose, kind] = Server(self, kind, whose)
        return self.found[whose, kind]

    def log_text(self) -> str:
        """Return the logs of all servers."""
        logs = [self.log, *sorted(self.main.glob(".git/**/devservers/*.log"))]
        there = [log for log in logs if log.exists()]
        return "\n".join(f"{log}\n{log.read_text(errors='backslashreplace')}" for log in there)


class Server:
    """A server in question, running or not."""

    def __init__(self, world: TortureWorld, kind: Kind, root: Path | None) -> None:
        self.world, self.kind, self.root = world, kind, root
        git = world.main / ".git"
        linked = root is not None and root != world.main
        state = (git / "worktrees" / root.name if root and linked else git) / "devservers"
        if root is None and not kind.is_declared:
            state = world.pid_file.parent
        state.mkdir(exist_ok=True)
        self.pid_file = state / f"{kind.name}.pid"
        self.record_file = state / f"{kind.name}.pid.json"
        self.mark = f"{kind.name}:{self.pid_file}"
        world.processes.marks.append(("DEVSERVERS_SERVER", self.mark))

    def __repr__(self) -> str:
        return f"{self.kind.name} of {self.root.name if self.root else 'the machine'}"

    @property
    def port(self) -> int | None:
        """Its port, by the worktree's slot; None where it has none."""
        world, offset = self.world, self.kind.offset
        if offset is None or self.root is None:
            return None if offset is None else world.port + offset
        try:
            slot = world.pool.index(int((self.root / ".dev-port").read_text()))
        except (OSError, ValueError):
            return None
        return world.blocks[1 + slot] + offset

    def state_files(self) -> list[Path]:
        """Return the pid file and whatever lies beside it, but the lock, which stays."""
        found = self.pid_file.parent.glob(f"{self.pid_file.name}*")
        return [file for file in found if not file.name.endswith(".lock")]
