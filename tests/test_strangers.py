"""Whatever a stranger on a port answers: every call ends in time, and says what is true."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from hooking import run_git
from support import INV, World, accepts, heed_interrupts

STRANGERS = Path(__file__).with_name("strangers.py")
OK = b"HTTP/1.1 200 OK\r\n"
DRIPS = {
    "status": (b"HTTP/1.1 2", b"0"),
    "header": (OK + b"X: ", b"a"),
    "body": (OK + b"\r\n", b" "),
    "chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "informing": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}
IN_TIME = 10.0  # seconds on a busy machine; without a bound these would go on for hours
NOT_A_PORT = "9" * 5000
# Root may read everything, unless it gives that up.
NOT_ALMIGHTY = (
    (shutil.which("setpriv") or "setpriv", "--bounding-set=-dac_override,-dac_read_search")
    if os.geteuid() == 0
    else ()
)


def stranger(  # noqa: PLR0913
    world: World,
    port: int,
    first: bytes | dict[bytes, bytes],
    each: bytes = b"",
    *,
    cwd: Path | None = None,
    before: Sequence[str] = (),
) -> "subprocess.Popen[bytes]":
    answers = world.folder / f"answers-{port}"
    answers.write_text(f"{first!r}\n{each!r}\n")
    words = [*before, sys.executable, "-I", "-S", str(STRANGERS), str(port), str(answers)]
    child = world.processes.popen(words, env=world.env(), cwd=cwd, stdout=subprocess.PIPE)
    assert child.stdout
    assert child.stdout.readline() == b"listens\n"
    return child


def dripping(world: World, port: int, kind: str = "body") -> "subprocess.Popen[bytes]":
    return stranger(world, port, *DRIPS[kind])


def says(body: object) -> bytes:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return OK + b"Content-Length: %d\r\n\r\n" % len(text) + text


@pytest.mark.parametrize("kind", DRIPS)
def test_ensure_ends_in_time_with_a_listener_that_drips(world: World, kind: str) -> None:
    child = dripping(world, world.port, kind)
    begun = time.monotonic()
    error = world.fails("ensure", "--timeout=3", code=12)
    assert time.monotonic() - begun < IN_TIME
    assert [holder["pid"] for holder in error["holders"]] == [child.pid]
    child.kill()
    child.wait()
    world.leaves_server = True
    assert world.ok("ensure")["action"] == "started", "nobody holds the lock"


def test_one_that_listens_with_many_sockets_and_answers_on_none_is_not_waited_for_each_time(
    world: World,
) -> None:
    code = (
        "import socket, sys, time\n"
        "place = ('127.0.0.1', int(sys.argv[1]))\n"
        "held = [socket.create_server(place, reuse_port=True) for _ in range(12)]\n"
        "print('listens', flush=True)\n"
        "time.sleep(600)"
    )
    words = [sys.executable, "-I", "-S", "-c", code, str(world.port)]
    child = world.processes.popen(words, env=world.env(), stdout=subprocess.PIPE)
    assert child.stdout
    assert child.stdout.readline() == b"listens\n"
    begun = time.monotonic()
    world.fails("ensure", "--timeout=3", code=12)
    assert time.monotonic() - begun < IN_TIME, "not a second and a half for each of them"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("inngest.apps",), 0),
        (("inngest.sync",), 19),
        (("inngest.status",), 3),
        (("inngest.stop",), 0),
        (("inngest.doctor",), 1),
        (("dev.status",), 0),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_every_task_ends_in_time_with_listeners_that_drip(
    world: World, words: tuple[str, ...], code: int
) -> None:
    for port in (world.port, *world.apps):
        dripping(world, port)
    begun = time.monotonic()
    done = world.run(*words, "--json")
    assert time.monotonic() - begun < IN_TIME
    assert (done.code, "Traceback" in done.err) == (code, False), done
    assert accepts(world.port)


def test_git_goes_on_in_time_with_a_listener_that_drips(world: World) -> None:
    (world.main / ".git" / "hooks").mkdir(exist_ok=True)
    git = Path(shutil.which("git") or "git").parent
    assert world.run("hooks.install", env={"PATH": f"{git}:/usr/bin:/bin"}).code == 0
    dripping(world, world.port)
    begun = time.monotonic()
    done = run_git(world, "checkout", "-b", "new")
    assert time.monotonic() - begun < IN_TIME
    assert (done.code, "Traceback" in done.err) == (0, False), done


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_apps_at_once_while_it_asks(world: World, number: signal.Signals) -> None:
    app = dripping(world, world.apps[0])
    child = world.start("inngest.apps", preexec_fn=heed_interrupts)
    assert app.stdout
    assert app.stdout.readline() == b"asked\n"
    begun = time.monotonic()
    child.send_signal(number)
    assert world.result(child).code == 128 + number
    assert time.monotonic() - begun < 1.5, "less than the two seconds of the question"


# What says that it is an Inngest dev server

OPTIONS = [
    {"urls": None},
    {"urls": [f"http://localhost:{NOT_A_PORT}/api/inngest", "http://localhost:0/", "http://:99999/x"]},
    {"urls": ["", "http://", ":", "http:///x", "http://[", "\ud800", 7, None, "a" * 100_000]},
    {"urls": [f"http://localhost:{number}/x" for number in range(1, 30_000)]},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: json.dumps(options)[:30])
@pytest.mark.parametrize("task", ["ensure", "status", "apps"])
def test_what_says_rubbish_of_itself_is_no_defect_of_ours(
    world: World, options: object, task: str
) -> None:
    stranger(world, world.port, says({"version": "1.45.1", "startOpts": options}))
    done = world.run(f"inngest.{task}", "--json")
    assert "Traceback" not in done.err
    assert done.code == 0, done
    if task != "apps":
        assert len(done.json["watching"]) <= 1000
        assert all(0 < port <= 65535 for port in done.json["watching"])
        assert world.ok("stop")["portFree"] is True


@pytest.mark.parametrize(
    "body",
    [
        {"version": {"a": 1}, "startOpts": {}},
        {"version": "1", "startOpts": 5},
        {"version": "1.45.1", "startOpts": {"urls": 5}},
        {"version": "1.45.1", "startOpts": {"urls": {"a": [[]]}}},
        [{"version": "1"}],
        b"[" * 100_000,
        b'{"version": "1", "startOpts": {"urls": [' + b"9" * 5000 + b"]}}",
        b"\xff\xfe",
    ],
    ids=lambda body: repr(body)[:30],
)
def test_what_answers_in_another_form_is_a_stranger(world: World, body: object) -> None:
    child = stranger(world, world.port, says(body))
    error = world.fails("ensure", code=12)
    assert [holder["pid"] for holder in error["holders"]] == [child.pid]
    assert world.ok("status", code=3)["state"] == "foreign"
    assert child.poll() is None


ROWS = [
    5,
    [5, None, [], {}, {"url": 5}, {"url": {"a": 1}}, {"url": f"http://a:{NOT_A_PORT}/"}],
    [{"url": "http://a:0/"}, {"url": "http://a:99999/"}, {"url": "http:///x"}, {"url": "\ud800"}],
    [{"url": "http://a:7/", "externalID": [1], "connected": 1, "error": {}, "functionCount": True}],
    [{"url": f"http://a:{n}/", "externalID": "e", "connected": True} for n in range(1, 40_000)],
]  # fmt: skip


@pytest.mark.parametrize("rows", ROWS, ids=lambda rows: json.dumps(rows)[:40])
@pytest.mark.parametrize("task", ["apps", "sync", "status", "ensure"])
def test_a_list_of_apps_of_any_form_is_no_defect_of_ours(
    world: World, rows: object, task: str
) -> None:
    inngest = says({"version": "1.45.1", "startOpts": {}})
    answers = {b"gql": says({"data": {"apps": rows}}), b" /dev ": inngest, b"GET ": says({})}
    stranger(world, world.port, answers)
    done = world.run(f"inngest.{task}", "--json")
    assert "Traceback" not in done.err
    assert done.code == (19 if task == "sync" else 0), done


def test_the_time_limit_holds_for_a_server_that_takes_no_new_url(world: World) -> None:
    answers = {b" /dev ": says({"version": "1.45.1", "startOpts": {}}), b"/health": says({})}
    stranger(world, world.port, answers, b" ")
    begun = time.monotonic()
    done = world.ok("ensure", "--timeout=2")
    assert time.monotonic() - begun < 5, "two URLs, of five seconds each"
    assert (done["added"], len(done["warnings"])) == ([], 1)
    again = world.ok("ensure", "--timeout=1")
    assert again["warnings"] == done["warnings"], "what was not taken is asked for each time"


# Where others stand


@pytest.mark.parametrize("closed", ["inner", ""])
@pytest.mark.parametrize(
    "words", [("inngest.apps",), ("ports.who", "--port={}"), ("ports.list",), ("dev.status",)]
)
def test_a_stranger_in_a_folder_that_may_not_be_read_is_no_defect_of_ours(
    world: World, words: tuple[str, ...], closed: str
) -> None:
    outer = world.folder / "strangers"
    (outer / "inner").mkdir(parents=True)
    port = world.apps[0]
    child = stranger(world, port, says({}), cwd=outer / "inner", before=[*NOT_ALMIGHTY])
    (outer / closed).chmod(0)
    try:
        run = [*NOT_ALMIGHTY, str(INV), *(word.format(port) for word in words), "--json"]
        done = world.run(*run[1:], program=Path(run[0]))
    finally:
        (outer / closed).chmod(0o700)
    assert (done.code, "Traceback" in done.err) == (0, False), done
    assert str(child.pid) in done.out or words == ("dev.status",)
