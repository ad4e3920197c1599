"""ServerSpec: what a server is. A kind of server is a value of this type, not a subclass."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from devservers.system.identity import Socket

MARKER = "DEVSERVERS_SERVER"
HIGHEST_PORT = 65535


class Files(NamedTuple):
    """Where a server's state and output are."""

    pid: Path
    """The record and the lock lie beside it."""
    log: Path
    log_max_bytes: int = 10 * 1024 * 1024
    """A log larger than this is rotated before a start; 0: never."""
    log_key: str | None = None
    """The key of the configuration that moves the log; None: it can't be moved."""
    owned: bool = False
    """The folder is ours, in git's own: it is made when it is needed."""


class Http(NamedTuple):
    """Ready once the listener is proved ours and answers over HTTP."""

    path: str = "/"
    worst: int = 499
    """The highest status that counts as an answer."""
    home: str | None = None
    """Asked for instead of `path` where a person wants to know; None: `path`."""


class Tcp(NamedTuple):
    """Ready once the listener is proved ours."""


class Log(NamedTuple):
    """Ready once its output since this start has a line that the regular expression matches."""

    pattern: str


class Alive(NamedTuple):
    """Ready once it has been there for so long."""

    seconds: float


Ready = Http | Tcp | Log | Alive


class Recognised(NamedTuple):
    """What a server that we did not start says of itself: reason enough to adopt it."""

    urls: tuple[str, ...] = ()
    stand_in: bool = False


class Description(NamedTuple):
    """What one kind of server has to say beyond what every server has."""

    facts: Mapping[str, object]
    """Ready for JSON, under the names that docs/reference.md has."""
    urls: tuple[str, ...] | None = None
    """What the server says that it watches; None where it was not asked."""
    lines: tuple[str, ...] = ()
    """The same facts for people."""
    warnings: tuple[str, ...] = ()


class Reconciled(NamedTuple):
    """What a running server watches after it was brought in line with a spec, without a restart."""

    urls: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, object] = {}
    """As of `Restored`."""


class Restored(NamedTuple):
    """What a change that we made has come to, for those who use the server."""

    facts: Mapping[str, object] = {}
    """Ready for JSON, under the names that docs/reference.md has."""
    warnings: tuple[str, ...] = ()


Restore = Callable[[int, float], Restored]
"""Given the port of the server that runs now: put back what the change took, until a monotonic
instant."""


class Describe(Protocol):
    """Tells what only this kind knows, given the port, what the record says the server watches,
    and whether it answers.
    """

    def __call__(self, port: int | None, urls: tuple[str, ...], /, *, answers: bool) -> Description:
        """Return what is known, with None for what is not."""


def _describe_nothing(_port: int | None, _urls: tuple[str, ...], *, answers: bool) -> Description:
    del answers
    return Description({})


def _reconcile_nothing(_port: int, urls: tuple[str, ...], _deadline: float) -> Reconciled:
    return Reconciled(urls)


def _restore_nothing(_port: int | None, _until: float) -> Restore:
    return lambda _now, _deadline: Restored()


class Chatter(NamedTuple):
    """Lines that a server writes although nobody uses it: it is being asked at intervals."""

    pattern: str
    """A regular expression that such a line begins with; its first group tells those that come
    at intervals."""
    interval: float
    """Seconds from one of these to the next."""


class Behaviour(NamedTuple):
    """What is peculiar to a kind of server while it runs."""

    chatter: Chatter | None = None
    passes_on: bool = False
    """It connects to other servers for those who are connected to it, and only for them."""
    urls: tuple[str, ...] = ()
    """What the server is told to watch."""
    stand_in: bool = False
    """The bundled imitation is asked for, not the real one."""
    moves: bool = False
    """It goes to another port when its own is taken, instead of failing. One that doesn't may
    well listen on others: a debugger's, or those of the app itself."""
    recognise: Callable[[Socket], Recognised | None] = lambda _socket: None
    """Given a listening socket (its pid None where it can't be known): is that a server of this
    kind, which somebody else started?"""
    reconcile: Callable[[int, tuple[str, ...], float], Reconciled] = _reconcile_nothing
    """Given the port and what the server watches: bring the running server in line with `urls`,
    until a monotonic instant."""
    remember: Callable[[int | None, float], Restore] = _restore_nothing
    """Asked right before a server is started, given the port of the one that it replaces, until a
    monotonic instant: what has to be put back once it is up."""
    facts: Callable[[], Mapping[str, object]] = dict
    """What every answer of ensure says of this kind besides, known without asking anybody."""
    describe: Describe = _describe_nothing
    differences: Callable[[tuple[str, ...]], tuple[str, ...]] = lambda _argv: ()
    """Given a running server's argv: warnings of what only a restart would bring in line. Asks
    nobody anything, since every ensure calls it."""


class Words(NamedTuple):
    """What messages about a server say besides its title."""

    elsewhere: str = "set another port"
    """How to have it use another port, in words that follow "Stop it, "."""
    worth: str = "it may still be busy starting"
    """Why one that doesn't answer is left alone."""
    remedy: Callable[[str], str | None] = lambda _words: None
    """What helps against a server's last words, if they are known ones."""


class Brought(NamedTuple):
    """What decides what a start executes or where it writes: what a hook is to be trusted with."""

    keys: Callable[[], Mapping[str, object]] = dict
    """What the configuration gives: keys with their values."""
    executes: tuple[str, ...] = ()
    """Patterns of files below the working directory that the program obeys without being told."""
    writes: tuple[Path, ...] = ()
    """What is written besides the pid file and the log."""


class ServerSpec(NamedTuple):
    """A declared server: how to start it, how to tell that it runs, where its files are."""

    name: str
    """Also the name of its tasks: `inv <name>.ensure`."""
    title: str
    """What people call it, in messages."""
    port: int | None
    """None: it has none, and is known by its record and its mark alone."""
    command: Callable[[], tuple[str, ...]]
    """Finds the argv; called only when a server is about to be started, so that stop and status
    work without the program. Raises CliNotFoundError."""
    cwd: Path
    env: Mapping[str, str]
    """The whole environment of the server, except for our marker."""
    files: Files
    worktree: Path
    branch: str | None
    complete: Callable[[tuple[str, ...]], tuple[str, ...]] = tuple
    """Given that argv: adds what only the program can tell, which it may run for that. So it is
    called right before the start, of what was accepted; never to learn what would be started."""
    host: str | None = None
    """The address it is told to listen on; None: every interface."""
    ready: Ready = Tcp()
    enabled: bool = True
    """Whether this worktree's configuration wants it at all."""
    shared: bool = False
    """Every worktree uses the same one."""
    warnings: tuple[str, ...] = ()
    """What a caller should be told of the declaration itself, whatever runs."""
    behaviour: Behaviour = Behaviour()
    words: Words = Words()
    brought: Brought = Brought()

    @property
    def marker(self) -> str:
        """The environment entry by which its processes are recognised, recorded or not."""
        return f"{MARKER}={self.name}:{self.files.pid}"

    @property
    def marked_env(self) -> dict[str, str]:
        """The whole environment, with our marker."""
        name, _, value = self.marker.partition("=")
        return {**self.env, name: value}

    @property
    def where(self) -> str:
        """Its port in a few words that follow its title: ` on port 5001`; empty without one."""
        return "" if self.port is None else f" on port {self.port}"

    def url(self, port: int | None) -> str | None:
        """Return the address that people and programs on this machine use for `port`."""
        return None if port is None else url_of(self.host, port)


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
