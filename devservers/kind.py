"""Kind: what the tasks, the hook and what spans worktrees need to know of one kind of server."""

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:  # a warm call declares one kind and runs nothing of the others
    from pathlib import Path

    from devservers.config import Config
    from devservers.spec import Description, Restore, ServerSpec
    from devservers.system.identity import Socket
    from devservers.worktree import Worktree

Notify = Callable[[str], None]


class Assignment(NamedTuple):
    """The port that a server of a worktree has, and what is to be said about it."""

    port: int
    warnings: tuple[str, ...] = ()


class OwnServer(NamedTuple):
    """What is known of the server that the port of a worktree is for."""

    host: str | None = None
    """Where it listens; None: everywhere."""
    recorded: int | None = None
    """The port of one of ours that runs."""
    serves: Callable[[int, int], bool] = lambda _pid, _port: False
    """Whether a process that listens on a port is that server, whoever started it."""


class Exports(NamedTuple):
    """What the other servers of a worktree, and people, need to know to use a server."""

    variables: Mapping[str, str] = {}
    """Set over what the caller's environment has."""
    by_hand: Mapping[str, str] = {}
    """Those that an app which is started by hand has to be told, or it looks elsewhere."""
    polls: Mapping[str, float] = {}
    """The paths that it asks an app for by itself, and every how many seconds."""


class User(NamedTuple):
    """Somebody who uses a server that all worktrees share."""

    worktree: str | None
    branch: str | None
    port: int


class Check(NamedTuple):
    """One precondition: whether it holds, what was found, and what to do if it doesn't."""

    name: str
    ok: bool
    detail: str
    fix: str | None = None


class Assign(Protocol):
    """Decides which port a worktree's server has."""

    def __call__(
        self, config: "Config", here: "Worktree", /, *, claim: bool, env: Mapping[str, str] = ...
    ) -> Assignment:
        """Return it; with `claim` false nothing is written: for a question, not for a start."""


class Declare(Protocol):
    """Turns a configuration into a declared server. Writes nothing."""

    def __call__(
        self,
        config: "Config",
        here: "Worktree",
        assigned: Assignment,
        /,
        *,
        stand_in: bool = ...,
        env: Mapping[str, str] = ...,
    ) -> "ServerSpec":
        """Return the server as the worktree `here` declares it."""


class AppServer(NamedTuple):
    """The server that the app of a worktree answers on."""

    name: str
    """Of its tasks."""
    port: int
    started: bool
    """By this very call."""


Finish = Callable[[AppServer, Notify | None], "Description"]


def later(module: str, name: str) -> Any:  # noqa: ANN401 - any function of that module
    """Return a function that imports its module when it is called: a table costs nothing else."""

    def call(*args: object, **flags: object) -> object:
        return getattr(import_module(module), name)(*args, **flags)

    return call


class Kind(NamedTuple):
    """A kind of server: its names, how it is declared, and what else only it can tell."""

    name: str
    """Of its section in the configuration, and of its tasks: `inv <name>.ensure`."""
    title: str
    """What people call it, in messages."""
    short: str
    """The same where there is little room."""
    assign: Assign
    declare: Declare
    ready_timeout: float = 60.0
    """Seconds until it must answer."""
    is_shared: Callable[["Config"], bool] = lambda _config: False
    """Whether one serves every worktree."""
    other_scope: Callable[["Config", "Worktree"], "ServerSpec"] | None = None
    """The server that a worktree would use were that the other way round."""
    watches: bool = False
    """It is told ports to watch, and says so."""
    imitable: bool = False
    """A stand-in is bundled."""
    foreground: bool = False
    """It can be run in a terminal."""
    serves_app: bool = False
    """The app of a worktree answers on it; its port is the worktree's."""
    needs: tuple[str, ...] = ()
    """Servers that are brought up before it."""
    idle: Callable[["Config"], float | None] = lambda _config: None
    """Seconds without use after which a worktree's own may be stopped in passing; None: never."""
    up: bool = True
    """It is part of `dev.up`."""
    built_in: bool = True
    """False: it is declared in the configuration."""
    tasks: str | None = None
    """The module that has what only this kind can do."""
    loses: str | None = None
    """What a restart costs, in words that follow a semicolon."""
    exports: Callable[["Config", "Worktree"], Exports] | None = None
    identity: Callable[["Config", "Worktree"], tuple[str, int] | None] | None = None
    """What tells the server that a worktree shares from others; None where it uses none."""
    served: Callable[["Config", "Worktree"], frozenset[int] | None] | None = None
    """The ports of the apps that it runs for now; None where it doesn't answer."""
    users: Callable[["Config", "Worktree"], tuple[User, ...]] | None = None
    """Whose apps, other than this worktree's, it runs for now."""
    keep_served: Callable[["Config", "Worktree"], "Restore"] | None = None
    """Asked before the server of a worktree's app is started: what gives the service back to whom
    this app would take it from."""
    use: Callable[["Config", "Worktree", "Worktree | None"], "Description"] | None = None
    """Told that another worktree is the one in use, or None that none is: what that means here."""
    after_up: Callable[["Config", "Worktree"], Finish] | None = None
    """Asked when it is up and the others are about to start; what is returned, when all are up."""
    rests_on: Callable[["Config", "Worktree"], tuple["Path", ...] | None] | None = None
    """The files that an answer of `ensure` comes from, besides configuration and record, where the
    server runs; None: from more than files."""
    own_server: Callable[["Config", "Worktree"], OwnServer] | None = None
    """What tells a worktree's server from whoever else holds its port."""
    find_port: Callable[["Config", "Worktree", Iterable["Socket"]], int | None] | None = None
    """Where a worktree's server runs, else the port it would have; all listening sockets given."""
    is_server: Callable[[int], bool] | None = None
    """Whether a process is a server of this kind, whoever started it."""
    checks: Callable[["Config", "Worktree"], Iterable[Check]] | None = None
    """The preconditions of one that the configuration declares."""
    remnants: frozenset[str] = frozenset()
    """What such a server writes into the folder it works in, even while that is being removed."""
