"""ports.*: each worktree has a port of its own, decided once."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from devservers import config, worktree
from devservers.errors import LockTimeoutError
from devservers.lifecycle import state
from devservers.ports import assignment
from next_support import NextWorld, next_world
from support import DEVSERVERS


@pytest.fixture
def place(tmp_path: Path) -> Iterator[NextWorld]:
    with next_world(tmp_path) as world:
        yield world


def assigned(world: NextWorld, folder: Path, **env: str) -> int:
    port: int = world.call("ports.assign", cwd=folder, env=env)["port"]
    return port


def test_says_all_that_the_reference_promises(place: NextWorld) -> None:
    done = place.call("ports.assign", cwd=place.a)
    port = done["port"]
    assert port in place.pool
    assert done["method"] in {"hash", "first-available"}
    assert done["available"] is True
    assert done["baseUrl"] == f"http://localhost:{port}"
    assert (done["worktree"], done["branch"]) == (str(place.a), "a")
    assert place.claim(place.a) == f"{port}\n"


def test_is_decided_once(place: NextWorld) -> None:
    first = assigned(place, place.a)
    again = place.call("ports.assign", cwd=place.a)
    assert (again["port"], again["method"]) == (first, "cached")


def test_the_hash_gives_a_new_world_the_same_port(place: NextWorld) -> None:
    first = place.call("ports.assign", cwd=place.a)
    (place.a / ".dev-port").unlink()
    assert place.call("ports.assign", cwd=place.a)["port"] == first["port"]


def test_no_two_worktrees_share_one(place: NextWorld) -> None:
    ports = [assigned(place, folder) for folder in (place.main, place.a, place.b)]
    assert len(set(ports)) == 3


@pytest.mark.parametrize("name", ["PORT", "DEV_PORT"])
def test_the_environment_wins_and_is_not_kept(place: NextWorld, name: str) -> None:
    kept = assigned(place, place.a)
    other = next(port for port in place.pool if port != kept)
    done = place.call("ports.assign", cwd=place.a, env={name: str(other)})
    assert (done["port"], done["method"]) == (other, "env")
    assert place.claim(place.a) == f"{kept}\n"


def test_port_wins_over_dev_port(place: NextWorld) -> None:
    env = {"PORT": str(place.pool[3]), "DEV_PORT": str(place.pool[4])}
    assert place.call("ports.assign", env=env)["port"] == place.pool[3]


@pytest.mark.parametrize("value", ["abc", "0", "65536", "-1", "80 81", "²", "9" * 400])
def test_a_variable_that_is_no_port_is_named(place: NextWorld, value: str) -> None:
    error = place.refused("ports.assign", code=1, env={"PORT": value})
    assert error["code"] == "usage"
    assert error["message"].startswith("PORT is ")
    assert not (place.main / ".dev-port").exists()


def test_an_empty_variable_is_not_set(place: NextWorld) -> None:
    assert place.call("ports.assign", env={"PORT": "", "DEV_PORT": " "})["method"] != "env"


def test_the_port_of_inngest_is_refused_where_there_is_one(place: NextWorld) -> None:
    error = place.refused("ports.assign", code=1, env={"PORT": str(place.port)})
    assert "inngest.port" in error["message"]
    place.behave(enabled=False)
    assert assigned(place, place.main, PORT=str(place.port)) == place.port


@pytest.mark.parametrize("content", ["", "rubbish", "99999999", "-5", "\0\0", "5001 5002", "\xff"])
def test_a_broken_file_is_repaired_with_a_warning(place: NextWorld, content: str) -> None:
    (place.a / ".dev-port").write_text(content, encoding="latin-1")
    done = place.call("ports.assign", cwd=place.a)
    assert place.claim(place.a) == f"{done['port']}\n"
    assert "written anew" in " ".join(done["warnings"])


def test_a_port_that_left_the_pool_is_replaced(place: NextWorld) -> None:
    (place.a / ".dev-port").write_text("4999\n")
    done = place.call("ports.assign", cwd=place.a)
    assert done["port"] in place.pool
    assert "4999" in done["warnings"][0]


def test_a_copied_file_gives_way_to_the_worktree_that_had_it(place: NextWorld) -> None:
    first = assigned(place, place.main)
    shutil.copy(place.main / ".dev-port", place.a / ".dev-port")
    assert assigned(place, place.main) == first
    done = place.call("ports.assign", cwd=place.a)
    assert done["port"] != first
    assert str(place.main) in done["warnings"][0]
    assert assigned(place, place.main) == first


def test_a_worktree_whose_server_runs_keeps_its_port_from_who_copied_the_file(
    place: NextWorld,
) -> None:
    port = place.call("nextjs.ensure", cwd=place.a)["port"]
    shutil.copy(place.a / ".dev-port", place.b / ".dev-port")
    done = place.call("ports.assign", cwd=place.a)
    assert (done["port"], done["method"], done["available"]) == (port, "cached", True)
    assert assigned(place, place.b) != port
    place.call("nextjs.stop", cwd=place.a)


def test_a_lost_file_is_written_anew_with_the_port_of_the_server_that_runs(
    place: NextWorld,
) -> None:
    hashed = assigned(place, place.a)
    other = next(port for port in place.pool if port != hashed)
    assert place.call("nextjs.ensure", cwd=place.a, env={"PORT": str(other)})["port"] == other
    (place.a / ".dev-port").unlink()
    assert assigned(place, place.a) == other
    place.call("nextjs.stop", cwd=place.a)


def test_a_claim_that_is_a_folder_is_an_error_that_names_it(place: NextWorld) -> None:
    (place.a / ".dev-port").mkdir()
    error = place.refused("ports.assign", cwd=place.a, code=17)
    assert str(place.a / ".dev-port") in error["message"]


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::"])  # noqa: S104
def test_a_foreign_listener_is_passed_over(place: NextWorld, address: str) -> None:
    first = assigned(place, place.a)
    (place.a / ".dev-port").unlink()
    place.listener(address, first)
    assert assigned(place, place.a) != first


def test_what_listens_on_the_port_later_does_not_move_it(place: NextWorld) -> None:
    first = assigned(place, place.a)
    place.listener(port=first)
    done = place.call("ports.assign", cwd=place.a)
    assert (done["port"], done["available"]) == (first, False)


def test_a_claim_goes_with_its_worktree(place: NextWorld) -> None:
    taken = {assigned(place, folder) for folder in (place.main, place.a, place.b)}
    extra = [place.tree(name) for name in ("c", "d")]
    taken |= {assigned(place, folder) for folder in extra}
    assert taken == set(place.pool)
    gone = int(place.claim(place.b))
    place.git("worktree", "remove", "--force", place.b, cwd=place.main)
    assert assigned(place, place.tree("e")) == gone
    assert assigned(place, place.a) in taken - {gone}


def test_a_folder_that_lost_its_worktree_claims_nothing(place: NextWorld) -> None:
    first = assigned(place, place.a)
    (place.a / ".git").unlink()
    (place.b / ".dev-port").write_text(f"{first}\n")
    done = place.call("ports.assign", cwd=place.b)
    assert (done["port"], done["method"]) == (first, "cached")


def test_the_hint_to_ignore_the_file_comes_once(place: NextWorld) -> None:
    (place.a / ".gitignore").unlink()
    first = place.call("ports.assign", cwd=place.a)
    assert ".gitignore" in first["warnings"][0]
    assert place.call("ports.assign", cwd=place.a)["warnings"] == []
    assert place.call("ports.assign", cwd=place.b)["warnings"] == []


def test_inside_a_hook_it_is_this_worktrees_port(place: NextWorld) -> None:
    env = {"GIT_DIR": str(place.git_dir(place.main)), "GIT_WORK_TREE": str(place.main)}
    done = place.call("ports.assign", cwd=place.a, env=env)
    assert done["worktree"] == str(place.a)
    assert done["warnings"] == []


def test_outside_git_a_folder_has_a_port_too(place: NextWorld) -> None:
    folder = place.folder / "plain"
    folder.mkdir()
    (folder / "tasks.py").write_text("from devservers.tasks import ns\n")
    place.configure(folder=folder)
    done = place.call("ports.assign", cwd=folder)
    assert (done["worktree"], done["branch"], done["warnings"]) == (str(folder), None, [])


def test_worktrees_of_a_bare_repository_share_the_pool(place: NextWorld) -> None:
    bare = place.folder / "bare"
    place.git("clone", "-q", "--bare", place.main, bare, cwd=place.folder)
    trees = [place.folder / name for name in ("one", "t w o")]
    for tree in trees:
        place.git("worktree", "add", "-q", "-b", tree.name.replace(" ", ""), tree, cwd=bare)
        place.configure(folder=tree)
    ports = [assigned(place, tree) for tree in trees]
    assert len(set(ports)) == 2
    found = place.call("dev.status", cwd=trees[0])["worktrees"]
    assert [row["worktree"] for row in found] == [str(tree) for tree in trees]
    done = place.run("dev.status", "--json", cwd=bare, program=DEVSERVERS)
    assert [row["current"] for row in done.json["worktrees"]] == [False, False]


def test_the_pool_used_up_names_every_port_and_its_holder(tmp_path: Path) -> None:
    with next_world(tmp_path, size=2) as world:
        foreign = world.listener(port=world.pool[0])
        assert assigned(world, world.a) == world.pool[1]
        error = world.refused("ports.assign", cwd=world.b, code=18)
        assert error["code"] == "no-port"
        assert [row["port"] for row in error["ports"]] == world.pool
        assert error["ports"][0]["holders"][0]["pid"] == foreign.pid
        assert error["ports"][1]["worktree"] == str(world.a)
        assert f"pid {foreign.pid}" in error["message"]
        assert str(world.a) in error["message"]
        assert not (world.b / ".dev-port").exists()
        world.call("nextjs.status", cwd=world.b, code=3)
        assert world.call("nextjs.stop", cwd=world.b)["action"] == "not-running"


def test_of_a_large_pool_that_is_used_up_people_are_told_the_beginning(tmp_path: Path) -> None:
    with next_world(tmp_path, size=24) as world, contextlib.ExitStack() as held:
        for port in world.pool:
            held.enter_context(socket.create_server(("127.0.0.1", port)))
        done = world.run("ports.assign", cwd=world.a)
        assert (done.code, done.out) == (18, "")
        first, *lines, more, hint = done.err.splitlines()
        assert "(24 ports)" in first
        assert [int(line.split(":")[0]) for line in lines] == world.pool[:20]
        assert "and 4 more" in more
        assert "git worktree remove" in hint
        error = world.refused("ports.assign", cwd=world.a, code=18)
        assert [row["port"] for row in error["ports"]] == world.pool
        assert str(world.pool[-1]) in error["message"]


def test_who_holds_the_lock_is_named(place: NextWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    here = worktree.find(place.a)
    settings = config.load(here.root, here.main)
    monkeypatch.setattr(assignment, "LOCK_TIMEOUT", 0.1)
    here.shared_dir.mkdir(exist_ok=True)
    with state.lock(here.shared_dir / "ports", 0), pytest.raises(LockTimeoutError) as caught:
        assignment.assign(settings, here, env={})
    assert caught.value.details["holders"][0]["pid"] == os.getpid()  # type: ignore[index]
    assert f"pid {os.getpid()}" in caught.value.message
    assert not (place.a / ".dev-port").exists()


def test_the_lock_is_held_for_a_look_at_the_claims_and_no_longer(place: NextWorld) -> None:
    events: list[tuple[str, str]] = []
    watching = True

    def note(event: str, words: tuple[object, ...]) -> None:
        if watching and event in {"fcntl.flock", "subprocess.Popen", "open", "import"}:
            events.append((event, str(words[0])))

    for folder in (place.main, place.a):
        assigned(place, folder)
    here = worktree.find(place.b)
    settings = config.load(here.root, here.main)
    sys.addaudithook(note)  # for good, so it is told when to stop
    done = assignment.assign(settings, here, env={})
    watching = False
    assert place.claim(place.b) == f"{done.port}\n"
    taken, released = (i for i, (event, _) in enumerate(events) if event == "fcntl.flock")
    under = events[taken:released]
    assert "subprocess.Popen" not in dict(under), "git is asked afterwards"
    assert f"{place.a}/.dev-port" in dict.fromkeys(what for _, what in under)
    opened = [what for event, what in under if event == "open"]
    assert not [what for what in opened if what.endswith(("/.git", "/HEAD", ".pyc"))], opened


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_twenty_times_ten_worktrees_ask_at_once_and_no_two_get_the_same(tmp_path: Path) -> None:
    rounds = int(os.environ.get("DEVSERVERS_TEST_ROUNDS", "20"))
    with next_world(tmp_path, size=10) as world:
        trees = [world.main, world.a, world.b, *map(world.tree, "cdefghi")]
        for _ in range(rounds):
            done = world.at_once(trees, "ports.assign", "--json")
            assert [ran.code for ran in done] == [0] * 10, done
            assert sorted(ran.json["port"] for ran in done) == sorted(world.pool)
            for tree in trees:
                (tree / ".dev-port").unlink()
            trees = trees[1:] + trees[:1]


@pytest.mark.timeout(120)
def test_of_eleven_that_ask_at_once_for_ten_ports_one_is_told_who_has_them(tmp_path: Path) -> None:
    with next_world(tmp_path, size=10) as world:
        trees = [world.main, world.a, world.b, *map(world.tree, "cdefghij")]
        done = world.at_once(trees, "ports.assign", "--json")
        assert sorted(ran.code for ran in done) == [0] * 10 + [18]
        won = [ran.json["port"] for ran in done if ran.code == 0]
        assert sorted(won) == sorted(world.pool)
        lost = next(ran for ran in done if ran.code)
        assert all(row["worktree"] for row in lost.error["ports"])


def test_callers_killed_while_they_ask_leave_nothing_that_blocks(place: NextWorld) -> None:
    for delay in range(0, 60, 4):
        child = place.start("ports.assign", cwd=place.a)
        try:
            child.wait(0.1 + delay / 1000)
        except subprocess.TimeoutExpired:
            child.kill()
        child.communicate()
    port = assigned(place, place.a)
    assert place.claim(place.a) == f"{port}\n"
    assert [path.name for path in place.a.glob(".dev-port*")] == [".dev-port"]


def test_list_shows_the_whole_pool(place: NextWorld) -> None:
    mine = assigned(place, place.a)
    free = next(port for port in place.pool if port != mine)
    foreign = place.listener(port=free)
    rows = {row["port"]: row for row in place.call("ports.list")["ports"]}
    assert list(rows) == place.pool
    assert rows[mine] == {
        "port": mine, "worktree": str(place.a), "branch": "a", "listening": False, "pid": None,
        "name": None, "state": "claimed",
    }  # fmt: skip
    assert (rows[free]["state"], rows[free]["pid"]) == ("foreign", foreign.pid)
    assert {row["state"] for port, row in rows.items() if port not in (mine, free)} == {"free"}


def test_list_tells_a_server_of_a_worktree_from_a_stranger(place: NextWorld) -> None:
    server = place.next_by_hand(place.b, place.pool[0])
    row = place.call("ports.list")["ports"][0]
    assert (row["state"], row["pid"], row["worktree"]) == ("ours", server.pid, str(place.b))


def test_who_names_the_holder_and_its_worktree(place: NextWorld) -> None:
    server = place.next_by_hand(place.b, place.pool[0])
    done = place.call("ports.who", f"--port={place.pool[0]}")
    holder = done["holders"][0]
    assert done["port"] == place.pool[0]
    assert holder.keys() >= {"pid", "name", "cmdline", "user", "cwd", "since", "worktree"}
    assert (holder["pid"], holder["worktree"]) == (server.pid, str(place.b))
    assert holder["user"] == psutil.Process(server.pid).username()


def test_who_of_a_port_that_nobody_holds(place: NextWorld) -> None:
    assert place.call("ports.who", f"--port={place.pool[0]}")["holders"] == []
    error = place.refused("ports.who", "--port=http", code=1)
    assert "--port" in error["message"]


def test_all_three_in_one_command(place: NextWorld) -> None:
    done = place.run("ports.assign", "ports.list", "ports.who", cwd=place.a)
    assert done.code == 0, done
    assert done.out.count("\n") == 2 + (1 + len(place.pool)) + 1
