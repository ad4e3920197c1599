"""Adoption: the record of a running server that has none, or one that no longer fits."""

import time

from devservers import ports, process, state, whereabouts
from devservers.identity import Socket
from devservers.record import ServerRecord
from devservers.spec import ServerSpec
from devservers.verdict import Verdict, View, is_answer


def record_of(spec: ServerSpec, view: View) -> ServerRecord | None:
    """Return the record that a running server should have; None if it can't have one.

    That is the record on disk where it still fits, brought up to date; else what the listener
    tells of itself.
    """
    if view.listener is None:
        return None
    listener = view.listener.process
    old = view.record
    if old and view.verdict in (Verdict.RUNNING, Verdict.UNRESPONSIVE):
        return old._replace(listener=view.listener)
    if old and old.listener and old.listener.process == listener:
        return old._replace(process=listener, listener=view.listener)
    said = view.recognised or spec.recognise(
        Socket(listener.pid, view.listener.address, view.port, view.listener.fd)
    )
    facts = ports.holder(listener.pid)
    since = ports.started_at(listener.pid)
    argv = facts["cmdline"]
    return ServerRecord(
        process=listener,
        port=view.port,
        argv=tuple(argv) if isinstance(argv, list) else (),
        urls=said.urls if said else (),
        log_file=_own_log(spec, listener.pid),
        log_offset=0,
        cwd=str(facts["cwd"] or ""),
        worktree=None,
        branch=None,
        started_at=since or time.time(),
        listener=view.listener,
        adopted=True,
        stand_in=bool(said and said.stand_in),
    )


def recorded_if_silent(spec: ServerSpec, view: View) -> View:
    """Record an adoptable server that doesn't answer, so that it is waited for like any other.

    Call it under the lock.
    """
    if view.verdict is not Verdict.ADOPTABLE or is_answer(spec, view.http_status):
        return view
    record = record_of(spec, view)
    if record is None:
        return view
    state.write(spec.pid_file, record)
    return view._replace(verdict=Verdict.UNRESPONSIVE, record=record)


def _own_log(spec: ServerSpec, pid: int) -> str | None:
    """Return where a server of ours, whose record is lost, writes; None for anybody else's."""
    return whereabouts.output_file(pid) if process.has_marker(pid, spec.marker) else None
