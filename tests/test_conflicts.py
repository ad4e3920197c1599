"""Ports that something else holds: before the start, on one address family, and during it."""

import sys

import pytest

from support import PATIENCE, SHELLS, World, accepts, is_alive, until


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "0.0.0.0", "::"])  # noqa: S104
def test_a_foreign_listener_is_named_and_left_alone(world: World, address: str) -> None:
    foreign = world.listener(address)
    error = world.fails("ensure", code=12)
    assert error["code"] == "port-in-use"
    (holder,) = error["holders"]
    assert holder["pid"] == foreign.pid
    assert holder["cmdline"] == foreign.cmdline()
    assert holder["user"] == foreign.username()
    assert holder["cwd"] == foreign.cwd()
    assert holder["since"].endswith("Z")
    assert f"pid {foreign.pid}" in error["message"]
    assert "--force" in error["hint"]
    assert is_alive(foreign)
    assert (world.servers(), world.state_files()) == ([], [])


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_force_terminates_a_foreign_listener_and_reports_it(world: World, address: str) -> None:
    foreign = world.listener(address)
    done = world.ok("ensure", "--force")
    assert done["action"] == "started"
    assert done["pidsKilled"] == [foreign.pid]
    assert any(f"pid {foreign.pid}" in warning for warning in done["warnings"])
    assert not is_alive(foreign)
    world.ok("stop")
    world.assert_nothing_left()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
def test_force_reaches_a_listener_on_an_address_that_is_not_asked(world: World) -> None:
    foreign = world.listener("127.0.0.2")
    assert world.fails("ensure", code=12)["holders"][0]["pid"] == foreign.pid
    assert is_alive(foreign)
    assert world.ok("ensure", "--force")["pidsKilled"] == [foreign.pid]
    world.ok("stop")
    world.assert_nothing_left()


def test_force_does_not_touch_a_server_of_ours(running: World) -> None:
    assert running.ok("ensure", "--force")["pid"] == running.started["pid"]


def test_a_listener_that_comes_first_during_the_start_is_named_and_nothing_is_left(
    world: World,
) -> None:
    gate = world.folder / "gate"
    world.behave("hidden", f"gate={gate}")
    ensure = world.start("inngest.ensure", "--json")
    until(gate.with_name("gate.waiting").exists)
    foreign = world.listener()
    gate.touch()  # the CLI moves to another port now, as the real one does
    done = world.result(ensure)
    assert done.code == 12, done
    assert done.error["holders"][0]["pid"] == foreign.pid
    assert is_alive(foreign)
    assert (world.servers(), world.state_files()) == ([], [])
    assert not accepts(world.port + 2)


def test_a_server_that_moved_from_a_port_which_is_free_again_is_started_anew(
    world: World,
) -> None:
    world.behave("hidden", f"moves-once={world.folder / 'moved'}")
    done = world.ok("ensure", f"--timeout={PATIENCE}")
    assert done["action"] == "started"
    assert world.starts() == 2
    assert not accepts(world.port + 2)
    assert len(world.servers()) == 2 + SHELLS, (
        "launcher, shell and listener, of the second start only"
    )
    world.ok("stop")
    world.assert_nothing_left()


def test_a_server_that_moved_and_that_nobody_waited_for_is_put_right(world: World) -> None:
    world.leaves_server = True
    world.behave("hidden", f"moves-once={world.folder / 'moved'}")
    first = world.ok("ensure", "--no-wait")
    assert first["action"] == "starting"
    until((world.folder / "moved").exists)
    done = world.ok("ensure")
    assert (done["action"], accepts(world.port)) == ("started", True)
    assert done["pid"] != first["pid"]
    assert {server.pid for server in world.servers()} >= {done["pid"], done["listenerPid"]}
    assert world.ok("ensure")["listenerPid"] == done["listenerPid"]


def test_a_server_that_answers_on_another_port_a_little_earlier_has_not_moved(
    world: World,
) -> None:
    world.behave("early=0.7")
    assert world.ok("ensure")["action"] == "started"
    assert world.starts() == 1
    world.ok("stop")
    world.assert_nothing_left()


def test_a_server_that_always_moves_is_given_up_when_the_time_is_up(world: World) -> None:
    world.behave("moves")
    world.fails("ensure", "--timeout=2", code=14)
    world.assert_nothing_left()
    assert not accepts(world.port + 2)


def test_the_gateways_port_may_be_taken(world: World) -> None:
    foreign = world.listener(port=world.port + 1)
    assert world.ok("ensure")["action"] == "started"
    world.ok("stop")
    assert is_alive(foreign)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_status_names_a_foreign_listener(world: World, address: str) -> None:
    foreign = world.listener(address)
    done = world.ok("status", code=3)
    assert (done["running"], done["state"], done["pid"]) == (False, "foreign", None)
    assert done["holders"][0]["pid"] == foreign.pid
    assert f"pid {foreign.pid}" in world.run("inngest.status").out


def test_a_listener_that_never_answers_is_foreign_too(world: World) -> None:
    mute = world.processes.popen([*world.fake("mute"), "dev", "--port", str(world.port)])
    until(lambda: accepts(world.port))
    assert world.fails("ensure", code=12)["holders"][0]["pid"] == mute.pid
    assert mute.poll() is None
