"""No /proc: a shim that lets a process of Python see of other processes what it would on macOS.

With DEVSERVERS_NO_PROC in the environment, every process of Python that the tests start in their
own virtual environment imports this at its start (see `hook_in`), whatever options it is started
with, and so does pytest itself. psutil alone still reads /proc, since here it has nothing else.
What it doesn't tell on macOS, it doesn't tell then. This imports nothing that isn't there already.
"""

import _thread
import builtins
import io
import os
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

SWITCH = "DEVSERVERS_NO_PROC"
IS_ON = bool(os.environ.get(SWITCH)) and sys.platform == "linux"
# Whose frames may read /proc: psutil, and the tests' own search for what they have to end.
MAY = ("psutil", "support")
BETWEEN = ("genericpath", "posixpath")  # they ask for somebody else
# Processes of another user don't tell these to anybody but root (psutil's _psosx.py: sysctl
# KERN_PROCARGS2, proc_pidinfo); name, parent, status and times of birth they tell to everybody.
HIDDEN = (
    *("cmdline", "cpu_percent", "cpu_times", "cwd", "environ", "io_counters"),
    *("memory_full_info", "memory_info", "net_connections", "num_ctx_switches", "num_fds"),
    *("num_threads", "open_files", "threads"),
)
# Where macOS itself keeps its programs, whose environment nobody is told (psutil #2084).
SYSTEM = ("/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/")
BROUGHT = ("python", "node")  # macOS has none of its own there that runs a server
# A process's sockets cost a system call on macOS. Here Linux's table of all is read for each, which
# takes milliseconds: whoever asks for one process after the other, upwards, has it read once.
A_LOOK = 0.2  # seconds at most
AT_ONCE = 0.03  # seconds from one to the next: a new process takes longer
TITLED = "next-server"  # a title is written over the words and the environment


def hook_in(folder: str) -> str:
    """Let each Python that takes its packages from `folder` import this; return the file for it."""
    here = __file__.rpartition("/")[0]
    file = f"{folder}/devservers_no_proc_{os.getpid()}.pth"
    line = f"import os, sys; os.environ.get({SWITCH!r}) and (sys.path.insert(0, {here!r}), "
    with open(file, "w", encoding="utf-8") as stream:
        stream.write(f"{line}__import__('no_proc'), sys.path.pop(0))\n")
    return file


def is_hidden(path: "Any") -> bool:
    """Return whether the caller's caller may not know of that path."""
    if isinstance(path, int) or path is None:
        return False
    text = os.fsdecode(path)
    if not (text == "/proc" or text.startswith("/proc/")):
        return False
    frame: FrameType | None = sys._getframe(2)
    while frame and frame.f_globals.get("__name__") in BETWEEN:
        frame = frame.f_back
    name = frame.f_globals.get("__name__", "") if frame else ""
    return name.partition(".")[0] not in MAY


def without_proc(function: "Callable[..., Any]") -> "Callable[..., Any]":
    """Return `function`, for which nothing is there at or below /proc."""

    def asked(path: "Any" = ".", *args: "Any", **options: "Any") -> "Any":
        if is_hidden(path):
            raise FileNotFoundError(2, "No such file or directory", path)
        return function(path, *args, **options)

    asked.__name__ = asked.__qualname__ = function.__name__
    return asked


def blind(psutil: "Any") -> None:
    """Let psutil tell no more than it does on macOS, to whoever isn't root."""

    def refuse(*_: "Any", **__: "Any") -> None:
        raise psutil.AccessDenied

    def guarded(method: "Callable[..., Any]") -> "Callable[..., Any]":
        def ask(self: "Any", *args: "Any", **options: "Any") -> "Any":
            if self._proc.uids().effective != os.geteuid():
                raise psutil.AccessDenied(self.pid)
            return method(self, *args, **options)

        ask.__name__ = method.__name__
        ask.__dict__.update(method.__dict__)  # for oneshot()
        return ask

    psutil.net_connections = refuse  # psutil #1219
    kind = psutil.Process
    for name in filter(lambda name: hasattr(kind, name), HIDDEN):
        setattr(kind, name, guarded(getattr(kind, name)))
    environ, cmdline = kind.environ, kind.cmdline

    def its_environ(self: "Any") -> "Any":
        found = environ(self)  # raises where there is no such process
        program = self._proc.exe()
        system = program.startswith(SYSTEM) and not program.rpartition("/")[2].startswith(BROUGHT)
        return {} if system or self._proc.name().startswith(TITLED) else found

    def its_cmdline(self: "Any") -> "Any":
        name = self._proc.name()
        return [name] if name.startswith(TITLED) else cmdline(self)

    net_connections, tables = kind.net_connections, Tables(psutil._pslinux.open_text)

    def its_connections(self: "Any", *args: "Any", **options: "Any") -> "Any":
        tables.ask(self.pid)
        found = net_connections(self, *args, **options)
        tables.has_answered()
        return found

    kind.environ, kind.cmdline = its_environ, its_cmdline
    kind.net_connections, psutil._pslinux.open_text = its_connections, tables.open_text


class Tables(_thread._local):
    """The tables of sockets as psutil reads them: once for what a thread asks in a row."""

    def __init__(self, open_text: "Callable[..., Any]") -> None:
        self._open_text = open_text
        self._known: dict[str, str] = {}
        self._pid, self._begun, self._asked = 0, 0.0, 0.0

    def ask(self, pid: int) -> None:
        """Note whose sockets are asked for; forget what was read, unless it is the next process."""
        now = time.monotonic()
        if pid <= self._pid or now - self._asked > AT_ONCE or now - self._begun > A_LOOK:
            self._known.clear()
            self._begun = now
        self._pid = pid

    def open_text(self, file: str) -> "Any":
        """Open a file for psutil."""
        if not file.startswith("/proc/net/tcp"):
            return self._open_text(file)
        if file not in self._known:
            with self._open_text(file) as stream:
                self._known[file] = stream.read()
        return io.StringIO(self._known[file])

    def has_answered(self) -> None:
        """Note that the last one has been answered."""
        self._asked = time.monotonic()


def _hide(module: "Any") -> None:
    module.HAS_PROC = False


AFTER = {"psutil": blind, "devservers.system.procfs": _hide}


def followed(
    execute: "Callable[[Any], None]", change: "Callable[[Any], None]"
) -> "Callable[[Any], None]":
    """Return what executes a module and then changes it."""

    def execute_and_change(module: "Any") -> None:
        execute(module)
        change(module)

    return execute_and_change


class Finder:
    """Finds the modules that have to be changed once they are executed."""

    def find_spec(self, name: str, path: "Any" = None, target: "Any" = None) -> "Any":
        """Return the spec that the next finders have, with what is to follow."""
        if name not in AFTER:
            return None
        finders = (finder for finder in sys.meta_path if finder is not self)
        for finder in finders:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                spec.loader.exec_module = followed(spec.loader.exec_module, AFTER[name])
                return spec
        return None


def put_on() -> None:
    """Make this process see as one on macOS does."""
    builtins.open = io.open = without_proc(builtins.open)
    for name in ("access", "listdir", "lstat", "open", "readlink", "scandir", "stat"):
        setattr(os, name, without_proc(getattr(os, name)))
    for module, name in ((os, "pidfd_open"), (signal, "pidfd_send_signal")):
        if hasattr(module, name):
            delattr(module, name)
    sys.meta_path.insert(0, Finder())
    for name, change in AFTER.items():
        if name in sys.modules:
            change(sys.modules[name])


# For programs that are run with -S and so don't import this by themselves.
PRELUDE = "import no_proc; " if IS_ON else ""

if IS_ON:
    put_on()
