"""The shim that lets the tests run as on macOS: what it hides, and that no process lacks it."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import no_proc
import pytest

from devservers.system import by_psutil, isolated, procfs

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="there is nothing to hide")
SEEN = """
import json, os, pathlib, signal, sys
import psutil
from devservers.system import procfs

def refused(ask, error):
    try:
        ask()
    except error:
        return True
    return False

init = psutil.Process(1)
own = psutil.Process()
other = None
if os.geteuid() == 0:
    pid = os.fork()
    if not pid:
        os.setuid(65534)
        signal.pause()
    other = psutil.Process(pid)
    while other._proc.uids().effective == 0:
        pass
facts = {
    "the package knows of none": not procfs.HAS_PROC,
    "open": refused(lambda: open("/proc/self/stat"), FileNotFoundError),
    "Path.read_text": refused(pathlib.Path("/proc/self/stat").read_text, FileNotFoundError),
    "os.listdir": refused(lambda: os.listdir("/proc"), FileNotFoundError),
    "os.readlink": refused(lambda: os.readlink(b"/proc/self"), FileNotFoundError),
    "exists": not os.path.exists("/proc/self") and not pathlib.Path("/proc").exists(),
    "all connections": refused(lambda: psutil.net_connections("tcp"), psutil.AccessDenied),
    "no pidfd": not hasattr(os, "pidfd_open") and not hasattr(signal, "pidfd_send_signal"),
    "what is one's own is told": bool(own.environ() and own.cmdline() and own.cwd()),
}
if other:
    told = other.ppid() == os.getpid() and other.create_time() and other.status()
    facts["of others little is told"] = bool(told)
    for name in ("environ", "cwd", "net_connections", "cpu_times", "memory_info", "cmdline"):
        facts[f"not their {name}"] = refused(getattr(other, name), psutil.AccessDenied)
    other.kill()
    os.waitpid(pid, 0)
print(json.dumps(facts))
"""


def seen(*words: str) -> dict[str, Any]:
    env = {"PATH": os.environ["PATH"], no_proc.SWITCH: "1"}
    command = [sys.executable, *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


@LINUX
def test_nothing_is_seen_of_proc_and_little_of_other_users() -> None:
    prelude = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import no_proc\n"
    found = seen("-c", prelude + SEEN)
    assert [fact for fact, holds in found.items() if not holds] == []


@pytest.mark.skipif(not no_proc.IS_ON, reason="for the run without /proc")
@pytest.mark.parametrize("options", [[], ["-I"], ["-P", "-E"]])
def test_every_python_of_the_tests_has_it(options: Sequence[str]) -> None:
    assert not procfs.HAS_PROC
    assert all(seen(*options, "-c", SEEN).values())
    assert all(seen(*isolated.OPTIONS, "-c", isolated.PATHS + SEEN).values())


# What a warm call asks where there is no /proc


def test_a_process_lives_if_its_start_is_the_same() -> None:
    import psutil  # noqa: PLC0415 - as it is asked

    started = by_psutil.start_of(psutil.Process())
    assert started is not None
    assert by_psutil.lives(os.getpid(), started)
    assert not by_psutil.lives(os.getpid(), f"{float(started) - 2:.3f}")
    assert not by_psutil.lives(1 << 30, started)
    assert not by_psutil.lives(os.getpid(), "boot:1")


def test_a_zombie_does_not_live() -> None:
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=-1) as child:
        import psutil  # noqa: PLC0415 - as it is asked

        started = by_psutil.start_of(psutil.Process(child.pid))
        assert started
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not by_psutil.lives(child.pid, started)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_listener_is_known_by_descriptor_address_and_port(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as server:
        fd, port = server.fileno(), server.getsockname()[1]
        assert by_psutil.listens(os.getpid(), fd, address, port)
        assert not by_psutil.listens(os.getpid(), fd + 1, address, port)
        assert not by_psutil.listens(os.getpid(), fd, "127.0.0.9", port)
        assert not by_psutil.listens(os.getpid(), fd, address, port + 1)
        assert not by_psutil.listens(1 << 30, fd, address, port)
    assert not by_psutil.listens(os.getpid(), fd, address, port)
