"""The Inngest dev server as data: Config and worktree -> ServerSpec."""

import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from devservers.config import Config, InngestConfig
from devservers.inngest import api as inngest_api
from devservers.inngest import drift
from devservers.inngest.api import Api
from devservers.inngest.cli import INSTALL_ENV, SETTINGS, find_cli, remedy
from devservers.spec import Description, ServerSpec, ports_of
from devservers.worktree import Worktree, clean_env

STAND_IN = Path(__file__).with_name("standin.py")


def spec(
    config: Config,
    worktree: Worktree,
    *,
    stand_in: bool = False,
    env: Mapping[str, str] = os.environ,
) -> ServerSpec:
    """Return the machine-wide Inngest dev server as this worktree's configuration declares it."""
    settings = config.inngest
    urls = sdk_urls(config)

    def describe(port: int, watched: tuple[str, ...], /, *, answers: bool) -> Description:
        return _describe(config, worktree, port, watched, answers=answers)

    def command() -> tuple[str, ...]:
        program = stand_in_program() if stand_in else find_cli(settings, worktree, env)
        return (*program, *arguments(settings, urls))

    def decisive() -> Mapping[str, object]:
        from devservers.trust import decisions  # noqa: PLC0415 - not for a warm call

        return decisions.of(config, "inngest")

    return ServerSpec(
        name="inngest",
        title="Inngest dev server",
        port=settings.port,
        command=command,
        cwd=worktree.main,
        env={**clean_env(env), **INSTALL_ENV},
        pid_file=_absolute(settings.pid_file, worktree),
        log_file=_absolute(settings.log_file, worktree),
        log_max_bytes=settings.log_max_bytes,
        worktree=worktree.root,
        branch=worktree.branch,
        urls=urls,
        host=settings.host,
        stand_in=stand_in,
        enabled=settings.enabled,
        remedy=remedy,
        recognise=inngest_api.recognise,
        reconcile=partial(drift.reconcile, urls, settings.host or ""),
        describe=describe,
        differences=partial(drift.differing_arguments, arguments(settings, urls)),
        elsewhere="set inngest.port to another port",
        worth="it may hold events and runs",
        moves=True,
        shared=True,
        decisive=decisive,
        executes=SETTINGS,
        writes=(worktree.main / ".inngest" / "main.db",),  # with --persist
    )


def identity(config: Config, worktree: Worktree) -> tuple[str, int] | None:
    """Return what tells the server that a worktree uses from others; None where it uses none."""
    settings = config.inngest
    return (
        (str(_absolute(settings.pid_file, worktree)), settings.port) if settings.enabled else None
    )


def sdk_urls(config: Config) -> tuple[str, ...]:
    """Return the endpoint of each port of the pool, as the server is told to watch them."""
    path = config.inngest.path
    return tuple(f"http://localhost:{port}{path}" for port in config.nextjs.ports)


def arguments(settings: InngestConfig, urls: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words that follow the program: `dev`, the port, the host, the URLs, the rest."""
    host = ("--host", settings.host) if settings.host else ()
    watched = (word for url in urls for word in ("--sdk-url", url))
    return ("dev", "--port", str(settings.port), *host, *watched, *settings.args)


def stand_in_program() -> tuple[str, ...]:
    """Return the argv of the bundled imitation, run apart from anything the folder may hold."""
    return (sys.executable, "-I", "-S", str(STAND_IN))


def _describe(
    config: Config, worktree: Worktree, port: int, watched: tuple[str, ...], *, answers: bool
) -> Description:
    """Return what the server itself says: its version, what it watches, whom it serves."""
    from devservers.inngest import apps  # noqa: PLC0415 - a warm ensure never gets here

    api = Api(port, config.inngest.host or "")
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
