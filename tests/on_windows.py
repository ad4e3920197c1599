"""Runs an entry of ours as Windows would: its name for the platform, without what is POSIX alone.

`python on_windows.py inv|devservers|devservers-hook|CODE WORDS…`. Not Windows itself: other
packages, and the standard library, are those of this system, and were imported before.
"""

import os
import runpy
import select
import signal
import socket
import sys

import filelock  # noqa: F401 - before anything is missing
import invoke.main
import psutil  # noqa: F401
import requests  # noqa: F401

MODULES = ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty")
SIGNALS = {"SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM"}
HANDLERS = {"SIG_DFL", "SIG_IGN"}
MISSING = {
    os: (
        *("chown", "confstr", "fchmod", "fchown", "fork", "forkpty", "getegid", "geteuid"),
        *("getgid", "getgroups", "getloadavg", "getpgid", "getpgrp", "getpriority", "getsid"),
        *("getuid", "killpg", "lchown", "mkfifo", "nice", "openpty", "pidfd_open", "posix_spawn"),
        *("pread", "pwrite", "register_at_fork", "sched_getaffinity", "setgid", "setpgid"),
        *("setsid", "setuid", "statvfs", "sysconf", "tcgetpgrp", "ttyname", "uname", "waitid"),
        *("O_CLOEXEC", "O_DIRECTORY", "O_NOCTTY", "O_NOFOLLOW", "O_NONBLOCK", "O_PATH", "O_SYNC"),
        *("ST_NOEXEC", "ST_RDONLY", "WNOHANG", "WEXITSTATUS", "WIFEXITED", "WIFSIGNALED"),
    ),
    select: ("epoll", "poll"),
    signal: (
        *("alarm", "pause", "pthread_kill", "pthread_sigmask", "setitimer", "siginterrupt"),
        *("sigtimedwait", "sigwait"),
        *(name for name in dir(signal) if name.startswith("SIG") if name not in SIGNALS | HANDLERS),
    ),
    socket: ("AF_UNIX",),
}


def become_windows() -> None:
    sys.platform = "win32"
    sys.modules.update(dict.fromkeys(MODULES))  # an import of None is an ImportError
    for module, names in MISSING.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)


def run(entry: str, words: list[str]) -> None:
    sys.argv = [entry, *words]
    if entry == "inv":
        invoke.main.program.run()
    elif entry == "devservers":
        runpy.run_module("devservers", run_name="__main__")
    elif entry == "devservers-hook":
        from devservers import hook  # noqa: PLC0415 - on Windows

        sys.exit(hook.main())
    else:
        exec(entry, {"__name__": "__main__"})  # noqa: S102 - a test's own


if __name__ == "__main__":
    become_windows()
    run(sys.argv[1], sys.argv[2:])
