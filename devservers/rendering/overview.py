"""Rendering of dev.status: every server of every worktree, what it costs, whose code is served."""

import time
from collections.abc import Iterator, Mapping

from devservers.kind import Kind
from devservers.lifecycle.activity import Usage
from devservers.lifecycle.result import Status
from devservers.rendering import amounts, servers
from devservers.rendering.ports import export_lines
from devservers.rendering.servers import Rendered
from devservers.rendering.table import table
from devservers.rendering.worktrees import nested
from devservers.system import clock
from devservers.worktrees.overview import Overview, Row

SHORT = 9  # characters of a commit that people need
QUIET = frozenset({"stopped", "disabled"})  # not worth a line of its own beside others
NOBODYS = ("", "", "", "", "")  # of a worktree's further lines: what its first one has said
TITLES = (
    *("", "BRANCH", "SERVER", "STATE", "URL", "MEM", "CPU", "UP", "IDLE"),
    *("SERVED", "COMMIT", "AGE", "CHANGED", "WORKTREE"),
)


def overview(found: Overview) -> Rendered:
    """Render it: as a table with a line a server, its worktree's own in the first, and totals."""
    now = time.time()
    used = {name: servers.status(its, found.kinds[name]) for name, its in found.used.items()}
    pinned = {one.data.get("pinned") for one in used.values()} - {None}
    lines: list[tuple[object, ...]] = []
    for name, its in found.used.items():
        shared = found.kinds[name].short
        whose = (None, None, None, None, "(all worktrees)")
        lines.append(("", None, *_server(shared, its, found.usage.get(name, Usage()), now), *whose))
    for row in found.rows:
        lines += _lines(row, found, pinned, now)
    data = {name: {**one.data, **_cost(found.usage.get(name))} for name, one in used.items()}
    rows = [
        {**_row(row, found.kinds, pinned), "inUse": row.worktree == found.in_use}
        for row in found.rows
    ]
    return Rendered(
        {**nested(data, found.kinds), "worktrees": rows},
        (*table(TITLES, lines), *export_lines(found.exports), _totals(found)),
        tuple(_warnings(found, used)),
    )


def _lines(
    row: Row, found: Overview, pinned: set[object], now: float
) -> Iterator[tuple[object, ...]]:
    """Yield a line for each server of a worktree: those that just don't run share one."""
    shown = {name: its for name, its in row.servers.items() if its.state not in QUIET}
    if not shown:
        shown = dict(list(row.servers.items())[:1])
    head = row.head
    whose: tuple[object, ...] = (
        _served(row, pinned),
        head.commit[:SHORT] if head.commit else None,
        None if head.committed_at is None else amounts.duration(now - head.committed_at),
        {True: "yes", False: "no", None: None}[head.dirty],
        row.worktree if row.worktree != found.in_use else f"{row.worktree}, in use",
    )
    first: tuple[object, ...] = ("*" if row.current else "", row.branch)
    for name, its in shown.items():
        columns = _server(found.kinds[name].short, its, row.usage.get(name, Usage()), now)
        yield (*first, *columns, *whose)
        first, whose = ("", ""), NOBODYS
    if not shown:  # a bare one, or one without a server of its own
        yield (*first, *(None,) * 7, *whose)


def _server(short: str, its: Status, usage: Usage, now: float) -> tuple[object, ...]:
    """Return the cells from SERVER to IDLE."""
    state = f"{its.state} (stand-in)" if its.stand_in and its.running else its.state
    address = its.url if its.running else f"port {its.port}" if its.port else None
    up = amounts.duration(now - its.started_at) if its.started_at and its.running else None
    return (
        short,
        state,
        address,
        None if usage.memory is None else amounts.memory(usage.memory),
        None if usage.cpu_percent is None else f"{usage.cpu_percent:.0f}%",
        up,
        None if usage.idle is None else amounts.duration(usage.idle),
    )


def _totals(found: Overview) -> str:
    """Return the last line: how many servers run, each counted once, and what they cost."""
    known: dict[int | None, Usage] = {}
    pairs = [(found.used, found.usage), *((row.servers, row.usage) for row in found.rows)]
    for those, usages in pairs:
        for name, its in those.items():
            if its.running:
                known[its.pid or its.listener_pid] = usages.get(name, Usage())
    memory = sum(usage.memory or 0 for usage in known.values())
    cpu = sum(usage.cpu_percent or 0 for usage in known.values())
    count = f"{len(known)} server{'' if len(known) == 1 else 's'}"
    return f"{count} running: {amounts.memory(memory)}, {cpu:.0f}% of a processor"


def _warnings(found: Overview, used: Mapping[str, Rendered]) -> Iterator[str]:
    for one in used.values():
        yield from one.warnings
    for row in found.rows:
        texts = dict.fromkeys(text for its in row.servers.values() for text in its.warnings)
        yield from (f"{row.worktree}: {text}" for text in texts)


def _row(row: Row, known: Mapping[str, Kind], pinned: set[object]) -> dict[str, object]:
    whose = {"worktree": row.worktree, "branch": row.branch}
    none = {} if row.port else {"port": None, "url": None}
    own = {
        name: {
            **servers.status(its, known[name]).data,
            **_cost(row.usage.get(name)),
            **whose,
            **(none if known[name].serves_app else {}),
        }
        for name, its in row.servers.items()
    }
    committed = row.head.committed_at
    return {
        **whose,
        "commit": row.head.commit,
        "committedAt": None if committed is None else clock.utc(committed),
        "dirty": row.head.dirty,
        "current": row.current,
        "port": row.port,
        **nested(own, known),
        "served": row.served,
        "pinned": row.worktree in pinned,
    }


def _cost(usage: Usage | None) -> dict[str, object]:
    memory, cpu, idle = usage or Usage()
    return {
        "memoryBytes": memory,
        "cpuPercent": None if cpu is None else round(cpu, 1),
        "idleSeconds": None if idle is None else round(idle, 1),
    }


def _served(row: Row, pinned: set[object]) -> str | None:
    said = {True: "yes", False: "no", None: None}[row.served]
    return f"{said or '-'}, pinned" if row.worktree in pinned else said
