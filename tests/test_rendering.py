"""Rendering: the JSON has its promised keys, and the lines say what people need next."""

import json
import time
from collections.abc import Iterable

import pytest

from devservers import inngest
from devservers.inngest.apps import App, Synced
from devservers.inngest.doctor import Check
from devservers.lifecycle.result import Ensured, LogFile, Status, Stopped
from devservers.rendering import inngest as rendering_inngest
from devservers.rendering import servers
from devservers.rendering.servers import Rendered
from devservers.system import clock

# The keys that were promised first. Fields may be added, never renamed or removed.
ENSURE = {
    *("action", "port", "url", "pid", "logFile", "watching", "listenerPid", "adopted"),
    *("standIn", "command", "worktree", "added", "warnings"),
}
STOP = {"action", "port", "pidsKilled", "portFree", "forced"}
STATUS = {
    *("running", "state", "port", "url", "pid", "listenerPid", "pidFile", "logFile", "logSize"),
    *("lastLogLine", "responsive", "httpStatus", "watching", "startedAt", "uptimeSeconds"),
    *("version", "adopted", "standIn", "worktree", "served", "servedBy", "missing", "warnings"),
}
APP = {
    *("port", "url", "state", "appId", "functions", "servedBy", "worktree", "branch", "pid"),
    "error",
}
SYNC = {"action", "port", "url", "appId", "replaced"}
CHECK = {"name", "ok", "detail", "fix"}
LOGS = {"action", "logFile", "command", "exists", "size"}
HOLDER = {"pid", "name", "cmdline", "user", "cwd", "since"}
# What has been added since.
ADDED_TO_ENSURE = {"branch", "left", "next", "pidsKilled"}
ADDED_TO_STOP = {"holders", "left", "warnings"}
ADDED_TO_STATUS = {"branch", "holders", "next"}
WATCHED = {"watching", "added", "version", "served", "servedBy", "missing"}  # Inngest's own

TITLE = "Inngest dev server"
URLS = ("http://localhost:5001/api/inngest", "http://localhost:5002/api/inngest")
ENSURED = Ensured(
    action="started",
    port=8288,
    url="http://localhost:8288",
    pid=4242,
    listener_pid=4244,
    log_file="/repo/inngest-system.log",
    urls=URLS,
    adopted=False,
    stand_in=False,
    command=("npx", "inngest-cli", "dev"),
    worktree="/repo/wt-a",
    branch="feat",
)
STOPPED = Stopped("stopped", 8288, (4242, 4244), port_free=True, forced=False)
HELD = {
    "pid": 77,
    "name": "python3",
    "cmdline": ["python3"],
    "user": "ann",
    "cwd": "/",
    "since": "2026-11-22T14:00:00Z",
}
UNKNOWN_HOLDER = dict.fromkeys(HELD)
STATE = Status(
    state="running",
    port=8288,
    url="http://localhost:8288",
    pid=4242,
    listener_pid=4244,
    pid_file="/run/inngest.pid",
    log_file="/repo/inngest-system.log",
    log_size=1048576,
    last_log_line="last words",
    http_status=200,
    urls=URLS,
    started_at=1700000000.0,
    adopted=False,
    stand_in=False,
    worktree="/repo/wt-a",
    branch="feat",
    details={"version": "1.45.1", "served": True, "servedBy": 5001, "missing": []},
)
NOT_RUNNING = STATE._replace(
    state="stopped", pid=None, listener_pid=None, http_status=None, urls=(), started_at=None
)
STATES = ["running", "starting", "unresponsive", "stopped", "stale", "foreign", "disabled"]


def status(result: Status, *, watches: bool = True) -> Rendered:
    return servers.status(result, inngest.KIND._replace(watches=watches))


def ensured(result: Ensured, *, watches: bool = True) -> Rendered:
    return servers.ensured(result, inngest.KIND._replace(watches=watches))


def parsed(rendered: Rendered) -> dict[str, object]:
    """Return the JSON as a reader gets it."""
    data: dict[str, object] = json.loads(json.dumps(rendered.data))
    return data


def said(lines: Iterable[str]) -> str:
    return "\n".join(lines)


@pytest.mark.parametrize("action", ["started", "already-running", "starting"])
def test_ensure_has_the_keys_of_the_reference(action: str) -> None:
    assert set(ensured(ENSURED._replace(action=action)).data) == ENSURE | ADDED_TO_ENSURE


@pytest.mark.parametrize("action", ["restarted", "started"])
def test_restart_tells_whom_it_ended_also_where_that_was_nobody(action: str) -> None:
    for killed in ((), (1, 2)):
        data = parsed(ensured(ENSURED._replace(action=action, pids_killed=killed)))
        assert set(data) == ENSURE | ADDED_TO_ENSURE
        assert data["pidsKilled"] == list(killed)


def test_a_start_by_force_tells_whom_it_ended() -> None:
    rendered = ensured(ENSURED._replace(pids_killed=(77,), warnings=("Terminated pid 77.",)))
    assert parsed(rendered)["pidsKilled"] == [77]
    assert "ended before: pid 77" in said(rendered.lines)
    assert rendered.warnings == ("Terminated pid 77.",)


def test_ensure_answers_with_the_values_of_the_reference() -> None:
    added = ENSURED._replace(added=URLS[1:], warnings=("w",))
    assert parsed(ensured(added)) == {
        "action": "started",
        "port": 8288,
        "url": "http://localhost:8288",
        "pid": 4242,
        "logFile": "/repo/inngest-system.log",
        "watching": [5001, 5002],
        "listenerPid": 4244,
        "adopted": False,
        "standIn": False,
        "command": ["npx", "inngest-cli", "dev"],
        "worktree": "/repo/wt-a",
        "branch": "feat",
        "added": [5002],
        "pidsKilled": [],
        "left": [],
        "warnings": ["w"],
        "next": [],
    }


def test_a_server_that_watches_nothing_has_no_key_for_it() -> None:
    assert set(ensured(ENSURED, watches=False).data) == (ENSURE | ADDED_TO_ENSURE) - WATCHED
    data = status(STATE._replace(details={}), watches=False).data
    assert set(data) == (STATUS | ADDED_TO_STATUS) - WATCHED


@pytest.mark.parametrize(
    ("action", "word"),
    [
        ("started", "started"),
        ("already-running", "runs already"),
        ("restarted", "restarted"),
        ("starting", "is starting"),
    ],
)
def test_ensure_tells_people_what_happened_url_pids_ports_and_log(action: str, word: str) -> None:
    rendered = ensured(ENSURED._replace(action=action))
    assert rendered.lines[0] == f"{TITLE} {word}: http://localhost:8288"
    text = said(rendered.lines)
    assert "pid 4242, listener pid 4244" in text
    assert "watching 5001, 5002" in text
    assert "log: /repo/inngest-system.log" in text
    assert ("next: `inv inngest.status`" in text) == (action != "already-running")
    assert rendered.exit_code == 0


def test_people_are_told_who_started_a_server_that_runs_already() -> None:
    running = ENSURED._replace(action="already-running")
    assert "started from /repo/wt-a (branch feat)" in said(ensured(running).lines)
    detached = said(ensured(running._replace(branch=None)).lines)
    assert "started from /repo/wt-a" in detached
    assert "branch" not in detached
    assert "started from" not in said(ensured(ENSURED).lines)


def test_a_pid_that_is_the_listeners_too_is_named_once() -> None:
    text = said(ensured(ENSURED._replace(listener_pid=4242)).lines)
    assert text.count("4242") == 1
    assert "listener" not in text


def test_of_another_users_server_the_unknown_is_said_to_be_unknown() -> None:
    rendered = ensured(
        ENSURED._replace(
            pid=None, listener_pid=None, log_file=None, worktree=None, urls=(), adopted=True
        )
    )
    text = said(rendered.lines)
    assert "pid unknown" in text
    assert "log: unknown" in text
    assert "watching no ports" in text
    assert "None" not in text
    assert parsed(rendered)["logFile"] is None


def test_the_stand_in_is_called_so_each_time() -> None:
    for rendered in (
        ensured(ENSURED._replace(stand_in=True)),
        status(STATE._replace(stand_in=True)),
    ):
        assert rendered.lines[0].startswith(f"{TITLE} (stand-in)")
        assert rendered.data["standIn"] is True


def test_what_was_added_just_now_is_told() -> None:
    text = said(ensured(ENSURED._replace(added=URLS[1:])).lines)
    assert "added to it just now: 5002" in text


def test_stop_answers_with_the_values_of_the_reference() -> None:
    assert set(servers.stopped(STOPPED, inngest.KIND).data) == STOP | ADDED_TO_STOP
    assert parsed(servers.stopped(STOPPED, inngest.KIND)) == {
        "action": "stopped",
        "port": 8288,
        "pidsKilled": [4242, 4244],
        "portFree": True,
        "forced": False,
        "left": [],
        "holders": [],
        "warnings": [],
    }


def test_stop_tells_people_whom_it_ended_and_of_the_port() -> None:
    assert servers.stopped(STOPPED, inngest.KIND).lines == (
        f"{TITLE} stopped: pid 4242, 4244; port 8288 is free",
    )
    forced = servers.stopped(STOPPED._replace(forced=True), inngest.KIND)
    assert "SIGKILL was needed" in said(forced.lines)


def test_a_port_that_something_else_holds_is_no_failure_of_stop() -> None:
    rendered = servers.stopped(
        Stopped("not-running", 8288, (), False, False, (HELD,), ("Port 8288 is not free.",)),  # noqa: FBT003
        inngest.KIND,
    )
    assert rendered.exit_code == 0
    assert rendered.lines == (f"{TITLE} is not running; port 8288 is not free",)
    assert rendered.warnings == ("Port 8288 is not free.",)
    data = parsed(rendered)
    assert data["portFree"] is False
    holders = data["holders"]
    assert isinstance(holders, list)
    assert set(holders[0]) == HOLDER


@pytest.mark.parametrize("state", STATES)
def test_status_has_every_key_of_the_reference_in_every_state(state: str) -> None:
    for base in (STATE, NOT_RUNNING):
        data = parsed(status(base._replace(state=state)))
        assert set(data) == STATUS | ADDED_TO_STATUS
        assert data["state"] == state


@pytest.mark.parametrize(
    ("state", "running", "responsive", "exit_code"),
    [
        ("running", True, True, 0),
        ("starting", True, False, 4),
        ("unresponsive", True, False, 4),
        ("stopped", False, False, 3),
        ("stale", False, False, 3),
        ("foreign", False, False, 3),
        ("disabled", False, False, 3),
    ],
)
def test_the_state_decides_running_responsive_and_exit_status(
    state: str, *, running: bool, responsive: bool, exit_code: int
) -> None:
    rendered = status(STATE._replace(state=state))
    assert rendered.data["running"] is running
    assert rendered.data["responsive"] is responsive
    assert rendered.exit_code == exit_code


def test_status_answers_with_the_values_of_the_reference() -> None:
    data = parsed(status(STATE))
    up = data.pop("uptimeSeconds")
    assert isinstance(up, float)
    assert abs(time.time() - 1700000000 - up) < 60
    assert data == {
        "running": True,
        "state": "running",
        "port": 8288,
        "url": "http://localhost:8288",
        "pid": 4242,
        "listenerPid": 4244,
        "pidFile": "/run/inngest.pid",
        "logFile": "/repo/inngest-system.log",
        "logSize": 1048576,
        "lastLogLine": "last words",
        "responsive": True,
        "httpStatus": 200,
        "watching": [5001, 5002],
        "startedAt": "2023-11-14T22:13:20Z",
        "version": "1.45.1",
        "adopted": False,
        "standIn": False,
        "worktree": "/repo/wt-a",
        "branch": "feat",
        "served": True,
        "servedBy": 5001,
        "missing": [],
        "holders": [],
        "warnings": [],
        "next": [],
    }


def test_what_is_unknown_is_null() -> None:
    data = parsed(status(NOT_RUNNING._replace(log_file=None, log_size=None, last_log_line=None)))
    for key in ("pid", "listenerPid", "logFile", "logSize", "lastLogLine", "httpStatus"):
        assert data[key] is None
    assert data["startedAt"] is None
    assert data["uptimeSeconds"] is None


def test_a_start_in_the_future_of_a_clock_that_was_set_back_is_no_negative_uptime() -> None:
    rendered = status(STATE._replace(started_at=time.time() + 1000))
    assert rendered.data["uptimeSeconds"] == 0
    assert "up 0 s" in said(rendered.lines)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5, "up 5 s"), (61.2, "up 1 min 1 s"), (3600, "up 1 h 0 min"), (90061, "up 25 h 1 min")],
)
def test_people_are_told_for_how_long_it_has_been_up(seconds: float, words: str) -> None:
    assert words in said(status(STATE._replace(started_at=time.time() - seconds)).lines)


def test_status_tells_people_of_a_running_server_url_pids_ports_and_log() -> None:
    text = said(status(STATE).lines)
    assert f"{TITLE}: running at http://localhost:8288" in text
    assert "pid 4242, listener pid 4244" in text
    assert "watching 5001, 5002" in text
    assert "log: /repo/inngest-system.log (1048576 bytes)" in text
    assert "not started by this tool" not in text


def test_an_adopted_server_is_said_to_be_somebody_elses() -> None:
    assert "not started by this tool" in said(status(STATE._replace(adopted=True)).lines)


@pytest.mark.parametrize("state", ["stopped", "stale", "foreign"])
def test_where_nothing_runs_people_are_told_how_to_start_it(state: str) -> None:
    text = said(status(NOT_RUNNING._replace(state=state)).lines)
    assert "not running" in text
    assert "port 8288" in text
    assert "`inv inngest.ensure`" in text
    assert "--force" not in text  # ensure offers it, where it would help
    assert "http://" not in text


def test_where_it_is_disabled_people_are_told_by_what_and_not_to_start_it() -> None:
    text = said(status(NOT_RUNNING._replace(state="disabled")).lines)
    assert "inngest.enabled is false" in text
    assert "inngest.ensure" not in text


def test_people_are_told_who_else_holds_the_port() -> None:
    foreign = NOT_RUNNING._replace(state="foreign", holders=(HELD, UNKNOWN_HOLDER))
    text = said(status(foreign).lines)
    assert "held by python3 (pid 77, user ann, in /," in text
    assert "held by a process that can't be seen from here" in text
    assert "None" not in text


def test_logs_answers_with_the_values_of_the_reference() -> None:
    found = LogFile("/repo/inngest-system.log", exists=True, size=1048576)
    assert set(servers.logs(found).data) == LOGS
    assert parsed(servers.logs(found)) == {
        "action": "logs",
        "logFile": "/repo/inngest-system.log",
        "command": "tail -f /repo/inngest-system.log",
        "exists": True,
        "size": 1048576,
    }
    assert servers.logs(found).warnings == ()


def test_the_command_for_a_log_can_be_pasted_into_a_shell() -> None:
    found = LogFile("/my repo/it's.log", exists=True, size=1)
    assert servers.logs(found).data["command"] == "tail -f '/my repo/it'\"'\"'s.log'"


def test_a_log_that_is_not_there_is_named() -> None:
    rendered = servers.logs(LogFile("/repo/x.log", exists=False, size=None))
    assert rendered.warnings == ("Log file not found: /repo/x.log",)
    assert parsed(rendered)["exists"] is False


def test_the_log_of_an_adopted_server_is_unknown() -> None:
    rendered = servers.logs(LogFile(None, exists=False, size=None))
    assert parsed(rendered)["command"] is None
    assert "not started by this tool" in said(rendered.warnings)


def test_disabled_is_no_failure() -> None:
    rendered = servers.disabled(inngest.KIND, 8288, url="http://localhost:8288")
    assert rendered.exit_code == 0
    data = parsed(rendered)
    assert (data["action"], data["port"], data["warnings"]) == ("disabled", 8288, [])
    assert "inngest.enabled is false" in said(rendered.lines)


def test_an_instant_is_utc_in_iso_8601() -> None:
    assert clock.utc(0) == "1970-01-01T00:00:00Z"
    assert clock.utc(1763819000.9) == "2025-11-22T13:43:20Z"


SERVED = App(
    port=5001,
    url="http://localhost:5001/api/inngest",
    state="served",
    app_id="flowt",
    functions=3,
    served_by=5001,
    worktree="/repo",
    branch="main",
    pid=99,
    error=None,
)
SHADOWED = SERVED._replace(
    port=5002, state="shadowed", app_id=None, worktree="/repo/wt-a", branch="feat", pid=100
)


def test_apps_answers_with_the_values_of_the_reference() -> None:
    assert parsed(rendering_inngest.apps([SERVED], "/repo")) == {
        "apps": [
            {
                "port": 5001,
                "url": "http://localhost:5001/api/inngest",
                "state": "served",
                "appId": "flowt",
                "functions": 3,
                "servedBy": 5001,
                "worktree": "/repo",
                "branch": "main",
                "pid": 99,
                "error": None,
            }
        ],
        "pinned": None,
        "neighbours": [],
        "next": [],
    }


@pytest.mark.parametrize("state", ["served", "shadowed", "failing", "not-listening", "no-route"])
def test_an_app_has_every_key_in_every_state(state: str) -> None:
    unknown = App(5003, "http://localhost:5003", state, None, None, None, None, None, None, None)
    rendered = rendering_inngest.apps([unknown], "/repo")
    apps = parsed(rendered)["apps"]
    assert isinstance(apps, list)
    assert set(apps[0]) == APP
    assert state in said(rendered.lines)
    assert "None" not in said(rendered.lines)


def test_people_whose_app_is_shadowed_are_told_by_whom_and_what_to_do() -> None:
    text = said(rendering_inngest.apps([SERVED, SHADOWED], "/repo/wt-a").lines)
    assert "shadowed by 5001" in text
    assert "`inv inngest.sync`" in text
    assert "INNGEST_APP_ID" in text


def test_people_whose_app_is_served_are_not_told_to_take_it_back() -> None:
    text = said(rendering_inngest.apps([SERVED, SHADOWED], "/repo").lines)
    assert "`inv inngest.sync`" not in text
    assert "INNGEST_APP_ID" in text
    assert said(rendering_inngest.apps([SERVED], "/repo").lines).count("\n") == 1


def test_an_app_that_fails_says_why() -> None:
    failing = SERVED._replace(state="failing", error="url_not_found")
    assert "failing: url_not_found" in said(rendering_inngest.apps([failing], "/repo").lines)


@pytest.mark.parametrize(
    ("action", "replaced", "words"),
    [
        ("synced", 5001, "is served from port 5002 now, in place of port 5001"),
        ("synced", None, "is served from port 5002 now: http"),
        ("already-synced", None, "on port 5002 is the one that is served already"),
    ],
    ids=["replaced", "new", "already"],
)
def test_sync_answers_with_the_keys_of_the_reference_and_says_what_changed(
    action: str, replaced: int | None, words: str
) -> None:
    rendered = rendering_inngest.synced(
        Synced(action, 5002, "http://localhost:5002/api/inngest", "flowt", replaced)
    )
    data = parsed(rendered)
    assert set(data) == SYNC | {"pinned", "released", "neighbours", "replacedWorktree"}
    assert (data["action"], data["appId"], data["replaced"]) == (action, "flowt", replaced)
    assert words in said(rendered.lines)
    assert rendered.exit_code == 0


def test_doctor_answers_with_the_values_of_the_reference() -> None:
    checks = [Check("cli", ok=True, detail="found"), Check("port", ok=False, detail="d", fix="f")]
    rendered = rendering_inngest.doctor(checks)
    assert parsed(rendered) == {
        "checks": [
            {"name": "cli", "ok": True, "detail": "found", "fix": None},
            {"name": "port", "ok": False, "detail": "d", "fix": "f"},
        ]
    }
    assert set(Check._fields) == CHECK
    text = said(rendered.lines)
    assert "FAIL port: d\n     fix: f" in text
    assert "1 of 2 checks failed" in text
    assert rendered.exit_code == 1


def test_where_every_check_holds_all_is_well() -> None:
    rendered = rendering_inngest.doctor([Check("cli", ok=True, detail="found")])
    assert rendered.lines[-1] == "All is well."
    assert rendered.exit_code == 0
