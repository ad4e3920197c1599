"""Doctor of a declared server: its folder, its program, its port. Executes nothing."""

from collections.abc import Iterator

from devservers.declared.settings import Declared
from devservers.errors import CliNotFoundError, StateUnusableError
from devservers.kind import Check
from devservers.lifecycle import failures, verdict
from devservers.lifecycle.verdict import Verdict
from devservers.spec import ServerSpec
from devservers.system import sockets


def checks(one: Declared, spec: ServerSpec) -> Iterator[Check]:
    """Yield whether the server `one` could start in the worktree that declares `spec`."""
    there = spec.cwd.is_dir()
    missing = f"Make it, or correct servers.{one.name}.cwd in the configuration."
    detail = str(spec.cwd) if there else f"no folder {spec.cwd}"
    yield Check(f"servers.{one.name}.cwd", there, detail, None if there else missing)
    if there:
        yield _program(one, spec)
    if one.has_port:
        yield _port(one, spec)


def _program(one: Declared, spec: ServerSpec) -> Check:
    name = f"servers.{one.name}.command"
    try:
        # Names only: an argument may hold a secret.
        return Check(name, ok=True, detail=spec.command()[0])
    except CliNotFoundError as error:
        return Check(name, ok=False, detail=error.message, fix=error.hint)


def _port(one: Declared, spec: ServerSpec) -> Check:
    name = f"servers.{one.name}.port"
    if spec.port is None:
        fix = "`inv ports.list` shows who has them."
        return Check(name, ok=False, detail="this worktree has no slot, and none is left", fix=fix)
    try:
        view = verdict.examine(spec)
    except StateUnusableError as error:
        return Check(name, ok=False, detail=error.message, fix=error.hint)
    if view.verdict in (Verdict.FOREIGN, Verdict.CONFLICT):
        who = failures.describe_holders(sockets.holders(view.port or spec.port))
        fix = f"Stop it, or {spec.words.elsewhere}."
        return Check(name, ok=False, detail=f"{view.port or spec.port} is held by {who}", fix=fix)
    return Check(name, ok=True, detail=f"{view.port or spec.port}: {view.verdict.value}")
