"""A declared server as data: what the configuration says of it -> ServerSpec, and its Kind."""

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from devservers import kinds
from devservers.config import Config
from devservers.declared.settings import MACHINE, Declared, filled, placeholders
from devservers.errors import CliNotFoundError, NoPortError
from devservers.kind import Assignment, Check, Kind
from devservers.ports import assignment
from devservers.spec import Behaviour, Brought, Files, ServerSpec, Words, url_of
from devservers.system import programs
from devservers.worktree import Worktree, clean_env


def kind_of(one: Declared) -> Kind:
    """Return the kind of server that `one` is: the only one of its kind."""

    def assign(
        config: Config, here: Worktree, *, claim: bool, env: Mapping[str, str] = os.environ
    ) -> Assignment:
        if claim:
            _claim_named(config, here, one, env)
        return Assignment(_port(config, here, one, claim=claim) or 0)

    def declare(
        config: Config,
        here: Worktree,
        assigned: Assignment,
        *,
        stand_in: bool = False,
        env: Mapping[str, str] = os.environ,
    ) -> ServerSpec:
        del stand_in, env
        return spec(config, here, one, assigned.port or None)

    def checks(config: Config, here: Worktree) -> Iterable[Check]:
        from devservers.declared import doctor  # noqa: PLC0415 - only here

        port = _port(config, here, one, claim=False)
        return doctor.checks(one, spec(config, here, one, port))

    return Kind(
        name=one.name,
        title=f"{one.name} server",
        short=one.name,
        assign=assign,
        declare=declare,
        ready_timeout=one.timeout,
        is_shared=lambda _config: one.scope == MACHINE,
        foreground=True,
        needs=one.needs,
        up=one.up,
        idle=lambda _config: one.idle,
        built_in=False,
        checks=checks,
    )


def _port(config: Config, here: Worktree, one: Declared, *, claim: bool) -> int | None:
    """Return its port; a worktree has a slot as soon as one of its servers needs it."""
    if not one.has_port:
        return None
    if one.scope == MACHINE:
        return one.port
    try:
        return one.port_of(assignment.slot(config, here, claim=claim))
    except NoPortError:
        if claim:
            raise
        return None


def _claim_named(config: Config, here: Worktree, one: Declared, env: Mapping[str, str]) -> None:
    """Let the worktree keep what the placeholders of `one` stand for, or another could get it."""
    fields = {field for text in (*one.command, *one.env.values()) for field in placeholders(text)}
    for field in fields:
        name, _, _ = field.rpartition(".")
        if other := config.servers.get(name):
            _port(config, here, other, claim=True)
        elif name:
            kinds.kind(name).assign(config, here, claim=True, env=env)
        elif field == "slot":
            assignment.slot(config, here, claim=True)


def spec(config: Config, here: Worktree, one: Declared, port: int | None) -> ServerSpec:
    """Return the server `one` as the worktree `here` declares it, on the port it was assigned."""
    shared = one.scope == MACHINE
    folder = (here.main if shared else here.root) / one.cwd
    place = here.shared_dir if shared else here.state_dir

    def words() -> tuple[str, ...]:
        known = _known(config, here, port, one.command)
        return tuple(filled(word, known) for word in one.command)

    def command() -> tuple[str, ...]:
        found = words()
        _check_program(one, found, folder, here, whole["PATH"])
        return found

    def differences(running: tuple[str, ...]) -> tuple[str, ...]:
        wanted = words()
        # Of a bundled one the words are nobody's wish: they name the Python that started it.
        if running == wanted or one.name in kinds.BUNDLED:
            return ()
        return (
            f"It runs with `{shlex.join(running)}`; this worktree declares "
            f"`{shlex.join(wanted)}`. `inv {one.name}.restart` would change that.",
        )

    section = "" if one.name in kinds.BUNDLED else "servers."
    texts = tuple(one.env.values())
    known = _known(config, here, port, texts) if texts else {}
    env = {name: filled(text, known) for name, text in one.env.items()}
    whole = {"PATH": os.defpath, **clean_env(os.environ)}
    whole |= {**kinds.exports(config, here).variables, **env}
    return ServerSpec(
        name=one.name,
        title=f"{one.name} server",
        port=port,
        command=command,
        cwd=folder,
        env=whole,
        files=Files(
            place / f"{one.name}.pid",
            place / f"{one.name}.log",
            one.log_max_bytes,
            owned=True,
        ),
        worktree=here.root,
        branch=here.branch,
        ready=one.readiness,
        enabled=one.enabled,
        shared=shared,
        behaviour=Behaviour(differences=differences, passes_on=one.passes_on),
        words=Words(f"set another {section}{one.name}.port"),
        brought=Brought(lambda: dict(_deciding(config, one))),
    )


def _deciding(config: Config, one: Declared) -> Iterator[tuple[str, object]]:
    """Yield what the file says that decides what is executed."""
    for key in ("command", "cwd", "env"):
        full = f"servers.{one.name}.{key}"
        if full in config.given:
            yield full, getattr(one, key)


def _check_program(
    one: Declared, words: tuple[str, ...], folder: Path, here: Worktree, path: str
) -> None:
    if not folder.is_dir():
        raise CliNotFoundError(
            f"servers.{one.name}.cwd names {one.cwd!r}, and there is no folder {folder}.",
            hint=f"Correct servers.{one.name}.cwd in the configuration.",
            details={"lookedFor": [str(folder)]},
        )
    program = words[0]
    inside = os.path.dirname(program) and not os.path.isabs(program)  # noqa: PTH117, PTH120
    whole = str(folder / program) if inside else program
    found = programs.find(whole, path, here.root if inside else None)
    if found is None:
        raise CliNotFoundError(
            f"servers.{one.name}.command names {program!r}, which can't be run.",
            hint=f"Install it, or correct servers.{one.name}.command in the configuration.",
            details={"lookedFor": [whole]},
        )


def _known(
    config: Config, here: Worktree, port: int | None, texts: tuple[str, ...]
) -> dict[str, str]:
    """Return what each placeholder in `texts` stands for.

    Empty for what only a slot would tell, where the pool has none left: nothing starts then, but
    a question is answered.
    """
    found = {}
    for field in {field for text in texts for field in placeholders(text)}:
        name, _, what = field.rpartition(".")
        if name:
            found[field] = _of_other(config, here, name, what)
        elif field == "slot":
            found[field] = _slot(config, here)
        else:
            simple = {
                "port": str(port or ""),
                "url": url_of(None, port) if port else "",
                "branch": here.branch or "",
                "worktree": str(here.root),
                "main": str(here.main),
            }
            found[field] = simple[field]
    return found


def _slot(config: Config, here: Worktree) -> str:
    try:
        return str(assignment.slot(config, here, claim=False))
    except NoPortError:
        return ""


def _of_other(config: Config, here: Worktree, name: str, what: str) -> str:
    other = kinds.of(config)[name]
    port = other.assign(config, here, claim=False).port
    if not port:
        return ""
    return str(port) if what == "port" else url_of(None, port)
