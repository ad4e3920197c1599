"""A worktree's Next.js server as data: Config and worktree -> ServerSpec."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from devservers import port_claims
from devservers.config import Config
from devservers.errors import NoPortError
from devservers.nextjs import cli as nextjs_cli
from devservers.nextjs import discovery, port_assignment
from devservers.spec import Recognised, ServerSpec, url_of
from devservers.system.identity import Socket
from devservers.worktree import Worktree, clean_env

READY_TIMEOUT = 120.0  # seconds; the first compile of a large app takes long
LOG_MAX_BYTES = 10 * 1024 * 1024
PID_FILE = "nextjs.pid"
# What `next dev` executes, or takes its environment from, before anybody asks for a page.
EXECUTES = (
    *("next.config.*", "postcss.config.*", ".postcssrc*", "tailwind.config.*"),
    *("babel.config.*", ".babelrc*", ".env*", "tsconfig.json", "jsconfig.json"),
    *(f"{folder}{name}.*" for folder in ("", "src/") for name in ("middleware", "proxy")),
    *(f"{folder}instrumentation*" for folder in ("", "src/")),
)
# Each wins over INNGEST_DEV in the SDK (inngest 4.24).
RIVALS = ("INNGEST_BASE_URL", "INNGEST_API_BASE_URL")


class _Place(NamedTuple):
    port: int
    warnings: tuple[str, ...] = ()


def spec(
    config: Config,
    here: Worktree,
    *,
    env: Mapping[str, str] = os.environ,
    claim: bool = True,
    port: int | None = None,
) -> ServerSpec:
    """Return the Next.js server of the worktree `here`.

    Its port is that of the server that runs there, whoever started it, else the one assigned to
    the worktree; or `port`, where the caller knows it. With `claim` false nothing is written: for
    a question, not for a start. Raises UsageError, NoPortError, LockTimeoutError,
    StateUnusableError.
    """
    if claim:
        with contextlib.suppress(OSError):  # whoever writes there says what is wrong
            here.state_dir.mkdir(parents=True, exist_ok=True)
    place = _place(config, here, env, claim=claim) if port is None else _Place(port)
    settings = config.nextjs
    probe = nextjs_cli.probe_path(nextjs_cli.installed_version(here.root))

    def recognise(socket: Socket) -> Recognised | None:
        pid = socket.pid
        known = pid is not None and discovery.serves(pid, socket.port, here.root)
        return Recognised() if known else None

    def decisive() -> Mapping[str, object]:
        from devservers.trust import decisions  # noqa: PLC0415 - not for a warm call

        return decisions.of(config, "nextjs", "worktree", "inngest.host")

    return ServerSpec(
        name="nextjs",
        title="Next.js server",
        port=place.port,
        command=lambda: nextjs_cli.find_command(settings, here, place.port, env),
        # The exception to "a working directory that no worktree remove can take away": Next.js
        # serves the folder it stands in, and by that folder others know whose server it is.
        cwd=here.root,
        env=server_env(config, place.port, env),
        pid_file=here.state_dir / PID_FILE,
        log_file=here.state_dir / "nextjs.log",
        log_max_bytes=LOG_MAX_BYTES,
        worktree=here.root,
        branch=here.branch,
        host=settings.hostname if settings.hostname != "localhost" else None,
        health_path=probe,
        home_path=probe,  # a status must not make it compile the home page
        worst_status=599,
        remedy=nextjs_cli.remedy,
        recognise=recognise,
        warnings=(*place.warnings, *_rivals(config, env)),
        elsewhere=_elsewhere(config, here, env),
        decisive=decisive,
        executes=EXECUTES,
        writes=(here.root / config.worktree.port_cache_file,),
    )


def server_env(config: Config, port: int, env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the server: the caller's own, with the ports that are ours."""
    own = {"PORT": str(port), "DEV_PORT": str(port)}
    if config.inngest.enabled:
        own["INNGEST_DEV"] = url_of(config.inngest.host, config.inngest.port)
    kept = clean_env(env)
    kept.pop("FORCE_COLOR", None)  # the log is no terminal
    return kept | own


def _elsewhere(config: Config, here: Worktree, env: Mapping[str, str]) -> str:
    asked = port_assignment.asked_for(env)
    if asked:
        return f"`unset {asked[1]}` to have this worktree's own port"
    return f"remove {here.root / config.worktree.port_cache_file} to be assigned another port"


def _rivals(config: Config, env: Mapping[str, str]) -> Iterator[str]:
    for name in RIVALS:
        if config.inngest.enabled and env.get(name):
            yield (
                f"{name} is set to {env[name]}, and wins over INNGEST_DEV: this app talks to that "
                "server, not to our Inngest dev server."
            )


def known_port(config: Config, here: Worktree, listening: Iterable[Socket]) -> int | None:
    """Return the port where this worktree's server runs, else the one it claims, else None.

    `listening` are all listening sockets of the machine. Nothing is decided or written.
    """
    record = discovery.recorded(here.state_dir / PID_FILE)
    if record:
        return record.port
    running = discovery.find(here.root, listening)
    return running.port if running else port_claims.of(config, here.root)


def _place(config: Config, here: Worktree, env: Mapping[str, str], *, claim: bool) -> _Place:
    asked = port_assignment.asked_for(env)
    record = discovery.recorded(here.state_dir / PID_FILE)
    if record and (asked is None or asked[0] == record.port):
        return _Place(record.port, tuple(_unwatched(config, record.port)))
    running = None if record else discovery.find(here.root)
    if running:
        warnings = [*_unwatched(config, running.port)]
        if asked and asked[0] != running.port:
            warnings.append(f"{asked[1]} asks for port {asked[0]}; it runs on {running.port}.")
        return _Place(running.port, tuple(warnings))
    try:
        # Where one runs elsewhere than the environment asks, the lifecycle tells so.
        assigned = port_assignment.assign(config, here, env=env, claim=claim)
    except NoPortError:
        if claim:
            raise
        return _Place(config.nextjs.ports[0])  # nothing runs here: any port tells so
    return _Place(assigned.port, assigned.warnings)


def _unwatched(config: Config, port: int) -> Iterator[str]:
    if port not in config.nextjs.ports:
        yield (
            f"It runs on port {port}, which is not one of nextjs.ports, so that the Inngest dev "
            "server does not watch it. `inv nextjs.stop nextjs.ensure` moves it to one that is."
        )
