"""Every failure a caller can meet: a sentence, a hint, data, and the exit status it becomes."""

import errno
import sys
from collections.abc import Iterable, Mapping
from typing import ClassVar

_REMEDIES = {
    errno.EMFILE: "Too few files may be open at once: raise the limit with `ulimit -n`.",
    errno.ENFILE: "The whole system has too many files open: end what holds them.",
    errno.EAGAIN: "Too many processes run, of this user or in all: end some, or raise `ulimit -u`.",
    errno.ENOMEM: "The memory is used up: end something that needs much of it.",
    errno.ENOSPC: "The disk is full: make room on it, and try again.",
    errno.EDQUOT: "Your share of the disk is used up: make room on it, and try again.",
    errno.EFBIG: "No file may grow so large: raise the limit with `ulimit -f`.",
    errno.EROFS: "The file system is read-only: make it writable, or use another folder.",
}


UNSUPPORTED = "Windows isn't supported; WSL (Windows Subsystem for Linux) is: run this inside it."


def remedy_of(error: OSError) -> str | None:
    """Return what helps if the system lacks something, whatever was asked of it; else None."""
    return _REMEDIES.get(error.errno or 0)


class DevServerError(Exception):
    """Base of all failures of this package.

    `sentence` says what is wrong, `lines` what belongs below it, such as a server's last words;
    `message` is both. `hint` says what to do next, `details` carries JSON-ready data under the
    names of docs/reference.md (`holders`, `logFile`, …). `code` and `exit_code` are fixed by class.
    """

    code: ClassVar[str] = "internal"
    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        sentence: str,
        *,
        lines: Iterable[str] = (),
        hint: str | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        self.sentence = sentence
        self.lines = tuple(lines)
        self.message = "\n".join((sentence, *self.lines))
        super().__init__(self.message)
        self.hint = hint
        self.details: dict[str, object] = dict(details or {})

    def __str__(self) -> str:
        """Return the message, and the hint on a line of its own."""
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(DevServerError):
    """A flag has a value that can't be used, or nothing can be done from where the call stands."""

    code = "usage"


class ConfigInvalidError(DevServerError):
    """The configuration file has a value that is not allowed."""

    code = "config-invalid"
    exit_code = 10


class CliNotFoundError(DevServerError):
    """No program was found that could run the server."""

    code = "cli-not-found"
    exit_code = 11


class PortInUseError(DevServerError):
    """Something that is not our server holds the port."""

    code = "port-in-use"
    exit_code = 12


class ServerExitedError(DevServerError):
    """The server ended while it was being started."""

    code = "server-exited"
    exit_code = 13


class NotReadyError(DevServerError):
    """The server runs, but did not answer in time."""

    code = "not-ready"
    exit_code = 14


class LockTimeoutError(DevServerError):
    """Another call held the lock until the time was up."""

    code = "lock-timeout"
    exit_code = 15


class StopFailedError(DevServerError):
    """A process outlived SIGKILL, or may not be signalled by this user."""

    code = "stop-failed"
    exit_code = 16


class StateUnusableError(DevServerError):
    """The pid file, the record, the lock or the log can't be used safely."""

    code = "state-unusable"
    exit_code = 17


class NoPortError(DevServerError):
    """Every port of the pool is taken."""

    code = "no-port"
    exit_code = 18


class NotSyncedError(DevServerError):
    """The app could not be registered with the Inngest server."""

    code = "not-synced"
    exit_code = 19


class HooksUnusableError(DevServerError):
    """git's hooks can't be found, read or changed."""

    code = "hooks-unusable"
    exit_code = 20


class NeedFailedError(DevServerError):
    """A server was not started, since one that it needs did not come up."""

    code = "need-failed"
    exit_code = 21


def refuse_windows() -> None:
    """Raise UsageError on Windows, where nothing here can prove what is whose."""
    if sys.platform == "win32":
        raise UsageError(UNSUPPORTED)
