"""Rendering of dev.up, dev.down and dev.prune: all servers of a worktree, and what was pruned."""

from collections.abc import Mapping

from devservers.errors import DevServerError, NeedFailedError
from devservers.kind import Kind, User
from devservers.lifecycle.result import Ensured
from devservers.rendering import lists, servers
from devservers.rendering.servers import Rendered
from devservers.worktrees.prune import Finding, Pruned
from devservers.worktrees.together import Down, LeftAlone, Up


def nested(data: Mapping[str, object], known: Mapping[str, Kind]) -> dict[str, object]:
    """Return what is said of each server: of declared ones under `servers`, if there are any."""
    declared = {name: said for name, said in data.items() if not known[name].built_in}
    built_in = {name: said for name, said in data.items() if known[name].built_in}
    if any(not kind.built_in for kind in known.values()):
        return {**built_in, "servers": declared}
    return built_in


def up(result: Up, whose: Mapping[str, object]) -> Rendered:
    """Render dev.up; `whose` is the asking worktree under the names of docs/reference.md."""
    data: dict[str, object] = {}
    lines: list[str] = []
    warnings: list[str] = []
    for name, done in result.servers.items():
        kind = result.kinds[name]
        rendered = _upped(kind, done)
        is_result = isinstance(done, Ensured) and name not in result.shared
        data[name] = {**rendered.data, **(whose if is_result else {})}
        lines += rendered.lines
        warnings += rendered.warnings
    facts = [note.facts for note in result.notes]
    lines += [line for note in result.notes for line in note.lines]
    warnings += [text for note in result.notes for text in note.warnings]
    # First what agents come for: where the app is.
    whole = {"url": _url_of_app(result), **nested(data, result.kinds), "next": ()}
    for more in facts:
        whole |= more
    errors = [done for done in result.servers.values() if isinstance(done, DevServerError)]
    if not errors:
        return Rendered(whole, tuple(lines), tuple(warnings))
    worst = next((one for one in errors if isinstance(one, NeedFailedError)), errors[0])
    failed = servers.failed(worst)
    return failed._replace(data={**whole, **failed.data}, lines=tuple(lines))


def _url_of_app(result: Up) -> str | None:
    for name, done in result.servers.items():
        if result.kinds[name].serves_app and isinstance(done, Ensured):
            return done.url
    return None


def _upped(kind: Kind, done: Ensured | DevServerError | None) -> Rendered:
    if done is None:
        return Rendered({"action": "disabled"}, (f"{kind.title} is disabled here",))
    return servers.failed(done) if isinstance(done, DevServerError) else servers.ensured(done, kind)


def down(result: Down, whose: Mapping[str, object]) -> Rendered:
    """Render dev.down."""
    data: dict[str, object] = {}
    lines: list[str] = []
    warnings: list[str] = []
    for name, done in result.servers.items():
        kind = result.kinds[name]
        if isinstance(done, LeftAlone):
            data[name] = {
                "action": "left-running" if done.enabled else "disabled",
                "port": done.port,
            }
            if done.enabled:
                lines.append(f"{kind.title} left alone; `inv dev.down --all` stops it, too")
            continue
        rendered = servers.stopped(done, kind)
        data[name] = {**rendered.data, **({} if name in result.users else whose)}
        lines += rendered.lines
        warnings += rendered.warnings
        if name in result.users:
            users = result.users[name]
            data[name] = {**rendered.data, "users": [user._asdict() for user in users]}
            warnings += (_still_used(user, kind) for user in users)
    return Rendered(nested(data, result.kinds), tuple(lines), tuple(warnings))


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
    return Rendered(data, lists.cut(lines or ["Nothing to prune."]), result.warnings)


def _finding(found: Finding, *, dry_run: bool) -> str:
    verb = "end" if found.processes else "remove"
    done = f"would {verb}" if dry_run else {"end": "ended", "remove": "removed"}[verb]
    return f"{done} {found.kind}: {found.what} ({found.why})"
