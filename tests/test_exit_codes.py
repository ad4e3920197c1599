"""Flags, exit statuses and streams: what scripts rely on, on success and on failure."""

import json
from collections.abc import Callable

import pytest

from support import World

TASKS = ["ensure", "start", "stop", "restart", "status", "logs"]


def no_cli(world: World) -> None:
    world.configure()


def port_taken(world: World) -> None:
    world.listener()


def exits(world: World) -> None:
    world.behave("exit=1")


def never_answers(world: World) -> None:
    world.behave("hang")


def bad_config(world: World) -> None:
    world.configure(port="8288")


def bad_state(world: World) -> None:
    world.pid_file.mkdir()


FAILURES = [
    (bad_config, 10, "config-invalid"),
    (no_cli, 11, "cli-not-found"),
    (port_taken, 12, "port-in-use"),
    (exits, 13, "server-exited"),
    (never_answers, 14, "not-ready"),
    (bad_state, 17, "state-unusable"),
]


@pytest.mark.parametrize(("arrange", "code", "name"), FAILURES, ids=[name for *_, name in FAILURES])
def test_each_failure_has_its_exit_status_its_code_and_one_voice(
    world: World, arrange: Callable[[World], None], code: int, name: str
) -> None:
    arrange(world)
    time = "--timeout=0.5" if name == "not-ready" else "--timeout=20"
    assert world.fails("restart", time, code=code)["code"] == name
    error = world.fails("ensure", time, code=code)
    assert error["code"] == name
    assert error["message"]
    assert error["hint"]
    plain = world.run("inngest.ensure", time)
    assert (plain.code, plain.out) == (code, "")
    assert plain.err.startswith("error: ")
    assert "Traceback" not in plain.err
    assert error["hint"].splitlines()[0] in plain.err
    assert world.servers() == []


@pytest.mark.parametrize("task", TASKS)
def test_a_wrong_configuration_is_refused_by_every_task(world: World, task: str) -> None:
    world.configure(port=70000)
    error = world.fails(task, code=10, cwd=world.a)
    assert str(world.config) in error["message"]
    assert "inngest.port" in error["message"]
    assert "70000" in error["message"]
    assert "65535" in error["message"]


@pytest.mark.parametrize("task", TASKS)
def test_a_disabled_server_is_honoured_by_every_task(world: World, task: str) -> None:
    world.behave(enabled=False)
    done = world.ok(task, code=3 if task == "status" else 0)
    if task == "status":
        assert (done["running"], done["state"]) == (False, "disabled")
    else:
        assert done["action"] == "disabled"
    assert list(world.pid_file.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("task", "value"),
    [("ensure", ""), ("restart", "x"), ("stop", "-1"), ("ensure", "nan"), ("stop", "inf")],
)
def test_a_wrong_number_of_seconds_is_a_sentence(world: World, task: str, value: str) -> None:
    done = world.run(f"inngest.{task}", f"--timeout={value}", "--json")
    assert done.code == 1, done
    assert "Traceback" not in done.err
    assert done.error["message"].startswith("--timeout must be a number of seconds")
    assert world.servers() == []


@pytest.mark.parametrize("value", ["x", "-1", "9" * 30, "\u0663"])
def test_a_wrong_number_of_lines_is_a_sentence(world: World, value: str) -> None:
    world.log.write_text("x\n")
    done = world.run("inngest.logs", f"--lines={value}")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: --lines")


def test_a_disabled_server_is_named_so_to_people(world: World) -> None:
    world.behave(enabled=False)
    done = world.run("inngest.ensure", "inngest.stop")
    assert (done.code, done.err) == (0, "")
    assert done.out.count("disabled") == 2


def test_quiet_prints_nothing_when_nothing_had_to_be_done(world: World) -> None:
    world.leaves_server = True
    assert "started" in world.run("inngest.ensure", "--quiet").out
    assert world.run("inngest.ensure", "--quiet") == (0, "", "")


def test_quiet_does_not_silence_a_failure(world: World) -> None:
    world.behave("exit=1")
    done = world.run("inngest.ensure", "--quiet")
    assert done.code == 13
    assert done.err


def test_quiet_does_not_silence_what_was_added(running: World) -> None:
    data = json.loads(running.config.read_text())
    data["nextjs"]["ports"].append(running.port + 3)
    file = running.b / running.config.relative_to(running.main)
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(data))
    done = running.run("inngest.ensure", "--quiet", cwd=running.b)
    assert done.code == 0, done
    assert str(running.port + 3) in done.out


def test_json_is_one_object_also_where_quiet_would_print_nothing(running: World) -> None:
    assert running.ok("ensure", "--quiet")["action"] == "already-running"


def test_a_time_out_of_zero_still_finds_a_server_that_is_well(running: World) -> None:
    assert running.ok("ensure", "--timeout=0")["pid"] == running.started["pid"]


def test_an_unknown_flag_is_invokes_own_usage_error(world: World) -> None:
    done = world.run("inngest.ensure", "--no-such-flag")
    assert done.code == 1
    assert "Traceback" not in done.err


def test_every_task_has_help_for_every_flag(world: World) -> None:
    for task in TASKS:
        done = world.run("--help", f"inngest.{task}")
        assert (done.code, done.err) == (0, "")
        options = done.out.partition("Options:")[2].strip().splitlines()
        flags = [line for line in options if line.lstrip().startswith("--")]
        assert any("--json" in line for line in flags)
        assert all(len(line.split(maxsplit=1)) > 1 for line in flags), done.out


def test_another_configuration_file_can_be_named(world: World) -> None:
    other = world.folder / "other.json"
    other.write_text(json.dumps({"inngest": {"enabled": False}}))
    assert world.ok("ensure", env={"DEVSERVERS_CONFIG": str(other)})["action"] == "disabled"
    missing = str(world.folder / "missing.json")
    error = world.fails("ensure", code=10, env={"DEVSERVERS_CONFIG": missing})
    assert missing in error["message"]
