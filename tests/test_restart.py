"""restart: stop and start under one lock."""

import psutil

from support import World, accepts, is_alive, until


def test_replaces_the_server(running: World) -> None:
    old = running.started["pid"]
    done = running.ok("restart", cwd=running.b)
    assert done["action"] == "restarted"
    assert done["pidsKilled"] == [old]
    assert done["pid"] != old
    assert done["worktree"] == str(running.b)
    assert running.ok("status")["pid"] == done["pid"]
    assert len(running.servers()) == 1


def test_is_a_start_where_nothing_runs(world: World) -> None:
    done = world.ok("restart")
    assert (done["action"], done["pidsKilled"]) == ("started", [])
    world.ok("stop")
    world.assert_nothing_left()


def test_replaces_an_unresponsive_server(world: World) -> None:
    world.behave("mute")
    mute = world.ok("ensure", "--no-wait")["pid"]
    until(lambda: accepts(world.port))
    world.behave()
    done = world.ok("restart")
    assert (done["action"], done["pidsKilled"]) == ("restarted", [mute])
    world.ok("stop")
    world.assert_nothing_left()


def test_keeps_the_running_server_where_no_other_could_be_started(running: World) -> None:
    running.configure(command=["no-such-program"])
    running.fails("restart", code=11)
    assert is_alive(psutil.Process(running.started["pid"]))
    running.behave()
    assert running.ok("ensure")["pid"] == running.started["pid"]


def test_moves_the_server_to_the_port_of_the_configuration(running: World) -> None:
    running.behave(port=running.port + 2)
    done = running.ok("restart")
    assert (done["action"], done["port"]) == ("restarted", running.port + 2)
    assert done["pidsKilled"] == [running.started["pid"]]
    assert len(running.servers()) == 1


def test_leaves_a_foreign_listener_alone(world: World) -> None:
    foreign = world.listener()
    assert world.fails("restart", code=12)["holders"][0]["pid"] == foreign.pid
    assert is_alive(foreign)


def test_ensures_meanwhile_all_end_with_the_one_new_server(running: World) -> None:
    running.behave("hidden")
    restart = running.start("inngest.restart", "--json")
    ensures = [running.start("inngest.ensure", "--json", cwd=running.a) for _ in range(8)]
    done = running.result(restart)
    assert done.code == 0, done
    assert done.json["action"] == "restarted"
    for ensure in ensures:
        answer = running.result(ensure)
        assert answer.code == 0, answer
        assert answer.json["pid"] in {running.started["pid"], done.json["pid"]}
        assert answer.json["action"] == "already-running"
    assert running.ok("status")["pid"] == done.json["pid"]
    assert running.starts() == 2
