"""Errors: whether the app compiles, or what failed, by Next.js's own tools, else by its log."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from devservers import terminal
from devservers.lifecycle.result import Status
from devservers.system import http_status, localhost_http, logs

TOOLS = "/_next/mcp"  # since Next.js 16, as JSON-RPC (modelcontextprotocol.io); on by default
ACCEPT = "application/json, text/event-stream"  # it answers 406 to whoever doesn't take both
TIMEOUT = 30.0  # seconds; it builds the graph of all routes
MOST = 20  # problems that are told
LONGEST = 4000  # letters of one
SEARCHED = 256 * 1024  # bytes of the log, from its end
REQUEST = re.compile(r"\s*(?:GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS) \S+ (\d\d\d) in ")
FAILURE = re.compile(r"\s*(?:\u2a2f|Failed to compile)")
SUCCESS = re.compile(r"\s*✓ Compiled")
NOTE = re.compile(r"\s*[✓○▲⚠] ")  # whatever else it says by itself
UNSEEN = "no page is open in a browser: what fails only there is not known"
GOOD = 400  # the lowest status that isn't


class Problem(NamedTuple):
    """One thing that failed."""

    kind: str
    """build, config, browser (while a page runs there) or server (while one is made)."""
    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None


class Report(NamedTuple):
    """The answer of nextjs.errors."""

    state: str
    """compiled, failed, or unknown: nothing has been compiled yet, as far as can be told."""
    source: str
    """mcp, or log where the server has no such tools (before Next.js 16, or with webpack)."""
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()


def report(status: Status, log_offset: int, polled: str | None = None) -> Report:
    """Return what is true now of the app that a running server serves.

    `log_offset` is where this run begins in its log, `polled` a regular expression of lines in it
    that say nothing of the app.
    """
    seen = _in_log(status.log_file, log_offset, polled)
    issues = _ask(status, "get_compilation_issues")
    if issues is None or not isinstance(issues.get("issues"), list):
        state = "failed" if seen.problems else "compiled" if seen.worked else "unknown"
        return Report(state, "log", seen.problems)
    found = [*_of_build(issues["issues"])]
    overlay = _ask(status, "get_errors") or {}
    notes = (UNSEEN,) if overlay.get("error") else ()
    found += _of_browser(overlay)
    if not any(problem.kind == "build" for problem in found):  # or it is the same in other words
        found += seen.problems
    problems = tuple(dict.fromkeys(found))[:MOST]
    return Report("failed" if problems else "compiled", "mcp", problems, notes)


def _ask(status: Status, tool: str) -> dict[str, Any] | None:
    """Return what one of its tools says, None where it has none that can be used."""
    if status.port is None or not status.responsive:
        return None
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    answer = localhost_http.ask_ours(
        *("POST", status.port, TOOLS),
        timeout=TIMEOUT,
        data={**call, "params": {"name": tool, "arguments": {}}},
        addresses=http_status.LOOPBACKS,
        accept=ACCEPT,
    )
    if answer is None or answer.status >= GOOD:
        return None
    text = answer.body.decode("utf-8", "replace")
    for line in text.splitlines():  # server-sent events, or one object
        try:
            said = json.loads(line.removeprefix("data: "))
            found = json.loads(said["result"]["content"][0]["text"])
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            continue
        return found if isinstance(found, dict) else None
    return None


def _of_build(issues: Iterable[object]) -> Iterator[Problem]:
    for issue in issues:
        if not isinstance(issue, dict) or issue.get("severity") not in ("error", "fatal"):
            continue
        source = issue.get("source")
        place = source if isinstance(source, dict) else {}
        start = place.get("range", {}) if isinstance(place.get("range"), dict) else {}
        start = start.get("start", {}) if isinstance(start.get("start"), dict) else {}
        words = (issue.get("title"), issue.get("description"), issue.get("codeFrame"))
        yield Problem(
            "build",
            _safe("\n".join(str(word) for word in words if word)),
            _path(issue.get("filePath")),
            _number(start.get("line")),
            _number(start.get("column")),
        )


def _of_browser(overlay: dict[str, Any]) -> Iterator[Problem]:
    for error in _objects(overlay.get("configErrors")):
        yield Problem("config", _safe(str(error.get("message"))))
    for session in _objects(overlay.get("sessionErrors")):
        if session.get("buildError"):
            yield Problem("build", _safe(str(session["buildError"])))
        for error in _objects(session.get("runtimeErrors")):
            frame = next(_objects(error.get("stack")), {})
            yield Problem(
                "browser",
                _safe(f"{error.get('errorName')}: {error.get('message')}"),
                _path(frame.get("file")),
                _number(frame.get("line")),
                _number(frame.get("column")),
            )


class _Seen(NamedTuple):
    problems: tuple[Problem, ...]
    worked: bool
    """Something was compiled, or answered, without one."""


def _in_log(log: str | None, offset: int, polled: str | None) -> _Seen:
    """Return the failures after the last success that a log tells of."""
    size = logs.size(Path(log)) if log else None
    if log is None or size is None:
        return _Seen((), worked=False)
    start = max(offset if offset <= size else 0, size - SEARCHED)
    failures: list[list[str]] = []
    worked = failing = False
    try:
        lines = list(logs.lines_since(Path(log), start, SEARCHED))
    except OSError:
        return _Seen((), worked=False)
    for raw in lines:
        line = terminal.without_colours(raw).rstrip()
        request = REQUEST.match(line)
        if polled and re.match(polled, line):
            failing = False
        elif SUCCESS.match(line) or (request and int(request[1]) < GOOD):
            failures, worked, failing = [], True, False
        elif FAILURE.match(line):
            failures.append([line])
            failing = True
        elif request or NOTE.match(line):
            failing = False
        elif failing:
            failures[-1].append(line)
    texts = dict.fromkeys(_safe("\n".join(words).strip()) for words in failures)
    return _Seen(tuple(Problem("server", text) for text in texts)[:MOST], worked)


def _objects(value: object) -> Iterator[dict[str, Any]]:
    yield from (one for one in (value if isinstance(value, list) else ()) if isinstance(one, dict))


def _safe(text: str) -> str:
    return terminal.block(terminal.without_colours(text))[:LONGEST]


def _path(value: object) -> str | None:
    return _safe(value).removeprefix("[project]/") if isinstance(value, str) else None


def _number(value: object) -> int | None:
    return value if type(value) is int else None
