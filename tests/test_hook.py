"""devservers-hook: silent and cheap when all is well, one line otherwise, and never a failure."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from devservers import config, inngest
from devservers.system import procfs
from hooking import (
    BRANCH,
    COMMIT,
    HOOK,
    accept,
    brought_by_psutil,
    detached,
    imported_by_hook,
    run_git,
    run_hook,
    settle,
    warm,
)
from support import World, accepts, git, heed_interrupts, is_alive, make_repository, until

EVENTS = (BRANCH, ("post-merge", "0"), ("post-merge",), ("ensure",), ("post-checkout",))
DEAR = {
    "argparse", "contextlib", "dataclasses", "devservers.config", "devservers.lifecycle.server",
    "enum", "filelock", "http", "invoke", "json", "pathlib", "psutil", "re", "requests", "socket",
    "subprocess", "typing",
}  # fmt: skip


def receipt_of(worktree: Path) -> Path:
    git = worktree / ".git"
    folder = git if git.is_dir() else Path(git.read_text().removeprefix("gitdir: ").strip())
    return folder / "devservers" / "inngest.receipt"


@pytest.mark.parametrize("words", EVENTS)
def test_says_nothing_where_the_server_runs(running: World, words: tuple[str, ...]) -> None:
    for folder in (running.a, running.b, running.main):
        assert run_hook(running, *words, cwd=folder).err == ""
    assert running.starts() == 1


def test_a_warm_call_imports_next_to_nothing(running: World) -> None:
    warm(running)
    assert not imported_by_hook(running) & (DEAR - brought_by_psutil())


@pytest.mark.parametrize("words", EVENTS)
def test_a_cold_call_returns_at_once_and_the_server_comes_up(
    world: World, words: tuple[str, ...]
) -> None:
    gate = world.folder / "gate"
    world.behave(f"gate={gate}")
    done = run_hook(world, *words, cwd=world.a)  # while the server can't have come up yet
    gate.touch()
    assert "being started in the background" in done.err
    assert str(world.log) in done.err
    settle(world)
    assert world.ok("ensure")["action"] == "already-running"
    assert world.ok("status")["worktree"] == str(world.a)
    assert run_hook(world, cwd=world.a).err == ""
    world.ok("stop")


def test_what_works_on_is_nobodys_child_and_holds_nothing_of_the_callers(world: World) -> None:
    gate, facts = world.folder / "gate", world.folder / "facts"
    world.behave(f"gate={gate}", f"dump={facts}")
    accept(world)
    with socket.create_server(("127.0.0.1", 0)) as mine:
        os.set_inheritable(mine.fileno(), True)  # noqa: FBT003
        env = {"GIT_DIR": "/nowhere", "GIT_INDEX_FILE": "/nowhere/index", "PORT": "1"}
        done = world.run(*BRANCH, program=HOOK, env=env, close_fds=False)
        assert (done.code, done.out) == (0, "")
        until(facts.exists)
        (worker,) = detached(world)
        assert os.getsid(worker.pid) == worker.pid
        assert {file.fd for file in worker.open_files() if file.path == str(world.log)} >= {1, 2}
        assert not [name for name in worker.environ() if name.startswith("GIT_")]
        assert mine.getsockname() not in {row.laddr for row in worker.net_connections()}
        if procfs.HAS_PROC:
            assert os.readlink(f"/proc/{worker.pid}/fd/0") == os.devnull
    gate.touch()
    settle(world)
    world.ok("stop")


def test_waits_if_told_to(world: World) -> None:
    world.behave("slow=0.5")
    assert run_hook(world, "--wait", *BRANCH).err == ""
    assert accepts(world.port)
    assert detached(world) == []
    world.ok("stop")


def test_many_at_once_start_one_server(world: World) -> None:
    world.behave("slow=0.3")
    accept(world)
    children = [world.start(*BRANCH, program=HOOK, cwd=world.a) for _ in range(8)]
    for done in map(world.result, children):
        assert (done.code, done.out) == (0, ""), done
    settle(world)
    assert world.starts() == 1
    world.ok("stop")


def test_does_nothing_for_a_checkout_of_files(world: World) -> None:
    assert run_hook(world, "post-checkout", COMMIT, COMMIT, "0").err == ""
    by_pre_commit = {"PRE_COMMIT_CHECKOUT_TYPE": "0"}
    assert run_hook(world, "ensure", env=by_pre_commit).err == ""
    assert detached(world) == []
    world.assert_nothing_left()


def test_does_nothing_where_the_configuration_says_so(world: World) -> None:
    world.configure(enabled=False)
    assert run_hook(world).err == ""
    world.assert_nothing_left()


# Trouble


@pytest.mark.parametrize(
    "words",
    [(), ("",), ("pre-push",), ("post-checkout", "a"), ("--nonsense", *BRANCH), (*BRANCH, "more")],
)
def test_unusable_arguments_are_one_line(world: World, words: tuple[str, ...]) -> None:
    done = world.run(*words, program=HOOK)
    assert (done.code, done.out, done.err.count("\n")) == (0, "", 1)
    assert "unusable arguments" in done.err
    assert "Usage: devservers-hook" in done.err
    world.assert_nothing_left()


def test_a_broken_configuration_is_one_line_that_names_the_key(world: World) -> None:
    world.configure(port="8288")
    done = run_hook(world)
    assert all(part in done.err for part in (str(world.config), "inngest.port", "Correct"))


def test_a_missing_cli_is_one_line_with_the_remedy(world: World) -> None:
    world.configure()
    done = run_hook(world, env={"PATH": str(world.bin)})
    assert "npm install --save-dev inngest-cli" in done.err
    assert detached(world) == []


def test_a_taken_port_is_one_line_that_names_the_holder(world: World) -> None:
    holder = world.listener()
    done = run_hook(world)
    assert all(part in done.err for part in (str(world.port), f"pid {holder.pid}", "--force"))
    assert detached(world) == []
    assert holder.is_running()


def test_a_port_that_never_answers_holds_nobody_up(world: World) -> None:
    with socket.create_server(("127.0.0.1", world.port), backlog=1):
        began = time.monotonic()
        done = run_hook(world)
        assert time.monotonic() - began < 6
    assert f"Port {world.port} is held by" in done.err


def test_an_unusable_pid_file_is_one_line(world: World) -> None:
    world.pid_file.symlink_to("/nowhere")
    assert str(world.pid_file) in run_hook(world).err
    world.pid_file.unlink()


def test_a_log_that_cannot_be_written_is_one_line(world: World) -> None:
    world.log.mkdir()
    assert str(world.log) in run_hook(world).err


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "second name", "link to one"])
@pytest.mark.parametrize("words", [BRANCH, ("--wait", "ensure")])
def test_a_log_that_is_none_of_ours_is_one_line_and_holds_nobody_up(
    world: World, kind: str, words: tuple[str, ...]
) -> None:
    precious = world.folder / "precious"
    precious.write_text("precious\n")
    if kind == "pipe":
        os.mkfifo(world.log)
    elif kind == "folder":
        world.log.mkdir()
    elif kind == "device":
        world.log.symlink_to("/dev/full")
    else:
        world.log.hardlink_to(precious)
        if kind == "link to one":
            world.log.rename(world.folder / "other")
            world.log.symlink_to(world.folder / "other")
    done = run_hook(world, *words)
    assert f"The log {world.log} can't be written" in done.err
    assert "defect" not in done.err
    assert detached(world) == []
    assert precious.read_text() == "precious\n"
    world.assert_nothing_left()


def test_a_stranger_on_the_port_is_named_once_in_an_hour(world: World) -> None:
    holder = world.listener()
    for words in (BRANCH, ("--wait", "ensure")):
        stamp = world.main / ".git" / "devservers" / "inngest.said"
        assert f"pid {holder.pid}" in run_hook(world, *words).err
        assert run_hook(world, *words).err == ""
        assert "pid" in run_hook(world, *words, cwd=world.a).err, "another worktree"
        (world.main / ".git/worktrees/a/devservers/inngest.said").unlink()
        then, _, text = stamp.read_text().partition("\n")
        for other in (int(then) - 3700, int(then) + 3700, "x"):  # clocks are set back, too
            stamp.write_text(f"{other}\n{text}")
            assert "pid" in run_hook(world, *words).err
        stamp.unlink()
    assert detached(world) == []


def test_another_stranger_on_the_port_is_named_at_once(world: World) -> None:
    first = world.listener()
    run_hook(world)
    first.kill()
    until(lambda: not accepts(world.port))
    second = world.listener()
    assert f"pid {second.pid}" in run_hook(world).err
    second.kill()
    until(lambda: not accepts(world.port))
    assert "being started" in run_hook(world).err
    settle(world)
    world.ok("stop")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_users_server_is_not_said_to_be_taken_over(world: World) -> None:
    accept(world)
    theirs = world.inngest_by_another_user()
    said = run_hook(world).err
    assert f"Port {world.port} is held by" in said
    if procfs.HAS_PROC:  # elsewhere nobody is told whose it is
        assert f"user {theirs.username()}" in said
    assert run_hook(world).err == ""
    assert detached(world) == []
    assert is_alive(theirs)


def test_a_server_that_does_not_answer_is_left_alone(running: World) -> None:
    pid = running.started["listenerPid"]
    psutil.Process(pid).suspend()
    try:
        done = run_hook(running)
    finally:
        psutil.Process(pid).resume()
    assert all(part in done.err for part in (f"pid {pid}", "does not answer", "inngest.restart"))
    assert detached(running) == []


def test_a_failed_start_tells_the_log(world: World) -> None:
    world.behave("exit=3", "say=no luck")
    assert "being started" in run_hook(world).err
    settle(world)
    assert "devservers: The Inngest dev server" in world.log_text()
    assert "no luck" in world.log_text()
    world.assert_nothing_left()


def test_a_failed_start_is_one_line_for_who_waits(world: World) -> None:
    world.behave("exit=3")
    assert "exit status 3" in run_hook(world, "--wait", "ensure").err


def test_a_folder_that_is_gone_is_one_line(world: World) -> None:
    gone = world.folder / "gone"
    gone.mkdir()
    code = "import os, sys; os.rmdir(os.getcwd()); os.execv(sys.argv[1], sys.argv[1:])"
    words = ("-I", "-S", "-c", code, str(HOOK), *BRANCH)
    done = world.run(*words, program=Path(psutil.Process().exe()), cwd=gone)
    assert (done.code, done.out, done.err.count("\n")) == (0, "", 1)
    assert "working directory is gone" in done.err


@pytest.mark.parametrize("closing", ["2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-", "2</dev/null"])
def test_a_stderr_that_takes_nothing_is_no_failure(world: World, closing: str) -> None:
    world.configure(port="8288")
    words = ("-c", f'"$@" {closing}', "sh", str(HOOK), *BRANCH)
    done = world.run(*words, program=Path("/bin/sh"))
    assert (done.code, done.out) == (0, "")


def test_a_cold_call_without_any_descriptor_starts_the_server(world: World) -> None:
    accept(world)
    words = ("-c", '"$@" 0<&- 1>&- 2>&-', "sh", str(HOOK), *BRANCH)
    assert world.run(*words, program=Path("/bin/sh")).code == 0
    until(lambda: accepts(world.port))
    settle(world)
    world.ok("stop")


def test_interrupting_a_wait_is_no_failure(world: World) -> None:
    gate = world.folder / "gate"
    world.behave(f"gate={gate}")
    accept(world)
    child = world.start("--wait", "ensure", program=HOOK, preexec_fn=heed_interrupts)
    until(gate.with_name("gate.waiting").exists)
    child.send_signal(signal.SIGINT)
    done = world.result(child)
    assert (done.code, done.out, done.err) == (0, "", "devservers: interrupted.\n")
    world.assert_nothing_left()


# Where it stands


def test_a_linked_worktree_is_known_whatever_git_has_set(running: World) -> None:
    other = make_repository(running.folder / "other")
    env = {"GIT_DIR": str(other / ".git"), "GIT_WORK_TREE": str(other), "GIT_PREFIX": "x/"}
    assert run_hook(running, cwd=running.a, env=env).err == ""
    assert run_hook(running, cwd=running.a, env=env).err == ""
    assert not receipt_of(other).exists()


def test_a_folder_of_the_packages_name_does_not_hide_it(world: World) -> None:
    (world.a / "devservers").mkdir()
    (world.a / "devservers" / "__init__.py").write_text("raise SystemExit('wrong one')\n")
    assert "being started" in run_hook(world, cwd=world.a).err
    settle(world)
    assert world.ok("ensure")["action"] == "already-running"
    world.ok("stop")


def test_works_without_inv_or_anything_else_on_the_path(world: World) -> None:
    assert "being started" in run_hook(world, env={"PATH": "/nowhere"}).err
    settle(world)
    assert accepts(world.port)
    world.ok("stop")


def test_takes_over_a_server_that_somebody_else_started(world: World) -> None:
    server = world.inngest_by_hand()
    assert "taken over" in run_hook(world).err
    settle(world)
    assert run_hook(world).err == ""
    assert world.ok("status")["adopted"] is True
    assert server.is_running()


# What a warm call rests on


def test_notes_down_its_proof_in_the_git_folder_of_each_worktree(running: World) -> None:
    for folder in (running.main, running.a):
        warm(running, folder)
        assert receipt_of(folder).is_file()
        assert run_git(running, "status", "--porcelain", "devservers", cwd=folder).out == ""


def test_an_unwritable_git_folder_costs_time_only(running: World) -> None:
    accept(running)
    folder = running.main / ".git" / "devservers"
    folder.rename(folder.with_name("aside"))
    folder.write_text("in the way")
    assert run_hook(running).err == ""
    assert run_hook(running).err == ""


@pytest.mark.parametrize("text", ["", "x", "devservers receipt 1\n\n\n\n\n", "\0\n" * 9, None])
def test_a_damaged_receipt_proves_nothing(running: World, text: str | None) -> None:
    warm(running)
    receipt = receipt_of(running.main)
    whole = receipt.read_text()
    receipt.write_text(whole.replace("\t", " ") if text is None else text)
    assert run_hook(running).err == ""
    assert receipt.read_text() == whole


FACTS = ("pid", "its start", "listener", "the listener's start", "descriptor", "socket")


@pytest.mark.parametrize("fact", FACTS)
def test_each_fact_of_a_receipt_has_to_be_true_still(running: World, fact: str) -> None:
    if fact == "socket" and not procfs.HAS_PROC:
        pytest.skip("a socket has no name there")
    other = "1"  # without /proc who began in the same second would count as the same
    values = dict(zip(FACTS, (other, "x:1", other, "x:1", "0", "socket:[1]"), strict=True))
    forged(running, 2, FACTS.index(fact), values[fact])


def test_an_answer_that_is_worse_than_the_receipt_allows_proves_nothing(running: World) -> None:
    forged(running, 3, 3, "199")


def forged(world: World, line: int, column: int, value: str) -> None:
    """Change one word of a receipt: then it proves nothing, and is written anew."""
    warm(world)
    receipt = receipt_of(world.main)
    lines = receipt.read_text().split("\n")
    words = lines[line].split("\t")
    words[column] = value
    receipt.write_text("\n".join((*lines[:line], "\t".join(words), *lines[line + 1 :])))
    assert run_hook(world).err == ""
    assert receipt.read_text().split("\n") == lines


def test_a_receipt_of_another_release_proves_nothing(running: World) -> None:
    """What is wanted of a server is in the code as much as in the configuration."""
    warm(running)
    receipt = receipt_of(running.main)
    whole = receipt.read_text()
    for module in (config, inngest):
        (line,) = (one for one in whole.split("\n") if one.endswith(f"\t{module.__file__}"))
        receipt.write_text(whole.replace(line, f"-\t{module.__file__}"))
        assert run_hook(running).err == ""
        assert receipt.read_text() == whole


def test_sees_at_once_that_the_server_is_gone(running: World) -> None:
    warm(running)
    process = psutil.Process(running.started["pid"])
    process.kill()
    until(lambda: not accepts(running.port))
    assert "being started" in run_hook(running).err
    settle(running)
    assert running.starts() == 2


def test_sees_at_once_that_another_process_has_the_port(running: World) -> None:
    warm(running)
    psutil.Process(running.started["pid"]).kill()
    until(lambda: not accepts(running.port))
    holder = running.listener()
    assert f"pid {holder.pid}" in run_hook(running).err


def test_sees_at_once_that_the_server_no_longer_answers(running: World) -> None:
    warm(running)
    pid = running.started["listenerPid"]
    psutil.Process(pid).suspend()
    try:
        assert "does not answer" in run_hook(running).err
    finally:
        psutil.Process(pid).resume()
    assert run_hook(running).err == ""


def test_sees_at_once_that_the_configuration_has_changed(running: World) -> None:
    warm(running, running.a)
    running.config.write_text("{")
    assert "not valid JSON" in run_hook(running, cwd=running.a).err
    running.behave()
    assert run_hook(running, cwd=running.a).err == ""
    running.configure(folder=running.a, port="wrong")
    assert str(running.a) in run_hook(running, cwd=running.a).err


def test_sees_at_once_that_another_configuration_is_named(running: World) -> None:
    warm(running)
    env = {"DEVSERVERS_CONFIG": str(running.folder / "none.json")}
    assert "none.json" in run_hook(running, env=env).err


def test_sees_at_once_that_the_home_of_the_pid_file_is_another(world: World) -> None:
    world.leaves_server = True
    world.behave(pidFile="~/inngest.pid")
    warm(world)
    env = {"HOME": str(world.folder / "tmp")}
    assert "taken over" in run_hook(world, env=env).err
    until(lambda: not run_hook(world, env=env).err)


def test_sees_at_once_a_change_of_the_configuration_that_keeps_length_and_time(
    running: World,
) -> None:
    warm(running)
    info = running.config.stat()
    with running.config.open("r+") as stream:
        stream.write("[")
    os.utime(running.config, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert running.config.stat().st_size == info.st_size
    assert "not valid JSON" in run_hook(running).err


def test_sees_at_once_what_a_linked_configuration_leads_to(running: World) -> None:
    real = running.folder / "real.json"
    running.config.replace(real)
    running.config.symlink_to(real)
    warm(running)
    warm(running)
    real.write_text("[]")
    assert "must be a JSON object" in run_hook(running).err


def test_sees_at_once_that_the_pid_file_was_changed(running: World) -> None:
    warm(running)
    running.pid_file.write_text("1234567\n")
    assert "taken over" in run_hook(running).err
    settle(running)
    assert running.pid_file.read_text() == f"{running.started['pid']}\n"


def test_a_worktree_that_was_moved_starts_anew(running: World) -> None:
    warm(running, running.a)
    moved = running.folder / "moved"
    git("worktree", "move", running.a, moved, cwd=running.main)
    assert run_hook(running, cwd=moved).err == ""


def test_a_warm_call_is_cheap(running: World) -> None:
    """A coarse bound, for what the benchmark measures: far below what Invoke's import costs."""
    warm(running)
    seconds = []
    for _ in range(5):
        began = time.monotonic()
        run_hook(running)
        seconds.append(time.monotonic() - began)
    assert min(seconds) < 1


def test_leaves_no_zombie_and_no_warning(world: World) -> None:
    accept(world)
    env = {"PYTHONWARNINGS": "always", "PYTHONDEVMODE": "1"}
    done = world.run(*BRANCH, program=HOOK, env=env, stderr=subprocess.PIPE)
    assert done.err.count("\n") == 1, done
    settle(world)
    world.ok("stop")
