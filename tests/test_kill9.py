"""SIGKILL of the caller at any moment: the next ensure converges, and stop leaves nothing."""

import os
import time
from collections.abc import Callable

import pytest

from support import SHELLS, World, accepts, until

POINTS = int(os.environ.get("DEVSERVERS_KILL_POINTS", "6"))  # more, for a thorough run
COLD_START = 0.45  # seconds, about; the points lie between nothing and this


def converges(world: World) -> None:
    started = world.ok("ensure")
    assert started["action"] in {"started", "already-running"}
    assert accepts(world.port)
    assert started["listenerPid"] in {process.pid for process in world.servers()}
    assert len(world.servers()) == 2 + SHELLS, "launcher, shell and listener, once"
    assert world.ok("stop")["action"] == "stopped"
    world.assert_nothing_left()


@pytest.mark.parametrize("point", range(POINTS))
def test_a_killed_ensure_is_made_good_by_the_next(world: World, point: int) -> None:
    world.behave("hidden")
    caller = world.start("inngest.ensure", real=True)
    time.sleep(COLD_START * (point + 1) / POINTS)
    caller.kill()
    caller.wait()
    converges(world)


MOMENTS: dict[str, Callable[[World], object]] = {
    "locked": lambda world: world.lock_file.exists(),
    "log opened": lambda world: world.log.exists(),
    "recorded": lambda world: world.record_file.exists(),
    "pid file written": lambda world: world.pid_file.exists(),
    "listening": lambda world: accepts(world.port),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_caller_killed_right_after_a_step_is_made_good_by_the_next(
    world: World, moment: str
) -> None:
    world.behave("hidden")
    caller = world.start("inngest.ensure")
    deadline = time.monotonic() + 20
    while not MOMENTS[moment](world):
        assert time.monotonic() < deadline
    caller.kill()
    caller.wait()
    converges(world)


@pytest.mark.parametrize("fraction", [0.4, 0.6, 0.8])
def test_a_killed_stop_is_completed_by_the_next(world: World, fraction: float) -> None:
    world.behave("hidden")
    world.ok("ensure")
    caller = world.start("inngest.stop", real=True)
    time.sleep(COLD_START * fraction)
    caller.kill()
    caller.wait()
    world.ok("stop")
    world.assert_nothing_left()


def test_a_killed_restart_is_made_good_by_the_next_ensure(world: World) -> None:
    world.behave("hidden")
    world.ok("ensure")
    before = set(world.servers())
    caller = world.start("inngest.restart")
    until(lambda: not before & set(world.servers()))
    caller.kill()
    caller.wait()
    converges(world)


def test_stop_ends_what_a_killed_caller_had_started(world: World) -> None:
    world.behave("hidden", "hang")
    caller = world.start("inngest.ensure")
    until(world.servers)
    caller.kill()
    caller.wait()
    assert world.ok("stop")["pidsKilled"]
    world.assert_nothing_left()
