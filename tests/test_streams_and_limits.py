"""What a caller may do to a command: close its streams, send it signals, give it little time."""

import os
import signal
import subprocess

import pytest

from support import DEVSERVERS, INV, SHELLS, World, accepts, heed_interrupts, quickly, until


def run_with(world: World, redirection: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run `inv` with these words through a shell that redirects its streams."""
    command = 'inv=$1; shift; exec "$inv" "$@" ' + redirection
    return subprocess.run(
        ["/bin/sh", "-c", command, "sh", str(INV), *words],
        cwd=world.main,
        env=world.env(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", ">&-", ">/dev/full"])
def test_a_closed_or_full_stream_ends_no_start(world: World, redirection: str) -> None:
    world.leaves_server = True
    world.behave("slow=2.4")  # long enough for a word on stderr
    done = run_with(world, redirection, "inngest.ensure", "--json")
    assert done.returncode == 0, done
    assert accepts(world.port)
    if redirection.startswith("2"):
        assert '"action": "started"' in done.stdout


@pytest.mark.parametrize("words", [("inngest.status",), ("inngest.ensure", "--json")])
def test_a_reader_who_has_gone_does_not_turn_failure_into_success(
    world: World, words: tuple[str, ...]
) -> None:
    world.behave("exit=1")
    reading, writing = os.pipe()
    os.close(reading)
    child = world.start(*words, stdout=writing)
    os.close(writing)
    _, err = child.communicate(timeout=20)
    assert child.returncode == (3 if words == ("inngest.status",) else 13)
    assert b"Traceback" not in err


def test_stop_tells_an_inngest_server_from_a_stranger_beside_it(world: World) -> None:
    for _ in range(3):  # the order in which the system lists two listeners is not fixed
        stranger = world.listener("::1")
        by_hand = world.inngest_by_hand("--host", "127.0.0.1")
        assert world.ok("status")["pid"] == by_hand.pid
        done = world.ok("stop")
        assert done["pidsKilled"] == [by_hand.pid]
        assert (done["portFree"], [one["pid"] for one in done["holders"]]) == (
            False,
            [stranger.pid],
        )
        assert stranger.is_running()
        stranger.kill()
        stranger.wait()
        until(lambda: not accepts(world.port, "::1"))


def test_restart_leaves_time_for_its_start(world: World) -> None:
    world.leaves_server = True
    world.behave("deaf")
    world.ok("ensure")
    done = world.ok("restart", "--timeout=4")
    assert (done["action"], accepts(world.port)) == ("restarted", True)


def test_the_time_limit_holds_for_a_deaf_server_that_never_answers(world: World) -> None:
    world.behave("mute", "deaf")
    within = 1 + 1 + 2  # the limit, the undoing, and this machine
    quickly(within, lambda: world.fails("ensure", "--timeout=1", code=14))
    world.assert_nothing_left()


def test_no_wait_does_not_wait_for_another_callers_start(world: World) -> None:
    world.leaves_server = True
    gate = world.folder / "gate"
    world.behave(f"gate={gate}")
    first = world.start("inngest.ensure")
    until(world.record_file.exists)
    assert quickly(2, lambda: world.ok("ensure", "--no-wait"))["action"] == "starting"
    assert first.poll() is None
    gate.touch()
    assert world.result(first).code == 0


@pytest.mark.parametrize("task", ["ensure", "status", "stop"])
def test_a_working_directory_that_is_gone_is_named(world: World, task: str) -> None:
    gone = world.folder / "gone"
    gone.mkdir()
    command = '/bin/rmdir "$PWD"; exec "$@"'
    env = {"DEVSERVERS_CONFIG": str(world.config)}
    done = subprocess.run(
        ["/bin/sh", "-c", command, "sh", str(DEVSERVERS), f"inngest.{task}"],
        cwd=gone, env=world.env(env), capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: The working directory is gone.")


@pytest.mark.parametrize("kind", ["pipe", "/dev/full", "folder"])
@pytest.mark.parametrize("task", ["ensure", "logs", "status"])
def test_a_log_that_is_no_file_holds_nobody_up(world: World, kind: str, task: str) -> None:
    path = world.folder / "odd" if kind != "/dev/full" else None
    if kind == "pipe":
        os.mkfifo(world.folder / "odd")
    elif kind == "folder":
        (world.folder / "odd").mkdir()
    world.behave(logFile=str(path or kind))
    done = world.run(f"inngest.{task}")
    assert done.code == {"ensure": 17, "logs": 0, "status": 3}[task], done
    assert "Traceback" not in done.err


def test_a_terminated_caller_undoes_its_start(world: World) -> None:
    world.behave("hidden", "hang")
    caller = world.start("inngest.ensure", real=True)
    until(world.pid_file.exists)
    caller.send_signal(signal.SIGTERM)
    assert world.result(caller).code == 143
    world.assert_nothing_left()


@pytest.mark.parametrize(
    ("first", "more"),
    [(a, b) for a in (signal.SIGTERM, signal.SIGINT) for b in (signal.SIGTERM, signal.SIGINT)],
)
def test_more_signals_do_not_interrupt_the_undoing(
    world: World, first: signal.Signals, more: signal.Signals
) -> None:
    world.behave("hidden", "hang", "deaf")
    caller = world.start("inngest.ensure", "--json", preexec_fn=heed_interrupts)
    until(lambda: len(world.servers()) == 2 + SHELLS and world.pid_file.exists())
    caller.send_signal(first)
    until(lambda: len(world.servers()) < 2 + SHELLS)  # only the deaf one is left, for a second
    caller.send_signal(more)
    until(lambda: not world.servers())
    caller.send_signal(more)
    done = world.result(caller)
    assert (done.code, done.error["code"]) == (128 + first, "interrupted")
    world.assert_nothing_left()


def test_a_caller_that_ignores_interrupts_still_does(world: World) -> None:
    gate = world.folder / "gate"
    world.leaves_server = True
    world.behave(f"gate={gate}")
    caller = world.start(
        "inngest.ensure", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)
    )
    until(gate.with_name("gate.waiting").exists)
    caller.send_signal(signal.SIGINT)
    gate.touch()
    assert world.result(caller).code == 0


def test_quiet_says_nothing_where_it_is_disabled(world: World) -> None:
    world.configure(enabled=False)
    done = world.run("inngest.ensure", "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_another_address_of_this_machine_is_asked_too(world: World) -> None:
    world.leaves_server = True
    world.behave(host="127.0.0.5")
    world.ok("ensure")
    status = until(lambda: (found := world.ok("status"))["version"] and found)
    assert status["version"].startswith("1.45.1")
    assert status["missing"] == []
