"""Adoption: the record of a running server that has none, or one that no longer fits."""

import time

from devservers.lifecycle.record import ServerRecord
from devservers.lifecycle.verdict import Verdict, View
from devservers.spec import ServerSpec
from devservers.system import process, process_info, sockets
from devservers.system.identity import Socket


def record_of(spec: ServerSpec, view: View) -> ServerRecord:
    """Return the record that a running server should have; its listener is in the view.

    That is the record on disk where it still fits, brought up to date; else what the listener
    tells of itself.
    """
    assert view.listener is not None  # noqa: S101 - as it is in every view of a server that listens
    listener = view.listener.process
    old = view.record
    if old and view.verdict in (Verdict.RUNNING, Verdict.UNRESPONSIVE):
        return old._replace(listener=view.listener)
    if old and old.listener and old.listener.process == listener:
        return old._replace(process=listener, listener=view.listener)
    said = view.recognised or spec.recognise(
        Socket(listener.pid, view.listener.address, view.port, view.listener.fd)
    )
    facts = sockets.holder(listener.pid)
    since = sockets.started_at(listener.pid)
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


def _own_log(spec: ServerSpec, pid: int) -> str | None:
    """Return where a server of ours, whose record is lost, writes; None for anybody else's."""
    return process_info.output_file(pid) if process.has_marker(pid, spec.marker) else None
