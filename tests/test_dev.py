"""dev.*: both servers of a worktree, every worktree at a glance, and what is left of lost ones."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import no_proc
import psutil
import pytest

from devservers import config, worktree
from devservers.lifecycle import state
from devservers.system import procfs
from devservers.worktrees import overview, prune
from next_support import FAKE_NEXT, NextWorld, next_world
from support import INV, accepts, is_alive, make_repository, quickly, until

WITH_A_TITLE = pytest.mark.skipif(
    no_proc.IS_ON or sys.platform == "darwin",
    reason="macOS tells nobody the environment of who has a title",
)
SUCCEEDED = pytest.mark.skipif(
    not procfs.HAS_PROC, reason="only /proc tells a folder that is gone from one of its name"
)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[NextWorld]:
    with next_world(tmp_path, "fork", "lock", "title", "app=flowt") as world:
        world.leaves_server = True
        yield world


def rows(world: NextWorld, folder: Path | None = None) -> dict[str, Any]:
    found = world.call("dev.status", cwd=folder or world.main)["worktrees"]
    return {Path(row["worktree"]).name: row for row in found}


# up and down


def test_up_starts_both_and_waits_until_the_app_is_registered(place: NextWorld) -> None:
    done = place.call("dev.up", cwd=place.a)
    assert (done["inngest"]["action"], done["nextjs"]["action"]) == ("started", "started")
    assert done["nextjs"]["worktree"] == str(place.a)
    assert (done["app"]["state"], done["app"]["appId"]) == ("served", "flowt")
    again = place.call("dev.up", cwd=place.a)
    assert {again[kind]["action"] for kind in ("inngest", "nextjs")} == {"already-running"}
    assert again["app"]["replaced"] is None


def test_up_says_whom_it_took_the_service_from(place: NextWorld) -> None:
    first = place.call("dev.up", cwd=place.a)
    other = place.call("dev.up", cwd=place.b)
    assert (other["app"]["state"], other["app"]["replaced"]) == ("served", first["nextjs"]["port"])
    found = rows(place)
    assert [found[name]["served"] for name in "ab"] == [False, True]


def test_up_says_why_an_app_is_not_registered(place: NextWorld) -> None:
    place.be("lock")
    done = place.run("dev.up", cwd=place.a, timeout=60)
    assert done.code == 0
    assert "no-route" in done.err
    assert "inngest.path" in done.err


def test_up_says_at_once_that_the_server_refuses_the_apps_sdk(place: NextWorld) -> None:
    place.be("lock", "app=flowt", "sdk=3.52.7")
    found = quickly(12, lambda: place.call("dev.up", cwd=place.a))  # it would wait thirty
    assert (found["app"]["state"], found["app"]["appId"]) == ("failing", "flowt")
    assert "refuses its SDK, inngest-js 3.52.7: versions 3.22.0 to 3.53.1" in found["app"]["error"]


def test_up_without_inngest_starts_nextjs_alone(place: NextWorld) -> None:
    place.behave(enabled=False)
    done = place.call("dev.up", cwd=place.a)
    assert (done["inngest"], done["app"]) == ({"action": "disabled"}, None)
    assert done["nextjs"]["action"] == "started"


def test_a_worktree_with_an_inngest_server_of_its_own_is_no_user_of_this_one(
    place: NextWorld,
) -> None:
    place.configure(folder=place.b, port=place.port + 2, pidFile=str(place.folder / "b.pid"))
    place.call("nextjs.ensure", cwd=place.b)
    place.call("dev.up", cwd=place.a)
    found = rows(place, place.a)
    assert (found["a"]["served"], found["b"]["served"]) == (True, None)
    done = place.call("dev.down", "--all", cwd=place.a)
    assert done["inngest"]["users"] == []


def test_down_stops_nextjs_only(place: NextWorld) -> None:
    place.call("dev.up", cwd=place.a)
    done = place.call("dev.down", cwd=place.a)
    assert done["nextjs"]["action"] == "stopped"
    assert done["inngest"]["action"] == "left-running"
    assert place.ok("status")["running"]


def test_down_all_names_who_was_still_using_inngest(place: NextWorld) -> None:
    place.call("dev.up", cwd=place.a)
    place.call("nextjs.ensure", cwd=place.b)
    done = place.call("dev.down", "--all", cwd=place.a)
    assert done["inngest"]["action"] == "stopped"
    assert [user["worktree"] for user in done["inngest"]["users"]] == [str(place.b)]
    assert place.call("nextjs.status", cwd=place.b)["running"]
    assert place.call("dev.down", "--all", cwd=place.a)["inngest"]["action"] == "not-running"


# status


def test_status_shows_every_worktree(place: NextWorld) -> None:
    place.call("dev.up", cwd=place.a)
    done = place.call("dev.status", cwd=place.b)
    assert done["inngest"]["running"] is True
    found = {Path(row["worktree"]).name: row for row in done["worktrees"]}
    assert list(found) == ["main", "a", "b"]
    assert [row["current"] for row in found.values()] == [False, False, True]
    assert (found["a"]["branch"], found["a"]["served"]) == ("a", True)
    assert found["a"]["commit"] == place.git("rev-parse", "a", cwd=place.main).strip()
    assert found["a"]["nextjs"]["state"] == "running"
    assert found["a"]["nextjs"]["port"] == found["a"]["port"]
    assert (found["b"]["port"], found["b"]["nextjs"]["port"]) == (None, None)
    assert (found["b"]["nextjs"]["running"], found["b"]["served"]) == (False, False)
    assert not (place.b / ".dev-port").exists()


def test_status_is_a_table_for_people(place: NextWorld) -> None:
    place.call("dev.up", cwd=place.a)
    text = place.run("dev.status", cwd=place.a).out.splitlines()
    titles = "BRANCH SERVER STATE URL MEM CPU UP IDLE SERVED COMMIT AGE CHANGED WORKTREE"
    assert text[0].split() == titles.split()
    assert text[1].split()[:2] == ["-", "Inngest"]
    assert [line for line in text if line.startswith("*")] == [text[3]]
    assert f"running  http://localhost:{place.claim(place.a).strip()}" in text[3]
    assert text[3].endswith(str(place.a))
    assert text[-1].startswith("2 servers running: ")


def test_status_survives_a_worktree_whose_configuration_is_broken(place: NextWorld) -> None:
    file = place.a / ".claude/plugins/workspace-dev-servers/config.json"
    file.parent.mkdir(parents=True)
    file.write_text("{")
    found = rows(place)
    assert "not valid JSON" in found["a"]["nextjs"]["warnings"][0]
    assert found["b"]["nextjs"]["warnings"] == []


@WITH_A_TITLE
def test_status_says_what_a_server_by_hand_does(place: NextWorld) -> None:
    place.next_by_hand(place.b, place.port + 1, "title")
    row = rows(place)["b"]
    assert (row["port"], row["nextjs"]["adopted"]) == (place.port + 1, True)


def test_status_asks_once_what_is_the_same_for_every_worktree(place: NextWorld) -> None:
    stranger = place.listener(port=place.pool[0])
    opened: list[str] = []
    watching = True

    def note(event: str, words: tuple[object, ...]) -> None:
        if watching and event == "open":
            opened.append(str(words[0]))

    here = worktree.find(place.a)
    settings = config.load(here.root, here.main)
    sys.addaudithook(note)  # for good, so it is told when to stop
    found = overview.overview(settings, here)
    watching = False
    assert [row.branch for row in found.rows] == ["main", "a", "b"]
    assert str(place.config) not in opened
    assert opened.count(f"/proc/{stranger.pid}/comm") == procfs.HAS_PROC


@pytest.mark.timeout(180)
def test_status_of_twenty_worktrees_with_hanging_servers_takes_one_time_out(
    tmp_path: Path,
) -> None:
    with next_world(tmp_path, "late=3600", size=20) as world:
        world.leaves_server = True
        trees = [world.main, world.a, world.b, *map(world.tree, "cdefghijklmnopqrs")]
        for tree, port in zip(trees, world.pool, strict=True):
            (tree / ".dev-port").write_text(f"{port}\n")
            # Without /proc one by hand is known by its lock alone.
            lock = [] if procfs.HAS_PROC else ["lock"]
            world.next_by_hand(tree, port, "title", "late=3600", *lock)
        begun = time.monotonic()
        found = rows(world)
        took = time.monotonic() - begun
        assert {row["nextjs"]["state"] for row in found.values()} == {"unresponsive"}
        assert len(found) == 20
        assert took < (12 if procfs.HAS_PROC else 20), "one time-out is 1.2 s; twenty would be 24"


# prune


def pruned(world: NextWorld, *words: str) -> list[tuple[str, str]]:
    done = world.call("dev.prune", *words)
    assert done["dryRun"] == ("--dry-run" in words)
    return [(found["kind"], found["what"]) for found in done["pruned"]]


def is_there(pid: int) -> bool:
    return psutil.pid_exists(pid) and is_alive(psutil.Process(pid))


def test_prune_of_a_tidy_repository_finds_nothing(place: NextWorld) -> None:
    place.call("dev.up", cwd=place.a)
    assert pruned(place) == []
    assert place.call("nextjs.status", cwd=place.a)["running"]


def test_prune_ends_the_server_of_a_worktree_that_was_removed(place: NextWorld) -> None:
    lost = place.call("nextjs.ensure", cwd=place.a)
    kept = place.call("nextjs.ensure", cwd=place.b)
    place.git("worktree", "remove", "--force", place.a, cwd=place.main)
    ((kind, what),) = pruned(place, "--dry-run")
    assert (kind, is_there(lost["pid"])) == ("server", True)
    assert str(lost["listenerPid"]) in what
    assert pruned(place) == [(kind, what)]
    until(lambda: not is_there(lost["pid"]) and not is_there(lost["listenerPid"]))
    assert not accepts(lost["port"])
    assert is_there(kept["listenerPid"])
    assert pruned(place) == []


def test_prune_ends_the_server_of_a_folder_that_was_deleted(place: NextWorld) -> None:
    lost = place.call("nextjs.ensure", cwd=place.a)
    shutil.rmtree(place.a)
    assert [kind for kind, _ in pruned(place, "--dry-run")] == ["server", "file"]
    assert [kind for kind, _ in pruned(place)] == ["server", "file"]
    assert not is_there(lost["listenerPid"])
    assert not (place.main / ".git/worktrees/a/devservers/nextjs.pid").exists()


def test_prune_ends_the_server_of_a_worktree_of_which_only_its_own_files_are_left(
    place: NextWorld,
) -> None:
    lost = place.call("nextjs.ensure", cwd=place.a)
    leave_remnants(place.a)
    found = pruned(place)
    assert [kind for kind, _ in found] == ["server", "file"]
    assert not is_there(lost["listenerPid"])


def test_prune_leaves_a_server_whose_folder_is_there_though_it_is_no_worktree_any_more(
    place: NextWorld,
) -> None:
    kept = place.call("nextjs.ensure", cwd=place.a)
    place.leaves_server = True
    (place.a / ".git").unlink()
    assert [kind for kind, _ in pruned(place)] == ["claim"]
    assert is_there(kept["listenerPid"])


def test_prune_leaves_a_server_whose_folder_only_looks_deleted(place: NextWorld) -> None:
    """Its name ends as Linux shows a deleted folder's."""
    tree = place.add_worktree(place.folder / "app (deleted)", branch="named")
    kept = place.call("nextjs.ensure", cwd=tree)
    free = next(port for port in place.pool if port != kept["port"])
    by_hand = place.next_by_hand(place.plain("home (deleted)"), free, "title")
    place.leaves_server = True
    assert pruned(place) == []
    assert is_there(kept["listenerPid"])
    assert is_there(by_hand.pid)
    assert place.call("nextjs.status", cwd=tree)["running"]
    (holder,) = place.call("ports.who", f"--port={kept['port']}")["holders"]
    assert holder["worktree"] == str(tree)


def test_prune_leaves_a_server_in_a_plain_folder_that_never_was_a_worktree(
    place: NextWorld,
) -> None:
    folder = place.plain("plain")
    kept = place.next_by_hand(folder, place.pool[0], "title")
    shutil.rmtree(folder)
    done = place.call("dev.prune")
    assert done["pruned"] == []
    assert f"pid {kept.pid}" in done["warnings"][0]
    assert "left alone" in done["warnings"][0]
    assert is_there(kept.pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_prune_leaves_a_server_whose_folder_lies_in_another_mount_namespace(
    place: NextWorld,
) -> None:
    """A devcontainer without namespaces of its own but for its mounts: the path isn't here."""
    hidden = place.plain("hidden")
    script = 'mount -t tmpfs none "$1" && mkdir "$1/app" && cd "$1/app" && shift && exec "$@"'
    words = [sys.executable, "-I", "-S", str(FAKE_NEXT), "title", str(place.pool[0])]
    mark = f"nextjs:{place.main}/.git/worktrees/gone/devservers/nextjs.pid"
    child = place.processes.popen(
        ["unshare", "--mount", "sh", "-c", script, "sh", str(hidden), *words],
        env=place.env({"NEXT_PRIVATE_WORKER": "1", "DEVSERVERS_SERVER": mark}),
        stdout=subprocess.DEVNULL,
    )
    until(lambda: accepts(place.pool[0]))
    assert not (hidden / "app").exists()
    assert pruned(place) == []
    assert is_there(child.pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_prune_leaves_a_server_whose_folder_is_hidden_by_a_mount(place: NextWorld) -> None:
    hidden = place.plain("hidden")
    (hidden / "app").mkdir()
    mark = f"nextjs:{place.main}/.git/worktrees/gone/devservers/nextjs.pid"
    words = map(str, (hidden, place.main, FAKE_NEXT, place.pool[0], INV))
    script = (
        '(cd "$1/app" && DEVSERVERS_SESSION=$$ exec "$0" -I -S "$3" title "$4") >&2 & '
        'until (: </dev/tcp/127.0.0.1/"$4") 2>/dev/null; do :; done; '
        'mount -t tmpfs none "$1" && cd "$2" && "$5" dev.prune --json; kill -0 $! && echo alive'
    )
    child = place.processes.popen(
        ["unshare", "--mount", "bash", "-c", script, sys.executable, *words],
        env=place.env({"NEXT_PRIVATE_WORKER": "1", "DEVSERVERS_SERVER": mark}),
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert child.stdout
    answer = json.loads(child.stdout.readline())
    assert answer["pruned"] == []
    assert child.stdout.readline() == b"alive\n"


@SUCCEEDED
def test_prune_ends_the_old_server_of_a_folder_that_was_made_again(place: NextWorld) -> None:
    lost = place.call("nextjs.ensure", cwd=place.a)
    shutil.rmtree(place.a)
    place.git("worktree", "prune", cwd=place.main)
    place.git("worktree", "add", "-q", place.a, "a", cwd=place.main)
    assert [kind for kind, _ in pruned(place)] == ["server"]
    assert not is_there(lost["listenerPid"])


def test_a_folder_made_again_gets_a_server_of_its_own(place: NextWorld) -> None:
    lost = place.call("nextjs.ensure", cwd=place.a)
    shutil.rmtree(place.a)
    place.git("worktree", "prune", cwd=place.main)
    place.git("worktree", "add", "-q", place.a, "a", cwd=place.main)
    done = place.call("nextjs.ensure", cwd=place.a)
    assert (done["action"], done["adopted"]) == ("started", False)
    assert not is_there(lost["listenerPid"])


def test_prune_ends_one_by_hand_in_a_worktree_that_git_lists_and_that_is_gone(
    place: NextWorld,
) -> None:
    lost = place.next_by_hand(place.a, place.pool[0], "title")
    shutil.rmtree(place.a)
    ((kind, what),) = pruned(place)
    assert kind == "listener"
    assert f"port {place.pool[0]}" in what
    until(lambda: not is_there(lost.pid))


def test_prune_names_one_by_hand_whose_worktree_git_has_forgotten(place: NextWorld) -> None:
    kept = place.next_by_hand(place.a, place.pool[0], "title")
    place.git("worktree", "remove", "--force", place.a, cwd=place.main)
    done = place.call("dev.prune")
    assert done["pruned"] == []
    assert f"pid {kept.pid}" in done["warnings"][0]
    assert is_there(kept.pid)


@WITH_A_TITLE
def test_prune_ends_one_by_hand_in_a_worktree_where_only_its_own_files_are_left(
    place: NextWorld,
) -> None:
    lost = place.next_by_hand(place.a, place.pool[0], "title")
    leave_remnants(place.a)
    other = place.folder / "other"
    (other / ".next").mkdir(parents=True)
    kept = place.next_by_hand(other, place.pool[1], "title")
    assert len(pruned(place)) == 1
    assert not is_there(lost.pid)
    assert is_there(kept.pid)


def leave_remnants(folder: Path) -> None:
    """Leave of a worktree what Next.js writes while git removes it."""
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    (folder / ".next").mkdir()


def test_prune_leaves_a_stranger_alone_and_says_so(place: NextWorld) -> None:
    folder = place.folder / "strange"
    folder.mkdir()
    stranger = place.next_by_hand(folder, place.pool[0])  # it doesn't call itself Next.js
    outside = place.next_by_hand(place.folder / "home", place.pool[1], "title")
    (place.folder / "home" / "package.json").touch()
    folder.rmdir()
    done = place.call("dev.prune")
    assert done["pruned"] == []
    assert str(stranger.pid) in done["warnings"][0]
    assert is_there(stranger.pid)
    assert is_there(outside.pid)


def test_prune_removes_the_pid_file_of_a_server_that_died(place: NextWorld) -> None:
    done = place.call("nextjs.ensure", cwd=place.a)
    for pid in (done["pid"], done["listenerPid"]):
        psutil.Process(pid).kill()
    until(lambda: not is_there(done["listenerPid"]))
    file = place.pid_file_of(place.a)
    assert pruned(place, "--dry-run") == [("file", str(file))]
    assert file.exists()
    assert pruned(place) == [("file", str(file))]
    assert not file.exists()


def test_prune_does_not_follow_a_pid_file_that_names_a_stranger(place: NextWorld) -> None:
    stranger = place.bystander()
    file = place.pid_file_of(place.a)
    file.parent.mkdir(parents=True)
    file.write_text(f"{stranger.pid}\n")
    assert pruned(place) == [("file", str(file))]
    assert is_there(stranger.pid)


def test_prune_leaves_what_somebody_is_about_to_start(place: NextWorld) -> None:
    file = place.pid_file_of(place.a)
    file.parent.mkdir(parents=True)
    file.write_text("1234567\n")
    with state.lock(file, 0) as held:
        assert held
        pruned(place)
        assert file.exists()
    pruned(place)
    assert not file.exists()


def test_prune_leaves_the_record_of_a_server_that_was_started_meanwhile(place: NextWorld) -> None:
    place.call("nextjs.ensure", cwd=place.a)
    file = place.pid_file_of(place.a)
    prune._remove(prune.Finding("file", str(file), "its server is gone", pid_file=file))
    assert file.exists()


def test_prune_cares_for_its_own_repository_and_for_what_is_gone_with_its_own(
    place: NextWorld,
) -> None:
    """Asked of the function: a server of a repository that is gone is every prune's business."""
    here = worktree.find(place.a)
    other = make_repository(place.folder / "other") / ".git"
    folder = place.plain("plain")

    def ours(owner: Path, name: str = "devservers") -> bool:
        return prune._is_our_business(owner / name / "nextjs.pid", here)

    assert ours(place.main / ".git")
    assert ours(place.main / ".git/worktrees/gone")
    assert not ours(other)
    assert not ours(other / "worktrees/gone")
    assert not ours(folder, ".devservers")
    assert ours(place.a, ".devservers")
    shutil.rmtree(other)
    folder.rmdir()
    assert ours(other)
    assert ours(other / "worktrees/gone")
    assert ours(folder, ".devservers")


@SUCCEEDED
def test_prune_leaves_the_new_server_of_a_folder_that_was_made_again(place: NextWorld) -> None:
    lost = place.call("nextjs.ensure", cwd=place.a)
    mark = f"nextjs:{place.pid_file_of(place.a)}"
    shutil.rmtree(place.a)
    place.git("worktree", "prune", cwd=place.main)
    place.git("worktree", "add", "-q", place.a, "a", cwd=place.main)
    program = [sys.executable, "-I", "-S", str(FAKE_NEXT), "title", str(place.port + 1)]
    kept = place.processes.popen(
        ["sh", "-c", 'DEVSERVERS_SESSION=$$ exec "$@"', "sh", *program],
        cwd=place.a,
        env=place.env({"DEVSERVERS_SERVER": mark}),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    until(lambda: accepts(place.port + 1))
    assert [kind for kind, _ in pruned(place)] == ["server"]
    assert not is_there(lost["listenerPid"])
    assert is_there(kept.pid)


def test_prune_leaves_other_repositories_alone(place: NextWorld, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    with next_world(tmp_path / "elsewhere", "lock") as other:
        other.leaves_server = True
        server = other.call("nextjs.ensure", cwd=other.a)
        other.git("worktree", "remove", "--force", other.a, cwd=other.main)
        assert pruned(place) == []
        assert is_there(server["pid"])
