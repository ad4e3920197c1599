"""Rendering of what only the Inngest server has: apps, runs, sync, doctor."""

from collections.abc import Sequence
from pathlib import Path

from devservers.inngest.apps import App, Synced
from devservers.inngest.neighbours import Neighbour
from devservers.inngest.runs import Run, Runs
from devservers.kind import Check
from devservers.rendering import lists
from devservers.rendering.servers import Rendered
from devservers.rendering.table import table

FAILED = "failed"
OWN_ID = (
    'To have events run in a worktree\'s own code only, set inngest.scope to "worktree": each gets '
    "a server of its own. With app ids of their own "
    '(`new Inngest({ id: process.env.INNGEST_APP_ID ?? "…" })`) several are served by one server, '
    "and an event runs in all of them."
)


def apps(
    found: Sequence[App],
    here: str,
    pinned: Path | None = None,
    neighbours: Sequence[Neighbour] = (),
) -> Rendered:
    """Render the state of every app; `here` is the folder of the asking worktree."""
    rows = [
        (
            "*" if app.worktree == here else "",
            app.port,
            _state(app),
            app.app_id,
            app.functions,
            app.branch,
            app.worktree,
        )
        for app in found
    ]
    titles = ("", "PORT", "STATE", "APP", "FUNCTIONS", "BRANCH", "WORKTREE")
    titled, *listed = table(titles, rows)
    return Rendered(
        {
            "apps": [app.data() for app in found],
            "pinned": str(pinned) if pinned else None,
            "neighbours": [other.data() for other in neighbours],
            "next": ("inv inngest.sync",) if _is_shadowed(found, here) else (),
        },
        (
            titled,
            *lists.cut(listed),
            *((f"Pinned: {pinned}",) if pinned else ()),
            *(_capitalised(other.said()) for other in neighbours),
            *_next(found, here),
        ),
    )


def runs(result: Runs) -> Rendered:
    """Render inngest.runs: a table, and of each that failed what failed."""
    titles = ("STATE", "FUNCTION", "EVENT", "QUEUED", "RUN")
    rows = [(run.status, run.function, run.event, run.queued_at, run.id) for run in result.runs]
    lines = [*table(titles, rows)] if rows else ["No runs."]
    for run in result.runs:
        if run.status == FAILED:
            step = f", step {run.step}" if run.step else ""
            first, *rest = (run.error or "the server doesn't say why").splitlines()
            lines += [f"{run.function} ({run.id}){step}: {first}", *(f"  {line}" for line in rest)]
    data = {
        "port": result.port,
        "runs": [_run(run) for run in result.runs],
        "warnings": result.warnings,
        "next": ("inv nextjs.logs --lines=100",)
        if any(run.status == FAILED for run in result.runs)
        else (),
    }
    return Rendered(data, tuple(lines), result.warnings)


def _run(run: Run) -> dict[str, object]:
    return {
        "id": run.id,
        "function": run.function,
        "event": run.event,
        "status": run.status,
        "queuedAt": run.queued_at,
        "startedAt": run.started_at,
        "endedAt": run.ended_at,
        "error": run.error,
        "step": run.step,
    }


def _capitalised(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def synced(result: Synced, neighbours: Sequence[Neighbour] = ()) -> Rendered:
    """Render sync."""
    data = {
        "action": result.action,
        "port": result.port,
        "url": result.url,
        "appId": result.app_id,
        "replaced": result.replaced,
        "replacedWorktree": result.replaced_worktree,
        "neighbours": [other.data() for other in neighbours],
        "pinned": result.pinned,
        "released": result.released,
    }
    stays = "  pinned: it stays so until `inv inngest.sync` elsewhere, or with --release"
    shared = (f"  {other.said()}" for other in neighbours)
    return Rendered(data, (_synced(result), *((stays,) if result.pinned else ()), *shared))


def _synced(result: Synced) -> str:
    match result.action:
        case "released":
            return f"{result.released} is pinned no longer: whoever registers last is served"
        case "nothing-pinned":
            return "No worktree was pinned: whoever registers last is served"
        case "already-synced":
            return f"{result.app_id} on port {result.port} is the one that is served already"
        case _:
            whose = f" ({result.replaced_worktree})" if result.replaced_worktree else ""
            whom = f", in place of port {result.replaced}{whose}" if result.replaced else ""
            return f"{result.app_id} is served from port {result.port} now{whom}: {result.url}"


def doctor(checks: Sequence[Check]) -> Rendered:
    """Render the checks; the exit status is 0 if all is well, else 1."""
    lines: list[str] = []
    for check in checks:
        lines.append(f"{'ok  ' if check.ok else 'FAIL'} {check.name}: {check.detail}")
        if check.fix:
            lines.append(f"     fix: {check.fix}")
    failed = sum(not check.ok for check in checks)
    lines.append(f"{failed} of {len(checks)} checks failed" if failed else "All is well.")
    data = {"checks": [check._asdict() for check in checks]}
    return Rendered(data, tuple(lines), exit_code=1 if failed else 0)


def _state(app: App) -> str:
    if app.state == "shadowed" and app.served_by:
        return f"shadowed by {app.served_by}"
    return f"{app.state}: {app.error}" if app.state == "failing" and app.error else app.state


def _is_shadowed(found: Sequence[App], here: str) -> bool:
    return any(app.state == "shadowed" and app.worktree == here for app in found)


def _next(found: Sequence[App], here: str) -> list[str]:
    shadowed = [app for app in found if app.state == "shadowed"]
    lines = []
    if _is_shadowed(found, here):
        lines.append("Events run another worktree's code. `inv inngest.sync` serves this one's.")
    if shadowed:
        lines.append(OWN_ID)
    return lines
