"""Rendering: one result as JSON (docs/reference.md) and as a few lines for people."""

import time
from collections.abc import Mapping
from typing import NamedTuple

from devservers.errors import DevServerError
from devservers.lifecycle.result import Ensured, LogFile, Status, Stopped
from devservers.spec import ports_of
from devservers.system import clock

STATUS_EXIT = {"running": 0, "starting": 4, "unresponsive": 4}
NOT_RUNNING = 3  # as in LSB


class Rendered(NamedTuple):
    """What one command says: the JSON object, the lines instead of it, warnings, exit status."""

    data: Mapping[str, object]
    lines: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    exit_code: int = 0


def ensured(result: Ensured, title: str, task: str, *, watches: bool) -> Rendered:
    """Render ensure, start and restart of the collection `task`.

    `watches` tells whether this kind of server watches ports.
    """
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
    }
    if watches:
        data |= {"watching": ports_of(result.urls), "added": ports_of(result.added)}
    name = _name(title, stand_in=result.stand_in)
    lines = [
        f"{name} {_DONE[result.action]}: {result.url}",
        f"  {_who(result.pid, result.listener_pid)}",
    ]
    if result.worktree and result.action == "already-running":
        lines.append(f"  started from {_from(result.worktree, result.branch)}")
    if watches:
        lines.append(f"  watching {_listed(ports_of(result.urls)) or 'no ports'}")
    if result.added:
        lines.append(f"  added to it just now: {_listed(ports_of(result.added))}")
    if result.pids_killed:
        lines.append(f"  ended before: pid {_listed(result.pids_killed)}")
    lines.append(f"  log: {result.log_file or 'unknown, it was not started by this tool'}")
    if result.action != "already-running":
        lines.append(f"  next: `inv {task}.status`, `inv {task}.logs --follow`, `inv {task}.stop`")
    return Rendered(data, tuple(lines), result.warnings)


def stopped(result: Stopped, title: str) -> Rendered:
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
        line = f"{title} stopped{how}: pid {_listed(result.pids_killed)}"
    else:
        line = f"{title} is not running"
    free = "free" if result.port_free else "not free"
    return Rendered(data, (f"{line}; port {result.port} is {free}",), result.warnings)


def status(result: Status, title: str, task: str, *, watches: bool) -> Rendered:
    """Render status; `task` is the collection whose ensure is the next step."""
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
    if watches:
        data["watching"] = ports_of(result.urls)
    data |= {**result.details, "warnings": result.warnings}
    name = _name(title, stand_in=result.stand_in)
    lines = [f"{name}: {_STATES[result.state]} {result.url if result.running else ''}".rstrip()]
    if result.running:
        up = f", up {_duration(now - started)}" if started else ""
        lines.append(f"  {_who(result.pid, result.listener_pid)}{up}{_adopted(result)}")
        if watches:
            lines.append(f"  watching {_listed(ports_of(result.urls)) or 'no ports'}")
        lines += [f"  {line}" for line in result.lines]
    elif result.state == "foreign":
        lines.append(f"  port {result.port}; `inv {task}.ensure` says what can be done")
    elif result.state != "disabled":
        lines.append(f"  port {result.port}; start it: `inv {task}.ensure`")
    lines += [f"  held by {_holder(holder)}" for holder in result.holders]
    if result.log_size is not None:
        lines.append(f"  log: {result.log_file} ({result.log_size} bytes)")
    exit_code = STATUS_EXIT.get(result.state, NOT_RUNNING)
    return Rendered(data, tuple(lines), result.warnings, exit_code)


def ran(port: int, code: int, more: Mapping[str, object]) -> Rendered:
    """Render a server that has run in the foreground; its exit status is handed on."""
    return Rendered({"action": "ran", "port": port, "exitStatus": code, **more}, exit_code=code)


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


def disabled(port: int, title: str, **more: object) -> Rendered:
    """Render what every task answers where `inngest.enabled` is false."""
    line = f"{title} is disabled here (inngest.enabled is false in the configuration)"
    return Rendered({"action": "disabled", "port": port, **more, "warnings": ()}, (line,))


def failed(error: DevServerError) -> Rendered:
    """Render a failure of any task."""
    data = {"code": error.code, "message": error.message, "hint": error.hint, **error.details}
    lines = (f"error: {error.sentence}", *error.lines, *((error.hint,) if error.hint else ()))
    return Rendered({"action": "error", "error": data}, lines, exit_code=error.exit_code)


_DONE = {
    "started": "started",
    "already-running": "runs already",
    "restarted": "restarted",
    "starting": "is starting",
}
_STATES = {
    "running": "running at",
    "starting": "starting at",
    "unresponsive": "running, but not responding, at",
    "stopped": "not running",
    "stale": "not running (its pid file is left over)",
    "disabled": "disabled (inngest.enabled is false in the configuration)",
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


def _holder(holder: Mapping[str, object]) -> str:
    if holder["pid"] is None:
        return f"a process of {holder['user'] or 'another user'}"
    return f"{holder['name'] or 'a process'} (pid {holder['pid']})"


def _from(worktree: str, branch: str | None) -> str:
    return f"{worktree} (branch {branch})" if branch else worktree


def _adopted(result: Status) -> str:
    return ", not started by this tool" if result.adopted else ""


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes} min"
        if hours
        else f"{minutes} min {rest} s"
        if minutes
        else f"{rest} s"
    )


def _quoted(path: str) -> str:
    import shlex  # noqa: PLC0415 - only logs needs it

    return shlex.quote(path)
