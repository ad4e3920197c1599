"""dev.use: which worktree is in use, how it is named, and what is said of it."""

import json
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from door_support import DoorWorld, door_world
from support import DEVSERVERS, INV, accepts, until


@pytest.fixture
def place(tmp_path: Path) -> Iterator[DoorWorld]:
    """A world without a door: the worktree in use is noted all the same."""
    with door_world(tmp_path, up=False) as made:
        made.set_up(door={"enabled": False, "port": made.door})
        yield made


@pytest.fixture
def door(tmp_path: Path) -> Iterator[DoorWorld]:
    """A world with a door, that nobody has started yet."""
    with door_world(tmp_path, up=False) as made:
        yield made


@pytest.fixture
def served(tmp_path: Path) -> Iterator[DoorWorld]:
    """A world with an Inngest server, the stand-in, for all worktrees, and no door."""
    with door_world(tmp_path, up=False) as made:
        inngest: dict[str, object] = {"port": made.port, "pidFile": str(made.pid_file)}
        inngest["args"] = ["--poll-interval", "0.5"]
        made.set_up(door={"enabled": False, "port": made.door}, inngest=inngest)
        yield made


def noted(place: DoorWorld) -> str | None:
    return place.note.read_text().removesuffix("\n") if place.note.exists() else None


def pinned(place: DoorWorld) -> str | None:
    return str(place.call("inngest.status", code=3)["pinned"])


# How it is named


@pytest.mark.parametrize("program", [INV, DEVSERVERS], ids=["inv", "devservers"])
@pytest.mark.parametrize(
    "words",
    [
        ["dev.use", "b", "--json"], ["dev.use", "--json", "b"],
        ["dev.use", "--worktree=b", "--json"], ["dev.use", "--json", "--worktree", "b"],
        ["dev.use", "BRANCH", "--json"], ["dev.use", "FOLDER", "--json"],
        ["dev.use", "../b", "--json"], ["dev.use", "../b/", "--json"],
        ["dev.use", "feature-b", "--json"], ["dev.use", "--json", "b", "--", "c"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_worktree_is_named_by_branch_folder_or_label(
    place: DoorWorld, program: Path, words: list[str]
) -> None:
    place.git("branch", "-m", "b", "feature/b", cwd=place.b)
    special = {"BRANCH": "feature/b", "FOLDER": str(place.b)}
    done = place.run(*(special.get(word, word) for word in words), cwd=place.a, program=program)
    assert done.code == 0, done
    said = done.json
    assert (said["action"], said["worktree"], said["branch"]) == ("used", str(place.b), "feature/b")
    assert noted(place) == str(place.b)


@pytest.mark.parametrize("program", [INV, DEVSERVERS], ids=["inv", "devservers"])
@pytest.mark.parametrize("words", [[], ["--", "b"]], ids=str)
def test_without_a_name_it_is_the_one_here(
    place: DoorWorld, program: Path, words: list[str]
) -> None:
    folder = place.a / "deep"
    folder.mkdir()
    (folder / "tasks.py").write_text("from devservers.tasks import ns\n")
    done = place.run("dev.use", "--json", *words, cwd=folder, program=program)
    assert done.json["worktree"] == noted(place) == str(place.a)


def test_another_task_may_follow(place: DoorWorld) -> None:
    done = place.run("dev.use", "b", "ports.list", cwd=place.a)
    assert done.code == 0, done
    assert noted(place) == str(place.b)
    done = place.run("dev.use", "ports.list", cwd=place.a)
    assert done.code == 0, done
    assert noted(place) == str(place.a)
    done = place.run("ports.list", "dev.use", "b", cwd=place.a)
    assert done.code == 0, done
    assert noted(place) == str(place.b)


def test_a_worktree_whose_name_is_a_task_is_named_by_its_flag(place: DoorWorld) -> None:
    tree = place.add_worktree(place.folder / "dev.up")
    assert place.call("dev.use", "--worktree=dev.up", cwd=place.a)["worktree"] == str(tree)


def test_a_branch_wins_over_a_folder_and_a_folder_over_a_label(place: DoorWorld) -> None:
    first = place.add_worktree(place.folder / "x", "y")
    second = place.add_worktree(place.folder / "y", "z/q")
    third = place.add_worktree(place.folder / "z-q", "other")
    assert place.call("dev.use", "y")["worktree"] == str(first)
    assert place.call("dev.use", str(second))["worktree"] == str(second)
    assert place.call("dev.use", "z-q")["worktree"] == str(third)
    assert place.call("dev.use", "z/q")["worktree"] == str(second)


@pytest.mark.parametrize("program", [INV, DEVSERVERS], ids=["inv", "devservers"])
@pytest.mark.parametrize("name", ["nobody", "~nobody-at-all/x", "/", "..", "x" * 5000, "b\x1b[31m"])
def test_an_unknown_worktree_is_an_error_that_lists_those_there_are(
    place: DoorWorld, program: Path, name: str
) -> None:
    error = place.refused("dev.use", name, code=1, cwd=place.a, program=program)
    assert error["code"] == "usage"
    assert "main, a, b" in error["message"]
    done = place.run("dev.use", f"--worktree={name}", cwd=place.a, program=program)
    assert (done.code, done.out) == (1, "")
    assert "main, a, b" in done.err
    assert "\x1b" not in done.err
    assert noted(place) is None


def test_a_name_and_none_exclude_each_other(place: DoorWorld) -> None:
    for words in (["b", "--none"], ["--none", "b"], ["--worktree=b", "--none"]):
        assert place.refused("dev.use", *words, code=1)["code"] == "usage"
    assert noted(place) is None


def test_a_worktree_whose_configuration_is_wrong_changes_nothing(place: DoorWorld) -> None:
    place.call("dev.use", "a")
    place.configure(folder=place.b)
    file = place.b / place.config.relative_to(place.main)
    file.write_text('{"nextjs": {"prots": []}}')
    error = place.refused("dev.use", "b", code=10, cwd=place.a)
    assert error["code"] == "config-invalid"
    assert noted(place) == str(place.a)


# What it says


def test_it_says_what_was_in_use_and_that_it_is_already(place: DoorWorld) -> None:
    first = place.call("dev.use", "a")
    assert (first["action"], first["before"], first["running"]) == ("used", None, False)
    assert (first["url"], first["nameUrl"], first["port"]) == (None, None, None)
    assert first["next"] == [f"cd {place.a} && inv nextjs.ensure"]
    again = place.call("dev.use", cwd=place.a)
    assert (again["action"], again["before"]) == ("already-used", str(place.a))
    assert again["next"] == ["inv nextjs.ensure"]
    text = place.run("dev.use", "b", cwd=place.a).out
    assert text.startswith(f"b is in use: {place.b}\n")
    assert "set door.enabled" in text


def test_with_a_door_it_says_both_addresses(door: DoorWorld) -> None:
    said = door.call("dev.use", "a")
    assert said["url"] == f"http://localhost:{door.door}"
    assert said["nameUrl"] == f"http://a.main.localhost:{door.door}"
    assert said["warnings"] == []
    door.call("nextjs.ensure", cwd=door.a)
    port = int(door.claim(door.a))
    said = door.call("dev.use", "a")
    assert (said["running"], said["port"], said["next"]) == (True, port, [])
    text = door.run("dev.use", cwd=door.a).out
    assert f"http://localhost:{door.door} leads to its Next.js server on port {port}" in text
    assert f"its own address: http://a.main.localhost:{door.door}" in text


def test_none_takes_it_back(door: DoorWorld) -> None:
    assert door.call("dev.use", "--none")["action"] == "none-used"
    door.call("dev.use", "a")
    said = door.call("dev.use", "--none")
    assert (said["action"], said["before"], said["worktree"]) == ("released", str(door.a), None)
    assert noted(door) is None
    assert "No worktree is in use" in door.get().text
    assert "in use no longer" not in door.run("dev.use", "--none").out


def test_dev_status_shows_which_one_is_in_use(place: DoorWorld) -> None:
    place.call("dev.use", "b")
    rows = {
        Path(row["worktree"]).name: row["inUse"] for row in place.call("dev.status")["worktrees"]
    }
    assert rows == {"main": False, "a": False, "b": True}
    text = place.run("dev.status").out
    assert f"{place.b}, in use" in text
    assert text.count(", in use") == 1
    place.call("dev.use", "--none")
    assert not any(row["inUse"] for row in place.call("dev.status")["worktrees"])


def test_a_note_of_a_worktree_that_is_gone_is_pruned(place: DoorWorld) -> None:
    place.call("dev.use", "b")
    assert place.call("dev.prune")["pruned"] == []
    place.git("worktree", "remove", "--force", place.b, cwd=place.main)
    (one,) = place.call("dev.prune", "--dry-run")["pruned"]
    assert (one["kind"], one["what"]) == ("file", str(place.note))
    assert noted(place) == str(place.b)
    assert str(place.b) in place.call("dev.prune")["pruned"][0]["why"]
    assert noted(place) is None


def test_without_a_door_none_is_started(place: DoorWorld) -> None:
    place.call("dev.use", "a")
    assert not accepts(place.door)
    assert place.call("door.ensure")["action"] == "disabled"


def test_with_a_door_that_was_killed_it_is_started_again(door: DoorWorld) -> None:
    door.call("dev.use", "a")
    door.door_process().kill()
    until(lambda: not accepts(door.door))
    assert door.call("dev.use", "b")["warnings"] == []
    assert "of b is down" in door.get().text


# Many at once, and interrupted


def test_of_many_at_once_one_is_in_use_and_each_says_so_of_its_own(door: DoorWorld) -> None:
    trees = [door.main, door.a, door.b]
    done = door.at_once([trees[number % 3] for number in range(20)], "dev.use", "--json")
    assert {one.code for one in done} == {0}, done
    assert {one.json["worktree"] for one in done} == {str(tree) for tree in trees}
    said = json.loads(door.get("/.well-known/devservers-door").body)
    assert said["inUse"] == noted(door)


def test_killed_at_any_moment_the_next_call_is_right(door: DoorWorld) -> None:
    door.call("dev.use", "a")
    chance = random.Random(4)  # noqa: S311
    for number in range(12):
        tree = (door.a, door.b)[number % 2]
        child = door.start("dev.use", cwd=tree)
        time.sleep(chance.random() * 0.15)
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        assert noted(door) in {str(door.a), str(door.b)}
        if number % 3 == 0:
            assert door.call("dev.use", cwd=tree)["warnings"] == []
            assert json.loads(door.get("/.well-known/devservers-door").body)["inUse"] == str(tree)
    assert sorted(file.name for file in door.note.parent.glob("*in-use*")) == ["in-use"]


# Inngest


def test_the_worktree_in_use_is_pinned_also_where_inngest_doesnt_run(served: DoorWorld) -> None:
    said = served.call("dev.use", "a")
    assert (said["pinned"], said["servedBy"]) == (str(served.a), None)
    assert pinned(served) == str(served.a)
    assert "doesn't run" in served.run("dev.use", "b").out
    assert pinned(served) == str(served.b)
    said = served.call("dev.use", "--none")
    assert said["pinned"] is None
    assert served.call("inngest.status", code=3)["pinned"] is None


def test_the_app_of_the_worktree_in_use_is_served(served: DoorWorld) -> None:
    served.leaves_server = True
    ports = [int(served.call("ports.assign", cwd=tree)["port"]) for tree in (served.a, served.b)]
    for tree, port in zip((served.a, served.b), ports, strict=True):
        served.app(port, cwd=tree)
    served.call("inngest.ensure", "--stand-in")
    for name, port in (("a", ports[0]), ("b", ports[1]), ("a", ports[0])):
        said = served.call("dev.use", name)
        assert (Path(said["pinned"]).name, said["servedBy"]) == (name, port)
        assert served.call("inngest.status", cwd=served.a)["servedBy"] == port
    assert "is served from port" in served.run("dev.use", "b").out


def test_an_app_that_doesnt_run_is_pinned_with_a_warning(served: DoorWorld) -> None:
    served.leaves_server = True
    served.call("inngest.ensure", "--stand-in")
    said = served.call("dev.use", "a")
    assert (said["pinned"], said["servedBy"]) == (str(served.a), None)
    assert "not served yet" in said["warnings"][0]
    assert served.call("inngest.status")["pinned"] == str(served.a)


def test_of_many_at_once_the_one_in_use_is_the_one_that_is_pinned(served: DoorWorld) -> None:
    trees = [served.main, served.a, served.b]
    for _ in range(3):
        done = served.at_once([trees[number % 3] for number in range(9)], "dev.use", "--json")
        assert {one.code for one in done} == {0}, done
        assert noted(served) == pinned(served)


def test_where_each_worktree_has_an_inngest_server_nothing_is_pinned(served: DoorWorld) -> None:
    own = {"scope": "worktree", "ports": [served.port + step for step in (0, 1, 2)]}
    served.set_up(door={"enabled": False, "port": served.door}, inngest=own)
    said = served.call("dev.use", "a")
    assert (said["pinned"], said["servedBy"], said["warnings"]) == (None, None, [])


def test_a_door_changes_nothing_of_where_apps_and_inngest_find_each_other(
    served: DoorWorld,
) -> None:
    before = served.call("dev.env", cwd=served.a)["variables"]
    settings = json.loads(served.config.read_text())
    settings["door"]["enabled"] = True
    served.config.write_text(json.dumps(settings))
    after = served.call("dev.env", cwd=served.a)["variables"]
    assert after.pop("DOOR_URL") == f"http://localhost:{served.door}"
    assert after == before
    assert "INNGEST_DEV" in before
