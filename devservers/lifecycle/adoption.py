"""Adoption: the record of a running server that has none, or one that no longer fits."""

import time

from devservers.lifecycle.record import ServerRecord
from devservers.lifecycle.verdict import Verdict, View
from devservers.spec import ServerSpec
from devservers.system import process as processes
from devservers.system import process_info, sockets
from devservers.system.identity import Identity, Socket


def record_of(spec: ServerSpec, view: View) -> ServerRecord:
    """Return the record that a running server should have; who it is, is in the view.

    That is the record on disk where it still fits, brought up to date; else what the process tells
    of itself.
    """
    if view.listener is None or view.port is None:
        return _without_port(spec, view)
    listener = view.listener.process
    old = view.record
    if old and view.verdict in (Verdict.RUNNING, Verdict.UNRESPONSIVE):
        return old._replace(listener=view.listener)
    if old and old.listener and old.listener.process == listener:
        return old._replace(process=listener, listener=view.listener)
    said = view.recognised or spec.behaviour.recognise(
        Socket(listener.pid, view.listener.address, view.port, view.listener.fd)
    )
    return _as_found(spec, listener)._replace(
        port=view.port,
        urls=said.urls if said else (),
        listener=view.listener,
        stand_in=bool(said and said.stand_in),
    )


def _without_port(spec: ServerSpec, view: View) -> ServerRecord:
    """Return the record of a server without a port, whose mark is all that there is to go by."""
    leader = view.leader or (view.record and view.record.process)
    assert leader is not None  # noqa: S101 - as in every view of one that runs
    if view.record:  # what it has written since its start counts, whichever of its processes lives
        return view.record._replace(process=leader)
    return _as_found(spec, leader)


def _as_found(spec: ServerSpec, process: Identity) -> ServerRecord:
    """Return what a process tells of itself, as a record."""
    facts = sockets.holder(process.pid)
    argv = facts["cmdline"]
    return ServerRecord(
        process=process,
        port=None,
        argv=tuple(argv) if isinstance(argv, list) else (),
        urls=(),
        log_file=_own_log(spec, process.pid),
        log_offset=0,
        cwd=str(facts["cwd"] or ""),
        worktree=None,
        branch=None,
        started_at=sockets.started_at(process.pid) or time.time(),
        adopted=True,
    )


def _own_log(spec: ServerSpec, pid: int) -> str | None:
    """Return where a server of ours, whose record is lost, writes; None for anybody else's."""
    return process_info.output_file(pid) if processes.has_marker(pid, spec.marker) else None
