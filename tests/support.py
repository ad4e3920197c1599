"""What the tests stand on: a scratch world per test, the installed command, and a clean end."""

import atexit
import contextlib
import functools
import json
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import no_proc
import psutil

import forking
from forking import DEVSERVERS, HOOK, INV, SCRIPTS  # noqa: F401 - tests have them from here

T = TypeVar("T")
FAKE_CLI = Path(__file__).with_name("fake_cli.py")
FAKE_APP = Path(__file__).with_name("fake_app.py")
STAND_IN = Path(__file__).parents[1] / "devservers" / "inngest" / "standin.py"
CONFIG = Path(".claude/plugins/workspace-dev-servers/config.json")
PATIENCE = 20.0  # seconds for what takes milliseconds on an idle machine
TEST_MARK = "DEVSERVERS_TEST"  # in the environment of everything that a test starts
PORTS = 6  # the server's, its gateway's, two to move to, two of apps
# How many of a launcher's shells are seen: macOS tells nobody the environment of /bin/sh.
SHELLS = 0 if no_proc.IS_ON or sys.platform == "darwin" else 1
_BARE: set[str] = set()  # pids whose environment is empty indeed
FIRST_PORT, LAST_PORT = 10_000, 30_000  # below the ephemeral ranges of Linux and macOS


class Ran(NamedTuple):
    """What a command that has ended left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object on stdout; anything else there is a failure."""
        assert self.out.count("\n") == 1, self
        assert self.out.endswith("\n"), self
        value = json.loads(self.out)
        assert isinstance(value, dict), self
        return value

    @property
    def error(self) -> Any:
        """The error object of a failure, whose shape is checked."""
        assert self.json["action"] == "error", self
        assert "Traceback" not in self.err, self
        error = self.json["error"]
        assert {"code", "message", "hint"} <= error.keys(), self
        return error


def until(condition: Callable[[], T], timeout: float = PATIENCE) -> T:
    """Return the first true value of `condition`, asked every few milliseconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {timeout} s in vain"
        time.sleep(0.01)
    return value


def quickly(limit: float, act: Callable[[], T], tries: int = 5) -> T:
    """Return what `act` does, which must take less than `limit` seconds, in one of a few tries.

    What waits too long does so each time; a busy machine may, once.
    """
    for _ in range(tries):
        began = time.monotonic()
        value = act()
        took = time.monotonic() - began
        if took < limit:
            return value
    raise AssertionError(f"took {took:.1f} s, not less than {limit}")


def heed_interrupts() -> None:
    """Let a new process heed SIGINT, in a `preexec_fn`: a shell's background job ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def accepts(port: int, address: str = "127.0.0.1") -> bool:
    """Return whether something takes connections there."""
    with contextlib.suppress(OSError):
        socket.create_connection((address, port), 0.5).close()
        return True
    return False


@contextlib.contextmanager
def claimed_ports() -> Iterator[int]:
    """Yield the first of PORTS ports in a row that no other test, of any run, has as well.

    UDP ports are the claim: they are another space than TCP's, and die with whoever holds them.
    """
    while True:
        first = random.randrange(FIRST_PORT, LAST_PORT, PORTS)  # noqa: S311
        with contextlib.ExitStack() as held:
            try:
                for port in range(first, first + PORTS):
                    claim = held.enter_context(socket.socket(type=socket.SOCK_DGRAM))
                    claim.bind(("127.0.0.1", port))
                    with socket.socket() as probe:
                        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        probe.bind(("", port))
                    assert not accepts(port, "::1"), "something else on this machine"
            except (OSError, AssertionError):
                continue
            yield first
            return


class Processes:
    """Everything that one test started, told from all else by a mark in the environment."""

    def __init__(self, mark: str) -> None:
        self.mark = mark
        self.marks = [(TEST_MARK, mark)]
        self.spawned: list[subprocess.Popen[bytes] | forking.Child] = []

    def popen(self, words: list[str], **options: Any) -> "subprocess.Popen[bytes]":
        """Start a process that is ended with the test at the latest."""
        child = subprocess.Popen(words, **options)
        self.spawned.append(child)
        return child

    def carrying(self, name: str, value: str) -> list[psutil.Process]:
        """Return the live processes with that environment entry. A zombie is gone."""
        return self.carrying_any([(name, value)])

    @staticmethod
    def carrying_any(marks: list[tuple[str, str]]) -> list[psutil.Process]:
        """Return the live processes with one of these environment entries, as psutil tells."""
        found = []
        for pid in psutil.pids() if no_proc.IS_ON else _perhaps_carrying(marks):
            with contextlib.suppress(psutil.Error, OSError):
                process = psutil.Process(pid)
                if process.environ().items() & set(marks) and is_alive(process):
                    found.append(process)
        return found

    def _to_end(self) -> list[psutil.Process]:
        """Return all that live, those of macOS's own programs, too, in whose place ours stand."""
        if not no_proc.IS_ON:
            return self.carrying_any(self.marks)
        processes = [psutil.Process(pid) for pid in _perhaps_carrying(self.marks)]
        carrying = set(_perhaps_carrying(self.marks))  # looked at once more: a pid may change hands
        return [one for one in processes if one.pid in carrying and is_alive(one)]

    def end(self) -> list[str]:
        """End all of them, by identity; return what those were that nobody had spawned here."""
        own = {child.pid for child in self.spawned}
        for child in self.spawned:  # before what they would start meanwhile
            if child.poll() is None:
                child.kill()
        strays: dict[psutil.Process, str] = {}
        for _ in range(5):  # whoever is killed may have forked just before
            found = self._to_end()
            strays |= {process: describe(process) for process in found if process.pid not in own}
            for process in found:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            if not found:
                break
            until(lambda found=found: not any(map(is_alive, found)))
        for child in self.spawned:
            child.wait(PATIENCE)
            for stream in (child.stdin, child.stdout, child.stderr):
                if stream:
                    stream.close()
        return list(strays.values())


def _perhaps_carrying(marks: Iterable[tuple[str, str]]) -> Iterator[int]:
    """Yield the pids worth a closer look: each test looks at every process of the machine."""
    if not sys.platform.startswith("linux"):
        yield from psutil.pids()
        return
    entries = [os.fsencode(f"\0{name}={value}\0") for name, value in marks]
    for name in os.listdir("/proc"):  # noqa: PTH208 - names are all that is wanted
        with contextlib.suppress(OSError):
            if name.isdigit():
                environ = b"\0" + _environ(name)
                if any(entry in environ for entry in entries):
                    yield int(name)


def _environ(pid: str) -> bytes:
    """Return the environment of a process. While it becomes another program, none can be seen."""
    file = f"/proc/{pid}/environ"
    for _ in range(20):
        if (found := _read(file)) or pid in _BARE:
            return found
        os.readlink(f"/proc/{pid}/exe")  # the kernel's own threads have none: an OSError
        time.sleep(0.001)
    _BARE.add(pid)
    return b""


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        pieces = iter(lambda: os.read(fd, 1 << 16), b"")
        return b"".join(pieces)
    finally:
        os.close(fd)


def is_alive(process: psutil.Process) -> bool:
    """Return whether that very process is there, and no zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def describe(process: psutil.Process) -> str:
    """Return what a message should say of a process."""
    with contextlib.suppress(psutil.Error):
        return f"pid {process.pid}: {' '.join(process.cmdline())}"
    return f"pid {process.pid}"


def git(*words: str | Path, cwd: Path) -> None:
    """Run git as a user without any settings would."""
    env = {"PATH": os.environ["PATH"], "HOME": str(cwd), "LC_ALL": "C"}
    env |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    for who in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{who}_NAME": "A", f"GIT_{who}_EMAIL": "a@example.com"}
    command = ["git", "-c", "init.defaultBranch=main", *map(str, words)]
    subprocess.run(command, cwd=cwd, env=env, check=True, capture_output=True)


def make_repository(folder: Path) -> Path:
    """Make a repository with one commit: the one-line tasks.py."""
    folder.mkdir()
    git("init", "-q", "--template=", cwd=folder)
    (folder / "tasks.py").write_text("from devservers.tasks import ns\n")
    git("add", ".", cwd=folder)
    git("commit", "-q", "-m", "Begin", cwd=folder)
    return folder


@functools.cache
def template() -> Path:
    """Return a repository with one commit, made once in a process, to be copied.

    Beside it, in `trees`, is one that has the worktrees a and b already.
    """
    folder = Path(tempfile.mkdtemp(prefix="devservers-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    repository = make_repository(folder / "repository")
    main = shutil.copytree(repository, folder / "trees" / "main")
    for name in ("a", "b"):
        git("worktree", "add", "-q", "-b", name, main.with_name(name), cwd=main)
    return repository


class World:
    """A scratch repository with two linked worktrees, its configuration, and the command."""

    forks: ClassVar[bool] = False  # whether a call of `inv` may be a fork (see `forking`)

    def __init__(self, folder: Path, port: int, repository: Path) -> None:
        self.folder = folder
        self.port = port
        self.apps = [port + PORTS - 2, port + PORTS - 1]
        self.url = f"http://localhost:{port}"
        self.pid_file = folder / "state" / "inngest.pid"
        self.record_file = folder / "state" / "inngest.pid.json"
        self.lock_file = folder / "state" / "inngest.pid.lock"
        self.bin = folder / "bin"
        self.processes = Processes(str(folder))
        # What a tool started that passes no environment on still carries the package's own mark.
        self.processes.marks.append(("DEVSERVERS_SERVER", f"inngest:{self.pid_file}"))
        self.started: Any = None  # what ensure answered, in a world that began with it
        self.leaves_server = False  # a test that means to leave one running says so
        for name in ("state", "home", "bin", "tmp"):
            (folder / name).mkdir()
        self.repository = repository
        self.main = folder / "main"
        shutil.copytree(repository, self.main)
        self.log = self.main / "inngest-system.log"
        self.config = self.main / CONFIG
        self.config.parent.mkdir(parents=True)
        self.behave()

    # Git

    @cached_property
    def a(self) -> Path:
        """A linked worktree."""
        return self.add_worktree(self.folder / "a")

    @cached_property
    def b(self) -> Path:
        """Another linked worktree."""
        return self.add_worktree(self.folder / "b")

    def add_worktree(self, folder: Path) -> Path:
        """Add a linked worktree, on a branch of the folder's name."""
        branch = folder.name.encode("ascii", "ignore").decode()
        if not self.copy_worktree(folder):
            git("worktree", "add", "-q", "-b", branch, folder, cwd=self.main)
        return folder

    def copy_worktree(self, folder: Path) -> bool:
        """Add a linked worktree as git would, if the template has it and nothing was changed."""
        name, ours, theirs = folder.name, self.main / ".git", self.repository / ".git"
        made = self.repository.parent / "trees" / name
        if not made.exists() or folder.parent != self.folder or (ours / "hooks").exists():
            return False
        for file in ("HEAD", "config", "refs/heads/main"):
            if (ours / file).read_bytes() != (theirs / file).read_bytes():
                return False
        its = made.with_name("main") / ".git"
        shutil.copytree(made, folder)
        shutil.copytree(its / "worktrees" / name, ours / "worktrees" / name)
        for file in (f"refs/heads/{name}", f"logs/refs/heads/{name}"):
            shutil.copy2(its / file, ours / file)
        (ours / "worktrees" / name / "gitdir").write_text(f"{folder}/.git\n")
        (folder / ".git").write_text(f"gitdir: {ours}/worktrees/{name}\n")
        return True

    # Configuration

    def configure(self, *, folder: Path | None = None, **inngest: object) -> None:
        """Write the configuration file, with this world's own port and files."""
        own = {"port": self.port, "pidFile": str(self.pid_file)}
        data = {"nextjs": {"ports": self.apps}, "inngest": {**own, **inngest}}
        file = self.config if folder is None else folder / CONFIG
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(data))

    def behave(self, *behaviours: str, **inngest: object) -> None:
        """Let the CLI be the fake one, with these behaviours (see fake_cli.py)."""
        self.configure(command=self.fake(*behaviours), **inngest)

    @staticmethod
    def fake(*behaviours: str) -> list[str]:
        """Return the argv of the fake CLI."""
        return [sys.executable, "-I", "-S", str(FAKE_CLI), *behaviours]

    def install(self, name: str, *behaviours: str, folder: Path | None = None) -> Path:
        """Put the fake CLI under `name` on the PATH, or into `folder`."""
        folder = folder or self.bin
        folder.mkdir(parents=True, exist_ok=True)
        script = folder / name
        words = " ".join(f"'{word}'" for word in self.fake(f"name={name}", *behaviours))
        script.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        return script

    # Commands

    def env(self, more: Mapping[str, str] | None = None, cwd: Path | None = None) -> dict[str, str]:
        """Return the whole environment of a command: nothing comes from the one who runs tests."""
        env = {
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "PATH": str(self.bin),
            "PWD": str(cwd or self.main),
            "LC_ALL": "C.UTF-8",
            TEST_MARK: self.processes.mark,
        }
        return env | forking.of_the_run() | dict(more or {})

    def start(
        self,
        *words: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        program: Path = INV,
        real: bool = False,
        **options: Any,
    ) -> "subprocess.Popen[bytes] | forking.Child":
        """Start `inv` with these words in a folder (the main worktree), as a shell would.

        It, and our other scripts, may be a fork of what has imported all that it would, but for
        `real` ones, and where `options`, those of Popen, ask for more than a place for its output.
        """
        here = cwd or self.main
        whole = self.env(env, here)
        asked = {name: value for name, value in options.items() if value is not subprocess.PIPE}
        if asked.get("preexec_fn") is heed_interrupts:  # as forks do
            del asked["preexec_fn"]
        odd = real or program not in SCRIPTS or asked.keys() - {"stdout", "stderr"}
        if self.forks and not odd and forking.serves(whole):
            child = forking.server().call([str(program), *words], here, whole, **asked)
            self.processes.spawned.append(child)
            return child
        return self.processes.popen(
            [str(program), *words],
            cwd=here,
            env=whole,
            **{
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                **options,
            },
        )

    @staticmethod
    def result(child: "subprocess.Popen[bytes] | forking.Child", timeout: float = PATIENCE) -> Ran:
        """Wait for a command; its pipes must close with it, whatever it left running."""
        out, err = child.communicate(timeout=timeout)
        return Ran(child.returncode, (out or b"").decode(), (err or b"").decode())

    def run(self, *words: str, timeout: float = PATIENCE, **options: Any) -> Ran:
        """Run `inv` with these words to its end. See `start`."""
        return self.result(self.start(*words, **options), timeout)

    def ok(self, task: str, *words: str, code: int = 0, **options: Any) -> Any:
        """Run a task with --json, require its exit status, and return its object."""
        done = self.run(f"inngest.{task}", "--json", *words, **options)
        assert done.code == code, done
        assert "Traceback" not in done.err, done
        return done.json

    def fails(self, task: str, *words: str, code: int, **options: Any) -> Any:
        """Run a task with --json that must fail with that exit status; return its error."""
        done = self.run(f"inngest.{task}", "--json", *words, **options)
        assert done.code == code, done
        return done.error

    # What is there

    def servers(self) -> list[psutil.Process]:
        """Return every live process of this world's server, recorded or not."""
        return self.processes.carrying("DEVSERVERS_SERVER", f"inngest:{self.pid_file}")

    def starts(self) -> int:
        """Return how many stand-ins have come up, as their log tells."""
        return self.log_text().count('"msg":"stand-in for the Inngest dev server"')

    def log_text(self) -> str:
        """Return the whole log, empty where there is none."""
        with contextlib.suppress(FileNotFoundError):
            return self.log.read_text(errors="backslashreplace")
        return ""

    def assert_nothing_left(self) -> None:
        """Fail unless no process, no pid file, no record and a free port are left."""
        assert [describe(process) for process in self.servers()] == []
        assert [file.name for file in self.state_files()] == []
        assert not accepts(self.port)
        assert not accepts(self.port, "::1")

    def state_files(self) -> list[Path]:
        """Return the pid file and whatever lies beside it, but the lock, which stays."""
        return [file for file in self.pid_file.parent.iterdir() if file != self.lock_file]

    # Others on the machine

    def listener(self, address: str = "127.0.0.1", port: int | None = None) -> psutil.Process:
        """Start a listener that has nothing to do with Inngest; return it once it listens."""
        words = [sys.executable, "-I", "-S", "-c", _LISTENER, address, str(port or self.port)]
        child = self.processes.popen(words, env=self.env(), stdout=subprocess.PIPE)
        assert child.stdout
        assert child.stdout.readline() == b"listens\n"
        return psutil.Process(child.pid)

    def app(
        self,
        port: int,
        *,
        cwd: Path,
        app_id: str = "flowt",
        behaviour: str = "",
        env: Mapping[str, str] | None = None,
    ) -> psutil.Process:
        """Start a fake app of a worktree (see fake_app.py); return it once it listens."""
        words = [sys.executable, "-I", "-S", str(FAKE_APP), str(port), str(self.port), app_id]
        child = self.processes.popen(
            [*words, behaviour], cwd=cwd, env=self.env(env), stdout=subprocess.PIPE
        )
        assert child.stdout
        assert child.stdout.readline() == b"listens\n"
        return psutil.Process(child.pid)

    def bystander(self) -> psutil.Process:
        """Start a process that does nothing, and must not be signalled."""
        words = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"]
        return psutil.Process(self.processes.popen(words, env=self.env()).pid)

    def inngest_by_hand(self, *words: str) -> psutil.Process:
        """Start the stand-in as a user would start the CLI, without this package."""
        command = [sys.executable, "-I", "-S", str(STAND_IN), "dev", "--port", str(self.port)]
        child = self.processes.popen(
            [*command, *words], env=self.env(), cwd=self.folder / "home", stdout=subprocess.DEVNULL
        )
        until(lambda: accepts(self.port))
        return psutil.Process(child.pid)

    def inngest_by_another_user(self, **more: str) -> psutil.Process:
        """Start the stand-in as another user would, by hand. Only root can."""
        words = [sys.executable, "-I", "-S", "-c", _AS_NOBODY, str(STAND_IN), str(self.port)]
        child = self.processes.popen(words, env=self.env(more), cwd="/", stdout=subprocess.DEVNULL)
        until(lambda: accepts(self.port))
        until(lambda: psutil.Process(child.pid).uids().effective != 0)
        return psutil.Process(child.pid)


# Python may lie where only root can read: all is imported before the user changes.
_AS_NOBODY = """
import encodings.idna, locale, os, sys, types
program, port = sys.argv[1:]
module = sys.modules["standin"] = types.ModuleType("standin")
exec(compile(open(program).read(), program, "exec"), module.__dict__)
os.setgid(65534); os.setuid(65534)
module.main(["dev", "--port", port])
"""


_LISTENER = """
import socket, sys
address, port = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
listener = socket.create_server((address, port), family=family)
print("listens", flush=True)
while True:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhello")
"""
