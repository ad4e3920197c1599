"""A process that is `inv`, or another of our scripts, up to where it reads its words: a call forks.

Python and the imports are most of what a call costs. Here they are paid once: a child has its own
pid, folder, environment, output and exit status, and its modules are as fresh as those of a new
process. See `forking`, which starts this program and speaks to it.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import sys
import types
from pathlib import Path
from typing import Any

PACKAGE = "devservers"


def import_all() -> None:
    """Import what any task would."""
    for name in ("invoke.main", "filelock", "psutil", "requests", "subprocess"):
        importlib.import_module(name)
    package = importlib.import_module(PACKAGE)
    for module in pkgutil.walk_packages(package.__path__, f"{PACKAGE}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    # The namespace is made from the configuration where it is imported: by each child anew.
    del sys.modules[f"{PACKAGE}.tasks"]


def serve(control: socket.socket) -> dict[str, Any] | None:
    """Fork for each request; return its request in a child, and None when nobody asks any more."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    # ^C in the terminal is for whoever runs the tests: they end this by closing their socket.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - {signal.SIGCHLD})
    statuses: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control, woken], [], [])
        if woken in ready:
            os.read(woken, 1000)
            report(statuses)
        if control not in ready:
            continue
        length, descriptors, _, _ = socket.recv_fds(control, 4, 3)
        if not length:
            return None
        request = json.loads(receive(control, int.from_bytes(length)))
        out, err, status = descriptors
        pid = os.fork()
        if pid == 0:
            os.dup2(out, 1)
            os.dup2(err, 2)
            if os.isatty(1):  # as the interpreter does it, which found a pipe
                sys.stdout.reconfigure(line_buffering=True)
            control.detach()
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            return request
        os.close(out)
        os.close(err)
        statuses[pid] = status
        control.sendall(pid.to_bytes(4))


def receive(control: socket.socket, length: int) -> bytes:
    """Return that many bytes, also where a child's end interrupts the reading of them."""
    data = b""
    while len(data) < length:
        data += control.recv(length - len(data))
    return data


def report(statuses: dict[int, int]) -> None:
    """Hand on how those have ended that have, and forget them."""
    for pid, status in list(statuses.items()):
        ended, how = os.waitpid(pid, os.WNOHANG)
        if ended:
            del statuses[pid]
            with contextlib.suppress(BrokenPipeError):
                os.write(status, how.to_bytes(4))
            os.close(status)


@functools.cache
def code_of(script: str) -> types.CodeType:
    """Return what a console script does."""
    return compile(Path(script).read_text(encoding="utf-8"), script, "exec")


def end_at_once(statuses: list[int]) -> None:
    """End with that status, if it is known, without tearing down what all children share.

    That would be half of what a child costs. Registered before all else, this runs after all else;
    where the last output goes nowhere, the interpreter has to say so.
    """
    with contextlib.suppress(OSError, ValueError):
        for status in statuses:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)


if __name__ == "__main__":
    *scripts, descriptor = sys.argv[1:]
    sys.path[0] = str(Path(scripts[0]).parent)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job's tests, too
    left: list[int] = []
    atexit.register(end_at_once, left)
    import_all()
    for script in scripts:
        code_of(script)
    gc.collect()
    gc.freeze()
    call = serve(socket.socket(fileno=int(descriptor)))
    if call is not None:
        os.chdir(call["cwd"])
        os.environ.clear()
        os.environ.update(call["env"])
        sys.argv[:] = call["argv"]
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            exec(code_of(sys.argv[0]), main.__dict__)  # noqa: S102 - the program itself
        except SystemExit as end:
            left += [end.code or 0] if isinstance(end.code, int | None) else []
            raise
