"""What the tests of Next.js servers and ports stand on: a world with a pool and a fake `next`."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from support import CONFIG, PORTS, TEST_MARK, Ran, World, accepts, claimed_ports, template, until

FAKE_NEXT = Path(__file__).with_name("fake_next.py")


@contextlib.contextmanager
def next_world(
    folder: Path, *behaviours: str, size: int = 5, make: "type[NextWorld] | None" = None
) -> Iterator["NextWorld"]:
    """Yield a world with a pool of `size` ports; a server that survives is a failure."""
    with contextlib.ExitStack() as held:
        first = held.enter_context(claimed_ports())
        pool: list[int] = []
        while len(pool) < size:
            start = held.enter_context(claimed_ports())
            pool += range(start, start + PORTS)
        made = (make or NextWorld)(folder.resolve(), first, pool[:size], behaviours)
        try:
            yield made
        finally:
            strays = made.processes.end()
        if strays and not made.leaves_server:
            pytest.fail("left running: " + "; ".join(strays))


class NextWorld(World):
    """A scratch repository whose worktrees have servers of their own."""

    def __init__(
        self, folder: Path, port: int, pool: list[int], behaviours: tuple[str, ...]
    ) -> None:
        self.pool = pool
        self.behaviours = behaviours
        super().__init__(folder, port, template())
        for tree in (self.main, self.a, self.b):  # git only asks whether it is ignored
            (tree / ".gitignore").write_text(".dev-port\n.next\nnode_modules\n")

    def git(self, *words: str | Path, cwd: Path) -> str:
        """Run git as a user without any settings would, and return what it prints."""
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder / "home"), "LC_ALL": "C"}
        env |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
        for who in ("AUTHOR", "COMMITTER"):
            env |= {f"GIT_{who}_NAME": "A", f"GIT_{who}_EMAIL": "a@example.com"}
        command = ["git", *map(str, words)]
        done = subprocess.run(command, cwd=cwd, env=env, check=True, capture_output=True, text=True)
        return done.stdout

    def add_worktree(self, folder: Path, branch: str | None = None) -> Path:
        """Add a linked worktree, on a branch of the folder's name unless another is given."""
        if branch or not self.copy_worktree(folder):
            self.git("worktree", "add", "-q", "-b", branch or folder.name, folder, cwd=self.main)
        return folder

    def plain(self, name: str) -> Path:
        """Make a folder that is no worktree."""
        folder = self.folder / name
        folder.mkdir()
        return folder

    def tree(self, name: str) -> Path:
        """Add a linked worktree on a branch of that name."""
        return self.add_worktree(self.folder / name)

    def configure(
        self,
        *,
        folder: Path | None = None,
        nextjs: Mapping[str, object] | None = None,
        **inngest: object,
    ) -> None:
        own: dict[str, object] = {"port": self.port, "pidFile": str(self.pid_file)}
        own["args"] = ["--poll-interval", "0.5"]  # of the stand-in, which asks every 5 s else
        command = [sys.executable, "-I", "-S", str(FAKE_NEXT), *self.behaviours, "{port}"]
        data = {
            "nextjs": {"ports": self.pool, "command": command, **(nextjs or {})},
            "inngest": {**own, **inngest},
            "board": {"port": self.port + 4},
        }
        file = self.config if folder is None else folder / CONFIG
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(data))

    def be(self, *behaviours: str) -> None:
        """Let `next` have other behaviours from now on."""
        self.behaviours = behaviours
        self.behave()

    def env(self, more: Mapping[str, str] | None = None, cwd: Path | None = None) -> dict[str, str]:
        path = f"{self.bin}{os.pathsep}{os.environ['PATH']}"  # git is asked for some answers
        git = {"GIT_CONFIG_NOSYSTEM": "1"}
        return super().env({"PATH": path, **git, **(more or {})}, cwd)

    def call(self, task: str, *words: str, code: int = 0, **options: Any) -> Any:
        """Run a task with --json, require its exit status, and return its object."""
        done = self.run(task, "--json", *words, **options)
        assert done.code == code, done
        assert "Traceback" not in done.err, done
        return done.json

    def refused(self, task: str, *words: str, code: int, **options: Any) -> Any:
        """Run a task with --json that must fail with that exit status; return its error."""
        done = self.run(task, "--json", *words, **options)
        assert done.code == code, done
        return done.error

    def at_once(self, folders: list[Path], *words: str) -> list[Ran]:
        """Start the same command in each folder, all at the same time; return what they say."""
        started = [self.start(*words, cwd=folder) for folder in folders]
        return [self.result(child, timeout=60) for child in started]

    def sweeps(self) -> list[psutil.Process]:
        """Return what looks for idle servers in passing, just now."""
        found = []
        for one in self.processes.carrying(TEST_MARK, self.processes.mark):
            with contextlib.suppress(psutil.Error):  # it has ended since
                if one.cmdline()[-2:] == ["--detached", "idle"]:
                    found.append(one)
        return found

    def claim(self, folder: Path) -> str:
        """Return the text of a worktree's `.dev-port`."""
        return (folder / ".dev-port").read_text()

    def git_dir(self, folder: Path) -> Path:
        """Return git's folder of a worktree."""
        return Path(self.git("rev-parse", "--absolute-git-dir", cwd=folder).strip())

    def pid_file_of(self, folder: Path) -> Path:
        """Return the pid file of a worktree's server."""
        return self.git_dir(folder) / "devservers" / "nextjs.pid"

    def next_by_hand(self, folder: Path, port: int, *behaviours: str) -> psutil.Process:
        """Start a server as a user would, without this package."""
        # The launcher gives it that variable; `next start` has none.
        env = {"NEXT_PRIVATE_WORKER": "1"} if "start" not in behaviours else {}
        words = [sys.executable, "-I", "-S", str(FAKE_NEXT), *behaviours, str(port)]
        child = self.processes.popen(
            words, cwd=folder, env=self.env(env), stdout=subprocess.DEVNULL
        )
        until(lambda: accepts(port))
        if "lock" in behaviours:
            wait_for_lock(folder)
        return psutil.Process(child.pid)


def wait_for_lock(folder: Path) -> None:
    """Wait until a server has written its lock."""
    lock = folder / ".next/dev/lock"
    until(lambda: lock.exists() and lock.stat().st_size > 0)


__all__ = ["NextWorld", "next_world", "wait_for_lock"]
