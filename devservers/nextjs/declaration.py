"""A worktree's Next.js server as data: what the configuration says of it -> ServerSpec."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping

from devservers import kinds
from devservers.config import Config
from devservers.errors import NoPortError
from devservers.kind import Assignment, Exports, OwnServer
from devservers.nextjs import cli as nextjs_cli
from devservers.nextjs import discovery, settings
from devservers.ports import assignment, claims
from devservers.spec import Behaviour, Brought, Chatter, Files, Http, Recognised, ServerSpec, Words
from devservers.system.identity import Socket
from devservers.worktree import Worktree, clean_env

PID_FILE = "nextjs.pid"
# What `next dev` executes, or takes its environment from, before anybody asks for a page.
EXECUTES = (
    *("next.config.*", "postcss.config.*", ".postcssrc*", "tailwind.config.*"),
    *("babel.config.*", ".babelrc*", ".env*", "tsconfig.json", "jsconfig.json"),
    *(f"{folder}{name}.*" for folder in ("", "src/") for name in ("middleware", "proxy")),
    *(f"{folder}instrumentation*" for folder in ("", "src/")),
)


def declare(
    config: Config,
    here: Worktree,
    assigned: Assignment,
    *,
    stand_in: bool = False,
    env: Mapping[str, str] = os.environ,
) -> ServerSpec:
    """Return the Next.js server of the worktree `here`, on the port that it was assigned."""
    del stand_in  # there is none
    own = settings.of(config)
    app = settings.app_folder(config, here)
    around = kinds.exports(config, here, "nextjs")
    probe = nextjs_cli.probe_path(nextjs_cli.installed_version(app, here.root))

    def recognise(socket: Socket) -> Recognised | None:
        pid = socket.pid
        known = pid is not None and discovery.serves(pid, socket.port, app)
        return Recognised() if known else None

    def keys() -> Mapping[str, object]:
        from devservers.trust import decisions  # noqa: PLC0415 - not for a warm call

        return decisions.of(config, "nextjs", "worktree", "inngest.host")

    return ServerSpec(
        name="nextjs",
        title="Next.js server",
        port=assigned.port,
        command=lambda: nextjs_cli.find_command(own, here, assigned.port, env),
        # The exception to "a working directory that no worktree remove can take away": Next.js
        # serves the folder it stands in, and by that folder others know whose server it is.
        cwd=app,
        env=_environment(assigned.port, env, around),
        files=Files(here.state_dir / PID_FILE, here.state_dir / "nextjs.log", owned=True),
        worktree=here.root,
        branch=here.branch,
        host=own.hostname if own.hostname != "localhost" else None,
        ready=Http(probe, worst=599),  # a status must not make it compile the home page
        warnings=assigned.warnings,
        behaviour=Behaviour(
            chatter=_chatter(around),
            recognise=recognise,
            remember=lambda _port, _until: kinds.keep_served(config, here),
        ),
        words=Words(_elsewhere(config, here, env), remedy=nextjs_cli.remedy),
        brought=Brought(keys, EXECUTES, (here.root / config.worktree.port_cache_file,)),
    )


def _chatter(around: Exports) -> Chatter | None:
    """Return how it writes that it was polled: ` PUT /api/inngest 200 in 12ms` (14 to 16)."""
    if not around.polls:
        return None
    paths = "|".join(map(re.escape, around.polls))
    return Chatter(
        rf"\s*(?:GET|(PUT)) (?:{paths})(?:\?\S*)? \d\d\d in ", min(around.polls.values())
    )


def _environment(port: int, env: Mapping[str, str], around: Exports) -> dict[str, str]:
    """Return the environment of the server: the caller's own, with the addresses that are ours."""
    kept = clean_env(env)
    kept.pop("FORCE_COLOR", None)  # the log is no terminal
    return kept | {"PORT": str(port), "DEV_PORT": str(port)} | dict(around.variables)


def _elsewhere(config: Config, here: Worktree, env: Mapping[str, str]) -> str:
    asked = assignment.asked_for(env)
    if asked:
        return f"`unset {asked[1]}` to have this worktree's own port"
    return f"remove {here.root / config.worktree.port_cache_file} to be assigned another port"


def known_port(config: Config, here: Worktree, listening: Iterable[Socket]) -> int | None:
    """Return the port where this worktree's server runs, else the one it claims, else None.

    `listening` are all listening sockets of the machine. Nothing is decided or written.
    """
    record = discovery.recorded(here.state_dir / PID_FILE)
    if record:
        return record.port
    running = discovery.find(settings.app_folder(config, here), listening)
    return running.port if running else claims.of(config, here.root)


def own_server(config: Config, here: Worktree) -> OwnServer:
    """Return what tells this worktree's server from whoever else holds its port."""
    record = discovery.recorded(here.state_dir / PID_FILE)
    return OwnServer(
        settings.of(config).hostname,
        record.port if record else None,
        lambda pid, port: discovery.serves(pid, port, settings.app_folder(config, here)),
    )


def assign(
    config: Config, here: Worktree, *, claim: bool, env: Mapping[str, str] = os.environ
) -> Assignment:
    """Return the port of the server that runs in `here`, whoever started it, else the one to have.

    With `claim` the worktree keeps it; without, nothing is written. Raises UsageError,
    NoPortError, LockTimeoutError, StateUnusableError.
    """
    asked = assignment.asked_for(env)
    record = discovery.recorded(here.state_dir / PID_FILE)
    if record and record.port and (asked is None or asked[0] == record.port):
        return Assignment(record.port, tuple(_unwatched(config, record.port)))
    running = None if record else discovery.find(settings.app_folder(config, here))
    if running:
        warnings = [*_unwatched(config, running.port)]
        if asked and asked[0] != running.port:
            warnings.append(f"{asked[1]} asks for port {asked[0]}; it runs on {running.port}.")
        return Assignment(running.port, tuple(warnings))
    try:
        # Where one runs elsewhere than the environment asks, the lifecycle tells so.
        assigned = assignment.assign(config, here, own_server(config, here), env=env, claim=claim)
    except NoPortError:
        if claim:
            raise
        return Assignment(config.pool[0])  # nothing runs here: any port tells so
    return Assignment(assigned.port, assigned.warnings)


def _unwatched(config: Config, port: int) -> Iterator[str]:
    if port not in config.pool:
        yield (
            f"It runs on port {port}, which is not one of nextjs.ports, so that the Inngest dev "
            "server does not watch it. `inv nextjs.stop nextjs.ensure` moves it to one that is."
        )
