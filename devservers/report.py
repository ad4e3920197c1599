"""Report: what is true now of a declared server, from its record and the live system."""

from collections.abc import Iterator
from pathlib import Path

from devservers import logs, ports, state
from devservers.result import LogFile, Status
from devservers.spec import ServerSpec
from devservers.state import ServerRecord
from devservers.verdict import Verdict, View, is_answer, look


def status(spec: ServerSpec) -> Status:
    """Return what is true now, from the record and the live system. Raises StateUnusableError."""
    view = look(spec, spec.home_path)
    ours = view.record if view.verdict in _ALIVE else None
    log = log_file(spec, view.record)
    listener = view.listener.process if view.listener else None
    recognised = view.recognised
    lines = logs.last_lines(Path(log.path), 1) if log.path else []
    warnings = list(warnings_of(spec, ours)) if ours else []
    foreign = view.verdict in (Verdict.FOREIGN, Verdict.CONFLICT)
    if view.verdict is Verdict.CONFLICT and ours:
        warnings.append(f"Our server (pid {ours.process.pid}) runs, but not on its port.")
    urls = ours.urls if ours else recognised.urls if recognised else ()
    details = spec.describe(view.port, urls, answers=is_answer(spec, view.http_status))
    warnings += details.warnings
    root = ours.process if ours and view.verdict is not Verdict.ORPHAN else listener
    return Status(
        state=_state(spec, view),
        port=view.port,
        url=spec.url(view.port),
        pid=root.pid if root else None,
        listener_pid=listener.pid if listener else None,
        pid_file=str(spec.pid_file),
        log_file=log.path,
        log_size=log.size,
        last_log_line=lines[-1] if lines else None,
        http_status=view.http_status,
        urls=urls if details.urls is None else details.urls,
        started_at=ours.started_at if ours else None,
        adopted=ours.adopted if ours else view.verdict in (Verdict.ORPHAN, Verdict.ADOPTABLE),
        stand_in=bool(ours and ours.stand_in) or bool(recognised and recognised.stand_in),
        worktree=ours.worktree if ours else None,
        branch=ours.branch if ours else None,
        holders=ports.holders(view.port) if foreign else (),
        warnings=tuple(warnings),
        details=details.facts,
    )


def disabled(spec: ServerSpec) -> Status:
    """Return the status of a server that the configuration switches off: nothing is asked."""
    return Status(
        state="disabled",
        port=spec.port,
        url=spec.url(spec.port),
        pid=None,
        listener_pid=None,
        pid_file=str(spec.pid_file),
        log_file=str(spec.log_file),
        log_size=None,
        last_log_line=None,
        http_status=None,
        urls=(),
        started_at=None,
        adopted=False,
        stand_in=False,
        worktree=None,
        branch=None,
        details=spec.describe(spec.port, (), answers=False).facts,
    )


def log_file(spec: ServerSpec, record: ServerRecord | None = None) -> LogFile:
    """Return where the output is: of the server on record, else where the next start puts it."""
    record = record or state.read(spec.pid_file)
    path = record.log_file if record else str(spec.log_file)
    size = logs.size(Path(path)) if path else None
    return LogFile(path, size is not None, size)


_ALIVE = frozenset(
    {Verdict.RUNNING, Verdict.UNRESPONSIVE, Verdict.STARTING, Verdict.CONFLICT, Verdict.ORPHAN}
)
_STATES = {
    Verdict.RUNNING: "running",
    Verdict.UNRESPONSIVE: "unresponsive",
    Verdict.STARTING: "starting",
    Verdict.STOPPED: "stopped",
    Verdict.STALE: "stale",
    Verdict.CONFLICT: "foreign",
    Verdict.FOREIGN: "foreign",
}


def _state(spec: ServerSpec, view: View) -> str:
    if view.verdict in _STATES:
        return _STATES[view.verdict]
    return "running" if is_answer(spec, view.http_status) else "unresponsive"


def warnings_of(spec: ServerSpec, record: ServerRecord) -> Iterator[str]:
    """Yield what is not as this worktree's spec has it, in plain words."""
    restart_it = f"`inv {spec.name}.restart`"
    if record.port != spec.port:
        yield (
            f"It runs on port {record.port}; this worktree's configuration asks for {spec.port}. "
            f"{restart_it} would move it, for every worktree."
        )
    if record.stand_in and not spec.stand_in:
        yield f"This is the stand-in, not the real {spec.title}. {restart_it} starts the real one."
    if spec.stand_in and not record.stand_in:
        yield f"The real {spec.title} runs already; the stand-in was not started."
    yield from spec.differences(record.argv)
