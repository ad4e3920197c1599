"""Port assignment: one port of the pool for each worktree, decided once, under a common lock."""

import contextlib
import os
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

from devservers import kinds, worktree
from devservers.config import Config
from devservers.errors import NoPortError, UsageError
from devservers.kind import OwnServer
from devservers.lifecycle import state
from devservers.ports import claims
from devservers.spec import url_of
from devservers.system import sockets
from devservers.worktree import Worktree

VARIABLES = ("PORT", "DEV_PORT")  # the first that is set wins
CACHED = "cached"
LOCK_TIMEOUT = 30.0  # seconds; the lock is held for milliseconds


class Assigned(NamedTuple):
    """The answer of assign: this worktree's port, and how it came to it."""

    port: int
    method: str
    """env, cached, hash or first-available."""
    available: bool
    """This worktree's server has it, or could have it now."""
    url: str
    worktree: str
    branch: str | None
    warnings: tuple[str, ...] = ()


class _Choice(NamedTuple):
    port: int
    method: str
    warnings: tuple[str, ...] = ()


def assign(
    config: Config,
    here: Worktree,
    own: OwnServer | None = None,
    *,
    env: Mapping[str, str] = os.environ,
    claim: bool = True,
) -> Assigned:
    """Return the port of the worktree `here`; without `claim` what it would be, writing nothing.

    `own` is the server that it is for, by default the one that the worktree's app answers on.

    In this order: `PORT` and `DEV_PORT` in `env`, the claim on disk, a hash of the folder's path,
    the first port that is free. Raises UsageError, NoPortError, LockTimeoutError,
    StateUnusableError.
    """
    own = own or kinds.own_server(config, here)
    choice = _asked_for(config, here, env) or _claimed(config, here, own, claim=claim)
    return Assigned(
        choice.port,
        choice.method,
        is_available(own, choice.port),
        url_of(own.host, choice.port),
        str(here.root),
        here.branch,
        choice.warnings,
    )


def slot(config: Config, here: Worktree, *, claim: bool, own: OwnServer | None = None) -> int:
    """Return the place of the worktree `here` in the pool, which decides all its servers' ports.

    Whatever the environment asks for its app. Raises what `assign` raises but UsageError.
    """
    own = own or kinds.own_server(config, here)
    return config.pool.index(_claimed(config, here, own, claim=claim).port)


def port_of(
    config: Config,
    here: Worktree,
    own: OwnServer,
    *,
    env: Mapping[str, str] = os.environ,
    claim: bool = True,
) -> int:
    """Return the port alone: who listens on one that is decided is not asked. See `assign`."""
    choice = _asked_for(config, here, env) or _claimed(config, here, own, claim=claim)
    return choice.port


def asked_for(env: Mapping[str, str]) -> tuple[int, str] | None:
    """Return the port that the environment asks for and the variable. Raises UsageError."""
    for name in VARIABLES:
        text = env.get(name, "").strip()
        if text:
            port = claims.parse(text)
            if port is None:
                raise UsageError(
                    f"{name} is {text!r}; it must be a port number from 1 to 65535.",
                    hint=f"Correct it, or `unset {name}`.",
                )
            return port, name
    return None


def is_available(own: OwnServer, port: int) -> bool:
    """Return whether nobody but the worktree's own server holds `port`."""
    if own.recorded == port or (not sockets.is_open(port) and sockets.is_free(port)):
        return True
    return any(
        found.pid is not None and own.serves(found.pid, port) for found in sockets.listeners(port)
    )


def _asked_for(config: Config, here: Worktree, env: Mapping[str, str]) -> _Choice | None:
    asked = asked_for(env)
    if asked is None:
        return None
    port, name = asked
    if key := config.others_ports(config.pool_section).get(port):
        raise UsageError(
            f"{name} is {port}, which {key} has in the configuration.",
            hint=f"`unset {name}`, or set it to another port.",
        )
    warnings = []
    owner = claims.of_others(config, here).get(port)
    if owner:
        warnings.append(f"{name} asks for port {port}, which {owner.root} claims.")
    if port not in config.pool:
        warnings.append(
            f"{name} asks for port {port}, which is not one of {config.pool_key}: what watches "
            "those does not watch it."
        )
    return _Choice(port, "env", tuple(warnings))


def _claimed(config: Config, here: Worktree, own: OwnServer, *, claim: bool) -> _Choice:
    """Return the port that the worktree has, or is given now. Raises what `assign` raises."""
    choice = _kept(config, here, own)
    if choice is not None:
        return choice
    # First beside all that looks like a claim, then beside those that are: to prove each takes ten
    # times as long. Hundreds may wait for the lock, so nothing is done under it that can be done
    # without; and what finds no port never takes it.
    for taken in (claims.likely_of_others, claims.of_others):
        choice = _chosen(config, here, own, taken)
        if choice is not None and claim:
            choice = _claimed_now(config, here, own, taken)
        if choice is not None:
            return choice
    raise _no_port(config, here)


def _claimed_now(
    config: Config, here: Worktree, own: OwnServer, taken: "_TakenOf"
) -> _Choice | None:
    """Return the port that the worktree keeps from now on, None if there is none any more."""
    with _locked(here):
        choice = _kept(config, here, own)  # another call may have chosen meanwhile
        if choice is not None:
            return choice
        choice = _chosen(config, here, own, taken)
        if choice is not None:
            claims.write(config, here, choice.port)
    return choice and _told_to_ignore(config, here, choice)


def _kept(config: Config, here: Worktree, own: OwnServer) -> _Choice | None:
    """Return the claim on disk, if it holds.

    It holds whoever listens on its port now, or the port would change with every passer-by. It
    doesn't where another worktree has the same one (a copied or a committed file): the main
    worktree keeps its claim then, others give way when they ask.
    """
    port = claims.of(config, here.root)
    if port is None or port not in config.pool:
        return None
    gives_way = here.root != here.main and own.recorded != port
    if gives_way and claims.is_of_another(config, here, port):
        return None
    return _Choice(port, CACHED)


_TakenOf = Callable[[Config, Worktree], Collection[int]]


def _chosen(config: Config, here: Worktree, own: OwnServer, taken_of: _TakenOf) -> _Choice | None:
    """Return a port of the pool that nobody claims and nobody else holds, None if there is none."""
    warnings = tuple(_broken_claim(config, here))
    pool = config.pool
    hashed = pool[zlib.crc32(os.fsencode(here.root)) % len(pool)]
    taken = taken_of(config, here)
    if own.recorded in pool and own.recorded not in taken:
        return _Choice(own.recorded, CACHED, warnings)  # only the file was lost
    for port in dict.fromkeys((hashed, *pool)):
        if port not in taken and is_available(own, port):
            return _Choice(port, "hash" if port == hashed else "first-available", warnings)
    return None


def _broken_claim(config: Config, here: Worktree) -> Iterator[str]:
    name = config.worktree.port_cache_file
    text = claims.text_of(config, here.root)
    if text is None:
        return
    port = claims.parse(text)
    if port is None:
        yield f"{name} held {text[:20].strip()!r}, which is no port; it was written anew."
    elif port not in config.pool:
        yield f"{name} held {port}, which is not one of {config.pool_key}; it was written anew."
    else:
        owner = claims.of_others(config, here)[port].root
        yield f"{name} held {port}, which {owner} claims too; it was written anew."


def _no_port(config: Config, here: Worktree) -> NoPortError:
    pool, key = config.pool, config.pool_key
    taken = claims.of_others(config, here)
    listening = sockets.holders_of_each(pool)
    rows = []
    for port in pool:
        owner = taken.get(port)
        holders = listening.get(port, ())
        rows.append(
            {
                "port": port,
                "worktree": str(owner.root) if owner else None,
                "branch": owner.branch if owner else None,
                "holders": list(holders),
            }
        )
    return NoPortError(
        f"No port of {key} is free ({len(pool)} ports):",
        lines=[f"  {row['port']}: {_holder(row)}" for row in rows],
        hint=f"Add ports to {key} in the configuration, or remove a worktree that is not "
        "needed (`git worktree remove`); `inv dev.prune` ends what such a one left running.",
        details={"ports": rows},
    )


def _holder(row: Mapping[str, object]) -> str:
    if row["worktree"]:
        branch = f" (branch {row['branch']})" if row["branch"] else ""
        return f"claimed by {row['worktree']}{branch}"
    from devservers.lifecycle.failures import describe_holders  # noqa: PLC0415 - not if warm

    holders = row["holders"]
    return f"held by {describe_holders(holders if isinstance(holders, list) else ())}"


def _told_to_ignore(config: Config, here: Worktree, choice: _Choice) -> _Choice:
    """Add, once, the hint that git would commit the claim."""
    name = config.worktree.port_cache_file
    if worktree.is_ignored(here, name):
        return choice
    hint = f"git does not ignore {name}: add `/{name}` to .gitignore, or it will be committed."
    return choice._replace(warnings=(*choice.warnings, hint))


@contextlib.contextmanager
def _locked(here: Worktree) -> Iterator[None]:
    """Hold the lock that all worktrees of the repository share."""
    place = here.shared_dir / "ports"
    with contextlib.suppress(OSError):  # the lock says what is wrong
        place.parent.mkdir(parents=True, exist_ok=True)
    with state.lock(place, LOCK_TIMEOUT) as held:
        if not held:
            from devservers.lifecycle import failures  # noqa: PLC0415 - not if warm

            raise failures.lock_timeout(place, LOCK_TIMEOUT, "choosing a port")
        yield
