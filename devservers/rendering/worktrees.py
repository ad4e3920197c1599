"""Rendering of dev.*: both servers of a worktree, all worktrees, and what was pruned."""

from collections.abc import Mapping

from devservers import kinds
from devservers.kind import Kind, User
from devservers.lifecycle.result import Status
from devservers.rendering import servers
from devservers.rendering.servers import Rendered
from devservers.rendering.table import table
from devservers.worktrees.overview import Overview, Row
from devservers.worktrees.prune import Finding, Pruned
from devservers.worktrees.together import Down, LeftAlone, Up

SHORT = 9  # characters of a commit that people need


def overview(found: Overview) -> Rendered:
    """Render dev.status: a line for each shared server, and a table of the worktrees."""
    shared = {name: servers.status(now, kinds.kind(name)) for name, now in found.shared.items()}
    own = [kind for kind in kinds.every() if not kind.shared]
    rows = [
        (
            "*" if row.current else "",
            row.branch,
            row.port,
            *(_state(row.servers[kind.name]) for kind in own),
            {True: "yes", False: "no", None: None}[row.served],
            row.commit[:SHORT] if row.commit else None,
            row.worktree,
        )
        for row in found.rows
    ]
    columns = (kind.short.upper() for kind in own)
    titles = ("", "BRANCH", "PORT", *columns, "SERVED", "COMMIT", "WORKTREE")
    warnings = [text for one in shared.values() for text in one.warnings]
    for row in found.rows:
        texts = dict.fromkeys(text for now in row.servers.values() for text in now.warnings)
        warnings += [f"{row.worktree}: {text}" for text in texts]
    return Rendered(
        {
            **{name: one.data for name, one in shared.items()},
            "worktrees": [_row(row) for row in found.rows],
        },
        (*(one.lines[0] for one in shared.values()), *table(titles, rows)),
        tuple(warnings),
    )


def up(result: Up, whose: Mapping[str, object]) -> Rendered:
    """Render dev.up; `whose` is the asking worktree under the names of docs/reference.md."""
    data: dict[str, object] = {}
    lines: list[str] = []
    warnings: list[str] = []
    for name, done in result.servers.items():
        kind = kinds.kind(name)
        if done is None:
            data[name] = {"action": "disabled"}
            lines.append(f"{kind.title} is disabled here")
            continue
        rendered = servers.ensured(done, kind)
        data[name] = {**rendered.data, **({} if kind.shared else whose)}
        lines += rendered.lines
        warnings += rendered.warnings
    for note in result.notes:
        data |= note.facts
        lines += note.lines
        warnings += note.warnings
    return Rendered(data, tuple(lines), tuple(warnings))


def down(result: Down, whose: Mapping[str, object]) -> Rendered:
    """Render dev.down."""
    data: dict[str, object] = {}
    lines: list[str] = []
    warnings: list[str] = []
    for name, done in result.servers.items():
        kind = kinds.kind(name)
        if isinstance(done, LeftAlone):
            data[name] = {
                "action": "left-running" if done.enabled else "disabled",
                "port": done.port,
            }
            if done.enabled:
                lines.append(f"{kind.title} left alone; `inv dev.down --all` stops it, too")
            continue
        rendered = servers.stopped(done, kind)
        data[name] = {**rendered.data, **({} if kind.shared else whose)}
        lines += rendered.lines
        warnings += rendered.warnings
        if kind.shared:
            users = result.users.get(name, ())
            data[name] = {**rendered.data, "users": [user._asdict() for user in users]}
            warnings += (_still_used(user, kind) for user in users)
    return Rendered(data, tuple(lines), tuple(warnings))


def _still_used(user: User, kind: Kind) -> str:
    who = user.worktree or "another app"
    return f"{who} (port {user.port}) was still using the {kind.title}."


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
    whose = {"worktree": row.worktree, "branch": row.branch}
    none = {} if row.port else {"port": None, "url": None}
    own = {
        name: {**servers.status(now, kinds.kind(name)).data, **whose, **none}
        for name, now in row.servers.items()
    }
    return {
        **whose,
        "commit": row.commit,
        "current": row.current,
        "port": row.port,
        **own,
        "served": row.served,
    }


def _state(status: Status) -> str:
    return f"{status.state} {status.url}" if status.running else status.state
