"""Rendering: one result as JSON, with the keys of docs/reference.md, and as lines for people."""

import time
from collections.abc import Mapping
from typing import NamedTuple

from devservers.errors import DevServerError
from devservers.kind import Kind
from devservers.lifecycle.failures import describe_holder
from devservers.lifecycle.result import Ensured, LogFile, Status, Stopped
from devservers.ports import ranges
from devservers.rendering import lists
from devservers.spec import ServerSpec, ports_of
from devservers.system import clock

STATUS_EXIT = {"running": 0, "starting": 4, "unresponsive": 4}
NOT_RUNNING = 3  # as in LSB


class Rendered(NamedTuple):
    """What one command says: the JSON object, the lines instead of it, warnings, exit status."""

    data: Mapping[str, object]
    lines: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    exit_code: int = 0
    idle: bool = False
    """Nothing had to be done: not worth a word to whoever asked for quiet."""
    is_failure: bool = False


def ensured(result: Ensured, kind: Kind) -> Rendered:
    """Render ensure, start and restart of a server of that kind."""
    data: dict[str, object] = {
        "action": result.action,
        "port": result.port,
        "url": result.url,
        "pid": result.pid,
        "logFile": result.log_file,
        "listenerPid": result.listener_pid,
        "adopted": result.adopted,
        "standIn": result.stand_in,
        "command": result.command,
        "worktree": result.worktree,
        "branch": result.branch,
        "pidsKilled": result.pids_killed,
        "left": result.left,
        "warnings": result.warnings,
        "next": (f"inv {kind.name}.status",) if result.action == "starting" else (),
    }
    if kind.watches:
        data |= {"watching": ports_of(result.urls), "added": ports_of(result.added)}
    data |= {**result.facts}
    name = _name(kind.title, stand_in=result.stand_in)
    lines = [
        f"{name} {_DONE[result.action]}{f': {result.url}' if result.url else ''}",
        f"  {_who(result.pid, result.listener_pid)}",
    ]
    if result.worktree and result.action == "already-running":
        lines.append(f"  started from {_from(result.worktree, result.branch)}")
    if kind.watches:
        lines.append(f"  watching {ranges.shown(ports_of(result.urls)) or 'no ports'}")
    if result.added:
        lines.append(f"  added to it just now: {ranges.shown(ports_of(result.added))}")
    if result.pids_killed:
        lines.append(f"  ended before: pid {_listed(result.pids_killed)}")
    lines.append(f"  log: {result.log_file or 'unknown, it was not started by this tool'}")
    if result.action != "already-running":
        lines.append("  next: " + ", ".join(f"`inv {kind.name}.{word}`" for word in _NEXT))
    return Rendered(data, tuple(lines), result.warnings, idle=result.idle)


def of(rendered: Rendered, spec: ServerSpec) -> Rendered:
    """Add whose server it is, if it is a worktree's own: known even of one started by hand."""
    if spec.shared:
        return rendered
    whose = {"worktree": str(spec.worktree), "branch": spec.branch}
    return rendered._replace(data={**rendered.data, **whose})


def stopped(result: Stopped, kind: Kind) -> Rendered:
    """Render stop."""
    data = {
        "action": result.action,
        "port": result.port,
        "pidsKilled": result.pids_killed,
        "portFree": result.port_free,
        "forced": result.forced,
        "holders": result.holders,
        "left": result.left,
        "warnings": result.warnings,
    }
    if result.action == "stopped":
        how = " (SIGKILL was needed)" if result.forced else ""
        line = f"{kind.title} stopped{how}: pid {_listed(result.pids_killed)}"
    else:
        line = f"{kind.title} is not running"
    if result.port is not None:
        line += f"; port {result.port} is {'free' if result.port_free else 'not free'}"
    return Rendered(data, (line,), result.warnings)


def status(result: Status, kind: Kind) -> Rendered:
    """Render status."""
    now = time.time()
    started = result.started_at
    data: dict[str, object] = {
        "running": result.running,
        "state": result.state,
        "port": result.port,
        "url": result.url,
        "pid": result.pid,
        "listenerPid": result.listener_pid,
        "pidFile": result.pid_file,
        "logFile": result.log_file,
        "logSize": result.log_size,
        "lastLogLine": result.last_log_line,
        "responsive": result.responsive,
        "httpStatus": result.http_status,
        "startedAt": clock.utc(started) if started else None,
        "uptimeSeconds": round(max(now - started, 0), 1) if started and result.running else None,
        "adopted": result.adopted,
        "standIn": result.stand_in,
        "worktree": result.worktree,
        "branch": result.branch,
        "holders": result.holders,
    }
    if kind.watches:
        data["watching"] = ports_of(result.urls)
    data |= {**result.details, "warnings": result.warnings, "next": _next_of(result, kind)}
    name = _name(kind.title, stand_in=result.stand_in)
    if result.state == "disabled":
        return Rendered(data, (_disabled(kind),), result.warnings, NOT_RUNNING)
    lines = [f"{name}: {_STATES[result.state]}{f' at {result.url}' if _is_at(result) else ''}"]
    if result.running:
        up = f", up {clock.duration(now - started)}" if started else ""
        lines.append(f"  {_who(result.pid, result.listener_pid)}{up}{_adopted(result)}")
        if kind.watches:
            lines.append(f"  watching {ranges.shown(ports_of(result.urls)) or 'no ports'}")
        lines += [f"  {line}" for line in result.lines]
    elif result.state == "foreign":
        lines.append(f"  port {result.port}; `inv {kind.name}.ensure` says what can be done")
    else:
        port = "" if result.port is None else f"port {result.port}; "
        lines.append(f"  {port}start it: `inv {kind.name}.ensure`")
    lines += lists.cut([f"  held by {describe_holder(holder)}" for holder in result.holders])
    if result.log_size is not None:
        lines.append(f"  log: {result.log_file} ({result.log_size} bytes)")
    exit_code = STATUS_EXIT.get(result.state, NOT_RUNNING)
    return Rendered(data, tuple(lines), result.warnings, exit_code)


def ran(port: int | None, code: int) -> Rendered:
    """Render a server that has run in the foreground; its exit status is handed on."""
    return Rendered({"action": "ran", "port": port, "exitStatus": code}, exit_code=code)


def logs(result: LogFile) -> Rendered:
    """Render where the log is."""
    command = f"tail -f {_quoted(result.path)}" if result.path else None
    data = {
        "action": "logs",
        "logFile": result.path,
        "command": command,
        "exists": result.exists,
        "size": result.size,
    }
    where = result.path or "unknown: the server was not started by this tool"
    return Rendered(data, (), () if result.exists else (f"Log file not found: {where}",))


def disabled(kind: Kind, port: int | None, **more: object) -> Rendered:
    """Render what every task answers where the configuration switches a server off."""
    data = {"action": "disabled", "port": port, **more, "warnings": ()}
    return Rendered(data, (_disabled(kind),), idle=True)


def _disabled(kind: Kind) -> str:
    return f"{kind.title}: disabled here ({kind.name}.enabled is false in the configuration)"


def _is_at(result: Status) -> bool:
    return result.running and result.url is not None


def failed(error: DevServerError) -> Rendered:
    """Render a failure of any task."""
    what = {"code": error.code, "message": error.message, "hint": error.hint, **error.details}
    hint = (error.hint,) if error.hint else ()
    lines = (f"error: {error.sentence}", *lists.cut(error.lines), *hint)
    data = {"action": "error", "error": what, "next": commands(error.hint or "")}
    return Rendered(data, lines, exit_code=error.exit_code, is_failure=True)


def commands(hint: str) -> tuple[str, ...]:
    """Return the tasks that a hint names, as command lines to be run.

    But none that may end what is somebody else's: that is for a person to say.
    """
    import re  # noqa: PLC0415 - for a failure only

    found = re.findall(r"`(inv [^`]+)`", hint)
    return tuple(dict.fromkeys(one for one in found if "--force" not in one))


def _next_of(result: Status, kind: Kind) -> tuple[str, ...]:
    """Return what to run next where the server is not simply running."""
    logs, again = f"inv {kind.name}.logs", f"inv {kind.name}.restart"
    steps = {
        "stopped": (f"inv {kind.name}.ensure",),
        "stale": (f"inv {kind.name}.ensure",),
        "starting": (f"inv {kind.name}.status",),
        "unresponsive": (logs, again),
        "foreign": (f"inv ports.who --port={result.port}",),
    }
    return steps.get(result.state, ())


def interrupted(message: str, status: int) -> Rendered:
    """Render what was told to end, by ^C or SIGTERM."""
    return _broken_off("interrupted", (message,), message, status)


def defect(error: Exception) -> Rendered:
    """Render a defect of ours; people have been shown its traceback."""
    return _broken_off("internal", (), f"{type(error).__name__}: {error}", 1)


def _broken_off(code: str, lines: tuple[str, ...], message: str, status: int) -> Rendered:
    error = {"code": code, "message": message, "hint": None}
    data = {"action": "error", "error": error, "next": ()}
    return Rendered(data, lines, exit_code=status, is_failure=True)


_NEXT = ("status", "logs --follow", "stop")


_DONE = {
    "started": "started",
    "already-running": "runs already",
    "restarted": "restarted",
    "starting": "is starting",
}
_STATES = {
    "running": "running",
    "starting": "starting",
    "unresponsive": "running, but not responding,",
    "stopped": "not running",
    "stale": "not running (its pid file is left over)",
    "foreign": "not running: something else holds its port",
}


def _name(title: str, *, stand_in: bool) -> str:
    return f"{title} (stand-in)" if stand_in else title


def _who(pid: int | None, listener_pid: int | None) -> str:
    if pid is None:
        return "pid unknown"
    return (
        f"pid {pid}" if listener_pid in (pid, None) else f"pid {pid}, listener pid {listener_pid}"
    )


def _from(worktree: str, branch: str | None) -> str:
    return f"{worktree} (branch {branch})" if branch else worktree


def _adopted(result: Status) -> str:
    return ", not started by this tool" if result.adopted else ""


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))


def _quoted(path: str) -> str:
    import shlex  # noqa: PLC0415 - only logs needs it

    return shlex.quote(path)
