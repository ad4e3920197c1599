"""A world whose worktrees have an Inngest server each: what the checks ask of each one's."""

import json
from pathlib import Path
from typing import Any

from support import CONFIG, PORTS, World


class ScopedWorld(World):
    """A world with inngest.scope "worktree", and as many slots as it was given blocks of ports."""

    def __init__(self, folder: Path, blocks: list[int], repository: Path) -> None:
        self.own_ports = blocks
        self.pool = [first + PORTS - 1 for first in blocks]
        super().__init__(folder, blocks[0], repository)

    def configure(self, *, folder: Path | None = None, **inngest: object) -> None:
        """Write the configuration; where the servers' files lie is left to the package."""
        own = {"scope": "worktree", "ports": self.own_ports, **inngest}
        file = (folder or self.config.parent) / CONFIG.name
        file.write_text(json.dumps({"nextjs": {"ports": self.pool}, "inngest": own}))

    def log_text(self) -> str:
        """Return the logs of all servers."""
        logs = sorted(self.main.glob(".git/**/devservers/inngest.log"))
        return "\n".join(log.read_text(errors="backslashreplace") for log in logs)


class Own:
    """The server of one worktree: its files and its port, for the rest its world."""

    def __init__(self, world: ScopedWorld, folder: Path) -> None:
        git = world.main / ".git"
        state = (git if folder == world.main else git / "worktrees" / folder.name) / "devservers"
        state.mkdir(exist_ok=True)
        self.world, self.root = world, folder
        self.pid_file = state / "inngest.pid"
        self.record_file = state / "inngest.pid.json"
        world.processes.marks.append(("DEVSERVERS_SERVER", f"inngest:{self.pid_file}"))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world, name)

    @property
    def port(self) -> int:
        """Its port, by the worktree's slot; 0 where it has none."""
        try:
            return self.own_ports[self.pool.index(int((self.root / ".dev-port").read_text()))]
        except (OSError, ValueError):
            return 0

    def state_files(self) -> list[Path]:
        """Return the pid file and whatever lies beside it, but the lock, which stays."""
        found = self.pid_file.parent.glob("inngest.pid*")
        return [file for file in found if not file.name.endswith(".lock")]
