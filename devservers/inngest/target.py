"""Target: the Inngest server that a worktree uses, one for all or its own: where, watching what."""

import os
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from devservers import kinds
from devservers.config import Config
from devservers.errors import NoPortError
from devservers.inngest import pin, settings
from devservers.inngest.api import Api
from devservers.inngest.settings import MACHINE
from devservers.lifecycle import state
from devservers.spec import HIGHEST_PORT, url_of
from devservers.system import process
from devservers.worktree import Worktree

STAND_IN = Path(__file__).with_name("standin.py")
PID_FILE = "inngest.pid"
LOG_FILE = "inngest.log"
# What the original has by default on any port of its own: a second server moves away from there.
RESERVED = frozenset({8288, 8289, *range(50050, 50100)})
OTHERS = 3  # ports of a server besides its own: Connect's gateway, and gRPC of gateway and executor


class Target(NamedTuple):
    """One Inngest server."""

    scope: str
    port: int | None
    """None: this worktree has no slot, and so no server of its own."""
    host: str | None
    pid_file: Path
    log_file: Path
    folder: Path
    """Where it works, and keeps what it persists."""
    urls: tuple[str, ...]
    """What it is told to watch."""
    others: tuple[int, ...] = ()
    """Its further ports, where each server has its own."""

    @property
    def shared(self) -> bool:
        """Whether every worktree uses it."""
        return self.scope == MACHINE

    @property
    def url(self) -> str:
        """Its address; of no use where it has no port."""
        return url_of(self.host, self.port or 0)

    @property
    def api(self) -> Api:
        """Its interface."""
        return Api(self.port or 0, self.host or "")


def of(
    config: Config, here: Worktree, *, claim: bool = False, env: Mapping[str, str] = os.environ
) -> Target:
    """Return the server that the worktree `here` uses; with `claim` it keeps its slot.

    Raises, with `claim`, what `assignment.assign` raises; UsageError without, too.
    """
    own = settings.of(config)
    if own.scope == MACHINE:
        return machine(config, here)
    return _own(config, here, claim=claim, env=env)


def machine(config: Config, here: Worktree) -> Target:
    """Return the server of the whole machine, whatever the configuration says of the scope."""
    own = settings.of(config)
    return Target(
        MACHINE,
        own.port,
        own.host,
        _absolute(own.pid_file, here.main),
        _absolute(own.log_file, here.main),
        here.main,
        tuple(_url(own, port) for port in config.pool),
    )


def in_worktree(config: Config, here: Worktree) -> Target:
    """Return the worktree's own server as far as its files tell, whatever the scope is."""
    own = settings.of(config)
    chosen = own.scope != MACHINE  # else these name the files of the machine's server
    pid_file = own.pid_file if chosen and "inngest.pidFile" in config.given else None
    log_file = own.log_file if chosen and "inngest.logFile" in config.given else None
    return Target(
        settings.WORKTREE,
        None,
        own.host,
        _absolute(pid_file, here.root) if pid_file else here.state_dir / PID_FILE,
        _absolute(log_file, here.root) if log_file else here.state_dir / LOG_FILE,
        here.state_dir / "inngest",
        (),
    )


def rests_on(config: Config, here: Worktree) -> tuple[Path, ...] | None:
    """Return what else than configuration and record an answer of ensure is read from; see Kind.

    That is the pin, and the record of a server of the other scope, which may be left over.
    """
    if settings.of(config).scope != MACHINE:
        return None  # its port depends on the worktree's, and that on who listens
    pid_file, other = machine(config, here).pid_file, in_worktree(config, here).pid_file
    pinned = pin.read(pid_file, here)
    files = (pin.file_of(pid_file), other, state.record_file(other))
    return (*files, pinned / ".git") if pinned else files


def _own(config: Config, here: Worktree, *, claim: bool, env: Mapping[str, str]) -> Target:
    from devservers.ports import assignment  # noqa: PLC0415 - not where one serves all

    target = in_worktree(config, here)
    try:
        server = kinds.own_server(config, here)
        slot = assignment.slot(config, here, claim=claim, own=server)
        app = server.recorded
        app = app or assignment.port_of(config, here, server, env=env, claim=claim)
    except NoPortError:
        if claim:
            raise
        return target
    record = state.read(target.pid_file)
    lives = record is not None and process.is_alive(record.process)
    ports = settings.ports_of(config)
    return target._replace(
        port=record.port if record and lives else ports[slot],
        urls=(_url(settings.of(config), app),),
        others=further_ports(config)[slot],
    )


def further_ports(config: Config) -> tuple[tuple[int, ...], ...]:
    """Return the further ports of each slot's server: nobody else's, and no neighbour's.

    They follow the highest of the servers' own, where there is room, else precede the lowest.
    """
    ports = settings.ports_of(config)
    taken = {*RESERVED, *ports, *config.pool, *config.others_ports("inngest")}
    upwards, downwards = range(max(ports) + 1, HIGHEST_PORT + 1), range(min(ports) - 1, 1023, -1)
    free = (port for port in chain(upwards, downwards) if port not in taken)
    return tuple(tuple(next(free) for _ in range(OTHERS)) for _ in ports)


def _url(own: settings.Settings, port: int) -> str:
    return f"http://localhost:{port}{own.path}"


def _absolute(path: str, folder: Path) -> Path:
    return Path(os.path.abspath(folder / Path(path).expanduser()))  # noqa: PTH100 - links stay
