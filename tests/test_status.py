"""status: what is true now, every key of it, and the exit status that says the same."""

from datetime import UTC, datetime

import psutil

from support import World, accepts, quickly, until

KEYS = {
    "running", "state", "port", "url", "pid", "listenerPid", "pidFile", "logFile", "logSize",
    "lastLogLine", "responsive", "httpStatus", "watching", "startedAt", "uptimeSeconds",
    "adopted", "standIn", "worktree", "warnings", "version", "served", "servedBy", "missing",
}  # fmt: skip


def test_tells_everything_about_a_running_server(running: World) -> None:
    done = running.ok("status", cwd=running.b)
    assert done.keys() >= KEYS
    assert (done["running"], done["state"], done["responsive"]) == (True, "running", True)
    assert (done["port"], done["url"]) == (running.port, running.url)
    assert done["pid"] == done["listenerPid"] == running.started["pid"]
    assert done["pidFile"] == str(running.pid_file)
    assert done["logFile"] == str(running.log)
    assert done["logSize"] == running.log.stat().st_size > 0
    assert done["lastLogLine"] == running.log_text().splitlines()[-1]
    assert done["httpStatus"] == 200
    assert done["watching"] == running.apps
    assert (done["adopted"], done["worktree"]) == (False, str(running.a))
    started = datetime.strptime(done["startedAt"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert abs((datetime.now(UTC) - started).total_seconds()) < 60
    assert 0 <= done["uptimeSeconds"] < 60


def test_has_every_key_also_where_nothing_runs(world: World) -> None:
    done = world.ok("status", code=3)
    assert done.keys() >= KEYS
    assert (done["running"], done["state"], done["responsive"]) == (False, "stopped", False)
    assert (done["port"], done["url"]) == (world.port, world.url)
    unknown = ("pid", "listenerPid", "logSize", "lastLogLine", "httpStatus", "startedAt")
    unknown += ("uptimeSeconds", "worktree", "version", "served", "servedBy")
    assert {key: done[key] for key in unknown} == dict.fromkeys(unknown)
    assert done["watching"] == []


def test_inngest_alone_means_status(running: World) -> None:
    done = running.run("inngest", "--json")
    assert (done.code, done.json["state"]) == (0, "running")


def test_people_get_a_few_plain_lines_and_the_next_step(world: World) -> None:
    stopped = world.run("inngest.status")
    assert (stopped.code, stopped.err) == (3, "")
    assert "not running" in stopped.out
    assert "inv inngest.ensure" in stopped.out
    world.leaves_server = True
    pid = world.ok("ensure")["pid"]
    done = world.run("inngest.status")
    assert (done.code, done.err) == (0, "")
    assert all(fact in done.out for fact in (world.url, str(pid), str(world.log)))
    assert len(done.out.splitlines()) < 8


def test_a_server_that_has_not_answered_yet_is_no_stranger(world: World) -> None:
    world.behave("mute")
    started = world.ok("ensure", "--no-wait")
    until(lambda: accepts(world.port))
    done = world.ok("status", code=4)
    assert (done["state"], done["adopted"], done["pid"]) == ("unresponsive", False, started["pid"])
    assert (done["worktree"], done["watching"]) == (str(world.main), world.apps)
    world.ok("stop")


def test_a_server_that_does_not_answer_is_unresponsive_within_two_seconds(running: World) -> None:
    psutil.Process(running.started["pid"]).suspend()
    within = 4  # 2 s, and the start of the interpreter
    done = quickly(within, lambda: running.ok("status", code=4))
    assert (done["running"], done["state"], done["responsive"]) == (True, "unresponsive", False)
    assert (done["pid"], done["httpStatus"]) == (running.started["pid"], None)
    assert running.run("inngest.status").code == 4


def test_a_server_that_does_not_listen_yet_is_starting(world: World) -> None:
    world.leaves_server = True
    world.behave("hang")
    pid = world.ok("ensure", "--no-wait")["pid"]
    done = world.ok("status", code=4)
    assert (done["running"], done["state"], done["pid"]) == (True, "starting", pid)
    assert done["listenerPid"] is None


def test_a_dead_server_is_stale(running: World) -> None:
    server = psutil.Process(running.started["pid"])
    server.kill()
    until(lambda: not accepts(running.port))
    done = running.ok("status", code=3)
    assert (done["running"], done["state"], done["pid"]) == (False, "stale", None)
    assert (done["startedAt"], done["uptimeSeconds"]) == (None, None)
    assert running.pid_file.exists(), "status changes nothing"


def test_a_server_of_ours_that_moved_is_named_beside_who_holds_its_port(world: World) -> None:
    world.leaves_server = True
    world.behave("moves")
    pid = world.ok("ensure", "--no-wait")["pid"]
    until(lambda: accepts(world.port + 2))
    foreign = world.listener()
    done = world.ok("status", code=3)
    assert done["state"] == "foreign"
    assert done["holders"][0]["pid"] == foreign.pid
    assert any(f"pid {pid}" in warning for warning in done["warnings"])


def test_an_adopted_server_has_no_log_and_no_worktree(world: World) -> None:
    by_hand = world.inngest_by_hand()
    for _ in range(2):
        done = world.ok("status")
        assert (done["running"], done["adopted"], done["standIn"]) == (True, True, True)
        assert done["pid"] == done["listenerPid"] == by_hand.pid
        assert done["worktree"] is None
        world.ok("ensure")


def test_only_looks(world: World) -> None:
    world.ok("status", code=3)
    assert list(world.pid_file.parent.iterdir()) == []
    assert not world.log.exists()


def test_shows_what_the_running_server_watches_not_what_this_file_says(running: World) -> None:
    running.config.write_text(running.config.read_text().replace(str(running.apps[0]), "9"))
    assert running.ok("status")["watching"] == running.apps


def test_a_log_that_ends_in_bytes_that_are_no_text_is_shown(running: World) -> None:
    with running.log.open("ab") as log:
        log.write(b"caf\xe9\n")
    assert running.ok("status")["lastLogLine"] == r"caf\xe9"
