"""Rendering of dev.use: which worktree is in use, and what leads to it."""

import shlex

from devservers.rendering.servers import Rendered
from devservers.worktrees.in_use import Used


def used(result: Used, here: str) -> Rendered:
    """Render it; `here` is the worktree that asks."""
    tree, app, kind = result.tree, result.app, result.kind
    runs = app is not None and app.running
    start = f"inv {kind.name}.ensure"
    if tree and str(tree.root) != here:
        start = f"cd {shlex.quote(str(tree.root))} && {start}"
    data: dict[str, object] = {
        "action": result.action,
        "worktree": str(tree.root) if tree else None,
        "branch": tree.branch if tree else None,
        "before": str(result.before) if result.before else None,
        "url": result.url,
        "nameUrl": result.name_url,
        "port": app.port if app and runs else None,
        "running": runs,
        "next": (start,) if tree and not runs else (),
    }
    for note in result.notes:
        data |= note.facts
    lines = [*_lines(result, runs=runs, start=start)]
    lines += [f"  {line}" for note in result.notes for line in note.lines]
    warnings = [*result.warnings, *(text for note in result.notes for text in note.warnings)]
    return Rendered({**data, "warnings": warnings}, tuple(lines), tuple(warnings))


def _lines(result: Used, *, runs: bool, start: str) -> list[str]:
    if result.tree is None:
        return [f"{result.before} is in use no longer" if result.before else "None was in use"]
    name = result.tree.branch or result.tree.root.name
    again = " already" if result.action == "already-used" else ""
    lines = [f"{name} is in use{again}: {result.tree.root}"]
    server = f"its {result.kind.title}"
    if result.url and runs and result.app:
        lines.append(f"  {result.url} leads to {server} on port {result.app.port}")
    elif result.url:
        lines.append(f"  {result.url} leads to {server}, which doesn't run: `{start}`")
    else:
        lines.append("  no address follows it: set door.enabled in the configuration")
    return [*lines, f"  its own address: {result.name_url}"] if result.name_url else lines
