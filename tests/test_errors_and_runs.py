"""nextjs.errors and inngest.runs: what failed, in one answer instead of a log."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import requests

from devservers.lifecycle.result import Status
from devservers.nextjs import errors
from next_support import NextWorld, next_world
from support import until

BROKEN = "\u2a2f ./app/page.jsx:1:51\nError: Unexpected token\n> 1 | <p>broken }\n\n"
BOOM = "\u2a2f Error: boom\n    at Page (app/page.jsx:1:40)\n"
OK = " GET / 200 in 12ms (next.js: 1ms)\n"
FAILED = " GET / 500 in 12ms (next.js: 1ms)\n"
POLL = " PUT /api/inngest 200 in 5ms\n"
COMPILED = "✓ Compiled in 27ms\n"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[NextWorld]:
    with next_world(tmp_path, "lock", "app=flowt", size=4) as made:
        made.leaves_server = True
        made.behave()
        yield made


def log_of(place: NextWorld, folder: Path) -> Path:
    return place.git_dir(folder) / "devservers/nextjs.log"


# Errors, from the log


@pytest.mark.parametrize(
    ("text", "state", "messages"),
    [
        ("Ready\n", "unknown", []),
        (OK, "compiled", []),
        (COMPILED, "compiled", []),
        (OK + BROKEN + FAILED, "failed", ["Unexpected token"]),
        (BROKEN + FAILED + COMPILED, "compiled", []),
        (BROKEN + FAILED + OK, "compiled", []),
        (BROKEN + FAILED + POLL, "failed", ["Unexpected token"]),  # that says nothing of the page
        (COMPILED + BOOM + FAILED + BOOM + FAILED, "failed", ["boom"]),
        (
            "\x1b[31m\u2a2f\x1b[0m Error: \x1b[1mred\x1b[0m\x1b]0;t\x07\n",
            "failed",
            ["Error: red\\x1b]0"],
        ),
        ("Failed to compile\n\nModule not found\n" + FAILED, "failed", ["Module not found"]),
    ],
)
def test_the_log_tells_what_failed_since_the_last_success(
    place: NextWorld, text: str, state: str, messages: list[str]
) -> None:
    place.call("nextjs.ensure", cwd=place.a)
    with log_of(place, place.a).open("a") as log:
        log.write(text)
    found = place.call("nextjs.errors", cwd=place.a, code=int(state == "failed"))
    assert (found["state"], found["source"]) == (state, "log")
    assert len(found["errors"]) == len(messages)
    for error, message in zip(found["errors"], messages, strict=True):
        assert message in error["message"]
        assert "GET /" not in error["message"]
    shown = place.run("nextjs.errors", cwd=place.a).out
    assert "\x1b" not in shown
    assert all(message in shown for message in messages)


def test_what_an_earlier_run_has_written_is_over(place: NextWorld) -> None:
    place.call("nextjs.ensure", cwd=place.a)
    with log_of(place, place.a).open("a") as log:
        log.write(BROKEN)
    assert place.call("nextjs.errors", cwd=place.a, code=1)["next"] == [
        "inv nextjs.logs --lines=100"
    ]
    place.call("nextjs.restart", cwd=place.a)
    assert place.call("nextjs.errors", cwd=place.a)["state"] == "unknown"


def test_of_a_server_that_does_not_run_nothing_is_told(place: NextWorld) -> None:
    found = place.call("nextjs.errors", cwd=place.a, code=3)
    assert (found["state"], found["next"]) == ("not-running", ["inv nextjs.ensure"])


# Errors, from its own tools: what Next.js 16.4 answers


class Tools(BaseHTTPRequestHandler):
    """`/_next/mcp`, as awkward as the real one: both types must be accepted, and it streams."""

    answers: ClassVar[dict[str, object]] = {}
    status = 200

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        accepted = {one.strip() for one in self.headers["Accept"].split(",")}
        if not {"application/json", "text/event-stream"} <= accepted or self.path != "/_next/mcp":
            self.send_error(406)
            return
        text = json.dumps(self.answers.get(call["params"]["name"], {"error": "unknown tool"}))
        result = {"content": [{"type": "text", "text": text}]}
        data = json.dumps({"result": result, "jsonrpc": "2.0", "id": call["id"]})
        body = f"event: message\ndata: {data}\n\n".encode()
        self.send_response(self.status)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def tools() -> Iterator[Status]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Tools)
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    port = server.server_address[1]
    yield Status(
        state="running", port=port, url=None, pid=None, listener_pid=None, pid_file="",
        log_file=None, log_size=None, last_log_line=None, http_status=404, urls=(),
        started_at=None, adopted=False, stand_in=False, worktree=None, branch=None,
    )  # fmt: skip
    server.shutdown()
    server.server_close()
    Tools.answers = {}


NO_BROWSER = {"error": "No browser sessions connected."}
ISSUE = {
    "severity": "error",
    "filePath": "[project]/app/page.jsx",
    "title": "Unexpected token",
    "description": "Parsing failed",
    "source": {"range": {"start": {"line": 1, "column": 51}}},
    "codeFrame": "> 1 | }",
}


def test_its_own_tools_tell_what_does_not_compile(tools: Status) -> None:
    warning = {**ISSUE, "severity": "warning"}
    Tools.answers = {
        "get_compilation_issues": {"issues": [ISSUE, warning]},
        "get_errors": NO_BROWSER,
    }
    found = errors.report(tools, 0)
    assert (found.state, found.source, found.notes) == ("failed", "mcp", (errors.UNSEEN,))
    (problem,) = found.problems
    assert (problem.kind, problem.file, problem.line, problem.column) == (
        *("build", "app/page.jsx", 1, 51),
    )
    assert problem.message == "Unexpected token\nParsing failed\n> 1 | }"


def test_its_own_tools_tell_what_failed_in_a_browser(tools: Status) -> None:
    runtime = {
        "errorName": "TypeError",
        "message": "x is not a function",
        "stack": [{"file": "app/page.jsx", "methodName": "Page", "line": 3, "column": 7}],
    }
    session = {"url": "/", "buildError": None, "runtimeErrors": [runtime]}
    overlay = {"configErrors": [{"message": "bad option"}], "sessionErrors": [session]}
    Tools.answers = {"get_compilation_issues": {"issues": []}, "get_errors": overlay}
    found = errors.report(tools, 0)
    assert found.state == "failed"
    assert [(one.kind, one.message, one.line) for one in found.problems] == [
        ("config", "bad option", None),
        ("browser", "TypeError: x is not a function", 3),
    ]
    Tools.answers["get_errors"] = {"configErrors": [], "sessionErrors": []}
    assert errors.report(tools, 0).state == "compiled"


def test_what_failed_on_the_server_is_added_from_the_log(tools: Status, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(COMPILED + BOOM + FAILED)
    Tools.answers = {"get_compilation_issues": {"issues": []}, "get_errors": NO_BROWSER}
    found = errors.report(tools._replace(log_file=str(log)), 0)
    assert [one.kind for one in found.problems] == ["server"]
    Tools.answers["get_compilation_issues"] = {"issues": [ISSUE]}
    found = errors.report(tools._replace(log_file=str(log)), 0)
    assert [one.kind for one in found.problems] == ["build"]  # the log has it in other words


@pytest.mark.parametrize("answer", [{"issues": 3}, {"issues": [3, {"severity": "error"}]}, [], "x"])
def test_an_odd_answer_is_no_defect(tools: Status, answer: Any) -> None:
    Tools.answers = {"get_compilation_issues": answer, "get_errors": {"sessionErrors": [3]}}
    assert errors.report(tools, 0).state in {"unknown", "failed"}


# Runs


def send(place: NextWorld, name: str) -> None:
    with requests.Session() as session:
        session.trust_env = False
        session.post(f"http://127.0.0.1:{place.port}/e/key", json={"name": name}, timeout=10)


def test_the_last_runs_of_this_worktrees_app_are_told(place: NextWorld) -> None:
    place.call("dev.up", "--stand-in", cwd=place.a)
    for _ in range(3):
        send(place, "demo/hello")

    def ended() -> list[Any]:
        runs: list[Any] = place.call("inngest.runs", cwd=place.a)["runs"]
        done = len(runs) == 3 and all(run["endedAt"] for run in runs)
        return runs if done else []

    runs = until(ended)
    port = int(place.claim(place.a))
    assert place.call("inngest.runs", cwd=place.a)["port"] == port
    assert {(run["function"], run["event"]) for run in runs} == {("flowt-hello", "demo/hello")}
    assert [run["queuedAt"] for run in runs] == sorted(
        (run["queuedAt"] for run in runs), reverse=True
    )
    assert len(place.call("inngest.runs", "--last=2", cwd=place.a)["runs"]) == 2


def test_the_runs_of_another_app_are_not_told(place: NextWorld) -> None:
    place.call("dev.up", "--stand-in", cwd=place.a)
    place.be("lock", "app=other")
    place.call("dev.up", "--stand-in", cwd=place.b)
    send(place, "demo/hello")
    for folder, function in ((place.a, "flowt-hello"), (place.b, "other-hello")):
        runs = until(lambda folder=folder: place.call("inngest.runs", cwd=folder)["runs"])
        assert [run["function"] for run in runs] == [function]


def test_a_failed_run_tells_why(place: NextWorld) -> None:
    place.be("lock", "app=flowt", "fails=no such user")
    place.call("dev.up", "--stand-in", cwd=place.a)
    send(place, "demo/hello")

    def failed() -> Any:
        runs = place.call("inngest.runs", cwd=place.a)["runs"]
        return next((run for run in runs if run["status"] == "failed"), None)

    run = until(failed)
    assert (run["error"], run["step"]) == ("Error: no such user", None)
    done = place.run("inngest.runs", cwd=place.a)
    assert "flowt-hello" in done.out
    assert "Error: no such user" in done.out
    assert place.call("inngest.runs", cwd=place.a)["next"] == ["inv nextjs.logs --lines=100"]


def test_a_failed_step_is_named(place: NextWorld) -> None:
    place.be("lock", "app=flowt", "fails=no such user", "step=load user")
    place.call("dev.up", "--stand-in", cwd=place.a)
    send(place, "demo/hello")

    def failed() -> Any:
        runs = place.call("inngest.runs", cwd=place.a)["runs"]
        return next((run for run in runs if run["status"] == "failed"), None)

    assert until(failed)["step"] == "load user"


def test_where_another_worktree_is_served_it_is_said_whose_code_ran(place: NextWorld) -> None:
    place.call("dev.up", "--stand-in", cwd=place.a)
    place.call("dev.up", "--stand-in", cwd=place.b)
    done = place.run("inngest.runs", "--json", cwd=place.a)
    assert done.code == 0
    assert done.json["port"] == int(place.claim(place.b))
    assert "not this worktree's" in done.json["warnings"][0]


def test_without_a_server_or_an_app_there_are_no_runs_to_tell_of(place: NextWorld) -> None:
    assert "No Inngest dev server" in place.refused("inngest.runs", code=19)["message"]
    place.call("inngest.ensure", "--stand-in")
    error = place.refused("inngest.runs", code=19)
    assert "not registered" in error["message"]
    assert place.refused("inngest.runs", "--last=many", code=1)["code"] == "usage"
