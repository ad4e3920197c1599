"""The Inngest dev server as data: what the configuration says of it -> ServerSpec."""

import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from devservers.config import Config
from devservers.inngest import api as inngest_api
from devservers.inngest import drift, settings
from devservers.inngest.api import Api
from devservers.inngest.cli import INSTALL_ENV, OWN_FILES, find_cli, remedy
from devservers.inngest.settings import Settings
from devservers.kind import Assignment, Exports
from devservers.spec import (
    Behaviour,
    Brought,
    Description,
    Files,
    Http,
    ServerSpec,
    Words,
    ports_of,
    url_of,
)
from devservers.worktree import Worktree, clean_env

STAND_IN = Path(__file__).with_name("standin.py")
# Each wins over INNGEST_DEV in the SDK (inngest 4.24).
RIVALS = ("INNGEST_BASE_URL", "INNGEST_API_BASE_URL")


def spec(
    config: Config,
    worktree: Worktree,
    *,
    stand_in: bool = False,
    env: Mapping[str, str] = os.environ,
) -> ServerSpec:
    """Return the machine-wide Inngest dev server as this worktree's configuration declares it."""
    own = settings.of(config)
    urls = sdk_urls(config)

    def describe(port: int, watched: tuple[str, ...], /, *, answers: bool) -> Description:
        return _describe(config, worktree, port, watched, answers=answers)

    def command() -> tuple[str, ...]:
        program = stand_in_program() if stand_in else find_cli(own, worktree, env)
        return (*program, *arguments(own, urls))

    def keys() -> Mapping[str, object]:
        from devservers.trust import decisions  # noqa: PLC0415 - not for a warm call

        return decisions.of(config, "inngest")

    return ServerSpec(
        name="inngest",
        title="Inngest dev server",
        port=own.port,
        command=command,
        cwd=worktree.main,
        env={**clean_env(env), **INSTALL_ENV},
        files=Files(
            pid=_absolute(own.pid_file, worktree),
            log=_absolute(own.log_file, worktree),
            log_max_bytes=own.log_max_bytes,
            log_key="inngest.logFile",
        ),
        worktree=worktree.root,
        branch=worktree.branch,
        host=own.host,
        ready=Http("/health", home="/"),
        enabled=own.enabled,
        shared=True,
        behaviour=Behaviour(
            urls=urls,
            stand_in=stand_in,
            moves=True,
            recognise=inngest_api.recognise,
            reconcile=partial(drift.reconcile, urls, own.host or ""),
            describe=describe,
            differences=partial(drift.differing_arguments, arguments(own, urls)),
        ),
        words=Words("set inngest.port to another port", "it may hold events and runs", remedy),
        brought=Brought(
            keys,
            executes=OWN_FILES,
            writes=(worktree.main / ".inngest" / "main.db",),  # with --persist
        ),
    )


def assign(
    config: Config, _here: Worktree, *, claim: bool, env: Mapping[str, str] = os.environ
) -> Assignment:
    """Return the port in the configuration: the same for every worktree."""
    del claim, env
    return Assignment(settings.of(config).port)


def declare(
    config: Config, here: Worktree, _assigned: Assignment, *, stand_in: bool = False
) -> ServerSpec:
    """Return the server; see `spec`."""
    return spec(config, here, stand_in=stand_in)


def identity(config: Config, worktree: Worktree) -> tuple[str, int] | None:
    """Return what tells the server that a worktree uses from others; None where it uses none."""
    own = settings.of(config)
    return (str(_absolute(own.pid_file, worktree)), own.port) if own.enabled else None


def exports(config: Config, _worktree: Worktree, env: Mapping[str, str]) -> Exports:
    """Return what an app needs to find the server, and what in `env` would lead it elsewhere."""
    own = settings.of(config)
    if not own.enabled:
        return Exports()
    warnings = (
        f"{name} is set to {env[name]}, and wins over INNGEST_DEV: this app talks to that server, "
        "not to our Inngest dev server."
        for name in RIVALS
        if env.get(name)
    )
    return Exports({"INNGEST_DEV": url_of(own.host, own.port)}, tuple(warnings))


def sdk_urls(config: Config) -> tuple[str, ...]:
    """Return the endpoint of each port of the pool, as the server is told to watch them."""
    path = settings.of(config).path
    return tuple(f"http://localhost:{port}{path}" for port in config.pool)


def arguments(own: Settings, urls: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words that follow the program: `dev`, the port, the host, the URLs, the rest."""
    host = ("--host", own.host) if own.host else ()
    watched = (word for url in urls for word in ("--sdk-url", url))
    return ("dev", "--port", str(own.port), *host, *watched, *own.args)


def stand_in_program() -> tuple[str, ...]:
    """Return the argv of the bundled imitation, run apart from anything the folder may hold."""
    return (sys.executable, "-I", "-S", str(STAND_IN))


def _describe(
    config: Config, worktree: Worktree, port: int, watched: tuple[str, ...], *, answers: bool
) -> Description:
    """Return what the server itself says: its version, what it watches, whom it serves."""
    from devservers.inngest import apps  # noqa: PLC0415 - a warm ensure never gets here

    api = Api(port, settings.of(config).host or "")
    found = api.dev() if answers else None
    facts = {"version": None, "served": None, "servedBy": None, "missing": None}
    if found is None:
        return Description(facts)
    rows = api.apps()
    urls = tuple(dict.fromkeys((*watched, *inngest_api.watched(found, rows or ()))))
    missing = drift.missing(sdk_urls(config), urls)
    served, served_by = apps.serving(config, worktree, rows)
    return Description(
        {
            "version": found.version,
            "served": served,
            "servedBy": served_by,
            "missing": ports_of(missing),
        },
        urls,
        (_served_line(served, served_by),),
        (drift.not_watched(missing),) if missing else (),
    )


def _served_line(served: bool | None, served_by: int | None) -> str:  # noqa: FBT001 - three states
    if served is None:
        return "this worktree: no app of its own to serve"
    if served:
        return f"this worktree: served, on port {served_by}"
    whose = f"the app on port {served_by}" if served_by else "another worktree's app"
    return f"this worktree: NOT served, events run in {whose}; `inv inngest.sync` changes that"


def _absolute(path: str, worktree: Worktree) -> Path:
    return Path(os.path.abspath(worktree.main / Path(path).expanduser()))  # noqa: PTH100 - links stay
