"""The forks that stand for calls of `inv`: nothing in them tells them from new processes."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from devservers.system import procfs
from support import DEVSERVERS, HOOK, INV, Ran, World, heed_interrupts, is_alive, until

NEW: dict[str, Any] = {"real": True, "preexec_fn": heed_interrupts}

LOOK = """
import json, os, resource, signal, subprocess, sys, threading
from pathlib import Path
from devservers import console
from devservers.system import procfs

def stream(it):
    known = (it.name, it.mode, it.encoding, it.errors, it.newlines, it.line_buffering)
    return (*known, it.isatty(), it.buffer.raw.closefd)

status = dict(line.split(":\\t") for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps({
    "argv": sys.argv,
    "path": sys.path,
    "cwd": os.getcwd(),
    "environ": dict(os.environ),
    "its own children's": ascii(subprocess.run(["/usr/bin/env"], capture_output=True).stdout),
    "streams": [stream(it) for it in (sys.stdin, sys.stdout, sys.stderr)],
    "descriptors": sorted(os.listdir("/proc/self/fd")),
    "stdin": os.readlink("/proc/self/fd/0"),
    "group": (os.getpgid(0), os.getsid(0)),
    "handlers": [str(signal.getsignal(n)).partition(" at ")[0] for n in signal.valid_signals()],
    "signals": [status[name] for name in ("SigBlk", "SigIgn", "SigCgt", "SigPnd", "Threads")],
    "umask": status["Umask"],
    "limits": [resource.getrlimit(n) for n in range(16)],
    "main": [name for name in vars(sys.modules["__main__"]) if not name.startswith("__")],
    "learnt": (procfs._own, procfs._boot_ids, console._HEEDED),
    "threads": threading.active_count(),
    "writes bytecode": sys.dont_write_bytecode,
}))
"""
LINUX = pytest.mark.skipif(not procfs.HAS_PROC, reason="looks into /proc")


def is_there(pid: int) -> bool:
    return psutil.pid_exists(pid) and is_alive(psutil.Process(pid))


@pytest.fixture(autouse=True)
def _forks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "forks", True)


def both(world: World, *words: str, cwd: Path | None = None, program: Path = INV) -> Ran:
    """Return what a fork leaves, which must be what a new process does."""
    forked = world.run(*words, cwd=cwd, program=program)
    assert forked == world.run(*words, cwd=cwd, program=program, **NEW)
    return forked


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--list",), 0),
        (("--version",), 0),
        (("inngest.status", "--json"), 3),
        (("inngest.status", "inngest.logs"), 3),
        (("--nonsense",), 1),
        (("no.such.task",), 1),
        ((), 0),
    ],
)
def test_a_fork_says_what_a_new_process_does(
    world: World, words: tuple[str, ...], code: int
) -> None:
    assert both(world, *words).code == code


@pytest.mark.parametrize(
    ("program", "words", "code"),
    [
        (DEVSERVERS, ("--list",), 0),
        (DEVSERVERS, ("inngest.status", "--json"), 3),
        (DEVSERVERS, ("inngest.ensure", "--nonsense"), 1),
        (HOOK, (), 0),
        (HOOK, ("post-merge",), 0),
    ],
)
def test_so_does_a_fork_of_the_other_scripts(
    world: World, program: Path, words: tuple[str, ...], code: int
) -> None:
    world.configure(command=["/no/such/program"])
    assert both(world, *words, program=program).code == code


def test_a_fork_writes_where_a_new_process_would(world: World) -> None:
    (world.main / "tasks.py").write_text(
        "import os, sys\n"
        "print([(it.isatty(), it.line_buffering, os.fstat(it.fileno()).st_rdev)"
        " for it in (sys.stdout, sys.stderr)])\n"
        "raise SystemExit\n"
    )
    ours, its = pty.openpty()
    for more in ({}, NEW):
        child = world.start(stdout=its, stderr=its, **more)
        assert child.communicate() == (None, None)
    os.close(its)
    with os.fdopen(ours) as terminal:
        forked, new = terminal.readline(), terminal.readline()
    assert forked == new
    assert "True, True" in forked


def test_the_end_of_a_fork_is_that_of_a_new_process(world: World) -> None:
    ends = {
        "import sys; sys.exit('words')": 1,
        "import atexit; atexit.register(print, 'last', flush=True); raise SystemExit(7)": 7,
        "import os, sys; sys.stdout.write('lost'); os.close(1); raise SystemExit": 120,
        "import os, signal; os.kill(os.getpid(), signal.SIGTERM)": -signal.SIGTERM,
    }
    for end, code in ends.items():
        (world.main / "tasks.py").write_text(end)
        assert both(world).code == code, end


@LINUX
def test_a_fork_finds_around_itself_what_a_new_process_does(world: World) -> None:
    (world.a / "tasks.py").write_text(LOOK + "raise SystemExit\n")
    env = {"ODD": "\udce9 =\n", "PATH": "/bin"}
    words = ("inngest.status", "--json", "caf\u00e9")
    forked = world.run(*words, cwd=world.a, env=env)
    new = world.run(*words, cwd=world.a, env=env, **NEW)
    assert (forked.code, forked.err) == (0, "")
    assert forked.json == new.json
    assert forked.json["environ"] == world.env(env, world.a)


def test_a_fork_can_be_waited_for_and_signalled(world: World) -> None:
    world.log.write_text("line\n")
    for number, code in ((signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 0)):
        child = world.start("inngest.logs", "--follow")
        assert child.stdout
        assert child.stdout.readline() == b"line\n"
        assert child.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.01)
        with pytest.raises(subprocess.TimeoutExpired):
            child.communicate(timeout=0.01)
        child.send_signal(number)
        assert child.wait(20) == child.poll() == code
        child.kill()  # which is none any more
        assert not psutil.pid_exists(child.pid)


def test_what_is_read_early_makes_it_a_new_process(world: World) -> None:
    (world.main / "tasks.py").write_text("import sys; print(sys.flags.utf8_mode, sys.orig_argv)\n")
    assert "fork_server" in world.run().out
    assert "fork_server" not in world.run(real=True).out
    assert world.run(env={"PYTHONUTF8": "1"}).out.startswith("1 ")
    assert "fork_server" not in world.run(env={"LC_ALL": "C"}).out


def test_the_server_ends_with_whoever_asked_it(world: World) -> None:
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; import forking, os, pathlib\n"
        "child = forking.server().call(['inv', '--version'], pathlib.Path('.'), os.environ)\n"
        "child.communicate(); print(forking.server().process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    done = world.run("-c", code, program=Path(sys.executable))
    assert done.code == -signal.SIGKILL, done
    until(lambda: not is_there(int(done.out)))
