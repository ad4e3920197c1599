"""Rendering of what the agents.* tasks answer."""

from devservers.agents.install import Agents, File
from devservers.rendering.servers import Rendered

_STATES = {
    "written": "written",
    "kept": "as it was",
    "removed": "removed",
    "absent": "not there",
    "current": "up to date",
    "outdated": "out of date: `{}` writes it anew",
}
NOT_CURRENT = 1  # exit status of agents.check


def agents(result: Agents, program: str) -> Rendered:
    """Render agents.install, agents.uninstall and agents.status; `program` calls the tasks."""
    files = [{"path": str(file.path), "state": file.state} for file in result.files]
    lines = [line for file in result.files for line in _lines(file, program)]
    if any(file.state == "written" for file in result.files):
        lines.append("Commit them, so that every worktree and every agent has them.")
    data = {"action": result.action, "files": files, "warnings": result.warnings}
    return Rendered(data, tuple(lines), result.warnings)


def check(result: Agents, program: str) -> Rendered:
    """Render agents.check: it fails where a file is not as it would be written now."""
    shown = agents(result, program)
    ok = not result.outdated
    again = f"`{program} agents.install` writes what is out of date or missing."
    return shown._replace(
        data={**shown.data, "action": "checked", "ok": ok},
        lines=(*shown.lines, *(() if ok else (again,))),
        exit_code=0 if ok else NOT_CURRENT,
    )


def show(text: str) -> Rendered:
    """Render agents.show: the text itself."""
    return Rendered({"action": "shown", "text": text}, tuple(text.splitlines()))


def _lines(file: File, program: str) -> list[str]:
    state = _STATES[file.state].format(f"{program} agents.install")
    return [f"{file.path}: {state}", *(f"  {line}" for line in file.change[2:])]
