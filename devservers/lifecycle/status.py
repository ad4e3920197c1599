"""Report: what is true now of a declared server, from its record and the live system."""

import math
from collections.abc import Iterator
from pathlib import Path

from devservers.lifecycle import adoption
from devservers.lifecycle.record import ServerRecord
from devservers.lifecycle.result import Ensured, LogFile, Status
from devservers.lifecycle.verdict import Verdict, View, examine
from devservers.spec import Description, ServerSpec
from devservers.system import logs, sockets


def status(spec: ServerSpec, deadline: float = math.inf) -> Status:
    """Return what is true now, from the record and the live system.

    No answer is waited for beyond `deadline`, a monotonic instant. Raises StateUnusableError.
    """
    view = examine(spec, deadline, home=True)
    record = running_record(spec, view)
    log = _log_file(spec, record or view.record, view)
    lines = logs.last_lines(Path(log.path), 1) if log.path else []
    urls = record.urls if record else view.recognised.urls if view.recognised else ()
    details = _described(spec, view.port, urls, answers=view.answers)
    foreign = view.verdict in (Verdict.FOREIGN, Verdict.CONFLICT)
    return Status(
        state=_state(view),
        port=view.port,
        url=spec.url(view.port),
        pid=record.process.pid if record else None,
        listener_pid=view.listener.process.pid if view.listener else None,
        pid_file=str(spec.files.pid),
        log_file=log.path,
        log_size=log.size,
        last_log_line=lines[-1] if lines else None,
        http_status=view.http_status,
        urls=urls if details.urls is None else details.urls,
        started_at=record.started_at if record else None,
        adopted=record.adopted if record else view.verdict is Verdict.ADOPTABLE,
        stand_in=record.stand_in if record else bool(view.recognised and view.recognised.stand_in),
        worktree=record.worktree if record else None,
        branch=record.branch if record else None,
        holders=sockets.holders(view.port) if foreign and view.port else (),
        warnings=(*_warnings(spec, view, record), *details.warnings),
        details=details.facts,
        lines=details.lines,
    )


def _described(
    spec: ServerSpec, port: int | None, urls: tuple[str, ...], *, answers: bool
) -> Description:
    return spec.behaviour.describe(port, urls, answers=answers)


def running_record(spec: ServerSpec, view: View) -> ServerRecord | None:
    """Return the record of the server that runs, the one it should have if it has none."""
    if view.verdict in (Verdict.STARTING, Verdict.CONFLICT):
        return view.record
    runs = view.listener or view.leader or view.verdict is Verdict.RUNNING
    return adoption.record_of(spec, view) if runs else None


def disabled(spec: ServerSpec) -> Status:
    """Return the status of a server that the configuration switches off: nothing is asked."""
    return Status(
        state="disabled",
        port=spec.port,
        url=spec.url(spec.port),
        pid=None,
        listener_pid=None,
        pid_file=str(spec.files.pid),
        log_file=str(spec.files.log),
        log_size=None,
        last_log_line=None,
        http_status=None,
        urls=(),
        started_at=None,
        adopted=False,
        stand_in=False,
        worktree=None,
        branch=None,
        details=_described(spec, spec.port, (), answers=False).facts,
    )


def log_file(spec: ServerSpec) -> LogFile:
    """Return where the output is: of the server that runs, else where the next start puts it."""
    view = examine(spec)
    return _log_file(spec, running_record(spec, view) or view.record, view)


def _log_file(spec: ServerSpec, record: ServerRecord | None, view: View) -> LogFile:
    if record is None and view.verdict is Verdict.ADOPTABLE:
        return LogFile(None, exists=False, size=None)
    path = record.log_file if record else str(spec.files.log)
    size = logs.size(Path(path)) if path else None
    return LogFile(path, size is not None, size)


def _warnings(spec: ServerSpec, view: View, record: ServerRecord | None) -> Iterator[str]:
    if record:
        yield from warnings_of(spec, record)
    if record and view.verdict is Verdict.CONFLICT:
        yield f"Our server (pid {record.process.pid}) runs, but not on its port."


_STATES = {
    Verdict.RUNNING: "running",
    Verdict.UNRESPONSIVE: "unresponsive",
    Verdict.STARTING: "starting",
    Verdict.STOPPED: "stopped",
    Verdict.STALE: "stale",
    Verdict.CONFLICT: "foreign",
    Verdict.FOREIGN: "foreign",
}


def _state(view: View) -> str:
    if view.verdict in _STATES:
        return _STATES[view.verdict]
    return "running" if view.answers else "unresponsive"


def ensured(
    spec: ServerSpec, action: str, record: ServerRecord, *, warnings: tuple[str, ...] = ()
) -> Ensured:
    """Return what ensure answers of the server that `record` describes."""
    return Ensured(
        action=action,
        port=record.port,
        url=spec.url(record.port),
        pid=record.process.pid,
        listener_pid=record.listener.process.pid if record.listener else None,
        log_file=record.log_file,
        urls=record.urls,
        adopted=record.adopted,
        stand_in=record.stand_in,
        command=record.argv,
        worktree=record.worktree,
        branch=record.branch,
        warnings=(*warnings_of(spec, record), *warnings),
        facts=spec.behaviour.facts(),
    )


def warnings_of(spec: ServerSpec, record: ServerRecord) -> Iterator[str]:
    """Yield what is not as this worktree's spec has it, in plain words."""
    yield from spec.warnings
    restart_it = f"`inv {spec.name}.restart`"
    if record.port != spec.port:
        for_whom = ", for every worktree" if spec.shared else ""
        has, asked = (
            f"on port {port}" if port else "without a port" for port in (record.port, spec.port)
        )
        yield (
            f"It runs {has}; this worktree asks for one {asked}. "
            f"{restart_it} would move it{for_whom}."
        )
    if record.stand_in and not spec.behaviour.stand_in:
        yield f"This is the stand-in, not the real {spec.title}. {restart_it} starts the real one."
    if spec.behaviour.stand_in and not record.stand_in:
        yield f"The real {spec.title} runs already; the stand-in was not started."
    yield from spec.behaviour.differences(record.argv)
