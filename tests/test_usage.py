"""What servers cost, since when nobody has used them, and that those are stopped."""

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devservers import config_checks, worktree
from devservers.config import Config
from devservers.lifecycle import state
from devservers.lifecycle.activity import Watch
from devservers.spec import Chatter
from devservers.system import process, procfs, usage
from devservers.system.identity import Identity
from devservers.worktrees import idle, passing
from hooking import run_hook
from next_support import NextWorld, next_world
from support import accepts, until

HOUR = 3600.0
POLLED = " PUT /api/inngest 200 in 5ms\n"


class Place(NextWorld):
    """A repository whose servers can be made to look old."""

    def declare(self, **servers: Any) -> None:
        data = json.loads(self.config.read_text())
        self.config.write_text(json.dumps({**data, "servers": servers}))

    def state(self, folder: Path, name: str = "nextjs") -> Path:
        return self.git_dir(folder) / "devservers" / name

    def age(self, folder: Path, seconds: float, name: str = "nextjs") -> None:
        """Let a server have been started, named and heard of so many seconds earlier."""
        state = self.state(folder, name)
        record = Path(f"{state}.pid.json")
        data = json.loads(record.read_text())
        data["startedAt"] -= seconds
        record.write_text(json.dumps(data))
        for file in (state.with_suffix(".log"), state.with_suffix(".used")):
            if file.exists():
                then = file.stat().st_mtime - seconds
                os.utime(file, (then, then))

    def usage(self, folder: Path, name: str = "nextjs") -> Any:
        """Return what dev.status says of a worktree's server."""
        rows = self.call("dev.status")["worktrees"]
        row = next(row for row in rows if row["worktree"] == str(folder))
        return row[name] if name == "nextjs" else row["servers"][name]

    def prune(self, *words: str) -> list[str]:
        """Return what dev.prune says of idle servers."""
        found = self.call("dev.prune", *words)["pruned"]
        return [one["what"] for one in found if one["kind"] == "idle"]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with next_world(tmp_path, "fork", "lock", size=4, make=Place) as made:
        assert isinstance(made, Place)
        made.leaves_server = True
        made.behave(enabled=False)
        yield made


def runs(place: Place, folder: Path) -> bool:
    return bool(place.call("dev.status", cwd=folder) and accepts(int(place.claim(folder))))


def python(text: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", text]


# What they cost


def test_the_memory_of_all_processes_of_a_server_is_told(place: Place) -> None:
    hungry = python("import os, time; held = b'x' * 80_000_000; os.fork(); time.sleep(600)")
    place.declare(hungry={"command": hungry, "ready": {"alive": 0.5}})
    place.call("hungry.ensure")
    found = place.usage(place.main, "hungry")
    # What both share counts once, where the system tells.
    assert 80e6 < found["memoryBytes"] < (150e6 if procfs.HAS_PROC else 230e6)
    assert place.usage(place.a)["memoryBytes"] is None
    text = place.run("dev.status").out.splitlines()
    line = next(line for line in text if " hungry " in line)
    assert f"{found['memoryBytes'] / 1e6:.0f}"[:1] in line
    assert text[-1].startswith("1 server running: ")


def test_a_busy_server_is_told_from_one_that_waits(place: Place) -> None:
    place.declare(
        busy={"command": python("while True: pass"), "ready": {"alive": 0.1}},
        lazy={"command": python("import time; time.sleep(600)"), "ready": {"alive": 0.1}},
    )
    place.call("busy.ensure")
    place.call("lazy.ensure")

    def seen() -> bool:
        found = {name: place.usage(place.main, name)["cpuPercent"] for name in ("busy", "lazy")}
        return bool(found["busy"] > 20 and found["lazy"] < 5)

    until(seen)


def test_processor_time_is_not_counted_of_another_process_with_the_same_pid() -> None:
    was, now = process.Table(), process.Table()
    now.taken_at = was.taken_at + 1
    row = now.rows[os.getpid()]
    was.rows[os.getpid()] = row._replace(identity=Identity(os.getpid(), "earlier"), cpu=0.1)
    now.rows[os.getpid()] = row._replace(cpu=0.5)
    assert usage.cpu_percent([row.identity], was, now) == 50
    assert usage.cpu_percent([Identity(os.getpid(), "earlier")], was, now) == 0
    assert usage.cpu_percent([row.identity], now, now) is None


def test_what_was_read_of_a_processs_memory_is_kept_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = process.Table().rows[os.getpid()].identity
    before = usage.memory([own])
    held = b"x" * 90_000_000
    assert usage.memory([own]) == before
    monkeypatch.setattr(usage, "FRESH", 0)
    assert usage.memory([own]) > before + len(held) / 2


# For how long nobody has used them


def test_a_server_is_idle_since_it_wrote_something_last(place: Place) -> None:
    place.call("nextjs.ensure", cwd=place.a)
    place.age(place.a, 2 * HOUR)
    assert 2 * HOUR - 1 < place.usage(place.a)["idleSeconds"] < 2 * HOUR + 30
    with place.state(place.a).with_suffix(".log").open("a") as log:
        log.write(" GET / 200 in 5ms\n")
    assert place.usage(place.a)["idleSeconds"] < 60


def test_a_server_is_in_use_while_somebody_is_connected(place: Place) -> None:
    place.call("nextjs.ensure", cwd=place.a)
    place.age(place.a, 2 * HOUR)
    port = int(place.claim(place.a))
    with socket.create_connection(("127.0.0.1", port)) as browser:
        browser.sendall(b"GET ")
        assert place.usage(place.a)["idleSeconds"] == 0
    until(lambda: place.usage(place.a)["idleSeconds"] > HOUR)


def test_what_is_connected_among_our_own_servers_uses_nothing(place: Place) -> None:
    connects = (
        "import socket, time; held = socket.create_connection(('127.0.0.1', {nextjs.port}));"
        "print('connected', flush=True); time.sleep(600)"
    )
    place.declare(worker={"command": python(connects), "ready": {"log": "connected"}})
    place.call("nextjs.ensure")
    place.call("worker.ensure")
    place.age(place.main, 2 * HOUR)
    assert place.usage(place.main)["idleSeconds"] > HOUR


def test_a_server_is_in_use_while_somebody_is_connected_to_it_through_the_door(
    place: Place,
) -> None:
    data = json.loads(place.config.read_text())
    data["door"] = {"enabled": True, "port": place.port + 3}
    place.config.write_text(json.dumps(data))
    place.call("nextjs.ensure", cwd=place.a)
    place.call("dev.use", cwd=place.a)
    place.age(place.a, 2 * HOUR)
    host = f"Host: localhost:{place.port + 3}"
    with socket.create_connection(("127.0.0.1", place.port + 3)) as browser:
        browser.settimeout(20)
        browser.sendall(f"POST /api HTTP/1.1\r\n{host}\r\nContent-Length: 9\r\n\r\n".encode())
        until(lambda: place.usage(place.a)["idleSeconds"] == 0)
        assert place.call("dev.status")["servers"]["door"]["idleSeconds"] == 0
        assert place.prune("--idle=1s") == []
    until(lambda: place.usage(place.a)["idleSeconds"] > 0)
    place.age(place.a, 2 * HOUR)  # it has written of the upload that broke off
    assert place.usage(place.a)["idleSeconds"] > HOUR
    assert place.call("door.status")["running"]


def test_a_server_is_not_idle_since_before_it_was_started(place: Place) -> None:
    place.declare(mute={"command": python("import time; time.sleep(600)"), "ready": {"alive": 0.1}})
    place.call("mute.ensure")
    place.call("mute.stop")
    log = place.state(place.main, "mute").with_suffix(".log")
    os.utime(log, (0, 0))
    place.state(place.main, "mute").with_suffix(".used").unlink(missing_ok=True)
    place.call("mute.ensure")
    assert place.usage(place.main, "mute")["idleSeconds"] < HOUR


def test_of_a_server_without_a_log_it_is_not_known(place: Place) -> None:
    place.behave(logFile=os.devnull)
    place.call("inngest.ensure", "--stand-in")
    found = place.call("dev.status")["inngest"]
    assert (found["running"], found["idleSeconds"]) == (True, None)


def test_whoever_watches_reads_only_what_a_log_has_got_since(tmp_path: Path) -> None:
    log, chatter = tmp_path / "log", Chatter(r"\s*(?:GET|(PUT)) /api", 5.0)
    seen = Watch()

    def age() -> int:
        last = seen._last_output(str(log), chatter)
        assert last is not None
        return round((log.stat().st_mtime - last) / chatter.interval)

    log.write_text("Ready\n" + POLLED * 10)
    assert age() == 10
    with log.open("a") as stream:
        stream.write(POLLED * 2)
    assert age() == 12
    with log.open("a") as stream:
        stream.write(" GET / 200 in 5ms\n" + POLLED)
    assert age() == 1
    log.write_text(POLLED * 3)  # shorter than before: it was begun anew
    assert age() == 3
    (tmp_path / "other").write_text(POLLED * 500)
    (tmp_path / "other").rename(log)
    assert age() == 500


@pytest.mark.parametrize("task", ["nextjs.status", "nextjs.ensure", "nextjs.logs", "dev.up"])
def test_a_task_that_names_a_server_uses_it(place: Place, task: str) -> None:
    place.call("nextjs.ensure", cwd=place.a)
    place.age(place.a, 2 * HOUR)
    place.call(task, cwd=place.a)
    assert place.usage(place.a)["idleSeconds"] < HOUR


def test_the_questions_of_inngest_are_no_use_of_an_app(place: Place) -> None:
    place.behave(args=["--poll-interval", "5"])
    place.call("nextjs.ensure", cwd=place.a)
    place.age(place.a, 2 * HOUR)
    log = place.state(place.a).with_suffix(".log")
    with log.open("a") as stream:
        stream.write(POLLED * 1200 + " GET /api/inngest 200 in 3ms\n" * 50 + POLLED * 120)
    seconds = place.usage(place.a)["idleSeconds"]
    assert 1320 * 5 <= seconds < 1320 * 5 + 60  # questions of our own don't tell the time
    with log.open("a") as stream:
        stream.write(" POST /api/inngest?fnId=flowt-hello&stepId=step 206 in 9ms\n" + POLLED)
    assert place.usage(place.a)["idleSeconds"] < 60


def test_of_a_server_by_hand_it_is_not_known(place: Place) -> None:
    port = int(place.call("ports.assign", cwd=place.a)["port"])
    place.next_by_hand(place.a, port, "lock", "title")
    found = place.usage(place.a)
    assert found["running"]
    assert found["memoryBytes"] > 1e6
    assert found["idleSeconds"] is None
    assert place.prune("--idle=1s") == []
    assert accepts(port)


# Stopping what is idle


def test_prune_stops_what_nobody_has_used_for_so_long(place: Place) -> None:
    for folder in (place.a, place.b):
        place.call("nextjs.ensure", cwd=folder)
    place.age(place.a, 2 * HOUR)
    pid = place.pid_file_of(place.a).read_text().strip()
    assert place.prune() == []
    (listed,) = place.prune("--idle=1h", "--dry-run")
    assert f"of {place.a}, pid {pid}" in listed
    assert runs(place, place.a)
    assert place.prune("--idle=3h") == []
    shown = place.run("dev.prune", "--idle=1h").out
    assert f"ended idle: {listed} (nobody has used it for 2 h 0 min)" in shown
    assert not runs(place, place.a)
    assert runs(place, place.b)
    log = place.state(place.a).with_suffix(".log").read_text()
    assert "stopped: nobody has used it for 2 h 0 min; `inv nextjs.ensure`" in log
    assert place.call("nextjs.ensure", cwd=place.a)["action"] == "started"


def test_what_every_worktree_uses_is_never_idle(place: Place) -> None:
    place.behave()
    place.call("inngest.ensure", "--stand-in")
    until(lambda: place.call("dev.status")["inngest"]["idleSeconds"] > 1)
    assert place.prune("--idle=1s") == []
    assert place.ok("status")["running"]


def test_what_another_server_needs_is_in_use_as_long_as_that_is(place: Place) -> None:
    sleeps = {"command": python("import time; time.sleep(600)"), "ready": {"alive": 0.1}}
    place.declare(
        worker={**sleeps, "needs": ["queue"]}, queue={**sleeps, "needs": ["base"]}, base=sleeps
    )
    place.call("dev.up", "--only=worker")
    for name in ("queue", "base"):
        place.age(place.main, 2 * HOUR, name)
    assert place.prune("--idle=1h") == []
    place.age(place.main, 2 * HOUR, "worker")
    assert len(place.prune("--idle=1h")) == 3


def test_an_inngest_server_of_its_own_is_in_use_as_long_as_its_app_is(place: Place) -> None:
    place.behave()
    ports = [place.port + step for step in (0, 2, 3, 5)]
    # A poll would be written to the log of the app, which then would look used since it was made.
    own = {"scope": "worktree", "ports": ports, "args": ["--no-poll"]}
    data = json.loads(place.config.read_text())
    data["inngest"] = {"command": data["inngest"]["command"], **own}
    place.config.write_text(json.dumps(data))
    mark = f"inngest:{place.state(place.a, 'inngest')}.pid"
    place.processes.marks.append(("DEVSERVERS_SERVER", mark))
    place.call("dev.up", "--stand-in", cwd=place.a)
    place.age(place.a, 2 * HOUR, "inngest")
    os.utime(place.state(place.a, "inngest").with_suffix(".log"), (0, 0))
    assert place.prune("--idle=1h") == []
    place.age(place.a, 2 * HOUR)
    logs = [place.state(place.a, name).with_suffix(".log") for name in ("nextjs", "inngest")]

    def prune() -> list[str]:
        for log in logs:
            os.utime(log, (0, 0))  # what registering had them write may come late
        return place.prune("--idle=1h")

    until(prune)


def test_a_server_that_somebody_is_starting_or_stopping_is_left_to_them(place: Place) -> None:
    place.call("nextjs.ensure", cwd=place.a)
    place.age(place.a, 2 * HOUR)
    with state.lock(place.pid_file_of(place.a), 5) as held:
        assert held
        assert place.prune("--idle=1h") == []
    assert accepts(int(place.claim(place.a)))


def test_a_server_that_is_used_just_before_it_would_be_stopped_lives_on(place: Place) -> None:
    place.call("nextjs.ensure", cwd=place.a)
    place.age(place.a, 2 * HOUR)
    trees, _ = idle._running(worktree.find(place.a), HOUR)
    (server,) = [servers["nextjs"] for servers in trees if servers]
    assert not idle._stop(server, lambda: False, "")
    assert accepts(int(place.claim(place.a)))


@pytest.mark.parametrize("value", ["2", "h", "-1h", "1.5h", "2 h", "0s", "1w"])
def test_a_wrong_duration_is_refused(place: Place, value: str) -> None:
    error = place.refused("dev.prune", f"--idle={value}", code=1)
    assert error["code"] == "usage"
    assert value in error["message"]
    assert config_checks.DURATION in error["message"]


def test_an_ensure_anywhere_stops_in_passing_what_is_configured(place: Place) -> None:
    place.configure(nextjs={"idle": "1h"}, enabled=False)
    for folder in (place.a, place.b):
        place.call("nextjs.ensure", cwd=folder)
    until(lambda: not place.sweeps())
    for folder in (place.a, place.b):
        place.age(folder, 2 * HOUR)
    place.call("nextjs.ensure", cwd=place.b)  # not ten minutes after the look before
    assert place.sweeps() == []
    stamp = place.main / ".git/devservers" / passing.STAMP
    old = stamp.stat().st_mtime - passing.EVERY
    os.utime(stamp, (old, old))
    place.call("nextjs.ensure", cwd=place.b)
    until(lambda: not accepts(int(place.claim(place.a))))
    until(lambda: not place.sweeps())
    assert place.call("nextjs.status", cwd=place.b)["running"]  # it was named


def test_a_hook_stops_in_passing_what_is_configured(place: Place) -> None:
    place.configure(nextjs={"idle": "1h"}, enabled=False)
    for folder in (place.a, place.b):
        place.call("nextjs.ensure", cwd=folder)
    run_hook(place, "ensure", "nextjs", cwd=place.b)
    until(lambda: not place.sweeps())
    place.age(place.a, 2 * HOUR)
    receipt = place.state(place.b).with_suffix(".receipt")
    assert receipt.exists()
    for file in (receipt, place.main / ".git/devservers" / passing.STAMP):
        then = file.stat().st_mtime - passing.EVERY
        os.utime(file, (then, then))
    assert run_hook(place, "ensure", "nextjs", cwd=place.b).err == ""
    until(lambda: not accepts(int(place.claim(place.a))))
    until(lambda: not place.sweeps())


def test_a_warm_hook_uses_the_server_that_it_names(place: Place) -> None:
    place.call("nextjs.ensure", cwd=place.a)
    run_hook(place, "ensure", "nextjs", cwd=place.a)
    used = place.state(place.a).with_suffix(".used")
    os.utime(used, (0, 0))
    run_hook(place, "ensure", "nextjs", cwd=place.a)
    assert used.stat().st_mtime > time.time() - 60


def test_where_idle_is_not_configured_any_more_nothing_looks_for_it(place: Place) -> None:
    stamp = place.main / ".git/devservers" / passing.STAMP
    stamp.parent.mkdir()
    stamp.touch()
    os.utime(stamp, (0, 0))
    place.call("nextjs.ensure", cwd=place.a)
    until(lambda: not place.sweeps())
    until(lambda: not stamp.exists())
    place.call("nextjs.ensure", cwd=place.a)
    assert place.sweeps() == []


def test_of_many_who_pass_at_once_one_looks(tmp_path: Path) -> None:
    stamp = tmp_path / "devservers" / passing.STAMP
    settings = Config(given=frozenset({"nextjs.idle"}))
    assert not passing._is_due(stamp, Config())
    assert [passing._is_due(stamp, settings) for _ in range(3)] == [True, False, False]
    os.utime(stamp, (0, 0))
    assert [passing._is_due(stamp, Config()) for _ in range(3)] == [True, False, False]
    os.utime(stamp, (time.time() + HOUR,) * 2)  # a clock that was set back
    assert passing._is_due(stamp, settings)


# Heads


def test_a_worktree_with_changes_is_told_from_one_without(place: Place) -> None:
    place.git("commit", "--allow-empty", "-q", "-m", "b", cwd=place.b)
    place.git("add", ".gitignore", cwd=place.b)
    place.git("commit", "-q", "-m", "ignore", cwd=place.b)
    rows = {Path(row["worktree"]).name: row for row in place.call("dev.status")["worktrees"]}
    assert (rows["b"]["dirty"], rows["a"]["dirty"]) == (False, True)
    then = place.git("log", "-1", "--format=%cI", cwd=place.b)[:13]
    assert rows["b"]["committedAt"][:2] == then[:2]
    (place.b / "new").touch()
    rows = {Path(row["worktree"]).name: row for row in place.call("dev.status")["worktrees"]}
    assert rows["b"]["dirty"] is True


def test_no_daemon_is_left_by_the_question_for_changes(place: Place) -> None:
    marker = place.folder / "ran"
    spy = place.folder / "spy"
    spy.write_text(f"#!/bin/sh\ntouch {marker}\nexit 1\n")
    spy.chmod(0o755)
    place.git("config", "core.fsmonitor", str(spy), cwd=place.main)
    place.git("status", cwd=place.main)
    assert marker.exists()
    marker.unlink()
    place.call("dev.status")
    assert not marker.exists()


def test_a_server_that_was_stopped_costs_nothing(place: Place) -> None:
    place.call("nextjs.ensure", cwd=place.a)
    place.call("nextjs.stop", cwd=place.a)
    found = place.usage(place.a)
    assert (found["memoryBytes"], found["cpuPercent"], found["idleSeconds"]) == (None,) * 3
