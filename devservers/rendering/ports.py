"""Rendering of what is about worktrees and ports: JSON as docs/reference.md has it, and lines."""

import shlex
from collections.abc import Sequence

from devservers.kind import Exports
from devservers.ports.assignment import Assigned
from devservers.ports.pool import Entry
from devservers.rendering import lists
from devservers.rendering.servers import Rendered
from devservers.rendering.table import table


def assigned(result: Assigned, exports: Exports | None = None) -> Rendered:
    """Render ports.assign; `exports` is what an app that is started by hand needs to know."""
    exports = exports or Exports()
    data = {
        "port": result.port,
        "method": result.method,
        "available": result.available,
        "baseUrl": result.url,
        "worktree": result.worktree,
        "branch": result.branch,
        "exports": dict(exports.variables),
        "warnings": result.warnings,
    }
    lines = [f"Port {result.port} ({_HOW[result.method]}): {result.url}"]
    if not result.available:
        lines.append(
            f"  something else listens on it: `inv ports.who --port={result.port}` says who"
        )
    return Rendered(data, (*lines, *export_lines(exports)), result.warnings)


def export_lines(exports: Exports) -> tuple[str, ...]:
    """Say what whoever starts the app by hand has to say first."""
    words = " ".join(f"{name}={shlex.quote(value)}" for name, value in exports.by_hand.items())
    return (f"  an app that is started by hand needs: export {words}",) if words else ()


_HOW = {
    "env": "as the environment asks",
    "cached": "as assigned before",
    "hash": "assigned to this worktree now",
    "first-available": "assigned to this worktree now",
}


def port_list(found: Sequence[Entry], here: str) -> Rendered:
    """Render ports.list; `here` is the folder of the asking worktree."""
    rows = [
        (
            "*" if entry.worktree == here else "",
            entry.port,
            entry.state,
            f"{entry.name or '?'} (pid {entry.pid or '?'})" if entry.listening else None,
            entry.branch,
            entry.worktree,
        )
        for entry in found
    ]
    titles = ("", "PORT", "STATE", "LISTENER", "BRANCH", "WORKTREE")
    data = {"ports": [entry._asdict() for entry in found]}
    first, *rest = table(titles, rows)
    return Rendered(data, (first, *lists.cut(rest)))


def holders(port: int, found: Sequence[dict[str, object]]) -> Rendered:
    """Render ports.who."""
    lines = []
    for holder in found:
        argv = holder["cmdline"]
        command = " ".join(argv).strip() if isinstance(argv, list) else "unknown"
        lines += [
            f"Port {port}: {holder['name'] or 'a process of another user'} "
            f"(pid {holder['pid'] or 'unknown'})",
            f"  command: {command}",
            *(f"  {word}: {holder[word]}" for word in _KNOWN if holder[word]),
        ]
    return Rendered(
        {"port": port, "holders": list(found)}, tuple(lines or [f"Nobody listens on port {port}."])
    )


_KNOWN = ("user", "cwd", "worktree", "since")
