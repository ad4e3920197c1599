"""ServerSpec: what a server is. A kind of server is a value of this type, not a subclass."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from devservers.system.identity import Socket

MARKER = "DEVSERVERS_SERVER"
HIGHEST_PORT = 65535


class Recognised(NamedTuple):
    """What a server that we did not start says of itself: reason enough to adopt it."""

    urls: tuple[str, ...] = ()
    stand_in: bool = False


class Description(NamedTuple):
    """What the status of one kind of server has beyond that of every server."""

    facts: Mapping[str, object]
    """JSON-ready, under the names of docs/reference.md."""
    urls: tuple[str, ...] | None = None
    """What the server says that it watches; None where it was not asked."""
    lines: tuple[str, ...] = ()
    """The same facts for people."""
    warnings: tuple[str, ...] = ()


def _no_remedy(_words: str) -> str | None:
    return None


def _no_difference(_argv: tuple[str, ...]) -> tuple[str, ...]:
    return ()


class Reconciled(NamedTuple):
    """What a running server watches after it was brought in line with a spec, without a restart."""

    urls: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def _recognise_none(_socket: Socket) -> Recognised | None:
    return None


def _nothing() -> Mapping[str, object]:
    return {}


def _describe_nothing(_port: int, _urls: tuple[str, ...], *, answers: bool) -> Description:
    del answers
    return Description({})


def _reconcile_none(_port: int, urls: tuple[str, ...], _deadline: float) -> Reconciled:
    return Reconciled(urls)


class Describe(Protocol):
    """Tells what only this kind knows, given the port, what the record says the server watches,
    and whether it answers.
    """

    def __call__(self, port: int, urls: tuple[str, ...], /, *, answers: bool) -> Description:
        """Return what is known, with None for what is not."""


class ServerSpec(NamedTuple):
    """A declared server: how to start it, how to tell that it runs, where its files are."""

    name: str
    """Also the name of its tasks: `inv <name>.ensure`."""
    title: str
    """What people call it, in messages."""
    port: int
    command: Callable[[], tuple[str, ...]]
    """Finds the argv; called only when a server is about to be started, so that stop and status
    work without the program. Raises CliNotFoundError."""
    cwd: Path
    env: Mapping[str, str]
    """The whole environment of the server, except for our marker."""
    pid_file: Path
    log_file: Path
    log_max_bytes: int
    """A log larger than this is rotated before a start; 0: never."""
    worktree: Path
    branch: str | None
    urls: tuple[str, ...] = ()
    """What the server is told to watch."""
    host: str | None = None
    """The address it is told to listen on; None: every interface."""
    health_path: str = "/health"
    home_path: str = "/"
    worst_status: int = 499
    """The highest HTTP status that counts as an answer."""
    stand_in: bool = False
    enabled: bool = True
    """Whether this worktree's configuration wants it at all."""
    remedy: Callable[[str], str | None] = _no_remedy
    """What helps against a server's last words, if they are known ones."""
    recognise: Callable[[Socket], Recognised | None] = _recognise_none
    """Given a listening socket (its pid None where it can't be known): is that a server of this
    kind, which somebody else started?"""
    reconcile: Callable[[int, tuple[str, ...], float], Reconciled] = _reconcile_none
    """Given the port and what the server watches: bring the running server in line with `urls`,
    until a monotonic instant."""
    describe: Describe = _describe_nothing
    differences: Callable[[tuple[str, ...]], tuple[str, ...]] = _no_difference
    """Given a running server's argv: warnings of what only a restart would bring in line. Asks
    nobody anything, since every ensure calls it."""
    warnings: tuple[str, ...] = ()
    """What a caller should be told of the declaration itself, whatever runs."""
    elsewhere: str = ""
    """How to have it use another port, in words that follow "Stop it, "."""
    worth: str = "it may still be busy starting"
    """Why one that doesn't answer is left alone."""
    moves: bool = False
    """It goes to another port when its own is taken, instead of failing. One that doesn't may
    well listen on others: a debugger's, or those of the app itself."""
    shared: bool = False
    """Every worktree uses the same one."""
    decisive: Callable[[], Mapping[str, object]] = _nothing
    """What the configuration gives that decides what a start executes, or where it writes: keys
    with their values. With `executes` and `writes` it is what a hook needs to be trusted with."""
    executes: tuple[str, ...] = ()
    """Patterns of files below `cwd` that the program executes or obeys without being told."""
    writes: tuple[Path, ...] = ()
    """What is written besides the pid file and the log."""

    @property
    def marker(self) -> str:
        """The environment entry by which its processes are recognised, recorded or not."""
        return f"{MARKER}={self.name}:{self.pid_file}"

    def url(self, port: int) -> str:
        """Return the address that people and programs on this machine use for `port`."""
        return url_of(self.host, port)


def url_of(host: str | None, port: int) -> str:
    """Return the address to use for a server that is told to listen on `host` (None: any)."""
    if host in (None, "0.0.0.0", "127.0.0.1", "::", "::1"):  # noqa: S104 - compared, not bound
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in str(host) else f"http://{host}:{port}"


def port_of(url: str) -> int:
    """Return the port in an http(s) URL, 80 or 443 where it names none, 0 for what can't be one."""
    scheme, _, rest = url.partition("://")
    authority = rest.partition("/")[0].rpartition("@")[2]
    tail = authority.rpartition("]")[2] if "]" in authority else authority
    digits = tail.rpartition(":")[2] if ":" in tail else ""
    if digits:
        usable = digits.isascii() and digits.isdecimal() and len(digits) <= len(str(HIGHEST_PORT))
        return int(digits) if usable and int(digits) <= HIGHEST_PORT else 0
    return 443 if scheme == "https" else 80


def ports_of(urls: tuple[str, ...]) -> tuple[int, ...]:
    """Return the ports of `urls`, each once, in their order."""
    return tuple(dict.fromkeys(port_of(url) for url in urls))
