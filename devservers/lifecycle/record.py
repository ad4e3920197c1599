"""Record: what was started, as it is kept beside the pid file. Parsed strictly, or not at all."""

import json
import os
from typing import Any, NamedTuple

from devservers.system.identity import Identity, Listener

LARGEST_PID = 1 << 22  # Linux's upper limit (proc(5), pid_max); others are far below


class ServerRecord(NamedTuple):
    """What was started (or adopted), as far as it can't be seen in the live system."""

    process: Identity
    """The process that we spawned; for an adopted server its listener."""
    port: int | None
    argv: tuple[str, ...]
    urls: tuple[str, ...]
    """What the server was told to watch, at its start and since."""
    log_file: str | None
    log_offset: int
    """Bytes in the log when this run began."""
    cwd: str
    worktree: str | None
    branch: str | None
    started_at: float
    """Seconds since the epoch."""
    listener: Listener | None = None
    adopted: bool = False
    stand_in: bool = False
    ready: bool = False
    """It was proved to be up."""


def parse(data: bytes) -> ServerRecord | None:
    """Return the record in `data`, None if a single field isn't what we would have written."""
    try:
        raw = json.loads(data)
        listener = raw["listener"]
        if listener is not None and raw["port"] is None:
            return None
        return ServerRecord(
            process=_identity(raw),
            port=None if raw["port"] is None else _whole(raw["port"], 65535),
            argv=_texts(raw["argv"]),
            urls=_texts(raw["urls"]),
            log_file=_text_or_none(raw["logFile"]),
            log_offset=_whole(raw["logOffset"], 1 << 62, least=0),
            cwd=_text(raw["cwd"]),
            worktree=_text_or_none(raw["worktree"]),
            branch=_text_or_none(raw["branch"]),
            started_at=float(seconds(raw["startedAt"])),
            listener=None if listener is None else _listener(listener),
            adopted=_flag(raw["adopted"]),
            stand_in=_flag(raw["standIn"]),
            ready=_flag(raw.get("ready", False)),  # not in those of version 0.1
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def dump(record: ServerRecord) -> str:
    """Return the text that `parse` reads."""
    listener = record.listener
    data: dict[str, object] = {
        "pid": record.process.pid,
        "started": record.process.started,
        "port": record.port,
        "argv": record.argv,
        "urls": record.urls,
        "logFile": record.log_file,
        "logOffset": record.log_offset,
        "cwd": record.cwd,
        "worktree": record.worktree,
        "branch": record.branch,
        "startedAt": record.started_at,
        "listener": listener
        and {
            "pid": listener.process.pid,
            "started": listener.process.started,
            "address": listener.address,
            "fd": listener.fd,
            "inode": listener.inode,
        },
        "adopted": record.adopted,
        "standIn": record.stand_in,
        "ready": record.ready,
    }
    return f"{json.dumps(data, indent=1)}\n"


def _identity(raw: dict[str, Any]) -> Identity:
    return Identity(_whole(raw["pid"], LARGEST_PID, least=2), _text(raw["started"]))


def _listener(raw: dict[str, Any]) -> Listener:
    fd = _whole(raw["fd"], 1 << 30, least=-1)
    return Listener(_identity(raw), _text(raw["address"]), fd, _text(raw["inode"], least=0))


def seconds(value: object) -> float:
    """Return an instant in seconds since the epoch. Raises TypeError for what can't be one."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < 1e11:  # noqa: PLR2004 - the year 5138
        raise TypeError
    return value


def _whole(value: object, most: int, least: int = 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise TypeError
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _text(value: object, least: int = 1) -> str:
    if not isinstance(value, str) or len(value) < least or "\0" in value:
        raise TypeError
    os.fsencode(value)  # JSON can spell half a surrogate pair, which no path or argument can hold
    return value


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(_text(item, least=0) for item in value)
