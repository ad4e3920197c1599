"""Where the front door leads: the worktree in use, a name for each, and never anywhere else."""

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from door_support import HEALTH, DoorWorld, door_world
from support import accepts, is_alive, until

HTML = "Accept: text/html,application/xhtml+xml"
SWITCH = "Connection: Upgrade", "Upgrade: echo"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[DoorWorld]:
    """A world whose servers of a and b run; a is in use."""
    with door_world(tmp_path) as made:
        yield made


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[DoorWorld]:
    """A world where nothing runs but the door, and no worktree is in use."""
    with door_world(tmp_path, up=False) as made:
        made.call("door.ensure")
        yield made


# The switch


def test_the_next_request_goes_to_the_worktree_in_use(place: DoorWorld) -> None:
    for _ in range(10):
        for tree in (place.b, place.a):
            place.use(tree)
            assert place.get().text == tree.name  # at once, on a new connection
            assert place.get("/", host=f"127.0.0.1:{place.door}").text == tree.name


def test_a_kept_connection_asks_anew_where_it_leads_with_each_request(place: DoorWorld) -> None:
    with place.wire() as wire:
        assert wire.get().text == "a"
        place.note.with_suffix(".new").write_text(f"{place.b}\n")
        place.note.with_suffix(".new").replace(place.note)
        wire.ask()  # before the door has looked by itself, or after: it has closed it then
        with contextlib.suppress(AssertionError, ConnectionResetError):
            assert wire.answer().text == "b"
    assert place.get().text == "b"


def test_what_waits_for_nothing_is_closed_at_a_switch_and_what_came_by_name_is_not(
    place: DoorWorld,
) -> None:
    with contextlib.ExitStack() as held:
        idle, events, socket_, named, named_socket, fresh = (
            held.enter_context(place.wire()) for _ in range(6)
        )
        idle.get()
        events.ask("/events").upto(b"\n\n")
        socket_.ask("/socket", *SWITCH).answer()
        named.get(host=f"a.{place.zone}")
        named_socket.ask("/socket", *SWITCH, host=f"a.{place.zone}").answer()
        place.use(place.b)
        began = time.monotonic()
        assert events.is_closed()
        assert idle.is_closed()
        assert socket_.is_closed()
        assert time.monotonic() - began < 1
        assert named.get(host=f"a.{place.zone}").text == "a"
        assert named_socket.send("echo").some(4) == b"echo"
        assert fresh.get().text == "b"
        place.use(place.a)
        assert named_socket.send("echo").some(4) == b"echo"


def test_a_switch_is_seen_within_a_tenth_of_a_second(place: DoorWorld) -> None:
    took = []
    place.use(place.b)
    for tree in [place.a, place.b] * 5:
        with place.wire() as wire:
            wire.get()
            half = place.note.with_suffix(".new")
            half.write_text(f"{tree}\n")
            half.replace(place.note)
            began = time.monotonic()
            assert wire.is_closed()
            took.append(time.monotonic() - began)
    assert sorted(took)[2] < 0.1, took  # a busy machine may take longer, now and then


def test_no_request_is_lost_by_a_switch_however_soon_it_follows_the_one_before(
    place: DoorWorld,
) -> None:
    place.use(place.a)
    over = threading.Event()
    failed: list[BaseException] = []
    closed: list[str] = []  # a request that came late: its client had not been let run for long
    seen: set[str] = set()

    def ask() -> None:
        try:
            while not over.is_set():
                with place.wire() as wire:
                    while not over.is_set():
                        wire.ask()
                        if not (data := wire.more()):
                            closed.append("before a byte of the answer")
                            break
                        wire.buffer = data
                        seen.add(wire.answer().text)
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for tree in [place.b, place.a] * 8:
        half = place.note.with_suffix(".new")
        half.write_text(f"{tree}\n")
        half.replace(place.note)
        seen.clear()
        until(lambda tree=tree: tree.name in seen or failed)
    over.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(closed) < 8, "of 64 clients and switches a busy machine may make a few late"


def test_a_switch_that_a_request_sees_first_closes_what_is_idle_all_the_same(
    place: DoorWorld,
) -> None:
    for tree in (place.b, place.a, place.b, place.a):
        with place.wire() as idle:
            idle.get()
            half = place.note.with_suffix(".new")
            half.write_text(f"{tree}\n")
            half.replace(place.note)
            assert place.get().text == tree.name
            idle.sock.settimeout(2)
            assert idle.is_closed()


def test_a_request_in_flight_is_finished_by_the_server_that_has_it(
    place: DoorWorld, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    target = f"/slow?gate={gate}"
    with place.wire() as wire, place.wire() as upload:
        wire.ask(target)
        upload.ask("/bytes?up", "Content-Length: 10", method="POST").send("12345")
        place.asked(place.a, target)
        place.asked(place.a, "/bytes?up")
        place.use(place.b)
        assert place.get().text == "b"
        time.sleep(0.2)  # several glances
        gate.touch()
        upload.send("67890")
        assert wire.answer().text == "a"
        assert upload.answer().text == "10"
        assert wire.is_closed()
        assert upload.is_closed()
    assert not place.seen(place.b, target)


def test_nothing_is_started_or_stopped_by_a_switch(place: DoorWorld) -> None:
    trees = (place.a, place.b)
    before = [place.call("nextjs.status", cwd=tree)["pid"] for tree in trees]
    for tree in trees:
        place.use(tree)
    assert [place.call("nextjs.status", cwd=tree)["pid"] for tree in trees] == before


# Names


def test_each_name_leads_to_its_worktree_whichever_is_in_use(place: DoorWorld) -> None:
    for name in ("a", "b", "A"):
        assert place.named(name).text == name.lower()
    assert place.get(host=f"b.MAIN.localhost:{place.door}").text == "b"
    place.use(place.b)
    assert place.named("a").text == "a"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_it_listens_on_both_loopback_addresses_and_no_other(place: DoorWorld, address: str) -> None:
    if not accepts(place.door, address):
        pytest.skip("this machine has no ::1")
    with place.wire(address) as wire:
        host = f"[{address}]" if ":" in address else address
        assert wire.get(host=f"{host}:{place.door}").text == "a"
    rows = place.door_process().net_connections("tcp")
    listening = {row.laddr.ip for row in rows if row.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1", "::1"}


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "localhost:PORT.evil.example", "evil.example:PORT", "a.main.localhost",
        "localhost:80", "localhost:PORT:PORT", "0.0.0.0:PORT", "192.168.0.1:PORT", "[::]:PORT",
        "127.0.0.2:PORT", "evil.localhost.example:PORT", "xlocalhost:PORT", "[::1:PORT", ":PORT",
        "user@localhost:PORT", "localhost:PORT, evil.example", "a.main.localhost\xe9:PORT", "",
        "localhost :PORT", "LOCALHOST.evil.example:PORT", "2130706433:PORT", "localhost:+PORT",
    ],
)  # fmt: skip
def test_any_other_host_leads_nowhere(shared: DoorWorld, host: str) -> None:
    host = host.replace("PORT", str(shared.door))
    with shared.wire() as wire:
        wire.send(f"GET /?{host.encode().hex()} HTTP/1.1\r\nHost: {host}\r\n\r\n")
        answer = wire.answer()
    assert (answer.status, answer.is_ours) == (421, True)
    assert "main" not in answer.text
    assert not shared.seen(shared.a, f"/?{host.encode().hex()}")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DoorWorld]:
    with door_world(tmp_path_factory.mktemp("names")) as made:
        yield made


@pytest.mark.parametrize("name", ["nobody", "a.b", "b.a", "a-", "-a", "a%2e", "..", "<b>"])
def test_an_unknown_name_lists_the_worktrees(shared: DoorWorld, name: str) -> None:
    answer = shared.named(name, "/", HTML)
    assert (answer.status, answer.is_ours) == (404, True)
    assert f'<a href="http://b.{shared.zone}/">' in answer.text
    assert "<b>" not in answer.text
    assert answer.text.count(">running<") == 2
    plain = shared.named(name)
    assert plain.field("Content-Type") == "text/plain; charset=utf-8"
    assert f"http://b.{shared.zone}/  b  running\n" in plain.body.decode()
    assert f"http://main.{shared.zone}/  main  down\n" in plain.body.decode()


def test_names_of_other_repositories_and_of_no_worktree_are_unknown(shared: DoorWorld) -> None:
    for host in ("a.shop.localhost", "shop.localhost", "a.localhost", "main.localhost.localhost"):
        assert shared.get(host=f"{host}:{shared.door}").status == 404
    assert shared.get(host=f"{shared.zone}").status == 200


def test_the_doors_own_path_is_its_own_only_at_the_one_address(shared: DoorWorld) -> None:
    said = json.loads(shared.get(HEALTH).body)
    assert said == {"door": True, "inUse": str(shared.a)}
    assert shared.get(HEALTH, method="HEAD").status == 200
    with shared.wire() as wire:
        assert wire.get().text == "a"
        assert wire.get(HEALTH).is_ours


def test_a_page_can_do_nothing_but_what_is_ours(shared: DoorWorld) -> None:
    first, second = (shared.named("nobody", "/", HTML) for _ in range(2))
    policy = first.field("Content-Security-Policy") or ""
    assert "default-src 'none'" in policy
    nonce = policy.partition("'nonce-")[2].partition("'")[0]
    assert first.text.count(f'nonce="{nonce}"') == first.text.count("nonce=")
    assert nonce not in second.text
    assert first.field("X-Content-Type-Options") == "nosniff"
    assert first.field("Cache-Control") == "no-store"
    assert first.field("Content-Length") == str(len(first.body))
    assert shared.named("nobody", "/", HTML, method="HEAD").body == b""


def test_branches_that_come_to_one_name_have_names_of_their_own(bare: DoorWorld) -> None:
    branches = ["Login", "feature/login", "feature-login", "feature_login", "x" * 80, "x" * 81, "ü"]
    for number, branch in enumerate(branches):
        bare.add_worktree(bare.folder / f"tree-{number}", branch)
    bare.git("worktree", "add", "-q", "--detach", bare.folder / "login", cwd=bare.main)
    bare.git("worktree", "add", "-q", "--detach", bare.folder / "sub" / "login", cwd=bare.main)
    bare.git("worktree", "add", "-q", "-f", bare.folder / "again", "Login", cwd=bare.main)
    urls = {}
    for tree in json_trees(bare):
        urls[tree] = bare.call("dev.use", cwd=Path(tree))["nameUrl"]
        said = json.loads(bare.get(HEALTH).body)
        assert said["inUse"] == tree
    assert len(set(urls.values())) == len(urls) == 3 + len(branches) + 3
    by_branch = {branch: urls[str(bare.folder / f"tree-{n}")] for n, branch in enumerate(branches)}
    assert by_branch["feature-login"] == f"http://feature-login.{bare.zone}"
    assert by_branch["feature/login"].startswith("http://feature-login-")
    for url in urls.values():
        host = url.removeprefix("http://")
        assert len(host.partition(".")[0]) <= 63
        answer = bare.get(host=host)
        assert answer.status == 503
        assert "is down" in answer.text
    listed = bare.get(host=bare.zone).text
    assert all(f"{url}/  " in listed for url in urls.values())


def json_trees(place: DoorWorld) -> list[str]:
    return [row["worktree"] for row in place.call("dev.status")["worktrees"]]


def test_a_branchs_name_is_shown_as_text(bare: DoorWorld) -> None:
    name = "<b>x\"y'&`z`"
    bare.add_worktree(bare.folder / "tree", name)
    tree = bare.add_worktree(bare.folder / "<i>tree", "i")
    listed = bare.named("nobody", "/", HTML).text
    assert "<b>" not in listed
    assert "&lt;b&gt;x&quot;y&#x27;&amp;" in listed
    assert name in bare.named("nobody").text
    bare.call("dev.use", cwd=tree)
    down = bare.get("/", HTML).text
    assert "<i>" not in down
    assert "&lt;i&gt;tree" in down


# Servers that are down, and come up


def test_a_server_that_is_down_has_a_page_that_says_how_to_start_it(place: DoorWorld) -> None:
    place.call("nextjs.stop", cwd=place.a)
    page = place.get("/deep/path", HTML)
    assert (page.status, page.is_ours) == (503, True)
    assert "The Next.js server of a is down" in page.text
    assert f"<code>cd {place.a}</code>" in page.text
    assert "<code>inv nextjs.ensure</code>" in page.text
    assert "location.reload()" in page.text
    assert f'<a href="http://b.{place.zone}/">' in page.text
    for answer in (place.get(), place.named("a"), place.get("/", method="POST", body=b"x" * 99)):
        assert (answer.status, answer.field("Content-Type")) == (503, "text/plain; charset=utf-8")
        assert f"cd {place.a}" in answer.text
    with place.wire() as wire:  # its page asks so
        assert wire.get("/", method="HEAD").is_ours
    place.call("nextjs.ensure", cwd=place.a)
    until(lambda: place.get().text == "a")


def test_a_server_that_is_killed_and_comes_back_on_another_port_is_found(place: DoorWorld) -> None:
    with place.wire() as wire, place.wire() as busy:
        wire.get()
        busy.ask("/events").upto(b"\n\n")
        pid = place.call("nextjs.status", cwd=place.a)["pid"]
        os.kill(pid, signal.SIGKILL)
        assert busy.is_closed()
        until(lambda: place.get().status == 503)
        assert wire.get().status == 503
    port = next(port for port in place.pool if not accepts(port))
    place.call("nextjs.ensure", cwd=place.a, env={"PORT": str(port)})
    assert accepts(port)
    until(lambda: place.get().text == "a")


def test_a_server_that_is_started_by_hand_is_found(bare: DoorWorld) -> None:
    bare.use(bare.a)
    assert bare.get().status == 503
    port = int(bare.call("ports.assign", cwd=bare.a)["port"])
    bare.next_by_hand(bare.a, port, "lock", "title")
    until(lambda: bare.get().status == 404)  # which that server says
    assert not bare.get().is_ours


def test_a_stranger_on_the_port_of_a_worktree_gets_not_a_byte(bare: DoorWorld) -> None:
    port = int(bare.call("ports.assign", cwd=bare.a)["port"])
    bare.use(bare.a)
    with socket.create_server(("127.0.0.1", port)) as stranger:
        stranger.settimeout(0)
        for _ in range(3):
            assert bare.get().status == 503
            assert bare.named("a").status == 503
            time.sleep(0.35)  # until it looks again
        got = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                one, _ = stranger.accept()
                one.settimeout(5)
                with one:
                    got += one.recv(1000)
        assert b"GET / " not in got
        assert b"Host: a." not in got


def test_a_stranger_who_takes_the_port_of_a_server_that_ended_gets_not_a_byte(
    place: DoorWorld,
) -> None:
    port = int(place.claim(place.a))
    with place.wire() as wire:
        wire.get()
        place.door_process().suspend()
        try:
            os.kill(place.call("nextjs.status", cwd=place.a)["pid"], signal.SIGKILL)
            until(lambda: not accepts(port))
            stranger = until(lambda: bound(port))
            late = place.wire()
            late.ask("/?secret")
            wire.ask("/?secret")
        finally:
            place.door_process().resume()
        with stranger, late:
            assert late.answer().status == 503
            stranger.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                while True:
                    one, _ = stranger.accept()
                    with one:
                        one.settimeout(5)
                        assert b"secret" not in one.recv(1000)


def bound(port: int) -> socket.socket | None:
    with contextlib.suppress(OSError):
        return socket.create_server(("127.0.0.1", port))
    return None


# The note


@pytest.mark.parametrize(
    "text",
    ["", "\n", "a\n", "a", "relative/path\n", "/nowhere\n", "/\n", "\0/x\n", "/x\0y\n",
     "HERE/home\n", "HERE/main/.git\n", "HERE/a/..\n", "x" * 100_000, "/\ud800\n",
     "HERE/a\nHERE/b\n"],
    ids=ascii,
)  # fmt: skip
def test_a_note_that_names_no_worktree_leads_nowhere(shared: DoorWorld, text: str) -> None:
    data = text.replace("HERE", str(shared.folder)).encode("utf-8", "surrogatepass")
    before = shared.note.read_bytes()
    try:
        half = shared.note.with_suffix(".new")
        half.write_bytes(data)
        half.replace(shared.note)
        answer = shared.get()
        assert (answer.status, answer.is_ours) == (503, True)
        assert " in use" in answer.text
        assert json.loads(shared.get(HEALTH).body)["inUse"] is None
        assert shared.named("a").text == "a"
    finally:
        half.write_bytes(before)
        half.replace(shared.note)
    until(lambda: shared.get().text == "a")


def test_a_note_that_is_no_plain_file_of_ones_own_leads_nowhere(place: DoorWorld) -> None:
    text = f"{place.a}\n"
    elsewhere = place.folder / "elsewhere"
    elsewhere.write_text(text)
    for make in (
        lambda: place.note.symlink_to(elsewhere),
        lambda: place.note.hardlink_to(elsewhere),
        lambda: os.mkfifo(place.note),
        place.note.mkdir,
    ):
        place.note.unlink()
        make()
        assert place.get().status == 503
        if not place.note.is_dir():
            assert place.use(place.a)["action"] == "used"
            assert elsewhere.read_text() == text
            assert place.get().text == "a"
    error = place.refused("dev.use", code=17, cwd=place.a)
    assert (error["code"], str(place.note) in error["message"]) == ("state-unusable", True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_note_of_another_user_leads_nowhere(place: DoorWorld) -> None:
    half = place.note.with_suffix(".new")
    half.write_text(f"{place.b}\n")
    os.chown(half, 65534, 65534)
    half.replace(place.note)
    assert place.get().status == 503


def test_a_worktree_that_is_gone_is_in_use_no_more(place: DoorWorld) -> None:
    place.call("nextjs.stop", cwd=place.a)
    place.git("worktree", "remove", "--force", place.a, cwd=place.main)
    until(lambda: "The worktree in use is gone" in place.get().text)
    until(lambda: place.named("a").status == 404)
    assert place.named("b").text == "b"
    assert place.call("dev.use", "b")["before"] == str(place.a)
    assert place.get().text == "b"


def test_a_worktree_that_has_just_been_made_is_found_at_once(place: DoorWorld) -> None:
    place.get()
    began = time.monotonic()
    tree = place.add_worktree(place.folder / "new")
    half = place.note.with_suffix(".new")
    half.write_text(f"{tree}\n")
    place.get()
    half.replace(place.note)
    answer = place.get()
    assert (answer.status, "of new is down" in answer.text) == (503, True)
    assert time.monotonic() - began < 5
    until(lambda: place.named("new").status == 503)


# The door itself


def test_the_door_is_a_server_as_any_other(bare: DoorWorld) -> None:
    again = bare.call("door.ensure", cwd=bare.b)
    assert (again["action"], again["port"]) == ("already-running", bare.door)
    status = bare.call("door.status", cwd=bare.a)
    assert (status["running"], status["responsive"]) == (True, True)
    assert bare.call("dev.status")["servers"]["door"]["running"]
    assert "follows the worktree in use" in bare.run("door.logs").out
    assert bare.call("door.stop")["portFree"] is True
    assert bare.call("door.status", code=3)["state"] == "stopped"


def test_a_door_that_is_killed_is_back_with_the_same_table(place: DoorWorld) -> None:
    place.use(place.b)
    for act in (
        lambda: place.call("door.ensure", cwd=place.a),
        lambda: place.call("dev.use", "b"),
        lambda: place.call("door.restart"),
    ):
        door = place.door_process()
        with place.wire() as wire:
            wire.get()
            door.kill()
            assert wire.is_closed()
        until(lambda door=door: not is_alive(door))
        act()
        assert place.get().text == "b"
        assert place.named("a").text == "a"


def test_a_door_ends_at_once_whoever_is_connected(place: DoorWorld) -> None:
    with place.wire() as socket_, place.wire() as idle:
        socket_.ask("/socket", *SWITCH).answer()
        idle.get()
        done = place.call("door.stop")
        assert (done["forced"], done["portFree"]) == (False, True)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_port_that_is_taken_changes_nothing(tmp_path: Path, address: str) -> None:
    with door_world(tmp_path, up=False) as world:
        with contextlib.suppress(OSError):
            world.listener(address, world.door)
        if not accepts(world.door, address):
            pytest.skip("this machine has no ::1")
        error = world.refused("dev.use", code=12, cwd=world.a)
        assert error["code"] == "port-in-use"
        assert not world.note.exists()


def test_a_door_that_nobody_wants_any_more_is_ended_by_prune(place: DoorWorld) -> None:
    door = place.door_process()
    assert place.call("dev.prune")["pruned"] == []
    place.set_up(door={"enabled": False, "port": place.door})
    found = place.call("dev.prune")["pruned"]
    assert any("door" in one["what"] for one in found), found
    until(lambda: not is_alive(door))


def test_the_door_holds_one_connection_for_each_of_a_client(place: DoorWorld) -> None:
    wires = [place.wire() for _ in range(5)]
    for wire in wires:
        assert wire.get().text == "a"
    port = int(place.claim(place.a))
    rows = place.door_process().net_connections("tcp")
    assert len([one for one in rows if one.raddr and one.raddr.port == port]) == 5
    for wire in wires:
        wire.sock.close()
    until(lambda: len(place.door_process().net_connections("tcp")) == 2)
