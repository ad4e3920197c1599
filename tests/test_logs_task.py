"""logs: the last lines of the running server's own file, of any size, from any worktree."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support import INV, World, heed_interrupts, until

GIGABYTE = 1 << 30


def test_prints_the_last_lines_and_nothing_else(world: World) -> None:
    lines = [f"line {number}" for number in range(100)]
    world.log.write_text("\n".join(lines) + "\n")
    for words, count in (
        ((), 50),
        (("--lines=3",), 3),
        (("--lines=0",), 0),
        (("--lines=999",), 100),
    ):
        done = world.run("inngest.logs", *words, cwd=world.b)
        assert (done.code, done.err) == (0, "")
        assert done.out.splitlines() == lines[100 - count :]


def test_what_comes_while_it_prints_is_not_printed(world: World) -> None:
    world.log.write_bytes(b"early\n" * 100_000)
    child = world.start("inngest.logs", "--lines=100000", bufsize=0)
    assert child.stdout
    first = child.stdout.read(6)  # more is in the pipe than it holds: it goes on when that is read
    with world.log.open("ab") as writer:
        writer.write(b"late\n" * 1_000_000)
    done = world.result(child)
    assert (done.code, first.decode() + done.out == "early\n" * 100_000) == (0, True)


def test_describes_the_log_as_json(running: World) -> None:
    done = running.ok("logs", cwd=running.b)
    size = running.log.stat().st_size
    assert done["action"] == "logs"
    assert done["logFile"] == str(running.log)
    assert done["command"] == f"tail -f {running.log}"
    assert (done["exists"], done["size"]) == (True, size)


def test_a_log_that_is_not_there_is_no_failure(world: World) -> None:
    done = world.run("inngest.logs")
    assert (done.code, done.out) == (0, "")
    assert "not found" in done.err
    found = world.ok("logs")
    assert (found["exists"], found["size"], found["logFile"]) == (False, None, str(world.log))


def test_reads_the_running_servers_own_file_whatever_this_worktree_configures(
    running: World,
) -> None:
    running.behave(logFile="another.log")
    assert running.ok("logs", cwd=running.b)["logFile"] == str(running.log)
    assert "stand-in" in running.run("inngest.logs", cwd=running.b).out


def test_says_that_an_adopted_servers_log_is_not_known(world: World) -> None:
    world.inngest_by_hand()
    world.ok("ensure")
    done = world.ok("logs")
    assert (done["logFile"], done["command"], done["exists"]) == (None, None, False)
    plain = world.run("inngest.logs")
    assert (plain.code, plain.out) == (0, "")
    assert "not started by this tool" in plain.err


def test_shows_bytes_that_are_no_text(world: World) -> None:
    world.log.write_bytes(b"caf\xe9 \xff\nna\xc3\xafve\n")
    assert world.run("inngest.logs").out == "caf\\xe9 \\xff\nna\u00efve\n"


def test_shows_them_where_the_terminal_knows_only_ascii(world: World) -> None:
    world.log.write_text("na\u00efve\n", encoding="utf-8")
    done = world.run(
        "inngest.logs", env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    )
    assert done.code == 0, done
    assert "Traceback" not in done.err
    assert done.out.startswith("na")


@pytest.mark.parametrize("mebibytes", [512])
def test_the_end_of_a_gigabyte_is_read_at_once_and_in_little_memory(
    world: World, mebibytes: int
) -> None:
    world.log.write_text("first\n")
    os.truncate(world.log, GIGABYTE)
    with world.log.open("ab") as log:
        log.write(b"\nlast but one\nlast\n")
    limited = f'ulimit -v {mebibytes * 1024}; exec "$@"'
    words = ["/bin/sh", "-c", limited, "sh", str(INV), "inngest.logs", "--lines=2"]
    began = time.monotonic()
    child = world.processes.popen(
        words,
        cwd=world.a,
        env=world.env(cwd=world.a),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    done = world.result(child)
    assert (done.code, done.out, done.err) == (0, "last but one\nlast\n", "")
    status = world.ok("status", code=3)
    assert (status["lastLogLine"], status["logSize"]) == ("last", world.log.stat().st_size)
    assert time.monotonic() - began < 8


def test_a_reader_that_goes_away_is_no_failure(world: World) -> None:
    world.log.write_text("x" * 99 + "\n")
    with world.log.open("a") as log:
        log.writelines(f"{number:099}\n" for number in range(20_000))
    child = world.start("inngest.logs", "--lines=20000")
    assert child.stdout
    assert child.stderr
    child.stdout.read(10)
    child.stdout.close()
    assert child.wait(20) == 0
    assert child.stderr.read() == b""


def test_follow_prints_what_comes_also_across_a_rotation_until_interrupted(world: World) -> None:
    world.log.write_text("old 1\nold 2\n")
    child = world.start("inngest.logs", "--follow", "--lines=1", preexec_fn=heed_interrupts)
    assert child.stdout
    os.set_blocking(child.stdout.fileno(), False)
    seen = b""

    def shows(text: bytes) -> bool:
        nonlocal seen
        seen += (child.stdout.read() if child.stdout else None) or b""
        return text in seen

    until(lambda: shows(b"old 2\n"))
    with world.log.open("a") as log:
        log.write("appended\n")
    until(lambda: shows(b"appended\n"))
    world.log.rename(world.log.with_name("inngest-system.log.1"))
    world.log.write_text("of the next run\n")
    until(lambda: shows(b"of the next run\n"))
    os.truncate(world.log, 0)
    until(lambda: world.log.stat().st_size == 0)
    child.send_signal(signal.SIGINT)
    assert child.wait(20) == 0
    assert child.stderr
    assert child.stderr.read() == b""
    assert b"old 1" not in seen
    assert seen.count(b"appended") == 1


def test_each_follow_of_a_command_is_ended_by_an_interrupt_of_its_own(world: World) -> None:
    world.log.write_text("line\n")
    child = world.start(
        *("inngest.logs", "--follow", "inngest.status", "--json"),
        preexec_fn=heed_interrupts,
    )
    assert child.stdout
    assert child.stdout.readline() == b"line\n"
    child.send_signal(signal.SIGINT)
    done = world.result(child)
    assert (done.code, done.json["state"]) == (3, "stopped"), done


def test_follow_waits_for_a_log_that_is_not_there_yet(world: World) -> None:
    child = world.start("inngest.logs", "--follow", preexec_fn=heed_interrupts)
    time.sleep(0.3)  # nothing can be awaited: it must just go on
    assert child.poll() is None
    world.log.write_text("at last\n")
    assert child.stdout
    assert child.stdout.readline() == b"at last\n"
    child.send_signal(signal.SIGINT)
    assert child.wait(20) == 0


def test_an_over_long_log_is_rotated_before_a_start_and_never_while_the_server_runs(
    world: World,
) -> None:
    world.leaves_server = True
    rotated = world.log.with_name("inngest-system.log.1")
    world.log.write_text("x" * 1001)
    world.behave(logMaxBytes=1000)
    world.ok("ensure")
    assert rotated.read_text() == "x" * 1001
    assert "x" * 1001 not in world.log_text()
    assert "stand-in" in world.log_text()
    with world.log.open("a") as log:
        log.write("y" * 2000 + "\n")
    inode = world.log.stat().st_ino
    world.ok("ensure")
    assert world.log.stat().st_ino == inode


@pytest.mark.parametrize(("size", "limit"), [(1000, 1000), (5000, 0)])
def test_a_log_within_its_limit_is_appended_to(world: World, size: int, limit: int) -> None:
    world.leaves_server = True
    world.log.write_text("x" * (size - 1) + "\n")
    world.behave(logMaxBytes=limit)
    world.ok("ensure")
    assert world.log_text().startswith("x" * (size - 1) + "\n{")
    assert not world.log.with_name("inngest-system.log.1").exists()


def test_a_log_may_be_thrown_away(world: World) -> None:
    world.behave("say=gone", logFile=os.devnull, logMaxBytes=1)
    assert world.ok("ensure")["logFile"] == os.devnull
    assert world.ok("restart")["action"] == "restarted"
    seen = world.ok("status")
    assert (seen["logFile"], seen["logSize"], seen["lastLogLine"]) == (os.devnull, None, None)
    assert world.ok("logs")["exists"] is False
    assert "gone" not in world.run("inngest.logs").out
    world.ok("stop")
    world.assert_nothing_left()
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_truncating_the_log_of_a_running_server_leaves_no_hole(world: World) -> None:
    world.behave("say=before")
    world.leaves_server = True
    world.ok("ensure")
    os.truncate(world.log, 0)
    code = "import urllib.request as r, sys; r.urlopen(sys.argv[1], data=b'{}')"
    url = f"{world.url}/fn/register"
    subprocess.run([sys.executable, "-c", code, url], check=False, capture_output=True)
    assert "\0" not in world.log_text()
