"""Rendering of dev.*: both servers of a worktree, all worktrees, and what was pruned."""

from collections.abc import Mapping

from devservers.inngest.apps import App
from devservers.lifecycle.result import Status
from devservers.rendering import servers
from devservers.rendering.inngest import app_data
from devservers.rendering.servers import Rendered
from devservers.rendering.table import table
from devservers.worktrees.overview import Down, Overview, Row, Up
from devservers.worktrees.prune import Finding, Pruned

INNGEST = "Inngest dev server"
NEXTJS = "Next.js server"
SHORT = 9  # characters of a commit that people need


def overview(found: Overview) -> Rendered:
    """Render dev.status: the Inngest server's line, and a table of the worktrees."""
    machine = servers.status(found.inngest, INNGEST, "inngest", watches=True)
    rows = [
        (
            "*" if row.current else "",
            row.branch,
            row.port,
            _state(row.nextjs),
            {True: "yes", False: "no", None: None}[row.served],
            row.commit[:SHORT] if row.commit else None,
            row.worktree,
        )
        for row in found.rows
    ]
    titles = ("", "BRANCH", "PORT", "NEXT.JS", "SERVED", "COMMIT", "WORKTREE")
    warnings = [f"{row.worktree}: {text}" for row in found.rows for text in row.nextjs.warnings]
    return Rendered(
        {"inngest": machine.data, "worktrees": [_row(row) for row in found.rows]},
        (machine.lines[0], *table(titles, rows)),
        (*machine.warnings, *warnings),
    )


def up(result: Up, here: Mapping[str, object]) -> Rendered:
    """Render dev.up; `here` is the asking worktree as JSON has it."""
    machine = (
        servers.ensured(result.inngest, INNGEST, "inngest", watches=True)
        if result.inngest
        else Rendered({"action": "disabled"}, (f"{INNGEST} is disabled here",))
    )
    own = servers.ensured(result.nextjs, NEXTJS, "nextjs", watches=False)
    app = app_data(result.app) | {"replaced": result.replaced} if result.app else None
    said = _app(result.app, result.replaced) if result.app else ()
    trouble = said if result.app and result.app.state != "served" else ()
    return Rendered(
        {"inngest": machine.data, "nextjs": {**own.data, **here}, "app": app},
        (*machine.lines, *own.lines, *(() if trouble else said)),
        (*machine.warnings, *own.warnings, *trouble),
    )


def down(result: Down, here: Mapping[str, object], port: int, *, enabled: bool) -> Rendered:
    """Render dev.down; `port` is the Inngest server's."""
    own = servers.stopped(result.nextjs, NEXTJS)
    data: dict[str, object] = {"action": "left-running" if enabled else "disabled", "port": port}
    lines = [*own.lines]
    warnings = [*own.warnings]
    if result.inngest:
        machine = servers.stopped(result.inngest, INNGEST)
        data = {**machine.data, "users": [user._asdict() for user in result.users]}
        lines += machine.lines
        warnings += machine.warnings
        for user in result.users:
            who = user.worktree or "another app"
            warnings.append(f"{who} (port {user.port}) was still using the Inngest dev server.")
    elif enabled:
        lines.append(f"{INNGEST} left alone; `inv dev.down --all` stops it, too")
    return Rendered(
        {"inngest": data, "nextjs": {**own.data, **here}}, tuple(lines), tuple(warnings)
    )


def pruned(result: Pruned) -> Rendered:
    """Render dev.prune."""
    data = {
        "pruned": [
            {"kind": found.kind, "what": found.what, "why": found.why} for found in result.findings
        ],
        "dryRun": result.dry_run,
        "warnings": result.warnings,
    }
    lines = [_finding(found, dry_run=result.dry_run) for found in result.findings]
    return Rendered(data, tuple(lines or ["Nothing to prune."]), result.warnings)


def _finding(found: Finding, *, dry_run: bool) -> str:
    verb = "end" if found.processes else "remove"
    done = f"would {verb}" if dry_run else {"end": "ended", "remove": "removed"}[verb]
    return f"{done} {found.kind}: {found.what} ({found.why})"


def _row(row: Row) -> dict[str, object]:
    state = servers.status(row.nextjs, NEXTJS, "nextjs", watches=False).data
    whose = {"worktree": row.worktree, "branch": row.branch}
    none = {} if row.port else {"port": None, "url": None}
    return {
        **whose,
        "commit": row.commit,
        "current": row.current,
        "port": row.port,
        "nextjs": {**state, **whose, **none},
        "served": row.served,
    }


def _state(status: Status) -> str:
    return f"{status.state} {status.url}" if status.running else status.state


def _app(app: App, replaced: int | None) -> tuple[str, ...]:
    """Say whether the app is registered, and if not, why and what to do."""
    if app.state == "served":
        instead = f", in place of port {replaced}" if replaced else ""
        count = "1 function" if app.functions == 1 else f"{app.functions} functions"
        return (f"App {app.app_id} is registered, {count}{instead}: {app.url}",)
    why = {
        "shadowed": f"port {app.served_by or '?'} of this repository is served in its place. "
        "`inv inngest.sync` makes this one the served one.",
        "no-route": f"there is no Inngest endpoint at {app.url}. Serve one there, or set "
        "inngest.path.",
        "not-listening": f"nothing listens at {app.url} any more: `inv nextjs.logs`.",
        "failing": f"{app.error}. `inv nextjs.logs` may say more; `inv inngest.apps` looks again.",
    }
    return (f"The app on port {app.port} is not registered ({app.state}): {why[app.state]}",)
