"""stop: every row of the decision table in docs/architecture.md; whom it ends, and whom never."""

import sys
import time

import psutil
import pytest

from support import SHELLS, World, accepts, is_alive, until

KEYS = {"action", "port", "pidsKilled", "portFree", "forced"}


def test_ends_the_server_and_proves_its_port_free(running: World) -> None:
    done = running.ok("stop", cwd=running.b)
    assert done.keys() >= KEYS
    assert done["action"] == "stopped"
    assert done["port"] == running.port
    assert done["pidsKilled"] == [running.started["pid"]]
    assert (done["portFree"], done["forced"]) == (True, False)
    running.assert_nothing_left()


def test_is_no_failure_where_nothing_runs(world: World) -> None:
    for _ in range(2):
        done = world.ok("stop")
        assert done.keys() >= KEYS
        assert done["action"] == "not-running"
        assert (done["pidsKilled"], done["portFree"], done["forced"]) == ([], True, False)


def test_tells_people_whom_it_ended(running: World) -> None:
    done = running.run("inngest.stop")
    assert (done.code, done.err) == (0, "")
    assert "stopped" in done.out
    assert str(running.started["pid"]) in done.out
    assert "not running" in running.run("inngest.stop").out


@pytest.mark.parametrize("behaviours", [("hidden",), ("hidden", "setsid")])
def test_ends_the_whole_tree(world: World, behaviours: tuple[str, ...]) -> None:
    world.behave(*behaviours)
    started = world.ok("ensure")
    family = world.servers()
    assert len(family) >= 2 + SHELLS, "launcher, shell and listener"
    done = world.ok("stop")
    hidden = 1 - SHELLS
    assert set(done["pidsKilled"]) >= {process.pid for process in family}
    assert len(done["pidsKilled"]) == len(family) + hidden
    assert {started["pid"], started["listenerPid"]} <= set(done["pidsKilled"])
    world.assert_nothing_left()


def test_ends_a_listener_that_only_its_session_shows_to_be_ours(world: World) -> None:
    world.behave("unmarked")
    started = world.ok("ensure")
    assert started["listenerPid"] != started["pid"]
    assert world.servers() == [psutil.Process(started["pid"])], "the listener has no mark"
    done = world.ok("stop")
    assert {started["pid"], started["listenerPid"]} <= set(done["pidsKilled"])
    world.assert_nothing_left()


@pytest.mark.parametrize("level", [0, 1])
def test_ends_a_listener_whose_launchers_have_died(world: World, level: int) -> None:
    world.behave("hidden")
    launcher = psutil.Process(world.ok("ensure")["pid"])
    shell = launcher.children()[0]
    for process in (launcher, shell)[: level + 1]:
        process.kill()
        until(lambda process=process: not is_alive(process))
    assert accepts(world.port), "the listener lives on without them"
    assert world.ok("stop")["action"] == "stopped"
    world.assert_nothing_left()


def test_kills_what_ignores_sigterm_after_the_grace(world: World) -> None:
    world.behave("hidden", "deaf")
    world.ok("ensure")
    began = time.monotonic()
    done = world.ok("stop", "--timeout=0.4")
    assert 0.4 <= time.monotonic() - began < 5, "the default grace"
    assert (done["action"], done["forced"], done["portFree"]) == ("stopped", True, True)
    world.assert_nothing_left()


def test_says_to_people_whether_sigkill_was_needed(world: World) -> None:
    for behaviour, needed in (("deaf", True), ("noise", False)):
        world.behave(behaviour)
        world.ok("ensure")
        assert ("SIGKILL" in world.run("inngest.stop", "--timeout=0.4").out) is needed
    world.assert_nothing_left()


def test_ends_what_is_forked_while_it_stops(world: World) -> None:
    world.behave("fork-on-term")
    world.ok("ensure")
    assert world.ok("stop", "--timeout=0.5")["action"] == "stopped"
    world.assert_nothing_left()


def test_ends_an_unresponsive_server(running: World) -> None:
    psutil.Process(running.started["pid"]).suspend()
    done = running.ok("stop", "--timeout=0.3")
    assert (done["action"], done["forced"], done["portFree"]) == ("stopped", True, True)
    running.assert_nothing_left()


def test_ends_a_server_that_is_starting(world: World) -> None:
    world.behave("hidden", "slow=30")
    begun = world.ok("ensure", "--no-wait")
    done = world.ok("stop")
    assert done["action"] == "stopped"
    assert begun["pid"] in done["pidsKilled"]
    world.assert_nothing_left()


def test_ends_ours_and_reports_who_holds_the_port_instead(world: World) -> None:
    world.behave("hidden", "moves")
    world.ok("ensure", "--no-wait")
    until(lambda: accepts(world.port + 2))
    foreign = world.listener()
    done = world.ok("stop")
    assert (done["action"], done["portFree"]) == ("stopped", False)
    assert [holder["pid"] for holder in done["holders"]] == [foreign.pid]
    assert is_alive(foreign)
    assert world.servers() == []
    assert world.state_files() == []


def test_ends_an_inngest_server_that_someone_else_started(world: World) -> None:
    by_hand = world.inngest_by_hand()
    done = world.ok("stop")
    assert (done["action"], done["pidsKilled"]) == ("stopped", [by_hand.pid])
    assert not is_alive(by_hand)
    world.assert_nothing_left()


def test_looks_again_and_ends_a_second_server_on_the_port(world: World) -> None:
    """One listens on IPv4 and is ours; only once it is gone the other one is seen."""
    world.behave(host="127.0.0.1")
    ours = world.ok("ensure")["pid"]
    by_hand = world.inngest_by_hand("--host", "::1")
    until(lambda: accepts(world.port, "::1"))
    done = world.ok("stop")
    assert (done["pidsKilled"], done["portFree"]) == ([ours, by_hand.pid], True)
    world.assert_nothing_left()


def test_ends_a_server_of_ours_whose_files_are_gone(running: World) -> None:
    for file in running.state_files():
        file.unlink()
    done = running.ok("stop")
    assert (done["action"], done["pidsKilled"]) == ("stopped", [running.started["pid"]])
    running.assert_nothing_left()


def test_ends_what_was_never_recorded_and_never_listened(world: World) -> None:
    world.behave("hang")
    pid = world.ok("ensure", "--no-wait")["pid"]
    for file in world.state_files():
        file.unlink()
    done = world.ok("stop")
    assert (done["action"], done["pidsKilled"]) == ("stopped", [pid])
    world.assert_nothing_left()


def test_cleans_up_after_a_server_that_died(running: World) -> None:
    server = psutil.Process(running.started["pid"])
    server.kill()
    until(lambda: not is_alive(server))
    assert running.ok("status", code=3)["state"] == "stale"
    done = running.ok("stop")
    assert (done["action"], done["pidsKilled"], done["portFree"]) == ("not-running", [], True)
    running.assert_nothing_left()
    assert running.ok("status", code=3)["state"] == "stopped"


def test_leaves_a_foreign_listener_alone_and_reports_it(world: World) -> None:
    foreign = world.listener()
    done = world.ok("stop")
    assert (done["action"], done["pidsKilled"], done["portFree"]) == ("not-running", [], False)
    assert done["warnings"]
    (holder,) = done["holders"]
    assert holder.keys() >= {"pid", "name", "cmdline", "user", "cwd", "since"}
    assert holder["pid"] == foreign.pid
    assert holder["cmdline"] == foreign.cmdline()
    assert is_alive(foreign)


def test_says_of_a_foreign_listener_to_people_too(world: World) -> None:
    foreign = world.listener()
    done = world.run("inngest.stop")
    assert done.code == 0
    assert f"pid {foreign.pid}" in done.err
    assert "not free" in done.out


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_terminates_a_foreign_listener_only_with_force(world: World, address: str) -> None:
    foreign = world.listener(address)
    done = world.ok("stop", "--force")
    assert (done["action"], done["pidsKilled"]) == ("stopped", [foreign.pid])
    assert done["portFree"] is True
    assert not is_alive(foreign)


def test_works_without_the_program_that_would_start_the_server(running: World) -> None:
    running.configure(command=["no-such-program"])
    assert running.ok("stop")["pidsKilled"] == [running.started["pid"]]
    running.assert_nothing_left()


def test_returns_soon_after_the_last_exit(running: World) -> None:
    began = time.monotonic()
    running.ok("stop")
    assert time.monotonic() - began < 4, "the server ends within 10 ms, so no grace is waited out"


def test_stops_the_server_on_the_port_it_was_started_on(running: World) -> None:
    running.behave(port=running.port + 2)
    done = running.ok("stop")
    assert (done["action"], done["port"]) == ("stopped", running.port)
    running.assert_nothing_left()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
def test_force_reaches_a_listener_on_an_address_that_is_not_asked(world: World) -> None:
    foreign = world.listener("127.0.0.2")
    done = world.ok("stop")
    assert (done["portFree"], done["holders"][0]["pid"]) == (False, foreign.pid)
    done = world.ok("stop", "--force")
    assert (done["portFree"], done["pidsKilled"]) == (True, [foreign.pid])
