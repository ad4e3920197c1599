"""Runs: what became of the events of this worktree's app, as the server's own list has it."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from devservers import listeners
from devservers.config import Config
from devservers.errors import NotSyncedError
from devservers.inngest.api import Api, ServedApp
from devservers.inngest.scene import Scene, own_port
from devservers.inngest.target import Target
from devservers.spec import port_of
from devservers.worktree import Worktree

TIMEOUT = 5.0  # seconds
MOST = 100  # runs that are asked for: each failed one costs two questions more
LONGEST = 4000  # letters of an error
DEEPEST = 4  # levels of steps
LIST = """query($last: Int!, $filter: RunsFilterV2!) {
  runs(first: $last, orderBy: [{field: QUEUED_AT, direction: DESC}], filter: $filter) {
    edges { node {
      id status queuedAt startedAt endedAt eventName cronSchedule function { slug name }
    } }
  }
}"""
SPAN = "name status stepID outputID"
TRACE = f"""query($id: String!) {{
  run(runID: $id) {{ trace {{ {SPAN}
    childrenSpans {{ {SPAN} childrenSpans {{ {SPAN} childrenSpans {{ {SPAN} }} }} }}
  }} }}
}}"""
OUTPUT = """query($id: String!) {
  runTraceSpanOutputByID(outputID: $id) { error { name message stack } }
}"""
BEGINNING = "1970-01-01T00:00:00Z"


class Run(NamedTuple):
    """One run of a function."""

    id: str
    function: str
    event: str | None
    """What triggered it, an event's name or a cron expression."""
    status: str
    """completed, failed, cancelled, running, queued or skipped."""
    queued_at: str | None
    started_at: str | None
    ended_at: str | None
    error: str | None = None
    step: str | None = None
    """The one that failed, None where that is the function itself."""


class Runs(NamedTuple):
    """The answer of inngest.runs."""

    port: int
    """Of the app whose runs they are."""
    runs: tuple[Run, ...]
    """The last first."""
    warnings: tuple[str, ...] = ()


def last(config: Config, here: Worktree, it: Target, count: int) -> Runs:
    """Return the last runs of this worktree's app.

    The server knows an app by its id, which worktrees of one repository share: where another one's
    is served, it has these runs, and it is said. Raises NotSyncedError where no app is registered.
    """
    api = it.api._replace(timeout=TIMEOUT)
    rows = api.apps()
    if rows is None:
        raise NotSyncedError(
            f"No Inngest dev server answers on port {it.port}.",
            hint="`inv inngest.status` tells why; `inv inngest.ensure` starts one.",
        )
    row, warnings = _row(config, here, it, rows)
    filters = {"from": BEGINNING, "appIDs": [row.id]}
    found = api.query(LIST, "runs", last=count, filter=filters)
    edges = found.get("edges") if isinstance(found, dict) else None
    if not isinstance(edges, list):
        raise NotSyncedError(
            "The Inngest dev server gives no list of runs.",
            hint="Its version may be another than those that were tried: look at its own page.",
        )
    nodes = (edge.get("node") for edge in edges[:count] if isinstance(edge, dict))
    runs = tuple(_explained(api, _run(node)) for node in nodes if isinstance(node, dict))
    return Runs(port_of(row.url), runs, warnings)


def _row(
    config: Config, here: Worktree, it: Target, rows: tuple[ServedApp, ...]
) -> tuple[ServedApp, tuple[str, ...]]:
    scene = Scene(rows, listeners.listeners_by_port())
    own = own_port(config, here, it, scene.by_port)
    row = scene.row(own) if own is not None else None
    if row is not None and row.app_id:
        return row, ()
    rival = scene.rival(here)
    other = scene.row(rival) if rival is not None else None
    if other is None:
        raise NotSyncedError(
            "This worktree's app is not registered, so it has no runs.",
            hint="`inv dev.up` starts it and waits until it is; `inv inngest.apps` tells more.",
        )
    return other, (
        f"The app on port {rival} is served, not this worktree's: its code ran, at least of late. "
        "`inv inngest.sync` makes this worktree's app the served one.",
    )


def _run(node: dict[str, Any]) -> Run:
    function = node.get("function")
    names = function if isinstance(function, dict) else {}
    return Run(
        id=_text(node.get("id")) or "",
        function=_text(names.get("slug")) or _text(names.get("name")) or "",
        event=_text(node.get("eventName")) or _text(node.get("cronSchedule")),
        status=(_text(node.get("status")) or "unknown").lower(),
        queued_at=_text(node.get("queuedAt")),
        started_at=_text(node.get("startedAt")),
        ended_at=_text(node.get("endedAt")),
    )


def _explained(api: Api, run: Run) -> Run:
    """Return a failed run with its error, and the step that failed."""
    if run.status != "failed":
        return run
    found = api.query(TRACE, "run", id=run.id)
    trace = found.get("trace") if isinstance(found, dict) else None
    if not isinstance(trace, dict):
        return run
    failed = [span for span in _spans(trace) if span.get("status") == "FAILED"]
    step = next((span for span in reversed(failed) if span.get("stepID")), None)
    span = step or (failed[-1] if failed else trace)
    said = api.query(OUTPUT, "runTraceSpanOutputByID", id=str(span.get("outputID")))
    error = said.get("error") if isinstance(said, dict) else None
    return run._replace(
        error=_message(error), step=_text(step.get("name")) if step is not None else None
    )


def _spans(span: dict[str, Any], depth: int = 0) -> Iterator[dict[str, Any]]:
    yield span
    children = span.get("childrenSpans")
    for child in children if isinstance(children, list) and depth < DEEPEST else ():
        if isinstance(child, dict):
            yield from _spans(child, depth + 1)


def _message(error: object) -> str | None:
    if not isinstance(error, dict):
        return None
    words = (_text(error.get("name")), _text(error.get("message")))
    text = ": ".join(filter(None, words))
    return text[:LONGEST] or json.dumps(error)[:LONGEST]


def _text(value: object) -> str | None:
    return value[:LONGEST] if isinstance(value, str) and value else None
