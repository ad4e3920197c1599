"""Failures: the failures of the lifecycle in words, with who is at fault and what to do next."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from devservers import terminal
from devservers.errors import (
    LockTimeoutError,
    NotReadyError,
    PortInUseError,
    ServerExitedError,
    remedy_of,
)
from devservers.lifecycle import state
from devservers.lifecycle.state import LockHolder
from devservers.lifecycle.verdict import View
from devservers.spec import ServerSpec
from devservers.system import clock, logs, process, procfs, sockets

if TYPE_CHECKING:  # 4 ms that a warm call saves
    from subprocess import Popen

LAST_WORDS = 20  # lines
UNNAMED = "a process that can't be named"
_SILENT = " It printed nothing."


def port_in_use(spec: ServerSpec, port: int | None) -> PortInUseError:
    """Return the error that names who holds `port`."""
    holders = () if port is None else sockets.holders(port)
    who = describe_holders(holders)
    forced = (
        f"Stop it, {spec.words.elsewhere}, or run `inv {spec.name}.ensure --force` to terminate it."
    )
    hint = forced if _may_be_ended(holders) else f"Stop it, or {spec.words.elsewhere}."
    return PortInUseError(
        f"Port {port} is held by {who}, not by a server of ours: {spec.title} not started.",
        hint=hint,
        details={"port": port, "holders": list(holders)},
    )


def _may_be_ended(holders: Iterable[Mapping[str, object]]) -> bool:
    """Return whether --force would end them all: nobody of another user or in a container.

    On macOS another user's listener can't be seen at all (psutil #1219).
    """
    pids = [holder["pid"] for holder in holders]
    return bool(pids) and all(isinstance(pid, int) and procfs.is_within_reach(pid) for pid in pids)


def describe_holders(holders: Iterable[Mapping[str, object]]) -> str:
    """Return who holds a port, in words."""
    return " and ".join(map(describe_holder, holders)) or "a process that can't be seen from here"


def describe_holder(holder: Mapping[str, object]) -> str:
    """Return a process in a few words: `python3 (pid 77, user ann, in /repo, since …)`."""
    pid = holder["pid"]
    if not isinstance(pid, int):
        whose = f"a process of {holder['user']}" if holder["user"] else "a process"
        return f"{whose} that can't be seen from here"
    facts = [f"pid {pid}"]
    facts += [f"{word} {holder[key]}" for word, key in _FACTS if holder[key]]
    facts += ["in another container"] if procfs.is_elsewhere(pid) else []
    return f"{holder['name'] or 'a process'} ({', '.join(facts)})"


_FACTS = (("user", "user"), ("in", "cwd"), ("since", "since"))


def stray(pid: int) -> dict[str, object]:
    """Describe a process that a server opened, and that lives on without it."""
    known = sockets.holder(pid)
    return {"pid": pid, "name": known["name"], "command": known["cmdline"]}


def left(strays: Iterable[Mapping[str, object]]) -> tuple[str, ...]:
    """Return the warning that names what a stopped server had opened."""
    who = ", ".join(f"{one['name'] or 'a process'} (pid {one['pid']})" for one in strays)
    if not who:
        return ()
    return (f"Left alone: {who}, opened by the server and living on its own; --force ends it.",)


def lock_holder(pid_file: Path) -> LockHolder | None:
    """Return who signed the lock last, None if that process is gone: then it isn't the holder."""
    held = state.lock_holder(pid_file)
    return held if held and process.is_alive(held.process) else None


def lock_timeout(
    pid_file: Path, timeout: float, doing: str = "starting or stopping the server"
) -> LockTimeoutError:
    """Return the error that names who has held the lock for all of `timeout` seconds."""
    held = lock_holder(pid_file)
    holder = {**sockets.holder(held.process.pid), "since": clock.utc(held.since)} if held else None
    who = describe_holder(holder) if holder else UNNAMED
    return LockTimeoutError(
        f"Waited {timeout:g} s for the lock {state.lock_file(pid_file)}, held by {who}.",
        hint=f"It is {doing}. Wait for it, or end it and try again.",
        details={"holders": [holder] if holder else [], "waitedSeconds": timeout},
    )


def left_alone(spec: ServerSpec, seen: View | None, timeout: float) -> NotReadyError:
    """Return the error for a server that somebody else started and that still doesn't answer."""
    record = seen.record if seen else None
    pid = record.process.pid if record else "?"
    words = logs.last_lines(Path(record.log_file), 5) if record and record.log_file else []
    where = f" on port {seen.port}" if seen and seen.port else spec.where
    return NotReadyError(
        f"The {spec.title} (pid {pid}) runs, but was not up{where} "
        f"within {timeout:g} s. It was left alone: "
        f"{spec.words.worth}.",
        hint=f"Look at `inv {spec.name}.logs`; `inv {spec.name}.restart` replaces it.",
        details={
            "waitedSeconds": timeout,
            "logFile": record.log_file if record else None,
            "lastLines": words,
        },
    )


def exited(spec: ServerSpec, child: "Popen[bytes]", offset: int) -> ServerExitedError:
    """Return the error that quotes what an early-ended server wrote after byte `offset`."""
    code = child.wait()
    words = _last_words(spec.files.log, offset)
    how = f"with exit status {code}" if code >= 0 else f"by signal {-code}"
    return ServerExitedError(
        f"The {spec.title} (pid {child.pid}) ended {how} before it was up{spec.where}."
        f"{'' if words else _SILENT}",
        lines=_quoted(words),
        hint=spec.words.remedy("\n".join(words)) or _log_hint(spec.files.log),
        details={"exitStatus": code, "logFile": str(spec.files.log), "lastLines": words},
    )


def not_executed(spec: ServerSpec, argv: tuple[str, ...], error: OSError) -> ServerExitedError:
    """Return the error for a server that could not even begin: it, or the system, is at fault."""
    lack = remedy_of(error)
    what = "started" if lack else "executed"
    return ServerExitedError(
        f"{argv[0]} could not be {what}: {error.strerror or error}.",
        hint=lack
        or f"Check {spec.name}.command in the configuration, or that the file is executable.",
        details={
            "command": list(argv),
            "exitStatus": None,
            "logFile": str(spec.files.log),
            "lastLines": [],
        },
    )


def not_ready(spec: ServerSpec, waited: float, offset: int) -> NotReadyError:
    """Return the error for a server that was started, waited for and stopped again."""
    words = _last_words(spec.files.log, offset)
    return NotReadyError(
        f"The {spec.title} was not up{spec.where} within {waited:.1f} s, "
        f"and was stopped.{'' if words else _SILENT}",
        lines=_quoted(words),
        hint=spec.words.remedy("\n".join(words))
        or f"{_log_hint(spec.files.log)}. More time: --timeout=SECONDS.",
        details={"waitedSeconds": waited, "logFile": str(spec.files.log), "lastLines": words},
    )


def _log_hint(log: Path) -> str:
    full = ", on a disk that is full: make room there first" if logs.is_full(log) else ""
    return f"Its log: {log}{full}"


def _last_words(log: Path, offset: int) -> list[str]:
    return logs.last_lines(log, LAST_WORDS, start=offset)


def _quoted(words: list[str]) -> list[str]:
    return [f"  | {terminal.without_colours(line)}" for line in words]


def moves_away(spec: ServerSpec, port: int | None, tries: int) -> NotReadyError:
    """Return the error for a server that keeps going to another port than it was told."""
    return NotReadyError(
        f"The {spec.title} was told to use port {spec.port} and served {port} instead, {tries} "
        "times in a row, although nobody can be seen on its own. It was stopped.",
        hint=f"Its log may say why: {spec.files.log}. Another {spec.name}.port may help.",
        details={"port": spec.port, "logFile": str(spec.files.log), "lastLines": []},
    )
