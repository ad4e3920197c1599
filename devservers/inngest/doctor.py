"""Doctor: every precondition of the Inngest server, checked, with the remedy for what fails."""

import os
import socket
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from devservers import config, inngest, kinds, worktree
from devservers.config import Config
from devservers.errors import CliNotFoundError, ConfigInvalidError, StateUnusableError
from devservers.inngest import apps, pin, scene, target
from devservers.inngest import cli as inngest_cli
from devservers.inngest import settings as inngest_settings
from devservers.inngest.program import run
from devservers.inngest.target import Target
from devservers.kind import Check
from devservers.lifecycle import failures, state, verdict
from devservers.lifecycle.failures import describe_holder, describe_holders
from devservers.lifecycle.verdict import Verdict
from devservers.spec import ServerSpec
from devservers.system import http_status, process, programs, sockets
from devservers.worktree import Worktree

PROGRAM_TIMEOUT = 20.0  # seconds; npx may be downloading
GRPC_PORTS = (50052, 50053)  # where the real server listens besides, whatever its port
DISTRIBUTION = "worktree-devservers"


def examine(env: Mapping[str, str] = os.environ) -> tuple[Check, ...]:
    """Return every check of the caller's worktree, in the order in which one would mend them.

    Nothing is executed that `ensure` would refuse.
    """
    try:
        here = worktree.find()
        settings = config.load(here.root, here.main, env)
    except ConfigInvalidError as error:
        return (Check("config", ok=False, detail=error.message, fix=error.hint), *_general(env))
    spec = inngest.spec(settings, here, env=env)
    return (
        _config(settings),
        *_general(env),
        _cli(settings, here, env),
        *(_program(name, env) for name in ("node", "npm", "pnpm")),
        _pid_file(spec),
        _lock(spec),
        *_ports(spec, target.of(settings, here, env=env)),
        *_network(spec),
        _server_folder(spec),
        _app_ids(settings, here),
        *_pin(settings, here, spec),
        *_declared(settings, here),
    )


def _general(env: Mapping[str, str]) -> Iterator[Check]:
    yield _package()
    yield _localhost()
    yield _proxy(env)
    yield _git(env)


def _config(settings: Config) -> Check:
    if settings.source is None:
        return Check("config", ok=True, detail=f"no {config.RELATIVE_PATH}: defaults throughout")
    # Names only: a command or an argument may hold a secret.
    given = ", ".join(sorted(settings.given)) or "nothing"
    rest = ", ".join(key for key in config.key_names() if key not in settings.given)
    return Check("config", ok=True, detail=f"{settings.source} sets {given}; default are {rest}")


def _package() -> Check:
    where = Path(__file__).parents[1]
    try:
        found = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        detail = f"{where} is imported, but {DISTRIBUTION} is not installed"
        return Check("package", ok=False, detail=detail, fix=f"pip install {DISTRIBUTION}")
    installed = Path(str(found.locate_file("devservers")))
    editable = "editable" in (found.read_text("direct_url.json") or "")
    if editable or installed.resolve() == where.resolve():
        return Check("package", ok=True, detail=f"{DISTRIBUTION} {found.version} in {where}")
    detail = f"{where} hides the installed {installed} ({found.version})"
    return Check("package", ok=False, detail=detail, fix=f"Rename the folder {where}.")


def _localhost() -> Check:
    try:
        rows = socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
    except OSError as error:
        fix = "Add `127.0.0.1 localhost` to /etc/hosts."
        return Check("localhost", ok=False, detail=f"does not resolve: {error}", fix=fix)
    found = sorted({str(row[4][0]) for row in rows})
    good = any(address in http_status.LOOPBACKS for address in found)
    cure = None if good else "Let localhost mean 127.0.0.1 in /etc/hosts."
    return Check("localhost", ok=good, detail=f"resolves to {', '.join(found)}", fix=cure)


def _proxy(env: Mapping[str, str]) -> Check:
    names = [name for name in env if name.upper() in ("HTTP_PROXY", "ALL_PROXY") and env[name]]
    if not names:
        return Check("proxy", ok=True, detail="none in the environment")
    spared = ",".join(env.get(name, "") for name in ("NO_PROXY", "no_proxy")).split(",")
    good = "*" in spared or "localhost" in (word.strip() for word in spared)
    # Names only: a proxy's URL may hold a password.
    detail = f"{', '.join(sorted(names))} is set" + (
        "" if good else "; NO_PROXY spares no localhost"
    )
    fix = None if good else "export NO_PROXY=localhost,127.0.0.1,::1 (this tool does without)"
    return Check("proxy", ok=good, detail=detail, fix=fix)


def _git(env: Mapping[str, str]) -> Check:
    names = [name for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE") if name in env]
    if not names:
        return Check("git", ok=True, detail="no GIT_DIR or the like in the environment")
    detail = f"{', '.join(names)} is set: git answers for another repository than this folder's"
    return Check("git", ok=False, detail=detail, fix=f"unset {' '.join(names)}")


def _cli(settings: Config, here: Worktree, env: Mapping[str, str]) -> Check:
    try:
        argv = inngest_cli.find_cli(inngest_settings.of(settings), here, env)
    except CliNotFoundError as error:
        return Check("cli", ok=False, detail=error.message, fix=error.hint)
    environment = {**inngest.spec(settings, here, env=env).env}
    done = run((*argv, "version"), environment, here.main, PROGRAM_TIMEOUT)
    shown = " ".join(argv)
    if done is not None and done.returncode == 0:
        return Check("cli", ok=True, detail=f"{shown}: {_telling_line(done.stdout)}")
    said = done.stdout if done else f"no answer within {PROGRAM_TIMEOUT:g} s"
    fix = inngest_cli.remedy(said) or f"Run `{shown} version` by hand."
    return Check("cli", ok=False, detail=f"{shown} can't start: {_telling_line(said)}", fix=fix)


def _program(name: str, env: Mapping[str, str]) -> Check:
    try:
        path = programs.find(name, env.get("PATH", os.defpath))
    except CliNotFoundError as error:
        return Check(name, ok=False, detail=error.message, fix=error.hint)
    # Not in the caller's folder, whose package.json may name another release to be fetched.
    root = Path(Path(path).anchor) if path else None
    done = run((path, "--version"), env, root, PROGRAM_TIMEOUT) if path and root else None
    if done is not None and done.returncode == 0:
        return Check(name, ok=True, detail=f"{path}: {_telling_line(done.stdout)}")
    if path:
        return Check(name, ok=False, detail=f"{path} can't start", fix=f"Install {name} again.")
    if name == "node":
        detail = "not on the PATH; Next.js and most ways to start the Inngest CLI need it"
        return Check(name, ok=False, detail=detail, fix="Install Node.js.")
    return Check(name, ok=True, detail="not on the PATH (needed only to install packages)")


def _pid_file(spec: ServerSpec) -> Check:
    folder = spec.files.pid.parent
    try:
        state.read(spec.files.pid)
        state.read_pid(spec.files.pid)
    except StateUnusableError as error:
        return Check("pid-file", ok=False, detail=error.message, fix=error.hint)
    if not folder.is_dir():
        return Check("pid-file", ok=False, detail=f"no folder {folder}", fix=f"mkdir -p {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        fix = "Set inngest.pidFile to a folder of yours."
        return Check("pid-file", ok=False, detail=f"{folder} is not writable for you", fix=fix)
    return Check("pid-file", ok=True, detail=str(spec.files.pid))


def _lock(spec: ServerSpec) -> Check:
    path = state.lock_file(spec.files.pid)
    try:
        with state.lock(spec.files.pid, 0) as held:
            if held:
                return Check("lock", ok=True, detail=f"{path} is free")
    except StateUnusableError as error:
        return Check("lock", ok=False, detail=error.message, fix=error.hint)
    holder = failures.lock_holder(spec.files.pid)
    who = describe_holder(sockets.holder(holder.process.pid)) if holder else failures.UNNAMED
    fix = "Wait for it; it is starting or stopping the server."
    return Check("lock", ok=False, detail=f"{path} is held by {who}", fix=fix)


def _network(spec: ServerSpec) -> Iterator[Check]:
    """Tell what the address in the configuration doesn't reach."""
    if spec.host:
        detail = f"{spec.host} holds for the server's own port; its further ports stay open to all"
        yield Check("network", ok=True, detail=detail)


def _ports(spec: ServerSpec, it: Target) -> Iterator[Check]:
    try:
        view = verdict.examine(spec)
    except StateUnusableError:
        return  # said by the check of the pid file
    idle = view.verdict in (Verdict.STOPPED, Verdict.STALE)
    foreign = view.verdict in (Verdict.FOREIGN, Verdict.CONFLICT)
    own = spec.port
    if own is None:  # this worktree has no slot
        return
    foreign = foreign or (idle and bool(sockets.listeners(own)))
    yield _port(spec, own, ok=not foreign, detail=view.verdict.value)
    if view.verdict in (Verdict.STOPPED, Verdict.STALE, Verdict.FOREIGN):
        for port in it.others or (own + 1, *GRPC_PORTS):
            taken = bool(sockets.listeners(port))
            yield _port(spec, port, ok=not taken, detail="the server's other port")


def _port(spec: ServerSpec, port: int, *, ok: bool, detail: str) -> Check:
    name = f"port-{port}"
    if ok:
        return Check(name, ok=True, detail=detail)
    who = describe_holders(sockets.holders(port))
    fix = f"Stop it, or {spec.words.elsewhere}."
    if port != spec.port:
        fix = "Stop it, or accept that the server's own use of this port moves elsewhere."
    return Check(name, ok=False, detail=f"held by {who}", fix=fix)


def _pin(settings: Config, here: Worktree, spec: ServerSpec) -> Iterator[Check]:
    """Check that the pinned worktree is the one that is served; nothing where none is pinned."""
    it = target.of(settings, here)
    pinned = pin.read(spec.files.pid, here) if it.shared else None
    rows = it.api.apps() if pinned else None
    if pinned is None or rows is None:
        return
    tree = worktree.peek(pinned)
    served, port = scene.serving(settings, tree, it, rows) if tree else (None, None)
    if served:
        yield Check("pin", ok=True, detail=f"{pinned} is pinned, and served on port {port}")
        return
    whose = f"the app on port {port}" if port else "another app, or none"
    fix = f"`inv inngest.sync` in {pinned} (is its server up?), or `inv inngest.sync --release`."
    yield Check("pin", ok=False, detail=f"{pinned} is pinned, but {whose} is served", fix=fix)


def _declared(settings: Config, here: Worktree) -> Iterator[Check]:
    for kind in kinds.of(settings).values() if settings.servers else ():
        yield from kind.checks(settings, here) if kind.checks else ()


def _server_folder(spec: ServerSpec) -> Check:
    try:
        record = state.read(spec.files.pid)
    except StateUnusableError:
        record = None
    if record is None or not process.is_alive(record.process):
        return Check("server-folder", ok=True, detail="no server of ours runs")
    if record.cwd and not Path(record.cwd).is_dir():
        fix = "`inv inngest.restart` (the events and runs that it holds are lost)"
        return Check("server-folder", ok=False, detail=f"{record.cwd} is gone", fix=fix)
    return Check("server-folder", ok=True, detail=f"the server runs in {record.cwd or 'its own'}")


def _app_ids(settings: Config, here: Worktree) -> Check:
    found = apps.survey(settings, target.of(settings, here))
    shadowed = [app for app in found if app.state == "shadowed"]
    if not shadowed:
        return Check("app-ids", ok=True, detail="no worktree's app is in the way of another's")
    who = ", ".join(f"{app.port} by {app.served_by or '?'}" for app in shadowed)
    fix = "`inv inngest.sync` serves this one's; `inv inngest.apps` shows how to serve them all."
    return Check("app-ids", ok=False, detail=f"same app id, shadowed: {who}", fix=fix)


def _telling_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("npm warn", "npm notice"))]
    errors = [line for line in telling if "error" in line.lower()]
    return (errors or telling or lines or ["no output"])[0]
