"""nextjs.*: this worktree's own server, whoever started it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import no_proc
import psutil
import pytest

from devservers import worktree
from devservers.errors import CliNotFoundError
from devservers.lifecycle import state
from devservers.nextjs import cli as nextjs_cli
from devservers.nextjs.settings import Settings
from devservers.system import process
from hooking import brought_by_psutil
from next_support import FAKE_NEXT, NextWorld, next_world, wait_for_lock
from support import INV, accepts, until

KEYS = {"action", "port", "url", "pid", "logFile", "listenerPid", "adopted", "command", "worktree",
        "branch", "warnings"}  # fmt: skip


WITH_A_TITLE = pytest.mark.skipif(
    no_proc.IS_ON or sys.platform == "darwin",
    reason="macOS tells nobody the environment of who has a title",
)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[NextWorld]:
    with next_world(tmp_path, "fork", "lock", "title") as world:
        world.leaves_server = True
        yield world


def test_ensure_says_all_that_the_reference_promises(place: NextWorld) -> None:
    done = place.call("nextjs.ensure", cwd=place.a)
    port = int(place.claim(place.a))
    assert done.keys() >= KEYS
    assert "watching" not in done
    assert (done["action"], done["port"]) == ("started", port)
    assert done["url"] == f"http://localhost:{port}"
    assert (done["worktree"], done["branch"]) == (str(place.a), "a")
    assert done["logFile"] == str(place.git_dir(place.a) / "devservers" / "nextjs.log")
    assert done["listenerPid"] != done["pid"]
    assert psutil.Process(done["listenerPid"]).ppid() == done["pid"]
    assert place.call("nextjs.ensure", cwd=place.a) == {**done, "action": "already-running"}
    stopped = place.call("nextjs.stop", cwd=place.a)
    assert (stopped["action"], stopped["portFree"]) == ("stopped", True)
    assert set(stopped["pidsKilled"]) == {done["pid"], done["listenerPid"]}
    assert stopped["worktree"] == str(place.a)
    assert not place.pid_file_of(place.a).exists()


def test_each_worktree_has_its_own(place: NextWorld) -> None:
    one, other = (place.call("nextjs.ensure", cwd=tree) for tree in (place.a, place.b))
    assert one["port"] != other["port"]
    place.call("nextjs.stop", cwd=place.a)
    assert place.call("nextjs.status", cwd=place.b)["running"]
    place.call("nextjs.status", cwd=place.a, code=3)


def test_any_number_may_ask_at_once_and_get_the_same_one(place: NextWorld) -> None:
    done = [ran.json for ran in place.at_once([place.a] * 6, "nextjs.ensure", "--json")]
    assert sorted(answer["action"] for answer in done) == ["already-running"] * 5 + ["started"], (
        done
    )
    assert len({answer["pid"] for answer in done}) == 1


def test_its_environment_has_what_it_needs_and_nothing_of_the_callers(place: NextWorld) -> None:
    dump = place.folder / "dump"
    place.be(f"dump={dump}")
    env = {"GIT_DIR": "/nowhere", "FORCE_COLOR": "1", "INNGEST_DEV": "0", "KEPT": "yes"}
    done = place.call("nextjs.ensure", cwd=place.a, env=env)
    found = json.loads(dump.read_text())
    assert found["cwd"] == str(place.a)
    assert found["env"]["PORT"] == found["env"]["DEV_PORT"] == str(done["port"])
    assert found["env"]["INNGEST_DEV"] == f"http://localhost:{place.port}"
    assert found["env"]["KEPT"] == "yes"
    assert not [name for name in found["env"] if name.startswith("GIT_") or name == "FORCE_COLOR"]
    assert found["env"]["DEVSERVERS_SERVER"] == f"nextjs:{place.pid_file_of(place.a)}"


def test_another_inngest_in_the_environment_does_not_reach_the_app(place: NextWorld) -> None:
    dump = place.folder / "dump"
    place.be(f"dump={dump}")
    names = [
        f"INNGEST_{name}" for name in ("DEV", "BASE_URL", "API_BASE_URL", "EVENT_API_BASE_URL")
    ]
    empty = ("INNGEST_SERVE_ORIGIN", "INNGEST_SERVE_HOST")
    env = dict.fromkeys((*names, *empty), "http://elsewhere:8288")
    done = place.call("nextjs.ensure", cwd=place.a, env=env)
    assert done["warnings"] == []
    found = json.loads(dump.read_text())["env"]
    assert {name: found[name] for name in (*names, *empty)} == {
        **dict.fromkeys(names, f"http://localhost:{place.port}"),
        **dict.fromkeys(empty, ""),
    }


def test_without_inngest_its_variables_are_the_callers_own(place: NextWorld) -> None:
    dump = place.folder / "dump"
    place.be(f"dump={dump}")
    place.configure(enabled=False)
    env = {"INNGEST_BASE_URL": "http://elsewhere:8288"}
    place.call("nextjs.ensure", cwd=place.a, env=env)
    found = json.loads(dump.read_text())["env"]
    assert {name: found[name] for name in found if name.startswith("INNGEST_")} == env


def test_the_listener_may_change_while_the_launcher_stays(place: NextWorld) -> None:
    done = place.call("nextjs.ensure", cwd=place.a)
    with socket.create_connection(("127.0.0.1", done["port"])) as connection:
        connection.sendall(b"GET /restart HTTP/1.0\r\n\r\n")
        connection.recv(100)
    until(lambda: not psutil.pid_exists(done["listenerPid"]))
    again = place.call("nextjs.ensure", cwd=place.a)
    assert (again["action"], again["pid"]) == ("already-running", done["pid"])
    assert again["listenerPid"] != done["listenerPid"]


@WITH_A_TITLE
def test_a_listener_that_left_tree_and_session_is_known_by_the_port(place: NextWorld) -> None:
    program = f"{sys.executable} -I -S {FAKE_NEXT} title {{port}}"
    place.configure(nextjs={"command": ["sh", "-c", f"(setsid {program} &); exec sleep 600"]})
    done = place.call("nextjs.ensure", "--timeout=15", cwd=place.a)
    listener = done["listenerPid"]
    assert psutil.Process(listener).ppid() != done["pid"]
    assert os.getsid(listener) == listener
    assert set(place.call("nextjs.stop", cwd=place.a)["pidsKilled"]) == {done["pid"], listener}


def test_a_recorded_server_keeps_its_port_whatever_the_file_says(place: NextWorld) -> None:
    done = place.call("nextjs.ensure", cwd=place.a)
    (place.a / ".dev-port").unlink()
    assert place.call("nextjs.ensure", cwd=place.a)["pid"] == done["pid"]
    assert place.call("ports.assign", cwd=place.a)["port"] == done["port"]


def test_another_port_in_the_environment_is_said_and_left_to_restart(place: NextWorld) -> None:
    done = place.call("nextjs.ensure", cwd=place.a)
    other = next(port for port in place.pool if port != done["port"])
    env = {"PORT": str(other)}
    again = place.call("nextjs.ensure", cwd=place.a, env=env)
    assert (again["port"], again["pid"]) == (done["port"], done["pid"])
    assert str(other) in again["warnings"][0]
    assert "every worktree" not in again["warnings"][0]
    moved = place.call("nextjs.restart", cwd=place.a, env=env)
    assert (moved["action"], moved["port"]) == ("restarted", other)
    assert not accepts(done["port"])


@pytest.mark.parametrize(
    "behaviours", [("lock",), pytest.param(("title",), marks=WITH_A_TITLE), ("lock", "title")]
)
def test_one_started_by_hand_in_this_worktree_is_adopted(
    place: NextWorld, behaviours: tuple[str, ...]
) -> None:
    server = place.next_by_hand(place.a, place.port + 1, *behaviours)  # not even in the pool
    seen = place.call("nextjs.status", cwd=place.a)
    assert (seen["state"], seen["adopted"], seen["listenerPid"]) == ("running", True, server.pid)
    done = place.call("nextjs.ensure", cwd=place.a)
    assert (done["action"], done["adopted"]) == ("already-running", True)
    assert (done["port"], done["pid"], done["logFile"]) == (place.port + 1, server.pid, None)
    assert done["worktree"] == str(place.a)
    assert "nextjs.ports" in done["warnings"][0]
    assert not (place.a / ".dev-port").exists()
    assert place.call("nextjs.stop", cwd=place.a)["pidsKilled"] == [server.pid]


def test_one_by_hand_that_does_not_answer_yet_is_waited_for(place: NextWorld) -> None:
    server = place.next_by_hand(place.a, place.pool[0], "lock", "late=5")
    done = place.call("nextjs.ensure", cwd=place.a)
    assert (done["action"], done["pid"]) == ("already-running", server.pid)
    assert place.call("nextjs.status", cwd=place.a)["responsive"]


def test_one_by_hand_that_never_answers_is_left_alone_and_named(place: NextWorld) -> None:
    server = place.next_by_hand(place.a, place.pool[0], "lock", "late=3600")
    error = place.refused("nextjs.ensure", "--timeout=4", cwd=place.a, code=14)
    assert error["code"] == "not-ready"
    assert f"pid {server.pid}" in error["message"]
    assert server.is_running()
    assert place.call("nextjs.stop", cwd=place.a)["portFree"]


def test_a_production_server_by_hand_is_none_to_adopt(place: NextWorld) -> None:
    server = place.next_by_hand(place.a, place.port + 1, "title", "start")
    assert place.call("nextjs.status", cwd=place.a, code=3)["state"] == "stopped"
    assert place.call("nextjs.ensure", cwd=place.a)["action"] == "started"
    assert server.is_running()


def test_one_by_hand_in_another_worktree_is_foreign_there_and_here(place: NextWorld) -> None:
    port = place.call("ports.assign", cwd=place.a)["port"]
    server = place.next_by_hand(place.b, port, "lock", "title")
    error = place.refused("nextjs.ensure", cwd=place.a, code=12)
    assert error["holders"][0]["pid"] == server.pid
    assert ".dev-port" in error["hint"]
    assert place.call("nextjs.stop", cwd=place.a)["portFree"] is False
    assert place.call("nextjs.status", cwd=place.a, code=3)["state"] == "foreign"
    assert server.is_running()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[",
        '{"pid": 1, "port": 80}',
        '{"pid": true, "port": 5}',
        '{"pid": "x", "port": {}}',
        "7",
    ],
)
def test_a_lock_of_nextjs_that_names_nobody_is_no_obstacle(place: NextWorld, content: str) -> None:
    lock = place.a / ".next/dev/lock"
    lock.parent.mkdir(parents=True)
    lock.write_text(content)
    assert place.call("nextjs.ensure", cwd=place.a)["action"] == "started"


def test_a_lock_that_names_a_stranger_signals_nobody(place: NextWorld) -> None:
    stranger = place.listener(port=place.pool[0])  # it works in another folder
    lock = place.a / ".next/dev/lock"
    lock.parent.mkdir(parents=True)
    lock.write_text(json.dumps({"pid": stranger.pid, "port": place.pool[0]}))
    place.call("nextjs.status", cwd=place.a, code=3)
    place.call("nextjs.stop", cwd=place.a)
    assert stranger.is_running()


def test_what_answers_on_another_port_first_has_not_moved(place: NextWorld) -> None:
    """A debugger's port, or one of the app's own: only Inngest moves to another port."""
    place.be(f"beside={place.port + 3}", "title")
    done = place.call("nextjs.ensure", cwd=place.a)
    assert done["action"] == "started"
    place.call("nextjs.stop", cwd=place.a)


def test_a_second_server_for_the_folder_is_named_not_fought(place: NextWorld) -> None:
    server = place.next_by_hand(place.a, place.port + 1, "lock")
    lock = place.a / ".next/dev/lock"
    text = json.loads(lock.read_text())
    lock.write_text(json.dumps({**text, "port": 1}))  # so that it isn't found beforehand
    error = place.refused("nextjs.ensure", cwd=place.a, code=13)
    assert "Another next dev server" in error["message"]
    assert "nextjs.ensure" in error["hint"]
    assert server.is_running()
    assert not place.pid_file_of(place.a).exists()


def test_a_start_that_fails_shows_its_last_words_even_with_status_0(place: NextWorld) -> None:
    place.be("say=using Turbopack, with a `webpack` config", "exit=0")
    error = place.refused("nextjs.ensure", cwd=place.a, code=13)
    assert error["exitStatus"] == 0
    assert "nextjs.turbopack" in error["hint"]


def test_one_that_does_not_answer_in_time_is_ended_and_says_so(place: NextWorld) -> None:
    place.be("late=60")
    error = place.refused("nextjs.ensure", "--timeout=1.5", cwd=place.a, code=14)
    assert "Ready" in error["message"]
    assert not accepts(int(place.claim(place.a)))


def test_its_log_can_be_read_from_anywhere_in_the_worktree(place: NextWorld) -> None:
    place.call("nextjs.ensure", cwd=place.a)
    folder = place.a / "deep"
    folder.mkdir()
    assert "Ready" in place.run("nextjs.logs", cwd=folder).out


def test_inngest_and_nextjs_in_one_command_are_two_servers(place: NextWorld) -> None:
    done = place.run("inngest.ensure", "nextjs.ensure", "dev.status", cwd=place.a)
    assert done.code == 0, done
    assert "Inngest dev server started" in done.out
    assert "Next.js server started" in done.out
    assert f"http://localhost:{place.claim(place.a).strip()}" in done.out
    place.ok("stop")


# In the foreground


def in_foreground(place: NextWorld, *words: str, **options: Any) -> "subprocess.Popen[bytes]":
    child = place.start("nextjs.run", *words, cwd=place.a, start_new_session=True, **options)
    wait_for_lock(place.a)
    return child


def test_run_is_known_to_all_others_and_ends_cleanly(place: NextWorld) -> None:
    child = in_foreground(place)
    done = place.call("nextjs.ensure", cwd=place.a)
    assert done["action"] == "already-running"
    error = place.refused("nextjs.run", cwd=place.a, code=12)
    assert "nextjs.stop" in error["hint"]
    os.killpg(child.pid, signal.SIGINT)  # as the terminal does on ^C
    ran = place.result(child)
    assert ran.code == 0, ran
    assert "Ready" in ran.out
    assert "Traceback" not in ran.err
    assert not accepts(done["port"])
    assert not place.pid_file_of(place.a).exists()


def test_run_passes_a_termination_on(place: NextWorld) -> None:
    child = in_foreground(place)
    child.send_signal(signal.SIGTERM)
    assert place.result(child).code == 0
    until(lambda: not accepts(int(place.claim(place.a))))


def test_run_passes_a_hangup_on_and_leaves_nothing(place: NextWorld) -> None:
    child = in_foreground(place)
    child.send_signal(signal.SIGHUP)
    assert place.result(child).code == 128 + signal.SIGHUP, "`next` doesn't heed it: it dies of it"
    assert not accepts(int(place.claim(place.a)))
    assert not place.pid_file_of(place.a).exists()


def test_run_leaves_a_record_that_is_another_servers_by_now(place: NextWorld) -> None:
    child = in_foreground(place)
    file = place.pid_file_of(place.a)
    ours = until(lambda: state.read(file))
    other = process.identify(place.bystander().pid)
    assert ours
    assert other
    theirs = ours._replace(process=other)
    state.write(file, theirs)
    child.terminate()
    assert place.result(child).code == 0
    assert state.read(file) == theirs


def test_run_hands_the_exit_status_on(place: NextWorld) -> None:
    place.be("exit=7")
    done = place.run("nextjs.run", "--json", cwd=place.a)
    assert (done.code, done.json["exitStatus"]) == (7, 7)


def test_a_port_that_the_environment_asks_for_and_another_holds_names_the_variable(
    place: NextWorld,
) -> None:
    place.listener(port=place.pool[0])
    env = {"PORT": str(place.pool[0])}
    error = place.refused("nextjs.ensure", cwd=place.a, env=env, code=12)
    assert "unset PORT" in error["hint"]


def test_run_with_json_keeps_stdout_to_one_object(place: NextWorld) -> None:
    child = in_foreground(place, "--json")
    os.killpg(child.pid, signal.SIGINT)
    ran = place.result(child)
    assert ran.json["action"] == "ran"
    assert "Ready" in ran.err


def test_a_killed_run_is_taken_over_by_ensure(place: NextWorld) -> None:
    child = in_foreground(place)
    child.kill()
    child.wait()
    done = place.call("nextjs.ensure", cwd=place.a)
    assert done["action"] == "already-running"
    assert place.call("nextjs.stop", cwd=place.a)["action"] == "stopped"


# Which program, and which words


def app(folder: Path, *files: str, version: str = "16.4.6", program: bool = True) -> Path:
    """Make a folder look as if Next.js were installed there."""
    package = folder / "node_modules/next/package.json"
    package.parent.mkdir(parents=True)
    package.write_text(json.dumps({"name": "next", "version": version}))
    (folder / "package.json").write_text('{"dependencies": {"next": "*"}}')
    for name in files:
        (folder / name).touch()
    if program:
        local = folder / "node_modules/.bin/next"
        local.parent.mkdir()
        local.touch(0o755)
    return folder


def found(folder: Path, settings: Settings | None = None, path: str = "") -> tuple[str, ...]:
    here = worktree.Worktree(folder, folder)
    return nextjs_cli.find_command(settings or Settings(), here, 5001, {"PATH": path})


@pytest.mark.parametrize(
    ("version", "turbopack", "flags"),
    [
        ("14.2.35", True, ["--turbo"]),
        ("14.2.35", False, []),
        ("15.0.8", True, ["--turbopack"]),
        ("15.5.29", False, []),
        ("16.4.6", True, ["--turbopack"]),
        ("16.4.6", False, ["--webpack"]),
        ("17.0.0-canary.1", True, ["--turbopack"]),
        ("rubbish", True, []),
    ],
)
def test_the_bundler_is_chosen_as_the_installed_version_takes_it(
    tmp_path: Path,
    version: str,
    turbopack: bool,  # noqa: FBT001 - a parameter
    flags: list[str],
) -> None:
    app(tmp_path, version=version)
    words = found(tmp_path, Settings(turbopack=turbopack))
    assert list(words) == [str(tmp_path / "node_modules/.bin/next"), "dev", "-p", "5001", *flags]


def test_a_hostname_is_passed_on_only_if_it_is_set(tmp_path: Path) -> None:
    app(tmp_path)
    assert "-H" not in found(tmp_path)
    words = found(tmp_path, Settings(hostname="0.0.0.0"))  # noqa: S104
    assert words[words.index("-H") + 1] == "0.0.0.0"  # noqa: S104


@pytest.mark.parametrize(
    ("lock", "launcher", "words"),
    [
        ("pnpm-lock.yaml", "pnpm", ["exec", "next"]),
        ("yarn.lock", "yarn", ["run", "next"]),
        ("package-lock.json", "npx", ["--no-install", "next"]),
        (".npmrc", "npx", ["--no-install", "next"]),
    ],
)
def test_the_lock_file_tells_the_package_manager(
    tmp_path: Path, lock: str, launcher: str, words: list[str]
) -> None:
    app(tmp_path, lock, program=False)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("pnpm", "yarn", "npx"):
        (programs / name).touch(0o755)
    argv = found(tmp_path, path=str(programs))
    assert list(argv[:4]) == [str(programs / launcher), *words, "dev"]


@pytest.mark.parametrize(
    ("lock", "install"),
    [
        ("pnpm-lock.yaml", "pnpm install"),
        ("yarn.lock", "yarn install"),
        ("package-lock.json", "npm ci"),
        (".npmrc", "npm install"),
    ],
)
def test_not_installed_says_what_to_run(tmp_path: Path, lock: str, install: str) -> None:
    app(tmp_path, lock)
    shutil.rmtree(tmp_path / "node_modules")
    with pytest.raises(CliNotFoundError, match=install):
        found(tmp_path)


def test_a_folder_without_an_app_is_told_from_one_that_lacks_its_packages(tmp_path: Path) -> None:
    with pytest.raises(CliNotFoundError, match=r"no Next\.js project"):
        found(tmp_path)


def test_a_command_of_ones_own_has_port_and_host_filled_in(tmp_path: Path) -> None:
    command = ("sh", "-c", "serve {port} {hostname}", '{"a": 1}')
    words = found(tmp_path, Settings(command=command), path=os.environ["PATH"])
    assert words == ("sh", "-c", "serve 5001 localhost", '{"a": 1}')
    with pytest.raises(CliNotFoundError, match=r"nextjs\.command"):
        found(tmp_path, Settings(command=("no-such-program",)))


def test_a_missing_program_is_no_obstacle_to_status_and_stop(place: NextWorld) -> None:
    place.configure(nextjs={"command": ["no-such-program"]})
    assert place.refused("nextjs.ensure", cwd=place.a, code=11)["code"] == "cli-not-found"
    assert place.call("nextjs.status", cwd=place.a, code=3)["state"] == "stopped"
    assert place.call("nextjs.stop", cwd=place.a)["action"] == "not-running"


@pytest.mark.parametrize(
    ("version", "path"), [("16.4.6", "_next/static"), ("15.5.1", "_next/static"),
                          ("15.4.9", "_next/image"), ("14.2.35", "_next/image")],
)  # fmt: skip
def test_the_probe_is_one_that_compiles_nothing(tmp_path: Path, version: str, path: str) -> None:
    app(tmp_path, version=version)
    assert path in nextjs_cli.probe_path(nextjs_cli.installed_version(tmp_path))


def test_a_question_writes_nothing(place: NextWorld) -> None:
    place.call("nextjs.status", code=3, cwd=place.a)
    place.call("nextjs.logs", cwd=place.a)
    place.call("dev.status", cwd=place.a)
    assert not (place.a / ".dev-port").exists()
    assert not place.pid_file_of(place.a).parent.exists()


def test_a_log_that_cannot_be_written_is_named_with_what_helps(place: NextWorld) -> None:
    log = place.pid_file_of(place.a).with_name("nextjs.log")
    log.mkdir(parents=True)
    error = place.refused("nextjs.ensure", code=17, cwd=place.a)
    assert str(log) in error["message"]
    assert error["hint"] == f"Move {log} away, or make its folder writable."


def test_a_pid_file_that_is_a_link_is_named_with_what_helps(place: NextWorld) -> None:
    pid_file = place.pid_file_of(place.a)
    pid_file.parent.mkdir()
    pid_file.symlink_to(place.a / "elsewhere")
    error = place.refused("nextjs.ensure", code=17, cwd=place.a)
    assert str(pid_file) in error["message"]
    assert error["hint"] == f"Move {pid_file} away."


def test_a_warm_ensure_asks_neither_psutil_nor_the_lock(place: NextWorld) -> None:
    place.call("nextjs.ensure", cwd=place.a)
    code = (
        "import sys; from devservers import config, nextjs, worktree;"
        " from devservers.lifecycle import server;"
        " here = worktree.find(); settings = config.load(here.root, here.main);"
        " print(server.ensure(nextjs.spec(settings, here)).action);"
        " print(sorted({'psutil', 'filelock', 'requests'} & set(sys.modules)))"
    )
    words = [str(INV.with_name("python")), "-c", code]
    done = subprocess.run(
        words, cwd=place.a, env=place.env(cwd=place.a), capture_output=True, text=True, check=True
    )
    action, modules = done.stdout.splitlines()
    assert action == "already-running"
    assert modules == str([name for name in ("psutil",) if name in brought_by_psutil()])
