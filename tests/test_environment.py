"""The server depends on nothing of its caller's: environment, folder, terminal, worktree."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from support import DEVSERVERS, INV, SHELLS, World, accepts, git, heed_interrupts, is_alive, until

INTERRUPTIBLE: dict[str, Any] = {"start_new_session": True, "preexec_fn": heed_interrupts}


def dumped(world: World, *words: str, **options: Any) -> Any:
    """Start the server and return what it found around itself."""
    file = world.folder / "dump"
    world.behave("hidden", f"dump={file}")
    world.leaves_server = True
    world.ok("ensure", *words, **options)
    return json.loads(file.read_text())


def test_it_gets_none_of_gits_variables_nor_the_callers_ports(world: World) -> None:
    git_dir = world.main / ".git" / "worktrees" / "a"
    env = {
        "GIT_DIR": str(git_dir),
        "GIT_INDEX_FILE": str(git_dir / "index"),
        "GIT_WORK_TREE": str(world.a),
        "GIT_CEILING_DIRECTORIES": "/",
        "PORT": "3000",
        "DEV_PORT": "3001",
        "KEPT": "yes",
    }
    found = dumped(world, cwd=world.b, env=env)
    for server in world.servers():
        environ = server.environ()
        assert [name for name in environ if name.startswith("GIT_")] == []
        assert not environ.keys() & {"PORT", "DEV_PORT"}
        assert environ["KEPT"] == "yes"
        assert environ["DEVSERVERS_SERVER"] == f"inngest:{world.pid_file}"
    assert found["cwd"] == str(world.main)
    assert world.ok("status")["worktree"] == str(world.b), "GIT_DIR names another"


def test_a_proxy_in_the_environment_is_ignored(world: World) -> None:
    world.leaves_server = True
    proxy = f"http://127.0.0.1:{world.apps[0]}"  # nothing listens there
    env = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"), proxy)
    assert world.ok("ensure", env=env)["action"] == "started"
    assert world.ok("status", env=env)["responsive"] is True
    assert world.ok("ensure", env=env)["action"] == "already-running"
    for file in world.state_files():
        file.unlink()
    assert world.ok("ensure", env=env)["action"] == "already-running"


def test_it_has_its_own_session_no_stdin_and_no_inherited_descriptor(world: World) -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)  # noqa: FBT003 - the function has no keyword
    try:
        found = dumped(world, pass_fds=[write], stdin=subprocess.PIPE)
        pipe = os.fstat(write)
    finally:
        os.close(read)
        os.close(write)
    descriptors = found["descriptors"]
    null, log = Path(os.devnull).stat(), world.log.stat()
    assert descriptors["0"] == [null.st_dev, null.st_ino]
    assert descriptors["1"] == descriptors["2"] == [log.st_dev, log.st_ino]
    assert set(descriptors) == {"0", "1", "2"}
    assert [pipe.st_dev, pipe.st_ino] not in descriptors.values()
    assert found["sid"] == world.ok("status")["pid"], "the session is led by what was spawned"
    assert found["sid"] != os.getsid(0)


TERMINAL = """
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv("/bin/sh", ["sh", "-c", '"$@"; echo status $?; read line', "sh", *sys.argv[1:]])
seen = b""
while b"status " not in seen:
    seen += os.read(terminal, 1000)
os.close(terminal)  # the kernel hangs up: SIGHUP to the session, as a closed window does
_, how = os.waitpid(pid, 0)
sys.stdout.write(seen.decode())
"""


def test_it_survives_the_closing_of_its_callers_terminal(world: World) -> None:
    world.leaves_server = True
    world.behave("hidden")
    words = [sys.executable, "-c", TERMINAL, str(INV), "inngest.ensure"]
    child = world.processes.popen(words, cwd=world.a, env=world.env(), stdout=subprocess.PIPE)
    out, _ = child.communicate(timeout=20)
    assert b"status 0" in out
    assert world.url.encode() in out
    assert len(world.servers()) == 2 + SHELLS
    done = world.ok("status", cwd=world.b)
    assert (done["state"], done["worktree"]) == ("running", str(world.a))
    assert all(process.terminal() is None for process in world.servers())


def test_interrupting_its_caller_does_not_reach_it(running: World) -> None:
    caller = running.start("inngest.logs", "--follow", **INTERRUPTIBLE)
    assert caller.stdout
    caller.stdout.read(1)
    os.killpg(caller.pid, signal.SIGINT)
    assert caller.wait(20) == 0
    assert running.ok("status")["pid"] == running.started["pid"]


@pytest.mark.parametrize("behaviour", ["hang", "mute"])
def test_an_interrupted_wait_leaves_nothing(world: World, behaviour: str) -> None:
    world.behave("hidden", behaviour)
    caller = world.start("inngest.ensure", "--json", **INTERRUPTIBLE)
    until(lambda: len(world.servers()) == 2 + SHELLS and world.pid_file.exists())
    os.killpg(caller.pid, signal.SIGINT)  # the terminal's ^C goes to the whole foreground
    done = world.result(caller)
    assert done.code == 130
    assert done.error["code"] == "interrupted"
    world.assert_nothing_left()


def test_an_interrupted_wait_for_another_callers_server_leaves_that_alone(world: World) -> None:
    world.leaves_server = True
    gate = world.folder / "gate"
    world.behave(f"gate={gate}")
    pid = world.ok("ensure", "--no-wait")["pid"]
    waiting = world.start("inngest.ensure", **INTERRUPTIBLE)
    assert waiting.stderr
    said = waiting.stderr.readline()
    os.killpg(waiting.pid, signal.SIGINT)
    done = world.result(waiting)
    assert (done.code, done.out) == (130, "")
    assert said.startswith(b"Waiting for ")
    assert "Interrupted" in done.err
    assert "Traceback" not in done.err
    gate.touch()
    assert world.ok("ensure")["pid"] == pid


def test_a_worktree_removed_under_the_server_changes_nothing_for_the_others(
    running: World,
) -> None:
    git("worktree", "remove", "--force", running.a, cwd=running.main)
    assert not running.a.exists()
    assert Path(psutil.Process(running.started["pid"]).cwd()) == running.main
    for folder in (running.main, running.b):
        assert running.ok("ensure", cwd=folder)["pid"] == running.started["pid"]
        assert running.ok("status", cwd=folder)["worktree"] == str(running.a)
        assert "stand-in" in running.run("inngest.logs", cwd=folder).out
    assert running.ok("stop", cwd=running.b)["action"] == "stopped"
    running.assert_nothing_left()


def test_a_worktree_inside_the_main_one_is_the_callers_though_invoke_runs_the_parents_tasks(
    world: World,
) -> None:
    world.leaves_server = True
    nested = world.main / "trees" / "nested"
    world.add_worktree(nested)
    (nested / "tasks.py").unlink()
    deeper = nested / "src"
    deeper.mkdir()
    world.behave()
    done = world.ok("ensure", cwd=deeper)
    assert done["worktree"] == str(nested)
    assert world.ok("status", cwd=world.main)["worktree"] == str(nested)


def test_the_configuration_of_a_nested_worktree_is_its_own(world: World) -> None:
    nested = world.main / "nested"
    world.add_worktree(nested)
    (nested / "tasks.py").unlink()
    world.configure(folder=nested, enabled=False)
    assert world.ok("ensure", cwd=nested)["action"] == "disabled"


@pytest.mark.parametrize("pwd", [None, "", "/no/such/folder", "b"])
def test_a_wrong_pwd_in_the_environment_misleads_nobody(world: World, pwd: str | None) -> None:
    value = {None: None, "b": str(world.b)}.get(pwd, pwd)
    env = world.env(cwd=world.a)
    env = {name: text for name, text in env.items() if name != "PWD"}
    env |= {} if value is None else {"PWD": value}
    child = world.processes.popen(
        [str(INV), "inngest.ensure", "--json"],
        cwd=world.a,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    world.leaves_server = True
    assert world.result(child).json["worktree"] == str(world.a)


def test_a_folder_deep_in_a_worktree_stands_for_it(world: World) -> None:
    world.leaves_server = True
    deep = world.a / "src" / "deep"
    deep.mkdir(parents=True)
    assert world.ok("ensure", cwd=deep)["worktree"] == str(world.a)


def test_a_worktree_of_a_bare_repository_has_its_server_in_the_bare_folder(world: World) -> None:
    bare = world.folder / "project.git"
    git("clone", "-q", "--bare", world.main, bare, cwd=world.folder)
    tree = world.folder / "tree"
    git("worktree", "add", "-q", "-b", "new", tree, cwd=bare)
    world.configure(folder=tree, command=world.fake())
    done = world.ok("ensure", cwd=tree)
    assert done["worktree"] == str(tree)
    assert done["logFile"] == str(bare / "inngest-system.log")
    assert Path(psutil.Process(done["pid"]).cwd()) == bare
    world.ok("stop", cwd=tree)
    world.assert_nothing_left()


def test_a_bare_repository_beside_its_worktrees_works_as_well(world: World) -> None:
    project = world.folder / "project"
    git("clone", "-q", "--bare", world.main, project / ".bare", cwd=world.folder)
    (project / ".git").write_text("gitdir: ./.bare\n")
    git("worktree", "add", "-q", "-b", "new", project / "tree", cwd=project)
    world.configure(folder=project / "tree", command=world.fake())
    done = world.ok("ensure", cwd=project / "tree")
    assert done["logFile"] == str(project / ".bare" / "inngest-system.log")
    world.ok("stop", cwd=project / "tree")


def test_outside_git_the_folder_itself_counts(world: World) -> None:
    folder = world.folder / "plain"
    world.configure(folder=folder, command=world.fake())
    done = world.ok("ensure", cwd=folder, program=DEVSERVERS)
    assert done["worktree"] == str(folder)
    assert done["logFile"] == str(folder / "inngest-system.log")
    assert world.ok("status", cwd=folder, program=DEVSERVERS)["state"] == "running"
    world.ok("stop", cwd=folder, program=DEVSERVERS)
    world.assert_nothing_left()


def test_a_caller_without_a_home_or_a_path_is_served_too(world: World) -> None:
    world.leaves_server = True
    words = [str(INV), "inngest.ensure", "--json"]
    env = {"DEVSERVERS_TEST": world.processes.mark}
    child = world.processes.popen(
        words, cwd=world.main, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert world.result(child).json["action"] == "started"


def test_a_caller_without_standard_streams_is_served_too(world: World) -> None:
    world.leaves_server = True
    closing = 'exec 0<&- 1>&- 2>&-; exec "$@"'
    words = ["/bin/sh", "-c", closing, "sh", str(INV), "inngest.ensure"]
    child = world.processes.popen(words, cwd=world.main, env=world.env())
    child.wait(20)
    assert accepts(world.port)
    (server,) = world.servers()
    assert is_alive(server)
    assert world.ok("ensure")["pid"] == server.pid


def test_a_folder_whose_name_is_no_text_can_be_worked_in(world: World) -> None:
    folder = Path(os.fsdecode(os.fsencode(world.folder) + b"/caf\xe9"))
    world.add_worktree(folder)
    world.leaves_server = True
    assert "started" in world.run("inngest.ensure", cwd=folder).out
    assert world.ok("ensure", cwd=world.a)["worktree"] == str(folder)
    assert r"caf\udce9" in world.run("inngest.ensure", cwd=world.a).out


@pytest.mark.parametrize(("task", "code"), [("dev.status", 0), ("hooks.status", 20)])
def test_a_git_that_hangs_is_not_waited_for_without_end(world: World, task: str, code: int) -> None:
    assert world.a.is_dir()
    git = world.bin / "git"
    git.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    git.chmod(0o755)
    done = world.run(task, "--json", timeout=40)
    assert (done.code, "Traceback" in done.err) == (code, False), done
