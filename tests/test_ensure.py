"""ensure: each row of the table in docs/architecture.md, and what success and failure leave."""

import itertools
import json
import subprocess
import time

import psutil
import pytest

from support import World, accepts, is_alive, until

KEYS = {
    "action", "port", "url", "pid", "logFile", "watching", "listenerPid", "adopted", "standIn",
    "command", "worktree", "added", "warnings",
}  # fmt: skip


def test_starts_the_server_and_says_all_that_the_reference_promises(world: World) -> None:
    done = world.ok("ensure", cwd=world.a)
    assert done.keys() >= KEYS
    assert done["action"] == "started"
    assert (done["port"], done["url"]) == (world.port, world.url)
    assert done["pid"] == done["listenerPid"]
    assert psutil.Process(done["pid"]).is_running()
    assert done["logFile"] == str(world.log)
    assert done["watching"] == world.apps
    assert done["worktree"] == str(world.a)
    assert (done["adopted"], done["standIn"], done["added"]) == (False, False, [])
    urls = [f"http://localhost:{port}/api/inngest" for port in world.apps]
    watched = [word for url in urls for word in ("--sdk-url", url)]
    words = ["dev", "--port", str(world.port), *watched, "--no-discovery"]
    assert done["command"] == [*world.fake(), *words]
    assert world.pid_file.read_text() == f"{done['pid']}\n"
    world.ok("stop")
    world.assert_nothing_left()


@pytest.mark.parametrize("behaviours", [(), ("hidden",), ("hidden", "setsid"), ("setsid",)])
def test_proves_the_listener_wherever_the_launcher_hides_it(
    world: World, behaviours: tuple[str, ...]
) -> None:
    world.behave(*behaviours)
    done = world.ok("ensure")
    assert done["action"] == "started"
    assert (done["pid"] == done["listenerPid"]) is (behaviours == ())
    listening = {c.laddr.port for c in psutil.Process(done["listenerPid"]).net_connections("tcp")}
    assert world.port in listening
    assert world.ok("ensure")["listenerPid"] == done["listenerPid"]
    world.ok("stop")
    world.assert_nothing_left()


def test_finds_a_running_server_from_every_worktree(running: World) -> None:
    for folder in (running.main, running.b, running.a):
        done = running.ok("ensure", cwd=folder)
        assert done["action"] == "already-running"
        assert done.keys() >= KEYS
        same = ("pid", "listenerPid", "url", "logFile", "watching", "worktree", "command")
        assert {key: done[key] for key in same} == {key: running.started[key] for key in same}
    assert running.starts() == 1


def test_start_is_ensure(running: World) -> None:
    assert running.ok("start")["pid"] == running.started["pid"]


def test_tells_people_what_happened_where_and_how_to_go_on(world: World) -> None:
    world.leaves_server = True
    first = world.run("inngest.ensure")
    again = world.run("inngest.ensure", cwd=world.b)
    pid = world.pid_file.read_text().strip()
    for done, word in ((first, "started"), (again, "already")):
        assert (done.code, done.err) == (0, "")
        assert all(fact in done.out for fact in (word, world.url, pid, str(world.log)))
        assert "\x1b" not in done.out


def test_waits_for_a_server_that_answers_late(world: World) -> None:
    world.behave("late=1")
    began = time.monotonic()
    assert world.ok("ensure")["action"] == "started"
    assert time.monotonic() - began >= 1
    world.ok("stop")
    world.assert_nothing_left()


def test_says_on_stderr_what_it_waits_for_after_two_seconds(world: World) -> None:
    world.leaves_server = True
    world.behave("slow=2.4")
    done = world.run("inngest.ensure", "--json")
    assert done.code == 0, done
    assert done.json["action"] == "started"
    assert f"port {world.port}" in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(("status", "via"), [(0, ()), (1, ()), (3, ("hidden",))])
def test_a_server_that_exits_at_once_is_a_failure_with_its_last_words(
    world: World, status: int, via: tuple[str, ...]
) -> None:
    world.behave(*via, "say=out of luck", f"exit={status}")
    began = time.monotonic()
    error = world.fails("ensure", code=13)
    assert time.monotonic() - began < 15, "it must not wait for the time-out"
    assert error["code"] == "server-exited"
    assert error["exitStatus"] == status
    assert error["lastLines"][-1] == "out of luck"
    assert "out of luck" in error["message"]
    assert str(world.log) in error["hint"]
    world.assert_nothing_left()


def test_a_silent_exit_says_that_nothing_was_printed_by_this_run(world: World) -> None:
    world.log.write_text("words of an earlier run\n")
    world.configure(command=["/bin/true"])
    done = world.run("inngest.ensure")
    assert (done.code, done.out) == (13, "")
    assert "earlier run" not in done.err
    assert "printed nothing" in done.err
    world.assert_nothing_left()


def test_a_stub_without_its_binary_is_named_with_its_remedy(world: World) -> None:
    world.behave("stub")
    error = world.fails("ensure", code=13)
    assert "Inngest CLI binary not found" in error["message"]
    assert "npm rebuild inngest-cli" in error["hint"]
    assert "pnpm" in error["hint"]
    world.assert_nothing_left()


@pytest.mark.parametrize("behaviours", [("hang",), ("mute",), ("hidden", "setsid", "hang", "deaf")])
def test_a_server_that_never_answers_is_stopped_when_the_time_is_up(
    world: World, behaviours: tuple[str, ...]
) -> None:
    world.behave(*behaviours)
    began = time.monotonic()
    error = world.fails("ensure", "--timeout=0.7", code=14)
    spent = time.monotonic() - began
    assert error["code"] == "not-ready"
    assert error["waitedSeconds"] == pytest.approx(0.7, abs=1)
    assert error["logFile"] == str(world.log)
    assert spent < 15
    world.assert_nothing_left()


def test_bytes_that_are_no_text_do_not_stop_a_server_or_its_last_words(world: World) -> None:
    world.behave("noise")
    assert world.ok("ensure")["action"] == "started"
    world.ok("stop")
    world.behave("noise", "exit=1")
    error = world.fails("ensure", code=13)
    assert r"caf\xe9 \xff\xfe" in error["message"]


def test_waits_for_a_server_that_another_call_is_starting(world: World) -> None:
    gate = world.folder / "gate"
    world.behave(f"gate={gate}")
    begun = world.ok("ensure", "--no-wait")
    assert begun["action"] == "starting"
    assert world.ok("status", code=4)["state"] == "starting"
    waiting = world.start("inngest.ensure", "--json")
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(0.5)
    gate.touch()
    done = world.result(waiting).json
    assert (done["action"], done["pid"]) == ("already-running", begun["pid"])
    assert done["listenerPid"] == begun["pid"]
    assert world.starts() == 1
    world.ok("stop")
    world.assert_nothing_left()


def test_no_wait_returns_before_the_server_listens_and_stop_ends_it(world: World) -> None:
    world.behave("hang")
    begun = world.ok("ensure", "--no-wait")
    assert begun["action"] == "starting"
    assert begun["listenerPid"] is None
    assert world.ok("ensure", "--no-wait")["pid"] == begun["pid"]
    stopped = world.ok("stop")
    assert stopped["action"] == "stopped"
    assert begun["pid"] in stopped["pidsKilled"]
    world.assert_nothing_left()


def test_a_start_that_dies_after_no_wait_is_started_anew(world: World) -> None:
    world.leaves_server = True
    world.behave("exit=1")
    begun = world.ok("ensure", "--no-wait")
    until(lambda: not psutil.pid_exists(begun["pid"]) or not world.servers())
    assert world.ok("status", code=3)["state"] == "stale"
    world.behave()
    assert world.ok("ensure")["action"] == "started"


def test_leaves_an_unresponsive_server_alone_and_says_so(running: World) -> None:
    server = psutil.Process(running.started["pid"])
    server.suspend()
    began = time.monotonic()
    error = running.fails("ensure", "--timeout=0.5", code=14, cwd=running.b)
    assert 0.5 <= time.monotonic() - began < 3, "the time-out bounds the whole call"
    assert error["code"] == "not-ready"
    assert "restart" in error["hint"]
    assert server.status() == psutil.STATUS_STOPPED, "it must not have been signalled"
    server.resume()
    assert running.ok("ensure")["pid"] == server.pid


def test_is_told_as_soon_as_an_unresponsive_server_answers_again(running: World) -> None:
    server = psutil.Process(running.started["pid"])
    server.suspend()
    waiting = running.start("inngest.ensure", "--json", cwd=running.b)
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(0.6)
    server.resume()
    assert running.result(waiting).json["pid"] == server.pid


def test_a_server_of_ours_on_another_port_makes_way_for_the_next(world: World) -> None:
    world.behave("hidden", "moves")
    lost = world.ok("ensure", "--no-wait")
    until(lambda: accepts(world.port + 2))
    foreign = world.listener()
    error = world.fails("ensure", code=12)
    assert [holder["pid"] for holder in error["holders"]] == [foreign.pid]
    assert not psutil.pid_exists(lost["pid"]) or not world.servers()
    assert not accepts(world.port + 2)
    assert is_alive(foreign)
    foreign.kill()
    foreign.wait()
    world.assert_nothing_left()


def test_adopts_an_inngest_server_that_someone_else_started(world: World) -> None:
    by_hand = world.inngest_by_hand("--sdk-url", "http://localhost:9/api/inngest")
    for _ in range(2):
        done = world.ok("ensure")
        assert done["action"] == "already-running"
        assert done["adopted"] is True
        assert done["pid"] == done["listenerPid"] == by_hand.pid
        assert (done["logFile"], done["worktree"]) == (None, None)
        assert 9 in done["watching"]
    assert world.pid_file.read_text() == f"{by_hand.pid}\n"
    world.ok("stop")
    assert not is_alive(by_hand)
    world.assert_nothing_left()


def test_adopts_a_server_of_ours_whose_files_are_gone(running: World) -> None:
    """As a job leaves them that empties /tmp of old files: some, or none."""
    files = (running.pid_file, running.record_file, running.lock_file)
    for gone in (some for count in (1, 2, 3) for some in itertools.combinations(files, count)):
        for file in gone:
            file.unlink()
        done = running.ok("ensure")
        assert (done["action"], done["listenerPid"]) == ("already-running", running.started["pid"])
        assert running.ok("ensure")["pid"] == done["pid"]
        running.lock_file.touch(mode=0o600)
    assert running.starts() == 1


def test_adopts_the_listener_when_what_was_spawned_has_died(world: World) -> None:
    world.behave("hidden")
    first = world.ok("ensure", cwd=world.a)
    kill(first["pid"])
    done = world.ok("ensure")
    assert done["action"] == "already-running"
    assert done["pid"] == done["listenerPid"] == first["listenerPid"]
    kept = ("logFile", "worktree", "command", "adopted", "watching")
    assert {key: done[key] for key in kept} == {key: first[key] for key in kept}
    world.ok("stop")
    world.assert_nothing_left()


def test_finds_the_listener_of_a_dead_launcher_although_another_port_is_configured(
    world: World,
) -> None:
    world.behave("hidden")
    first = world.ok("ensure")
    kill(first["pid"])
    world.behave("hidden", port=world.port + 2)
    done = world.ok("ensure")
    assert (done["action"], done["port"]) == ("already-running", world.port)
    assert done["listenerPid"] == first["listenerPid"]
    assert str(world.port + 2) in done["warnings"][0]
    assert world.ok("stop")["port"] == world.port
    world.assert_nothing_left()


def test_a_socket_that_is_not_the_recorded_one_is_proved_anew(running: World) -> None:
    """A process that lives may have closed its socket, and another one answer in its place."""
    whole = running.record_file.read_text()
    record = json.loads(whole)
    record["listener"]["inode"] = "socket:[1]"
    running.record_file.write_text(json.dumps(record))
    assert running.ok("ensure")["listenerPid"] == running.started["listenerPid"]
    assert running.record_file.read_text() == whole


def test_a_recorded_listener_is_ours_without_the_mark_and_while_it_does_not_answer(
    world: World,
) -> None:
    world.behave("unmarked")
    first = world.ok("ensure")
    kill(first["pid"])
    listener = psutil.Process(first["listenerPid"])
    listener.suspend()
    assert world.ok("status", code=4)["state"] == "unresponsive"
    listener.resume()
    assert world.ok("ensure")["listenerPid"] == listener.pid
    assert world.ok("stop")["pidsKilled"] == [listener.pid]
    world.assert_nothing_left()


def kill(pid: int) -> None:
    process = psutil.Process(pid)
    process.kill()
    until(lambda: not is_alive(process))


def test_replaces_an_orphan_that_does_not_answer(world: World) -> None:
    world.behave("mute")
    orphan = psutil.Process(world.ok("ensure", "--no-wait")["pid"])
    until(lambda: accepts(world.port))
    for file in world.state_files():
        file.unlink()
    world.behave()
    done = world.ok("ensure")
    assert done["action"] == "started"
    assert done["pid"] != orphan.pid
    assert not is_alive(orphan)
    assert len(world.servers()) == 1
    world.ok("stop")
    world.assert_nothing_left()


def test_ends_what_a_killed_caller_had_started_and_never_recorded(world: World) -> None:
    world.behave("hang")
    world.ok("ensure", "--no-wait")
    for file in world.state_files():
        file.unlink()
    world.behave()
    assert world.ok("ensure")["action"] == "started"
    assert len(world.servers()) == 1
    world.ok("stop")
    world.assert_nothing_left()


def test_two_folders_with_pid_files_of_their_own_share_the_server_on_their_port(
    running: World,
) -> None:
    other = running.pid_file.with_name("other.pid")
    running.configure(folder=running.b, command=running.fake(), pidFile=str(other))
    done = running.ok("ensure", cwd=running.b)
    assert (done["action"], done["adopted"]) == ("already-running", True)
    assert done["pid"] == running.started["pid"], "the port is one, so the server is"


def test_two_folders_with_ports_and_pid_files_of_their_own_have_servers_of_their_own(
    running: World,
) -> None:
    own = {"port": running.port + 2, "pidFile": str(running.pid_file.with_name("other.pid"))}
    running.configure(folder=running.b, command=running.fake(), **own)
    done = running.ok("ensure", cwd=running.b)
    assert (done["action"], done["port"]) == ("started", running.port + 2)
    assert running.ok("stop", cwd=running.b)["pidsKilled"] == [done["pid"]]
    assert running.ok("status")["pid"] == running.started["pid"]


def test_warns_where_the_running_server_has_another_port_than_the_configuration(
    running: World,
) -> None:
    running.configure(folder=running.b, command=running.fake(), port=running.port + 2)
    done = running.ok("ensure", cwd=running.b)
    assert done["pid"] == running.started["pid"]
    assert done["port"] == running.port
    assert any(str(running.port + 2) in warning for warning in done["warnings"])


def test_ensure_and_status_work_in_one_command(world: World) -> None:
    done = world.run("inngest.ensure", "inngest.status", "inngest.stop")
    assert done.code == 0, done
    assert [word in done.out for word in ("started", "running at", "stopped")] == [True] * 3
    world.assert_nothing_left()


def test_the_stand_in_is_started_only_on_demand_and_says_so(world: World) -> None:
    world.configure()
    error = world.fails("ensure", code=11)
    assert "--stand-in" in error["hint"]
    done = world.ok("ensure", "--stand-in")
    assert (done["action"], done["standIn"]) == ("started", True)
    assert world.ok("status")["standIn"] is True
    again = world.ok("ensure")
    assert (again["action"], again["standIn"]) == ("already-running", True)
    assert "stand-in" in again["warnings"][0]
    assert "stand-in" in world.run("inngest.status").out
    world.ok("stop")
    world.assert_nothing_left()


def test_a_module_of_the_same_name_in_the_folder_is_not_run_by_the_stand_in(world: World) -> None:
    world.leaves_server = True
    (world.main / "http.py").write_text("raise SystemExit('hijacked')\n")
    assert world.ok("ensure", "--stand-in", cwd=world.a)["action"] == "started"


def test_a_program_that_cannot_be_executed_is_a_failure_not_a_traceback(world: World) -> None:
    broken = world.bin / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    world.configure(command=[str(broken)])
    error = world.fails("ensure", code=13)
    assert str(broken) in error["message"]
    world.assert_nothing_left()


def test_a_log_that_cannot_be_written_is_named(world: World) -> None:
    folder = world.main / "logs"
    folder.mkdir()
    world.behave(logFile="logs")
    error = world.fails("ensure", code=17)
    assert str(folder) in error["message"]
    world.assert_nothing_left()
