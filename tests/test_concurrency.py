"""Many callers at once: one server, one truth."""

import os

from devservers.lifecycle import state
from support import SHELLS, World, quickly, until

CALLERS = 32


def test_thirty_two_cold_callers_get_one_and_the_same_server(world: World) -> None:
    world.behave("hidden")
    folders = [world.main, world.a, world.b]
    callers = [
        world.start("inngest.ensure", "--json", cwd=folders[number % 3])
        for number in range(CALLERS)
    ]
    answers = [world.result(caller, timeout=50) for caller in callers]
    assert [answer.code for answer in answers] == [0] * CALLERS, answers
    answered = [answer.json for answer in answers]
    assert len({(done["pid"], done["listenerPid"], done["url"]) for done in answered}) == 1
    actions = [done["action"] for done in answered]
    assert actions.count("started") == 1
    assert actions.count("already-running") == CALLERS - 1
    assert world.starts() == 1
    assert len(world.servers()) == 2 + SHELLS, "launcher, shell and listener"
    world.ok("stop")
    world.assert_nothing_left()


def test_callers_of_a_server_that_cannot_start_all_fail_and_leave_nothing(world: World) -> None:
    world.behave("exit=1")
    callers = [world.start("inngest.ensure", "--json") for _ in range(6)]
    for caller in callers:
        answer = world.result(caller)
        assert (answer.code, answer.error["code"]) == (13, "server-exited")
    world.assert_nothing_left()


def test_starts_and_stops_at_once_all_succeed_and_the_last_word_holds(world: World) -> None:
    callers = [
        world.start(f"inngest.{task}", "--json") for task in ("ensure", "stop", "restart") * 3
    ]
    for caller in callers:
        answer = world.result(caller)
        assert answer.code == 0, answer
    assert len(world.servers()) <= 1
    world.ok("ensure")
    assert len(world.servers()) == 1
    world.ok("stop")
    world.assert_nothing_left()


def test_a_caller_that_waits_for_the_lock_names_who_holds_it_when_time_is_up(
    world: World,
) -> None:
    world.behave("hang")
    holder = world.start("inngest.ensure", "--json", "--timeout=6")
    until(world.servers)
    error = world.fails("restart", "--timeout=0.4", code=15)
    assert error["code"] == "lock-timeout"
    assert error["holders"][0]["pid"] == holder.pid
    assert error["holders"][0]["since"].endswith("Z")
    assert f"pid {holder.pid}" in error["message"]
    holder.kill()
    assert world.ok("stop")["action"] == "stopped"
    world.assert_nothing_left()


def test_a_lock_whose_signer_is_gone_names_nobody(world: World) -> None:
    """Whoever holds it could not sign it: on a full disk, or where the lock is read-only."""
    mine = str(os.getpid())
    with state.lock(world.pid_file, 0, "another start than this process's"):
        waiting = ("inngest.restart", "--json", "--timeout=2.2")
        done = quickly(4, lambda: world.run(*waiting))  # the time-out is that of the whole wait
        checked = world.run("inngest.doctor", "--json").json["checks"]
    assert (done.code, done.error["code"], done.error["holders"]) == (15, "lock-timeout", [])
    assert "can't be named" in done.error["message"]
    assert done.err.startswith("Waiting for the Inngest dev server"), "after two seconds"
    assert mine not in done.err + done.error["message"]
    (lock,) = (check for check in checked if check["name"] == "lock")
    assert lock["ok"] is False
    assert mine not in lock["detail"]


def test_stop_waits_for_a_start_and_then_ends_its_server(world: World) -> None:
    world.behave("slow=0.7")
    ensure = world.start("inngest.ensure", "--json")
    until(world.servers)
    stopped = world.ok("stop")
    started = world.result(ensure).json
    assert started["action"] == "started"
    assert stopped["pidsKilled"] == [started["pid"]]
    world.assert_nothing_left()
