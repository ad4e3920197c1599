"""The board: what it shows, to whom, and who may press its buttons."""

import contextlib
import http.client
import itertools
import json
import os
import select
import signal
import socket
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from browser import Browser

from devservers.board import guests, watch
from devservers.board import server as board_server
from devservers.board.watch import Watch
from devservers.kind import Exports
from devservers.lifecycle import state
from devservers.system import threads
from devservers.worktrees import overview
from devservers.worktrees.heads import Head
from devservers.worktrees.overview import Overview, Row
from next_support import NextWorld, next_world
from support import accepts, heed_interrupts, is_alive, until

Pair = tuple[socket.socket, Callable[[], bool]]


class Place(NextWorld):
    """A repository with a board."""

    def marked(self) -> "Place":
        mark = f"board:{self.main / '.git/devservers/board'}.pid"
        self.processes.marks.append(("DEVSERVERS_SERVER", mark))
        return self

    @property
    def board_port(self) -> int:
        return int(json.loads(self.config.read_text())["board"]["port"])

    @property
    def token(self) -> str:
        return (self.main / ".git/devservers/board.token").read_text().strip()

    def ask(
        self, method: str, path: str, body: object = None, **headers: str | None
    ) -> tuple[int, dict[str, str], bytes]:
        """Ask as the page would, but for `headers`: None leaves one out."""
        port = self.board_port
        sent: dict[str, str | None] = {"Host": f"127.0.0.1:{port}"}
        if "Authorization" not in headers:
            sent["Authorization"] = f"Bearer {self.token}"
        data = None
        if body is not None:
            data = body if isinstance(body, str) else json.dumps(body)
            sent |= {"Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.putrequest(method, path, skip_host=True)
        if data is not None:
            connection.putheader("Content-Length", str(len(data.encode())))
        for name, value in sent.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders((data or "").encode())
        answer = connection.getresponse()
        found = (answer.status, dict(answer.getheaders()), answer.read())
        connection.close()
        return found

    def events(self) -> Iterator[Any]:
        """Yield what the page is told."""
        port = self.board_port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", "/events", headers={"Authorization": f"Bearer {self.token}"})
            with connection.getresponse() as answer:
                assert answer.status == 200
                while line := answer.readline():
                    data = line.removeprefix(b"data: ").strip()
                    if data:
                        yield json.loads(data)

    def press(self, folder: Path, name: str, action: str, **headers: str | None) -> tuple[int, Any]:
        asked = {"worktree": str(folder), "server": name, "action": action}
        status, _, body = self.ask("POST", "/do", asked, **headers)
        return status, json.loads(body)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with next_world(tmp_path, "fork", "lock", "app=flowt", size=4, make=Place) as made:
        assert isinstance(made, Place)
        made.leaves_server = True
        made.behave()
        yield made.marked()


@pytest.fixture
def board(place: Place) -> Place:
    place.call("dev.board", cwd=place.a)
    return place


def test_it_is_started_once_for_the_repository_and_keeps_its_address(place: Place) -> None:
    first = place.call("dev.board", cwd=place.a)
    assert first["action"] == "started"
    assert first["url"] == f"http://127.0.0.1:{place.board_port}/#{place.token}"
    again = place.call("dev.board", cwd=place.b)
    assert (again["action"], again["pid"], again["url"]) == (
        *("already-running", first["pid"], first["url"]),
    )
    assert first["url"] in place.run("dev.board").out
    place.call("board.restart", cwd=place.b)
    assert place.call("dev.board")["url"] == first["url"]
    assert place.call("board.status")["running"]
    assert place.call("board.stop")["action"] == "stopped"
    assert not accepts(place.board_port)


def test_who_never_asked_for_it_is_told_nothing_of_it(place: Place) -> None:
    assert "servers" not in place.call("dev.status")
    assert "board" not in place.run("dev.status").out
    assert "board" not in place.call("dev.up", "--stand-in", cwd=place.a)
    assert not accepts(place.board_port)
    place.call("dev.up", "--only=board")
    assert place.call("dev.status")["servers"]["board"]["running"]
    assert accepts(place.board_port)
    assert place.call("dev.prune")["pruned"] == []
    assert accepts(place.board_port)


def test_inv_lists_its_tasks(place: Place) -> None:
    shown = place.run("--list", real=True).out
    assert "board.ensure" in shown
    assert "dev.board" in shown


def test_nobody_else_may_have_its_name(place: Place) -> None:
    data = json.loads(place.config.read_text())
    place.config.write_text(json.dumps({**data, "servers": {"board": {"command": ["true"]}}}))
    assert "board is a namespace" in place.refused("dev.board", code=10)["message"]


def test_its_port_is_no_other_servers(place: Place) -> None:
    data = json.loads(place.config.read_text())
    place.config.write_text(json.dumps({**data, "board": {"port": place.port}}))
    assert "board.port" in place.refused("dev.status", code=10)["message"]


def test_of_another_port_it_says_so_once_and_names_the_key(board: Place) -> None:
    data = json.loads(board.config.read_text())
    board.config.write_text(json.dumps({**data, "board": {"port": board.board_port + 1}}))
    (warning,) = board.call("dev.board", cwd=board.b)["warnings"]
    assert "`inv board.restart`" in warning
    board.call("board.stop")
    board.listener(port=board.board_port)
    assert "another board.port" in board.refused("dev.board", code=12)["hint"]


def test_it_runs_in_a_terminal_until_interrupted(place: Place) -> None:
    child = place.start("board.run", real=True, preexec_fn=heed_interrupts, start_new_session=True)
    until(lambda: accepts(place.board_port))
    assert place.call("board.status", cwd=place.b)["running"]
    os.killpg(child.pid, signal.SIGINT)
    done = place.result(child)
    assert "Traceback" not in done.err
    assert not accepts(place.board_port)


def test_its_token_is_for_its_user_alone(board: Place) -> None:
    file = board.main / ".git/devservers/board.token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(board.token) >= 32
    board.call("board.stop")
    file.chmod(0o644)
    assert "can be read by others" in board.refused("dev.board", code=17)["message"]
    file.unlink()
    file.symlink_to(board.folder / "elsewhere")
    assert str(file) in board.refused("dev.board", code=17)["message"]


def test_all_who_ask_first_get_the_same_address_and_it_is_good(place: Place) -> None:
    told = [ran.json["url"] for ran in place.at_once([place.a, place.b] * 3, "dev.board", "--json")]
    assert len(set(told)) == 1
    assert told[0].endswith(f"#{place.token}")
    assert place.press(place.a, "nextjs", "stop")[0] == 200


def test_the_first_token_is_made_under_the_lock_of_the_board(place: Place) -> None:
    folder = place.main / ".git/devservers"
    folder.mkdir(exist_ok=True)
    with state.lock(folder / "board.pid", 5):
        caller = place.start("dev.board", "--json", cwd=place.a)
        assert caller.stderr
        assert b"Waiting for" in caller.stderr.readline()
        assert not (folder / "board.token").exists()
    assert place.result(caller).json["url"].endswith(f"#{place.token}")


def test_a_token_that_cannot_be_used_is_said_in_a_sentence_whoever_starts_it(place: Place) -> None:
    file = place.main / ".git/devservers/board.token"
    file.parent.mkdir(exist_ok=True)
    file.write_text("x")
    said = place.run("board.ensure")
    assert said.code == 13
    assert "can be read by others" in said.err
    assert "Traceback" not in said.err


def test_who_removes_the_token_takes_it_back_at_once(board: Place) -> None:
    old, told = board.token, board.events()
    next(told)
    (board.main / ".git/devservers/board.token").unlink()
    assert board.ask("GET", "/events", Authorization=f"Bearer {old}")[0] == 401
    list(told)  # it ends
    again = board.call("dev.board")
    assert again["action"] == "already-running"
    assert board.token != old
    assert board.press(board.a, "nextjs", "stop")[0] == 200
    bearer = f"Bearer {old}"
    assert board.press(board.a, "nextjs", "stop", Authorization=bearer)[0] == 401


def test_it_is_opened_without_its_token_in_the_arguments_of_a_process(place: Place) -> None:
    seen = place.folder / "opened"
    browser = place.bin / "browser"
    browser.write_text(f'#!/bin/sh\necho noise\necho "$@" >{seen}.new\nmv {seen}.new {seen}\n')
    browser.chmod(0o755)
    told = place.call("dev.board", "--open", env=place.env({"BROWSER": str(browser)}), real=True)
    until(seen.exists)
    assert place.token not in seen.read_text()
    page = Path(seen.read_text().strip().removeprefix("file://"))
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert f'url={told["url"]}"' in page.read_text()
    if sys.platform == "darwin":  # there is always one
        return
    none = place.env({"BROWSER": "/nothing", "PATH": str(place.folder)})
    done = place.run("dev.board", "--open", env=none, real=True)
    assert done.code == 0
    assert "No browser" in done.err


def test_it_ends_with_its_repository(board: Place) -> None:
    process = psutil.Process(board.call("board.status")["pid"])
    told = board.events()
    next(told)
    (board.main / ".git").rename(board.folder / "gone")
    until(lambda: not is_alive(process))
    (board.folder / "gone").rename(board.main / ".git")


def test_it_listens_on_this_machine_alone(board: Place) -> None:
    pid = board.call("board.status")["listenerPid"]
    rows = psutil.Process(pid).net_connections("tcp")
    assert {row.laddr.ip for row in rows if row.status == "LISTEN"} == {"127.0.0.1"}


def test_its_process_takes_nothing_from_the_checkout(place: Place) -> None:
    for name in ("json.py", "sitecustomize.py", "devservers.py", "psutil.py"):
        (place.main / name).write_text(
            f"open({str(place.folder / 'ran')!r}, 'w')\nraise SystemExit\n"
        )
    assert place.call("dev.board", cwd=place.a)["action"] == "started"  # it works in the main one
    assert place.press(place.main, "nextjs", "stop")[1]["ok"]
    assert not (place.folder / "ran").exists()


def test_the_page_says_nothing_of_anybody_and_loads_nothing_from_elsewhere(board: Place) -> None:
    for path in ("/", "/page.css", "/page.js"):
        status, headers, body = board.ask("GET", path, Authorization=None)
        assert status == 200
        assert str(board.folder).encode() not in body
        assert board.token.encode() not in body
        assert b"https://" not in body.replace(b"https?:", b"")
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": None}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "Basic TOKEN"}, 401),
        ({"Host": "attacker.example"}, 403),
        ({"Host": "attacker.example:PORT"}, 403),
        ({"Host": "127.0.0.1"}, 403),
        ({"Host": "127.0.0.1:1"}, 403),
        ({"Host": None}, 403),
        ({"Origin": "http://attacker.example"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "https://127.0.0.1:PORT"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:PORT"}, 200),
        ({"Host": "localhost:PORT", "Origin": "http://localhost:PORT"}, 200),
        ({"Host": "localhost:PORT", "Origin": "http://127.0.0.1:PORT"}, 403),
    ],
)
def test_only_who_has_the_token_and_asks_this_machine_may_press(
    board: Place, headers: dict[str, str | None], status: int
) -> None:
    port = str(board.board_port)
    filled = {
        name: value and value.replace("PORT", port).replace("TOKEN", board.token)
        for name, value in headers.items()
    }
    assert board.press(board.a, "nextjs", "stop", **filled)[0] == status
    if status != 200:
        assert board.ask("GET", "/events", **filled)[0] == status


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain", None]
)
def test_a_form_of_another_page_presses_nothing(board: Place, kind: str | None) -> None:
    assert board.press(board.a, "nextjs", "stop", Content_Type=kind)[0] == 415


def test_a_second_host_is_not_believed(board: Place) -> None:
    with socket.create_connection(("127.0.0.1", board.board_port)) as connection:
        here = f"Host: 127.0.0.1:{board.board_port}\r\n"
        connection.sendall(f"GET / HTTP/1.1\r\n{here}Host: attacker.example\r\n\r\n".encode())
        assert b" 403 " in connection.recv(4096).partition(b"\r\n")[0]


@pytest.mark.parametrize(
    "text",
    [
        "GET / HTTP/1.1\r\n" + "X: y\r\n" * 200,
        "GET / HTTP/1.1\r\nX: " + "y" * 70_000 + "\r\n",
        "GET /" + "y" * 70_000 + " HTTP/1.1\r\n",
        "BREW / HTTP/1.1\r\n",
        "\x16\x03\x01\r\n",
    ],
)
def test_what_is_no_request_or_too_large_is_refused_as_all_else_is(board: Place, text: str) -> None:
    with socket.create_connection(("127.0.0.1", board.board_port), timeout=10) as connection:
        with contextlib.suppress(OSError):  # it doesn't read to the end
            connection.sendall(text.encode() + b"\r\n")
        with contextlib.suppress(OSError):
            assert b"Content-Security-Policy: default-src 'none'" in connection.recv(4096)
    assert board.ask("GET", "/health")[0] == 200


@pytest.mark.parametrize(
    "path", ["/../server.py", "/%2e%2e/access.py", "//etc/passwd", "/do", "/x"]
)
def test_no_path_leads_to_other_files(board: Place, path: str) -> None:
    status, _, body = board.ask("GET", path)
    assert status == 404
    assert b"import" not in body


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"worktree": "/", "server": "nextjs", "action": "stop"}, 400),
        ({"worktree": "A", "server": "nextjs", "action": "run"}, 400),
        ({"worktree": "A", "server": "board", "action": "stop"}, 400),
        ({"worktree": "A", "server": "nextjs; id", "action": "stop"}, 400),
        ({"worktree": "A", "server": "nextjs", "action": "sync"}, 400),
        ({"worktree": "A", "server": ["nextjs"], "action": "stop"}, 400),
        ({"worktree": "A", "server": "nextjs", "action": {}}, 400),
        ({"worktree": ["A"], "server": ["nextjs"], "action": ["stop"]}, 400),
        ([], 400),
        ("{", 400),
        ("[" * 3000, 400),
        ("x" * 5000, 413),
    ],
)
def test_there_are_no_buttons_but_those_on_the_page(board: Place, asked: Any, status: int) -> None:
    if isinstance(asked, dict) and asked["worktree"] == "A":
        asked["worktree"] = str(board.a)
    assert board.ask("POST", "/do", asked)[0] == status


def test_buttons_do_what_they_say_and_tell_why_if_they_can_not(board: Place) -> None:
    assert board.press(board.a, "inngest", "start")[1]["ok"] is True
    status, said = board.press(board.a, "nextjs", "start")
    assert (status, said["ok"], said["message"]) == (200, True, "nextjs.ensure: started")
    assert board.call("nextjs.status", cwd=board.a)["running"]
    assert board.press(board.a, "inngest", "sync")[1]["ok"] is True
    assert board.call("inngest.status", cwd=board.a)["pinned"] == str(board.a)
    assert board.press(board.a, "nextjs", "restart")[1]["message"] == "nextjs.restart: restarted"
    assert board.press(board.a, "nextjs", "stop")[1]["message"] == "nextjs.stop: stopped"
    port = int(board.call("ports.assign", cwd=board.b)["port"])
    board.listener(port=port)
    said = board.press(board.b, "nextjs", "start")[1]
    assert said["ok"] is False
    assert str(port) in said["message"]
    assert "--force" in said["hint"]


def test_a_page_is_told_at_once_what_has_changed(board: Place) -> None:
    told = board.events()
    first = next(told)
    rows = {Path(row["worktree"]).name: row for row in first["worktrees"]}
    assert set(rows) == {"main", "a", "b"}
    board.press(board.a, "nextjs", "start")
    with (board.git_dir(board.a) / "devservers/nextjs.log").open("a") as log:
        log.write("\x1b[31m<b>red</b>\x1b[0m \x1b]0;title\x07\n")

    def seen() -> Any:
        answer = next(told)
        row = next(row for row in answer["worktrees"] if row["worktree"] == str(board.a))
        return answer if row["nextjs"]["running"] else None

    answer = until(seen)
    assert answer["logs"][str(board.a)]["nextjs"][-1] == "<b>red</b> \\x1b]0;title\\x07"
    ((instant, _),) = first["graphs"][str(board.a)]
    assert abs(first["at"] - instant) <= 1
    told.close()  # type: ignore[attr-defined]


def watching() -> Watch:
    return Watch(Path("/"), lambda: None)


def looked(*trees: str) -> Overview:
    none = {"current": False, "port": None, "served": None, "shares": False}
    rows = [Row(tree, None, Head(), servers={}, usage={}, **none) for tree in trees]
    return Overview({}, {}, {}, tuple(rows), Exports())


def test_of_a_worktree_that_is_gone_nothing_is_kept() -> None:
    seen = watching()
    seen._graphs = {"/gone": deque([(1.0, 1)])}
    seen._sample(looked(), 100.0)
    assert seen._graphs == {}


def test_of_memory_an_hour_is_kept_however_often_it_was_seen() -> None:
    seen = watching()
    for instant in [*range(1000, 3000, 2), *range(3000, 6000, 60)]:
        seen._sample(looked("/a"), float(instant))
    times = [time for time, _ in seen._graphs["/a"]]
    assert (times[0], times[-1]) == (2340, 5940)  # the first within an hour before the last
    assert {b - a for a, b in itertools.pairwise(times)} == {10, 60}
    for instant in range(6000, 20_000, 2):
        seen._sample(looked("/a"), float(instant))
    assert len(seen._graphs["/a"]) == watch.POINTS
    seen._sample(looked("/a"), 50.0)  # the clock was set back
    assert list(seen._graphs["/a"]) == [(50, 0)]


def test_a_defect_is_told_once_in_the_log_and_the_next_look_is_taken_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    looks = 0

    def broken(*_: object) -> Overview:
        nonlocal looks
        looks += 1
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr(overview, "overview", broken)
    monkeypatch.setattr(watch, "LIVE", 0.01)
    monkeypatch.setattr(watch, "QUIET", 0.01)
    ended = threading.Event()
    monkeypatch.setattr(Path, "is_dir", lambda _: looks < 3)
    seen = Watch(Path("/"), ended.set)
    seen.start()
    number, told = seen.after(0, 10)
    assert json.loads(told)["error"]["message"] == "ZeroDivisionError: of ours"
    assert seen.after(number, 10)[0] > number
    assert ended.wait(10)
    assert capfd.readouterr().err.count("Traceback") == 1


def test_graphs_are_told_to_who_comes_and_then_when_they_change() -> None:
    seen = watching()
    seen._number, seen._graphed, seen._answer, seen._with_graphs = 5, 4, b"{}", b'{"graphs": {}}'
    assert seen.after(0, 0) == (5, b'{"graphs": {}}')
    assert seen.after(3, 0) == (5, b'{"graphs": {}}')
    assert seen.after(4, 0) == (5, b"{}")


def test_a_broken_configuration_is_told_and_passes(board: Place) -> None:
    told = board.events()
    next(told)
    text = board.config.read_text()
    board.config.write_text("{")
    until(lambda: "error" in next(told))
    board.config.write_text(text)
    until(lambda: "worktrees" in next(told))
    told.close()  # type: ignore[attr-defined]


def test_too_many_pages_are_refused_and_those_that_go_make_room(board: Place) -> None:
    pages = [board.events() for _ in range(board_server.MOST_PAGES)]
    for page in pages:
        next(page)
    assert board.ask("GET", "/events")[0] == 503
    for page in pages:
        page.close()  # type: ignore[attr-defined]
    until(lambda: board.ask("GET", "/health")[0] == 200)

    def again() -> bool:
        page = board.events()
        try:
            return bool(next(page))
        except AssertionError:
            return False
        finally:
            page.close()  # type: ignore[attr-defined]

    until(again)


def test_clients_that_say_nothing_are_few_and_keep_nobody_out(board: Place) -> None:
    silent = [
        socket.create_connection(("127.0.0.1", board.board_port))
        for _ in range(board_server.MOST_CONNECTIONS + 5)
    ]

    def closed() -> int:
        ready = select.select(silent, [], [], 0)[0]
        return sum(one.recv(1) == b"" for one in ready)

    assert until(lambda: closed() or None) <= 5 + 2  # those of the start may be open still
    for one in silent:
        one.close()
    until(lambda: board.ask("GET", "/health")[0] == 200)
    assert board.call("board.status")["state"] == "running"


@pytest.fixture
def pair() -> Iterator[Callable[[], Pair]]:
    """Return what makes a connection: our end of it, and whether the other sees it ended."""
    with contextlib.ExitStack() as held:

        def make() -> Pair:
            ours, theirs = map(held.enter_context, socket.socketpair())
            return ours, lambda: bool(select.select([theirs], [], [], 0)[0])

        yield make


def test_a_full_house_has_room_for_one_more_while_somebody_says_nothing(
    pair: Callable[[], Pair],
) -> None:
    house = guests.Guests(2, 1000)
    (first, first_over), (second, second_over), (third, _), (fourth, _) = (pair() for _ in range(4))
    assert house.admit(first)
    assert house.admit(second)
    house.has_asked(first)  # it is being answered
    assert house.admit(third)
    assert (first_over(), second_over()) == (False, True)
    house.has_asked(third)
    assert not house.admit(fourth)
    house.left(first)
    assert house.admit(fourth)


def test_who_drips_a_request_is_sent_away_and_who_is_being_answered_is_not(
    pair: Callable[[], Pair],
) -> None:
    house = guests.Guests(9, 0)
    (one, one_over), (two, two_over) = pair(), pair()
    house.admit(one)
    house.admit(two)
    house.has_asked(two)
    time.sleep(0.001)
    house.dismiss_late()
    assert (one_over(), two_over()) == (True, False)
    house.wait_for(one)  # its thread may have been about to read the next one
    house.wait_for(two)
    time.sleep(0.001)
    house.dismiss_late()
    assert two_over()
    house.left(two)


def test_who_drips_a_request_keeps_nobody_out_and_is_dropped_and_nobody_else_is(
    board: Place,
) -> None:
    board.be("fork", "lock", f"late={board_server.REQUEST + 1}")
    told = board.events()
    next(told)
    pressed = threads.Question(lambda: board.press(board.a, "nextjs", "start"))
    dripping = [
        socket.create_connection(("127.0.0.1", board.board_port))
        for _ in range(board_server.MOST_CONNECTIONS)
    ]
    for one in dripping:
        one.sendall(b"GET / HTTP/1.1\r\n")
    assert board.ask("GET", "/health")[0] == 200
    begun = time.monotonic()
    left = {*dripping}
    while left:  # each goes on, and is dropped all the same
        assert time.monotonic() - begun < board_server.REQUEST + 10
        for one in [*left]:
            try:
                one.sendall(b"X: y\r\n")
            except OSError:
                left.discard(one)
        select.select([], [], [], 0.2)
    for one in dripping:
        one.close()
    late = time.time()
    until(lambda: next(told)["at"] > late)
    told.close()  # type: ignore[attr-defined]
    assert pressed.answer()[1]["message"] == "nextjs.ensure: started"


@pytest.mark.real
def test_in_a_browser_a_button_starts_a_server_and_the_card_shows_it(
    place: Place, tmp_path: Path
) -> None:
    url = place.call("dev.board")["url"]
    page = Browser(tmp_path / "profile")
    try:
        for width in (360, 2000):
            page.look(width, dark=width == 360)
            page.open(url)
            until(lambda: page.evaluate("document.querySelectorAll('article').length") == 3)
            room = page.evaluate("document.documentElement.scrollWidth")
            assert room <= width  # nothing is cut off, or has to be scrolled for
        assert page.evaluate("location.hash") == ""  # the token isn't left in the address
        where = json.dumps(str(place.a))
        cards = "[...document.querySelectorAll('article')]"
        card = f"{cards}.find(one => one.dataset.worktree === {where})"
        button = f"{card}.querySelector('[data-key=\"nextjs start\"]')"
        assert page.evaluate(f"{button}.getAttribute('aria-label')") == "Start Next.js of a"
        page.evaluate(f"{button}.focus()")
        keys = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        page.call("Input.dispatchKeyEvent", type="keyDown", **keys)
        page.call("Input.dispatchKeyEvent", type="keyUp", **keys)
        until(lambda: page.evaluate(f"{card}.querySelector('.state.good') !== null"))
        held = "document.activeElement.dataset.key"  # a keyboard hasn't lost its place
        until(lambda: page.evaluate(held) == "nextjs restart")
        assert place.call("nextjs.status", cwd=place.a)["running"]
        until(lambda: "nextjs.ensure: started" in page.evaluate(f"{card}.textContent"))
        with (place.git_dir(place.a) / "devservers/nextjs.log").open("a") as log:
            log.write("<img src=x onerror=document.title='ran'>\n")
        until(lambda: "onerror" in page.evaluate(f"{card}.textContent"))
        assert page.evaluate("document.title") == "main: worktrees"
        assert page.evaluate("document.querySelectorAll('img').length") == 0
        place.call("board.stop")
        until(
            lambda: "connection lost" in (page.evaluate("(document.body || {}).textContent") or "")
        )
        place.call("board.ensure")
        until(lambda: page.evaluate("document.getElementById('connection').textContent") == "live")
        page.open(url.partition("#")[0] + "?other")
        page.evaluate("sessionStorage.clear()")
        page.call("Page.reload")
        until(
            lambda: "lacks its token" in (page.evaluate("(document.body || {}).textContent") or "")
        )
        assert os.fspath(place.a) not in page.evaluate("(document.body || {}).textContent")
    finally:
        page.close()
