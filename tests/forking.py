"""Calls of our scripts that are forks of one process which has imported all: see fork_server."""

import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import no_proc

INV = Path(sys.executable).with_name("inv")
DEVSERVERS = INV.with_name("devservers")
HOOK = INV.with_name("devservers-hook")
SCRIPTS = (INV, DEVSERVERS, HOOK)
SERVER = Path(__file__).with_name("fork_server.py")
LOCALE = {"LC_ALL": "C.UTF-8"}
# What Python and its modules read before there is a call to read it for.
EARLY = ("PYTHON", "LC_", "LANG", "LD_", "COV", "INVOKE_", no_proc.SWITCH)
OF_THE_RUN = ("COV", no_proc.SWITCH)  # how it is measured, and what it may see


def early() -> dict[str, str]:
    """Return what the server of forks has of that."""
    return LOCALE | of_the_run()


def of_the_run() -> dict[str, str]:
    """Return what every process of the package has of the environment of the tests' own run."""
    return {name: text for name, text in os.environ.items() if name.startswith(OF_THE_RUN)}


def serves(env: Mapping[str, str]) -> bool:
    """Return whether a fork is like a new process with that environment."""
    return early().items() == {(name, env[name]) for name in env if name.startswith(EARLY)}


class Child:
    """A call of a script, which is used like the Popen that it would be otherwise."""

    stdin = None

    def __init__(
        self, args: list[str], pid: int, status: int, out: int | None, err: int | None
    ) -> None:
        self.args, self.pid = args, pid
        self.returncode: int | None = None
        self.stdout = None if out is None else os.fdopen(out, "rb")
        self.stderr = None if err is None else os.fdopen(err, "rb")
        self._status = status
        streams: tuple[BinaryIO | None, ...] = (self.stdout, self.stderr)
        self._seen = {stream: b"" for stream in streams if stream}

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, and return how it ended. Raises TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            how = os.read(self._status, 4)
            os.close(self._status)
            assert how, "the fork server has ended"
            self.returncode = os.waitstatus_to_exitcode(int.from_bytes(how))
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[bytes | None, bytes | None]:
        """Read both streams to their ends and wait. Raises TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout

        def left() -> float | None:
            return None if deadline is None else max(0, deadline - time.monotonic())

        while waiting := [stream for stream in self._seen if not stream.closed]:
            ready = select.select(waiting, [], [], left())[0]
            if not ready:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            for stream in ready:
                data = os.read(stream.fileno(), 1 << 16)
                self._seen[stream] += data
                if not data:
                    stream.close()
        self.wait(left())
        out, err = (stream and self._seen[stream] for stream in (self.stdout, self.stderr))
        return out, err

    def send_signal(self, number: int) -> None:
        """Signal it, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Server:
    """The process whose forks the calls are. It ends with the one that made it."""

    def __init__(self, *scripts: Path) -> None:
        self._asking = threading.Lock()
        self._control, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, str(SERVER), *map(str, scripts), str(theirs.fileno())],
                env=early(),
                pass_fds=[theirs.fileno()],
                # Of the same kind as a call's own: its streams are made already.
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )

    def call(
        self,
        argv: list[str],
        cwd: Path,
        env: Mapping[str, str],
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> Child:
        """Start a call of a script there, in that environment and no other.

        Its output goes to these descriptors, to pipes where there are none.
        """
        data = json.dumps({"argv": argv, "cwd": str(cwd), "env": dict(env)}).encode()
        out, its_out = os.pipe() if stdout is None else (None, os.dup(stdout))
        err, its_err = os.pipe() if stderr is None else (None, os.dup(stderr))
        status, its_status = os.pipe()
        theirs = (its_out, its_err, its_status)
        try:
            with self._asking:
                socket.send_fds(self._control, [len(data).to_bytes(4)], theirs)
                self._control.sendall(data)
                pid = self._control.recv(4, socket.MSG_WAITALL)
        except OSError:
            pid = b""
        except BaseException:  # a test's time is up: the answer would be taken for the next one's
            server.cache_clear()
            self.end()
            raise
        finally:
            for end in theirs:
                os.close(end)
        assert pid, self.process.communicate()
        return Child(argv, int.from_bytes(pid), status, out, err)

    def end(self) -> None:
        """End the server. What it has forked goes on."""
        self._control.close()
        self.process.communicate()


@functools.cache
def server() -> Server:
    """Return this process's own server, started when it is first asked for."""
    return Server(*SCRIPTS)


def end() -> None:
    """End this process's server, if it has one."""
    if server.cache_info().currsize:
        server().end()
        server.cache_clear()
