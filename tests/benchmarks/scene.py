"""The scene of the benchmark: a scratch repository with its own home, port, files and rivals."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
from timing import Case

from devservers.githooks import file as githooks_file
from hooking import detached
from support import STAND_IN, World, accepts, until

BIN = Path(sys.executable).parent
SHELL = Path(__file__).with_name("shell")
EMPTY_TASKS = "from invoke.tasks import task\n\n@task\ndef empty(c):\n    pass\n"


class Scene:
    """Everything that is measured, in a world that is taken down at the end."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.configure(command=self.server())
        self.empty = world.folder / "empty"
        self.empty.mkdir()
        (self.empty / "tasks.py").write_text(EMPTY_TASKS)
        (world.folder / "shell").mkdir()
        self.shell_pid = world.folder / "shell" / "pid"
        self.env = world.env({"PATH": f"{BIN}:{os.environ['PATH']}"})
        self.npm = world.folder / "npm"

    def server(self) -> list[str]:
        """Return what is started, by all that start something."""
        return [sys.executable, "-I", "-S", str(STAND_IN)]

    # Ours

    def case(self, name: str, *words: str | Path, **more: object) -> Case:
        """Return a case that is run in a linked worktree."""
        return Case(name, words, self.env, self.world.a, **more)  # type: ignore[arg-type]

    def inv(self, name: str, *words: str, **more: object) -> Case:
        return self.case(name, BIN / "inv", *words, **more)

    def devservers(self, name: str, *words: str) -> Case:
        return self.case(name, BIN / "devservers", *words)

    def hook(self, name: str, **more: object) -> Case:
        """Return the hook as git's own hook calls it."""
        code = ("-c", githooks_file.PROGRAM)
        words = (sys.executable, *githooks_file.OPTIONS, *code, "post-checkout", "0", "1", "1")
        return self.case(name, *words, **more)

    def floors(self) -> list[Case]:
        found = [
            Case("`inv`, empty task", (BIN / "inv", "empty"), self.env, self.empty),
            self.case("`python -c pass`", sys.executable, "-c", "pass"),
        ]
        if node := shutil.which("node"):
            found.append(self.case("`node -e 0`", node, "-e", "0"))
        return found

    def ensure(self) -> None:
        self._run(BIN / "devservers", "inngest.ensure")

    @contextmanager
    def declared(self, *names: str) -> Iterator[None]:
        """Have servers with these names, which say at once that they are up."""
        before = self.world.config.read_text()
        code = "import time; print('up', flush=True); time.sleep(600)"
        server = {"command": [sys.executable, "-I", "-S", "-c", code], "ready": {"log": "^up"}}
        servers = {"servers": dict.fromkeys(names, server)}
        self.world.config.write_text(json.dumps(json.loads(before) | servers))
        self._run(BIN / "devservers", "dev.up", f"--only={','.join(names)}")
        try:
            yield
        finally:
            for name in names:
                self._run(BIN / "devservers", f"{name}.stop")
            self.world.config.write_text(before)

    @contextmanager
    def app(self) -> Iterator[None]:
        """Have a server of the worktree's app: anything that answers over HTTP."""
        before = self.world.config.read_text()
        settings = json.loads(before)
        with socket.create_server(("", 0)) as free:
            settings["nextjs"]["ports"] = [free.getsockname()[1]]
        settings["nextjs"]["command"] = [sys.executable, "-I", "-S", "-m", "http.server", "{port}"]
        self.world.config.write_text(json.dumps(settings))
        self._run(BIN / "devservers", "nextjs.ensure")
        try:
            yield
        finally:
            self._run(BIN / "devservers", "nextjs.stop")
            self.world.config.write_text(before)

    def stop(self) -> None:
        self._run(BIN / "devservers", "inngest.stop")

    def settle(self) -> None:
        """Wait until a detached ensure is through."""
        until(lambda: not detached(self.world))
        assert accepts(self.world.port)

    def _run(self, *words: str | Path, env: dict[str, str] | None = None) -> None:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        command = [str(word) for word in words]
        subprocess.run(command, env=env or self.env, cwd=self.world.a, check=False, **quiet)  # type: ignore[call-overload]

    def own_start(self) -> float:
        """Return the seconds from a server's start to its first connection, started by nobody."""
        command = [*self.server(), "dev", "--port", str(self.world.port)]
        began = time.perf_counter()
        child = self.world.processes.popen(command, env=self.env, stdout=subprocess.DEVNULL)
        while not accepts(self.world.port):
            time.sleep(0.002)
        took = time.perf_counter() - began
        child.kill()
        child.wait()
        return took

    # Rivals

    def shell(self, name: str, script: str, **more: object) -> Case:
        """Return a case of the shell lines, with their own port and files."""
        port = str(self.world.port + 2)
        command = [*self.server(), "dev", "--port", port]
        words = [SHELL / script, *(command if script == "ensure.sh" else ())]
        log = self.world.folder / "shell" / "log"
        env = {**self.env, "PIDFILE": str(self.shell_pid), "LOG": str(log), "PORT": port}
        return Case(name, words, env, self.world.a, **more)  # type: ignore[arg-type]

    def install_rivals(self, patience: float) -> tuple[str, ...]:
        """Install pm2 and portless with npm; return which could be had."""
        npm = shutil.which("npm")
        if npm is None:
            return ()
        words = [npm, "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(self.npm)]
        home = {**os.environ, "npm_config_cache": str(self.world.folder / "npm-cache")}
        found = []
        for package in ("pm2", "portless"):
            try:
                subprocess.run([*words, package], env=home, check=True, timeout=patience)
                found.append(package)
            except (subprocess.SubprocessError, OSError):
                continue
        return tuple(found)

    def pm2(self, name: str, *words: str, **more: object) -> Case:
        program = self.npm / "node_modules" / ".bin" / "pm2"
        env = {**self.env, "PM2_HOME": str(self.world.folder / "pm2")}
        return Case(name, (program, *words), env, self.world.a, **more)  # type: ignore[arg-type]

    def pm2_start(self, name: str, **more: object) -> Case:
        program, *options, script = self.server()
        words = ("start", script, "--name", "inngest", "--interpreter", program, "--silent")
        port = str(self.world.port + 4)
        own = (f"--interpreter-args={' '.join(options)}", "--", "dev", "--port", port)
        return self.pm2(name, *words, *own, **more)

    def run(self, case: Case) -> None:
        """Run a case for its effect."""
        subprocess.run(
            [str(word) for word in case.command],
            env=case.env, cwd=case.cwd, check=False, capture_output=True, timeout=60,
        )  # fmt: skip

    def portless(self, name: str, *words: str) -> Case:
        program = self.npm / "node_modules" / ".bin" / "portless"
        env = {**self.env, "PORTLESS_STATE_DIR": str(self.world.folder / "portless")}
        return Case(name, (program, *words), env, self.world.a)

    # Company

    @contextmanager
    def crowd(self, kind: str, count: int) -> Iterator[None]:
        """Hold that many more idle processes, or listening sockets."""
        if not count:
            yield
            return
        script = Path(__file__).with_name("crowd.py")
        words = [sys.executable, "-I", "-S", str(script), kind, str(count)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        child = self.world.processes.popen(words, env=self.env, **pipes)
        assert child.stdin
        assert child.stdout
        if child.stdout.readline() != b"there\n":
            raise RuntimeError(f"no room for {count} more {kind}")
        try:
            yield
        finally:
            child.stdin.close()
            child.wait()

    def sparse_log(self, size: int) -> Path:
        """Make the server's log one of that many bytes, nearly all of them a hole."""
        with open(self.world.log, "r+b") as log:
            log.truncate(size)
            log.seek(size)
            log.write(b"".join(b"line %d\n" % number for number in range(100)))
        return self.world.log

    def close(self, cases: Sequence[Case] = ()) -> None:
        """Stop what was started; the world ends whatever is left, by identity."""
        for case in cases:
            self.run(case)
        self.stop()
        daemon = self.world.folder / "pm2" / "pm2.pid"
        if daemon.is_file() and psutil.pid_exists(int(daemon.read_text() or 0)):
            until(lambda: not daemon.exists() or not psutil.pid_exists(int(daemon.read_text())))
