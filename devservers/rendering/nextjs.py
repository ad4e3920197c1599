"""Rendering of what only Next.js has: whether the app compiles."""

from devservers.lifecycle.result import Status
from devservers.nextjs.errors import Report
from devservers.rendering.servers import NOT_RUNNING, Rendered

FAILED = 1  # exit status
_STATES = {
    "compiled": "It compiles.",
    "failed": "It fails:",
    "unknown": "Nothing has been compiled yet: open a page, and ask again.",
}


def errors(result: Report | None, status: Status) -> Rendered:
    """Render nextjs.errors; no report where the server doesn't run."""
    data: dict[str, object] = {"state": "not-running", "source": None, "errors": (), "notes": ()}
    data |= {"port": status.port, "url": status.url, "next": ()}
    if result is None:
        line = "Next.js server is not running: `inv nextjs.ensure` starts it"
        return Rendered({**data, "next": ("inv nextjs.ensure",)}, (line,), exit_code=NOT_RUNNING)
    lines = [_STATES[result.state]]
    for problem in result.problems:
        numbers = (problem.line, problem.column)
        place = ":".join(str(part) for part in (problem.file, *numbers) if part is not None)
        first, *rest = problem.message.splitlines() or [""]
        lines.append(f"  {problem.kind}: {f'{place}: ' if place else ''}{first}")
        lines += [f"    {line}" for line in rest]
    lines += [f"  {note}" for note in result.notes]
    if result.source == "log":
        lines.append("  from the log: this version of Next.js, or its bundler, has no tools to ask")
    data |= {"state": result.state, "source": result.source, "notes": result.notes}
    data |= {"errors": [problem._asdict() for problem in result.problems]}
    if result.state == "failed":
        data["next"] = ("inv nextjs.logs --lines=100",)
    failed = result.state == "failed"
    return Rendered(data, tuple(lines), exit_code=FAILED if failed else 0)
