"""apps and sync: which worktree the server really serves, and making it serve this one."""

import http.client
import json
from pathlib import Path

import pytest

from devservers import config, worktree
from devservers.inngest import endpoint, environment, scene, target
from devservers.listeners import PortHolder
from support import Ran, World, make_repository, quickly

APP_KEYS = {
    "port", "url", "state", "appId", "functions", "servedBy", "worktree", "branch", "pid", "error",
}  # fmt: skip


def states(world: World) -> dict[int, str]:
    return {app["port"]: app["state"] for app in world.ok("apps")["apps"]}


def app_on(world: World, port: int, **options: Path) -> dict[str, object]:
    found = {app["port"]: app for app in world.ok("apps", **options)["apps"]}
    assert isinstance(found[port], dict)
    return dict(found[port])


def poll(port: int) -> None:
    """Ask an app to register itself, as the server's poll does."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("PUT", "/api/inngest", headers={"Host": f"localhost:{port}"})
    assert connection.getresponse().status == 200
    connection.close()


@pytest.fixture
def two(running: World) -> World:
    """Two worktrees with the same app id; that of `b` registered last."""
    for port, folder in zip(running.apps, (running.a, running.b), strict=True):
        running.app(port, cwd=folder)
        poll(port)
    return running


def test_the_last_to_register_is_served_and_shadows_the_other(two: World) -> None:
    first, second = (app_on(two, port) for port in two.apps)
    assert first.keys() == APP_KEYS
    assert (second["state"], second["servedBy"], second["appId"]) == (
        "served",
        two.apps[1],
        "flowt",
    )
    assert (second["functions"], second["branch"], second["worktree"]) == (1, "b", str(two.b))
    assert (first["state"], first["servedBy"], first["appId"]) == ("shadowed", two.apps[1], None)
    assert (first["branch"], first["worktree"], first["error"]) == ("a", str(two.a), None)
    assert first["url"] == f"http://localhost:{two.apps[0]}/api/inngest"


def test_sync_serves_this_worktree_and_says_whom_it_replaced(two: World) -> None:
    first, second = two.apps
    done = two.ok("sync", cwd=two.a)
    assert done == {
        "action": "synced",
        "port": first,
        "url": f"http://localhost:{first}/api/inngest",
        "appId": "flowt",
        "replaced": second,
        "pinned": str(two.a),
        "neighbours": [],
        "replacedWorktree": str(two.b),
        "released": None,
    }
    assert states(two) == {first: "served", second: "shadowed"}
    again = two.ok("sync", cwd=two.a)
    assert (again["action"], again["replaced"]) == ("already-synced", None)


def test_sync_replaces_no_app_of_another_id(running: World) -> None:
    first, second = running.apps
    running.app(second, cwd=running.b, app_id="two")
    poll(second)
    running.app(first, cwd=running.a, app_id="one")
    assert running.ok("sync", cwd=running.a)["replaced"] is None
    assert states(running) == {first: "served", second: "served"}


def test_sync_takes_an_app_beyond_the_pool_but_never_the_inngest_servers_own_ports(
    running: World,
) -> None:
    """That server works in the main worktree, too, and listens on more than one port."""
    running.app(running.port + 3, cwd=running.main)
    assert running.ok("sync")["port"] == running.port + 3


def test_sync_takes_the_port_of_the_pool_where_an_app_listens_on_several(running: World) -> None:
    for port in (running.port + 2, running.apps[1], running.port + 3):
        running.app(port, cwd=running.a)
    assert running.ok("sync", cwd=running.a)["port"] == running.apps[1]
    here = worktree.find(running.a)
    settings = config.load(here.root, here.main, {})
    found = [PortHolder(port, 77, here) for port in (running.port + 2, running.apps[1])]
    for places in (found, found[::-1]):  # as the kernel lists them
        by_port = {place.port: place for place in places}
        assert scene.own_port(settings, here, target.of(settings, here), by_port) == running.apps[1]


def test_sync_guesses_nothing_where_several_ports_are_beyond_the_pool(running: World) -> None:
    for port in (running.port + 2, running.port + 3):
        running.app(port, cwd=running.a)
    (running.a / ".dev-port").write_text(f"{running.apps[0]}\n")
    error = running.fails("sync", code=19, cwd=running.a)
    assert f"Nothing listens on port {running.apps[0]}" in error["message"]


def test_an_app_of_another_repository_is_no_rival(running: World) -> None:
    first, second = running.apps
    running.app(second, cwd=make_repository(running.folder / "other"))
    poll(second)
    running.app(first, cwd=running.a)
    found = app_on(running, first)
    assert (found["state"], found["servedBy"]) == ("failing", None)
    assert found["error"] == "it has not registered"
    status = running.ok("status", cwd=running.a)
    assert (status["served"], status["servedBy"]) == (False, None)


def test_of_two_rivals_none_is_named(running: World) -> None:
    running.apps.append(running.port + 3)
    running.behave()
    for port, app_id in zip(running.apps[:2], ("one", "two"), strict=True):
        running.app(port, cwd=running.b, app_id=app_id)
        poll(port)
    running.app(running.port + 3, cwd=running.a)
    found = app_on(running, running.port + 3)
    assert (found["state"], found["servedBy"]) == ("shadowed", None)


def test_sync_takes_the_port_that_is_named(two: World) -> None:
    assert two.ok("sync", f"--port={two.apps[0]}", cwd=two.b)["port"] == two.apps[0]


def test_status_says_whether_the_asking_worktree_is_served(two: World) -> None:
    first, second = two.apps
    shadowed, served = two.ok("status", cwd=two.a), two.ok("status", cwd=two.b)
    assert (shadowed["served"], shadowed["servedBy"]) == (False, second)
    assert (served["served"], served["servedBy"]) == (True, second)
    nobody = two.ok("status", cwd=two.main)
    assert (nobody["served"], nobody["servedBy"]) == (None, None)
    assert (
        f"NOT served, events run in the app on port {second}"
        in two.run("inngest.status", cwd=two.a).out
    )
    # A shadowed port is watched all the same, and an ensure does not take the service back.
    assert shadowed["missing"] == []
    assert shadowed["watching"] == two.apps
    assert two.ok("ensure", cwd=two.a)["added"] == []
    assert states(two) == {first: "shadowed", second: "served"}


def test_different_app_ids_are_both_served(running: World) -> None:
    first, second = running.apps
    running.app(first, cwd=running.a, app_id="one")
    running.app(second, cwd=running.b, app_id="two")
    poll(first)
    poll(second)
    assert states(running) == {first: "served", second: "served"}
    assert app_on(running, first)["appId"] == "one"


def test_people_get_an_aligned_table_their_own_row_marked_and_the_next_step(two: World) -> None:
    done = two.run("inngest.apps", cwd=two.a)
    lines = done.out.splitlines()
    column = lines[0].index("STATE")
    assert lines[1][column:].startswith(f"shadowed by {two.apps[1]}")
    assert lines[2][column:].startswith("served")
    assert [line[0] for line in lines[1:3]] == ["*", " "]
    assert "`inv inngest.sync`" in done.out
    assert "process.env.INNGEST_APP_ID" in done.out


@pytest.mark.parametrize(
    ("behaviour", "state", "error"),
    [
        ("no-route", "no-route", None),
        ("error", "failing", "HTTP 500"),
        ("cloud", "failing", "cloud mode"),
        ("unreachable", "failing", ""),
        ("hang", "failing", "did not answer"),
    ],
)
def test_an_app_that_is_not_served_says_why(
    running: World, behaviour: str, state: str, error: str | None
) -> None:
    port, other = running.apps
    running.app(port, cwd=running.a, behaviour=behaviour)
    found = app_on(running, port)
    assert found["state"] == state
    assert (found["error"] is None) if error is None else (error in str(found["error"]))
    assert app_on(running, other)["state"] == "not-listening"


def test_apps_are_listed_without_a_server_too(world: World) -> None:
    world.app(world.apps[0], cwd=world.a)
    found = app_on(world, world.apps[0])
    assert (found["state"], found["error"]) == ("failing", "no Inngest server answers")


def test_dead_ports_cost_one_time_out_together(running: World) -> None:
    for port in running.apps:
        running.app(port, cwd=running.a, behaviour="hang")
    one_after_the_other = 2 * 2.0  # two time-outs of two seconds
    found = quickly(one_after_the_other, lambda: states(running))
    assert set(found.values()) == {"failing"}


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("no-route", "is no Inngest endpoint"),
        ("cloud", "cloud mode"),
        ("unreachable", "fetch failed"),
        ("elsewhere", "points to another Inngest"),
        ("error", "HTTP 500"),
    ],
)
def test_sync_fails_with_the_reason(running: World, behaviour: str, words: str) -> None:
    running.app(running.apps[0], cwd=running.a, behaviour=behaviour)
    error = running.fails("sync", code=19, cwd=running.a)
    assert error["code"] == "not-synced"
    assert words in error["message"]
    assert error["hint"]


ELSEWHERE = "http://localhost:1"


@pytest.mark.parametrize(
    ("env", "files", "said"),
    [
        ({"INNGEST_DEV": ELSEWHERE}, {}, f"its environment says INNGEST_DEV={ELSEWHERE}"),
        ({"INNGEST_DEV": "1"}, {}, "its environment says INNGEST_DEV=1"),
        (
            {"INNGEST_DEV": "OURS", "INNGEST_BASE_URL": "https://u:secret@inngest.example"},
            {},
            "its environment says INNGEST_BASE_URL=https://inngest.example",
        ),
        (
            {"INNGEST_DEV": "OURS"},
            {".env": "INNGEST_BASE_URL=http://localhost:2\n", ".env.local": "A=1\r\n"},
            ".env says INNGEST_BASE_URL=http://localhost:2",
        ),
        (
            {"INNGEST_BASE_URL": "", "INNGEST_DEV": "OURS"},
            {
                ".env": "INNGEST_API_BASE_URL=OURS\nINNGEST_BASE_URL=http://localhost:2\n",
                ".env.local": "INNGEST_API_BASE_URL=OURS\n"
                f'export INNGEST_API_BASE_URL = "{ELSEWHERE}" # mine\n',
            },
            f".env.local says INNGEST_API_BASE_URL={ELSEWHERE}",
        ),
    ],
)
def test_an_app_that_registers_elsewhere_is_told_what_leads_it_there(
    running: World, env: dict[str, str], files: dict[str, str], said: str
) -> None:
    port, ours = running.apps[0], f"http://localhost:{running.port}"
    for name, text in files.items():
        (running.a / name).write_text(text.replace("OURS", ours))
    own = {name: value.replace("OURS", ours) for name, value in env.items()}
    running.app(port, cwd=running.a, behaviour="elsewhere", env=own)
    name = said.partition("=")[0].rpartition(" ")[2]
    start = " ".join(f"{one}={ours}" for one in dict.fromkeys(("INNGEST_DEV", name)))
    found = app_on(running, port)
    assert found["state"] == "failing"
    assert found["error"] == f"it registers elsewhere: {said}; start it with {start}"
    error = running.fails("sync", code=19, cwd=running.a)
    assert f"it registers elsewhere, {said}" in error["message"]
    assert error["hint"] == f"Start that app with {start}."


@pytest.mark.parametrize(
    ("env", "text"),
    [
        ({"INNGEST_DEV": "OURS", "INNGEST_BASE_URL": "http://127.0.0.1:PORT/"}, ""),
        ({"INNGEST_DEV": "localhost:PORT"}, ""),
        ({"INNGEST_DEV": "OURS", "INNGEST_BASE_URL": ""}, "INNGEST_BASE_URL=http://localhost:2\n"),
        ({"INNGEST_DEV": "OURS"}, "# INNGEST_BASE_URL=http://localhost:2\n"),
        ({"INNGEST_DEV": "OURS"}, "INNGEST_BASE_URL=http://localhost:$PORT\n"),
        ({"INNGEST_DEV": "0"}, ""),
        ({}, ""),
    ],
)
def test_nothing_is_said_to_lead_elsewhere_what_does_not(
    running: World, env: dict[str, str], text: str
) -> None:
    port, ours = running.apps[0], f"http://localhost:{running.port}"
    (running.a / ".env").write_text(text)
    own = {
        name: value.replace("OURS", ours).replace("PORT", str(running.port))
        for name, value in env.items()
    }
    running.app(port, cwd=running.a, behaviour="elsewhere", env=own)
    assert app_on(running, port)["error"] == "it has not registered"
    error = running.fails("sync", code=19, cwd=running.a)
    assert "its SDK points to another Inngest" in error["message"]
    assert f"INNGEST_DEV={ours}" in error["hint"]
    assert "baseUrl" in error["hint"]


@pytest.mark.parametrize(
    ("sdk", "name"),
    [
        ("inngest-js:v3.54.2", "INNGEST_DEV"),
        ("inngest-js:v4.24.0", "INNGEST_BASE_URL"),
        (None, "INNGEST_BASE_URL"),
    ],
)
def test_which_variable_decides_depends_on_the_sdk(
    world: World, sdk: str | None, name: str
) -> None:
    env = {"INNGEST_BASE_URL": "http://localhost:2", "INNGEST_DEV": ELSEWHERE}
    app = world.app(world.apps[0], cwd=world.a, env=env)
    lead = environment.astray(app.pid, f"http://localhost:{world.port}", sdk)
    assert lead == (name, env[name], "its environment")


@pytest.mark.parametrize(
    "value",
    ["u:secret@host", "http://u:secret@host:1/x", "http://u:secret@host/?next=http://other/x"],
)
def test_no_password_of_an_address_is_shown(value: str) -> None:
    said = environment.Lead("INNGEST_DEV", value, ".env").said
    assert "secret" not in said
    assert "host" in said


def test_one_that_registers_elsewhere_is_not_called_shadowed(running: World) -> None:
    first, second = running.apps
    running.app(first, cwd=running.a)
    poll(first)
    running.app(second, cwd=running.b, behaviour="elsewhere", env={"INNGEST_DEV": ELSEWHERE})
    assert states(running) == {first: "served", second: "failing"}


def test_an_sdk_that_finds_no_server_is_told_what_led_it_there(running: World) -> None:
    env = {"INNGEST_BASE_URL": ELSEWHERE}
    running.app(running.apps[0], cwd=running.a, behaviour="unreachable", env=env)
    error = running.fails("sync", code=19, cwd=running.a)
    assert "fetch failed" in error["message"]
    assert f"its environment says INNGEST_BASE_URL={ELSEWHERE}" in error["hint"]
    assert f"INNGEST_BASE_URL=http://localhost:{running.port}" in error["hint"]


def test_an_sdk_that_the_server_refuses_is_named_with_the_versions(running: World) -> None:
    port = running.apps[0]
    running.app(port, cwd=running.a, behaviour="denied")
    error = running.fails("sync", code=19, cwd=running.a)
    why = (
        "the Inngest server refuses its SDK, inngest-js 3.52.7: "
        "versions 3.22.0 to 3.53.1 have a known vulnerability"
    )
    assert error["code"] == "not-synced"
    assert why in error["message"]
    assert "3.54.0 or later" in error["hint"]
    assert "INNGEST_DEV" not in error["hint"]
    found = app_on(running, port)
    assert (found["state"], found["appId"], found["error"]) == ("failing", "flowt", why)


@pytest.mark.parametrize("said", ["sdk_version_denied", "HTTP 400: App sync was blocked because"])
def test_a_refusal_is_known_by_the_servers_words_and_by_what_the_app_makes_of_them(
    said: str,
) -> None:
    assert "refuses its SDK, inngest: versions 3.22.0" in str(endpoint.denial(said, None))
    assert endpoint.denial("unreachable", "inngest-js:v3.52.7") is None
    assert endpoint.denial(None, None) is None


def test_sync_needs_a_server_and_an_app(world: World) -> None:
    assert "No Inngest dev server" in world.fails("sync", code=19)["message"]
    world.leaves_server = True
    world.ok("ensure")
    assert "Nothing listens in" in world.fails("sync", code=19)["message"]
    (world.main / ".dev-port").write_text(f"{world.apps[0]}\n")
    assert f"Nothing listens on port {world.apps[0]}" in world.fails("sync", code=19)["message"]
    plain: Ran = world.run("inngest.sync")
    assert plain.code == 19
    assert plain.err.startswith("error: Nothing listens on port")


@pytest.mark.parametrize("port", ["0", "65536", "x", "-1"])
def test_sync_refuses_what_is_no_port(world: World, port: str) -> None:
    assert world.fails("sync", f"--port={port}", code=1)["code"] == "usage"


def test_an_app_beyond_the_pool_is_listed(running: World) -> None:
    extra = running.port + 3
    running.app(extra, cwd=running.a, app_id="extra")
    poll(extra)
    assert states(running)[extra] == "served"
    assert extra in running.ok("status")["watching"]


def test_disabled_is_honoured(world: World) -> None:
    world.configure(enabled=False)
    assert world.ok("apps") == {
        "action": "disabled", "port": world.port, "apps": [], "pinned": None, "neighbours": [],
        "warnings": [],
    }  # fmt: skip
    assert world.ok("sync")["action"] == "disabled"


def test_the_json_of_apps_has_nothing_else_on_stdout(two: World) -> None:
    assert json.loads(two.run("inngest.apps", "--json").out).keys() == {
        *("apps", "pinned", "next", "neighbours")
    }
