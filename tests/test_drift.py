"""Drift and adoption: what runs differs from what is asked for, or was started by somebody else."""

import http.client
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest

from devservers.inngest.api import Api
from devservers.system import procfs
from support import World, accepts, until


def graphql(world: World, query: str) -> object:
    connection = http.client.HTTPConnection("127.0.0.1", world.port, timeout=5)
    connection.request("POST", "/v0/gql", json.dumps({"query": query}))
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer["data"]


def urls(world: World) -> set[str]:
    data = graphql(world, "{apps{url}}")
    assert isinstance(data, dict)
    return {row["url"] for row in data["apps"]}


def test_ensure_adds_missing_urls_to_the_running_server(running: World) -> None:
    pid = running.started["pid"]
    extra = running.port + 3
    running.apps.append(extra)
    running.behave()
    before = running.ok("status", code=0)
    assert before["missing"] == [extra]
    assert any(str(extra) in warning for warning in before["warnings"])
    done = running.ok("ensure")
    assert (done["action"], done["pid"], done["added"]) == ("already-running", pid, [extra])
    assert done["watching"] == running.apps
    assert f"http://localhost:{extra}/api/inngest" in urls(running)
    again = running.ok("ensure")
    assert (again["added"], again["watching"], again["pid"]) == ([], running.apps, pid)
    after = running.ok("status")
    assert (after["missing"], after["watching"], after["warnings"]) == ([], running.apps, [])


class Overtaken(http.server.BaseHTTPRequestHandler):
    """A server that takes a URL, whose row another worktree's app has when the list is asked."""

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["query"]
        row = {"id": "1", "url": "http://localhost:5001/api/inngest", "externalID": "flowt"}
        data = {"createApp": row} if query.startswith("mutation") else {"apps": [row]}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"data": data}).encode())


def test_a_url_is_added_although_another_worktrees_app_takes_its_row_at_once() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Overtaken) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
        thread.start()
        try:
            api = Api(server.server_port)
            assert api.add_app("http://localhost:5002/api/inngest", time.monotonic() + 5)
        finally:
            server.shutdown()
            thread.join()


def test_what_another_worktree_asks_for_stays_watched(running: World) -> None:
    extra = running.port + 3
    other = {
        "nextjs": {"ports": [extra]},
        "inngest": json.loads(running.config.read_text())["inngest"],
    }
    file = running.b / running.config.relative_to(running.main)
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(other))
    assert running.ok("ensure", cwd=running.b)["watching"] == [*running.apps, extra]
    assert running.ok("ensure", cwd=running.a)["watching"] == [*running.apps, extra]


def test_another_path_is_another_url(running: World) -> None:
    running.behave(path="/x/inngest")
    done = running.ok("ensure")
    assert done["added"] == running.apps
    assert {f"http://localhost:{port}/x/inngest" for port in running.apps} <= urls(running)


def test_events_survive_the_repair(running: World) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=5)
    connection.request("POST", "/e/key", json.dumps({"name": "kept", "data": {}}))
    assert connection.getresponse().status == 200
    connection.close()
    started = running.starts()
    running.apps.append(running.port + 3)
    running.behave()
    assert running.ok("ensure")["added"]
    assert running.starts() == started


@pytest.mark.parametrize("settings", [{"args": ["--no-poll"]}, {"host": "127.0.0.1"}])
def test_what_needs_a_restart_is_said_and_left(running: World, settings: dict[str, object]) -> None:
    running.behave(**settings)
    done = running.ok("ensure")
    assert (done["action"], done["pid"]) == ("already-running", running.started["pid"])
    [warning] = done["warnings"]
    assert "`inv inngest.restart`" in warning
    assert running.ok("status")["warnings"] == [warning]
    assert "warning: It runs with" in running.run("inngest.ensure").err
    running.ok("restart")
    assert running.ok("ensure")["warnings"] == []


def test_another_port_in_the_configuration_does_not_start_a_second_server(running: World) -> None:
    running.configure(port=running.port + 2, command=running.fake())
    done = running.ok("ensure")
    assert (done["port"], done["pid"]) == (running.port, running.started["pid"])
    assert any("port" in warning for warning in done["warnings"])


def test_a_server_started_by_hand_is_adopted_and_managed(world: World) -> None:
    url = f"http://localhost:{world.apps[0]}/api/inngest"
    by_hand = world.inngest_by_hand("--sdk-url", url)
    seen = world.ok("status")
    assert (seen["state"], seen["adopted"], seen["pid"]) == ("running", True, by_hand.pid)
    assert seen["missing"] == [world.apps[1]]
    assert not world.pid_file.exists(), "a question changes nothing"
    done = world.ok("ensure", cwd=world.a)
    assert (done["action"], done["adopted"]) == ("already-running", True)
    assert done["pid"] == done["listenerPid"] == by_hand.pid
    assert (done["logFile"], done["worktree"]) == (None, None)
    assert (done["added"], done["watching"]) == ([world.apps[1]], world.apps)
    assert world.pid_file.read_text() == f"{by_hand.pid}\n"
    recorded = json.loads(world.record_file.read_text())
    assert recorded["startedAt"] == pytest.approx(by_hand.create_time(), abs=0.02)
    status = world.ok("status")
    assert (status["adopted"], status["standIn"]) == (True, True)
    assert status["version"].startswith("1.45.1")
    assert world.ok("logs")["logFile"] is None
    assert world.ok("ensure")["added"] == []
    stopped = world.ok("stop")
    assert (stopped["pidsKilled"], stopped["portFree"]) == ([by_hand.pid], True)


def test_an_adopted_server_can_be_restarted_as_ours(world: World) -> None:
    world.leaves_server = True
    by_hand = world.inngest_by_hand()
    done = world.ok("restart")
    assert (done["action"], done["adopted"]) == ("restarted", False)
    assert by_hand.pid in done["pidsKilled"]
    assert done["logFile"] == str(world.log)


def test_a_server_that_merely_answers_health_is_not_adopted(world: World) -> None:
    stranger = world.listener()
    error = world.fails("ensure", code=12)
    assert error["holders"][0]["pid"] == stranger.pid
    assert stranger.is_running()


def test_a_server_whose_record_was_cleaned_away_keeps_its_log(running: World) -> None:
    pid = running.started["pid"]
    for file in running.state_files():
        file.unlink()
    done = running.ok("ensure", cwd=running.b)
    assert (done["action"], done["pid"], done["adopted"]) == ("already-running", pid, True)
    assert running.ok("logs")["logFile"] == str(running.log)
    assert running.starts() == 1


AS_NOBODY = """
import json, os, sys
from pathlib import Path
from devservers import config, errors, inngest, worktree
from devservers.lifecycle import failures, server, status
from devservers.system import sockets

here = worktree.find()
spec = inngest.spec(config.load(here.root, here.main), here)
# As root first, to load what nobody may not read: interpreters often lie in a closed folder.
files = spec.files._replace(pid=Path("root.pid"))
server.ensure(spec._replace(files=files), timeout=5)
status.status(spec)
sockets.holders(1), sockets.owner(1), failures.port_in_use(spec, spec.port)
try:
    raise errors.StopFailedError("")
except errors.DevServerError:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
try:
    server.ensure(spec, timeout=5)
except errors.DevServerError as error:
    refusal = error
seen = status.status(spec)
done = server.stop(spec)
print(json.dumps([refusal.code, refusal.message, seen.state, done.action, done.port_free]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can stage another user")
def test_a_server_of_roots_is_neither_believed_nor_stopped_by_another_user(world: World) -> None:
    by_hand = world.inngest_by_hand()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o1777)
        config = Path(folder, "config.json")
        pid_file = f"{folder}/inngest.pid"
        config.write_text(json.dumps({"inngest": {"port": world.port, "pidFile": pid_file}}))
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY],
            cwd=folder,
            env=world.env({"DEVSERVERS_CONFIG": str(config)}),
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
    assert done.returncode == 0, done.stderr
    refusal, message, state, stopped, free = json.loads(done.stdout)
    assert (refusal, state, stopped, free) == ("port-in-use", "foreign", "not-running", False)
    # Elsewhere nobody is told whose it is.
    whose = f" of {by_hand.username()}" if procfs.HAS_PROC else ""
    assert f"held by a process{whose} that can't be seen from here" in message
    assert by_hand.is_running()


def test_a_stranger_in_front_of_ours_is_no_success(running: World) -> None:
    server = psutil.Process(running.started["listenerPid"])
    server.kill()
    until(lambda: not accepts(running.port))
    stranger = running.listener()
    assert running.ok("status", code=3)["state"] == "foreign"
    assert running.fails("ensure", code=12)["holders"][0]["pid"] == stranger.pid
