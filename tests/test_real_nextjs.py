"""The real Next.js from npm, in several worktrees at once, against the stand-in for Inngest."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from next_support import NextWorld, next_world, wait_for_lock
from real_support import installed, make_real
from support import CONFIG, accepts, claimed_ports, is_alive, until

pytestmark = [pytest.mark.real, pytest.mark.timeout(900), pytest.mark.usefixtures("real_inv")]
SLOW = 120.0  # seconds
SENDS = """import { Inngest } from "inngest";
export const dynamic = "force-dynamic";
export async function GET() {
  const { ids } = await new Inngest({ id: "flowt" }).send({ name: "demo/other" });
  return Response.json({ ids, kept: process.env.KEPT });
}
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[NextWorld]:
    modules = installed()
    with next_world(tmp_path) as world:
        world.leaves_server = True
        make_real(world, modules)
        yield world


def ensure(world: NextWorld, tree: Path, task: str = "nextjs.ensure", **env: str) -> Any:
    quiet = {"NEXT_TELEMETRY_DISABLED": "1", **env}
    return world.call(task, cwd=tree, env=quiet, timeout=SLOW)


def page(port: int) -> str:
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(f"http://127.0.0.1:{port}/", timeout=SLOW)
    assert answer.status_code == 200, answer.text
    return answer.text


def by_hand(world: NextWorld, tree: Path, port: int, cwd: str = ".") -> "subprocess.Popen[bytes]":
    program = tree / "node_modules/.bin/next"
    words = [str(program), "dev", "-p", str(port)]
    env = world.env({"NEXT_TELEMETRY_DISABLED": "1"}, tree)
    return world.processes.popen(
        words, cwd=tree / cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def test_two_worktrees_at_once(place: NextWorld) -> None:
    trees = (place.a, place.b)
    env = {"NEXT_TELEMETRY_DISABLED": "1"}
    both = [place.start("nextjs.ensure", "--json", cwd=tree, env=env) for tree in trees]
    done = [place.result(child, timeout=SLOW).json for child in both]
    assert [answer["action"] for answer in done] == ["started", "started"]
    for tree, answer in zip(trees, done, strict=True):
        assert psutil.Process(answer["listenerPid"]).name().startswith("next-server")
        assert f"this is {tree.name}" in page(answer["port"]).replace("<!-- -->", "")
        assert ensure(place, tree)["pid"] == answer["pid"]
        stopped = place.call("nextjs.stop", cwd=tree)
        assert (stopped["portFree"], stopped["forced"]) == (True, False)


def test_errors_tells_what_does_not_compile_and_what_fails_on_the_server(place: NextWorld) -> None:
    port = ensure(place, place.a)["port"]
    page(port)
    found = place.call("nextjs.errors", cwd=place.a, timeout=SLOW)
    assert (found["state"], found["source"], found["errors"]) == ("compiled", "mcp", [])
    file = place.a / "app/page.jsx"
    file.write_text("export default function Page() { return <p>broken }\n")

    def failure(kind: str) -> Any:
        done = place.run("nextjs.errors", "--json", cwd=place.a, timeout=SLOW).json
        return next((error for error in done["errors"] if error["kind"] == kind), None)

    error = until(lambda: failure("build"), SLOW)
    assert (error["file"], error["line"]) == ("app/page.jsx", 1)
    file.write_text("export default function Page() { throw new Error('boom'); }\n")
    until(lambda: failure("build") is None, SLOW)

    def boom() -> Any:  # Next.js may say only after the answer that it has compiled
        with requests.Session() as session:
            session.trust_env = False
            assert session.get(f"http://127.0.0.1:{port}/", timeout=SLOW).status_code == 500
        return failure("server")

    assert "boom" in until(boom, SLOW)["message"]


def test_up_registers_the_app_of_each_worktree_in_turn(place: NextWorld) -> None:
    one = ensure(place, place.a, "dev.up")
    assert one["app"]["state"] == "served", one
    two = ensure(place, place.b, "dev.up")
    assert two["app"]["state"] in {"served", "shadowed"}, two
    found = place.call("dev.status", cwd=place.a)["worktrees"]
    assert [row["served"] for row in found].count(True) == 1
    assert [row["nextjs"]["state"] for row in found] == ["stopped", "running", "running"]


def test_the_app_talks_to_our_server_whatever_the_caller_and_a_committed_env_file_say(
    place: NextWorld,
) -> None:
    names = [
        f"INNGEST_{name}" for name in ("DEV", "BASE_URL", "API_BASE_URL", "EVENT_API_BASE_URL")
    ]
    names += ["INNGEST_SERVE_HOST", "INNGEST_SERVE_ORIGIN"]
    for port, file in enumerate((".env", ".env.local", ".env.development"), 1):
        lines = (f"{name}=http://localhost:{port}\n" for name in names)
        (place.a / file).write_text("KEPT=yes\n" + "".join(lines))
    sends = place.a / "app/api/send/route.js"
    sends.parent.mkdir(parents=True)
    sends.write_text(SENDS)
    place.git("add", "--force", ".env", ".env.local", ".env.development", "app", cwd=place.a)
    place.git("commit", "-q", "-m", "Another Inngest", cwd=place.a)
    done = ensure(place, place.a, "dev.up", **dict.fromkeys(names, "http://localhost:4"))
    port = done["nextjs"]["port"]
    assert done["app"]["state"] == "served", done
    assert done["app"]["url"] == f"http://localhost:{port}/api/inngest"
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(f"http://127.0.0.1:{port}/api/send", timeout=SLOW)
    assert answer.status_code == 200, answer.text
    assert answer.json()["kept"] == "yes"  # the files are read
    assert len(answer.json()["ids"]) == 1


def test_an_event_runs_in_the_code_of_the_worktree_whose_server_got_it(place: NextWorld) -> None:
    with claimed_ports() as first, claimed_ports() as second:
        ports = [first, second, *range(second + 1, second + 4)]
        own = {"scope": "worktree", "ports": ports}
        data = {"nextjs": {"ports": place.pool}, "inngest": {**own, "command": place.fake()}}
        trees = (place.a, place.b)
        for tree in trees:
            (tree / CONFIG).write_text(json.dumps(data))
            route = tree / "app/api/inngest/route.js"
            route.write_text(route.read_text().replace('() => "hello"', f'() => "{tree.name}"'))
            pid_file = place.git_dir(tree) / "devservers" / "inngest.pid"
            place.processes.marks.append(("DEVSERVERS_SERVER", f"inngest:{pid_file}"))
        servers = [ensure(place, tree, "dev.up") for tree in trees]
        assert [done["app"]["state"] for done in servers] == ["served", "served"]
        for sent, done in enumerate(servers, 1):
            send(done["inngest"]["port"], "demo/hello")
            until(lambda: finished(done["inngest"]["logFile"]), timeout=SLOW)  # noqa: B023
            ran = [finished(one["inngest"]["logFile"]) for one in servers]
            assert ran == [["a"], ["b"] * (sent - 1)]
        for tree in trees:
            place.call("dev.down", cwd=tree)


def send(port: int, name: str) -> None:
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(f"http://127.0.0.1:{port}/e/key", json={"name": name, "data": {}})
    assert answer.status_code == 200, answer.text


def finished(log: str) -> list[object]:
    """Return what the functions returned that a server has run, as its log tells."""
    lines = [json.loads(line) for line in Path(log).read_text().splitlines() if line[:1] == "{"]
    assert not [line for line in lines if line["msg"] == "run failed"], lines
    return [line["output"] for line in lines if line["msg"] == "run finished"]


def test_prune_after_a_worktree_was_removed_under_its_server(place: NextWorld) -> None:
    done = ensure(place, place.a)
    kept = ensure(place, place.b)
    removed = subprocess.run(
        ["git", "worktree", "remove", "--force", str(place.a)],
        cwd=place.main,
        check=False,
        capture_output=True,
    )  # fmt: skip - it may fail: the server writes into the folder meanwhile
    assert removed.returncode in (0, 255)
    place.call("dev.prune")
    until(lambda: not accepts(done["port"]))
    assert not psutil.pid_exists(done["pid"]) or not is_alive(psutil.Process(done["pid"]))
    assert place.call("dev.prune")["pruned"] == []
    assert ensure(place, place.b)["pid"] == kept["pid"]


def test_one_started_by_hand_is_adopted_and_stopped(place: NextWorld) -> None:
    child = by_hand(place, place.a, place.pool[2])
    wait_for_lock(place.a)
    done = ensure(place, place.a)
    assert (done["action"], done["adopted"]) == ("already-running", True)
    assert done["port"] == place.pool[2]
    assert place.call("nextjs.stop", cwd=place.a)["portFree"] is True
    child.wait(SLOW)


def test_a_second_server_by_hand_does_not_disturb_ours(place: NextWorld) -> None:
    done = ensure(place, place.a)
    second = by_hand(place, place.a, place.pool[4] if done["port"] != place.pool[4] else 0)
    out, _ = second.communicate(timeout=SLOW)
    assert b"Another next dev server is already running" in out
    assert ensure(place, place.a)["pid"] == done["pid"]


def test_a_changed_configuration_makes_it_listen_anew_and_stay_ours(place: NextWorld) -> None:
    done = ensure(place, place.a)
    (place.a / "next.config.js").write_text("module.exports = { poweredByHeader: false };\n")
    until(lambda: not psutil.pid_exists(done["listenerPid"]), timeout=SLOW)
    again = ensure(place, place.a)
    assert (again["action"], again["pid"]) == ("already-running", done["pid"])
    assert again["listenerPid"] != done["listenerPid"]


def test_one_that_gives_up_shows_its_last_words_and_leaves_nothing(place: NextWorld) -> None:
    (place.a / "next.config.js").write_text("throw new Error('no such luck');\n")
    error = place.refused("nextjs.ensure", cwd=place.a, code=13, timeout=SLOW)
    assert "no such luck" in error["message"]
    assert not accepts(int(place.claim(place.a)))


def test_without_turbopack_it_is_webpack(place: NextWorld) -> None:
    (place.a / "next.config.js").write_text("module.exports = { webpack: (c) => c };\n")
    place.configure(folder=place.a, nextjs={"command": None, "turbopack": False})
    assert "--webpack" in ensure(place, place.a)["command"]
    assert "webpack" in place.run("nextjs.logs", cwd=place.a).out


def test_packages_that_are_not_installed_are_named_with_what_to_run(place: NextWorld) -> None:
    (place.a / "node_modules").rename(place.folder / "away")
    error = place.refused("nextjs.ensure", cwd=place.a, code=11)
    assert "npm ci" in error["hint"]


def test_a_taken_port_is_an_error_that_names_the_holder(place: NextWorld) -> None:
    port = place.call("ports.assign", cwd=place.a)["port"]
    stranger = place.listener(port=port)
    error = place.refused("nextjs.ensure", cwd=place.a, code=12, timeout=SLOW)
    assert error["holders"][0]["pid"] == stranger.pid
    assert stranger.is_running()


def test_run_in_the_foreground_ends_cleanly_on_interrupt(place: NextWorld) -> None:
    env = {"NEXT_TELEMETRY_DISABLED": "1"}
    child = place.start("nextjs.run", cwd=place.a, env=env, start_new_session=True)
    wait_for_lock(place.a)
    assert ensure(place, place.a)["action"] == "already-running"
    os.killpg(child.pid, signal.SIGINT)
    ran = place.result(child, timeout=SLOW)
    assert ran.code == 0, ran
    assert "Ready" in ran.out
    assert not accepts(int(place.claim(place.a)))


def test_the_app_of_npm_workspaces(tmp_path: Path) -> None:
    modules, web = installed(), "apps/web"
    with next_world(tmp_path) as place:
        place.leaves_server = True
        make_real(place, modules, web)
        one = ensure(place, place.a, "dev.up")
        assert one["app"]["state"] == "served", one
        port = one["nextjs"]["port"]
        assert "this is a" in page(port).replace("<!-- -->", "")
        folder = place.a / web
        for inside in (place.a, folder, folder / "app"):
            found = place.call("nextjs.status", cwd=inside)
            assert (found["pid"], found["responsive"]) == (one["nextjs"]["pid"], True)
        again = ensure(place, folder)
        assert (again["action"], again["pid"]) == ("already-running", one["nextjs"]["pid"])
        assert not (folder / ".dev-port").exists()
        assert place.call("nextjs.stop", cwd=folder)["portFree"] is True
        child = by_hand(place, place.a, place.pool[2], web)
        wait_for_lock(folder)
        done = ensure(place, place.a)
        assert (done["action"], done["adopted"]) == ("already-running", True)
        assert done["port"] == place.pool[2]
        assert place.call("nextjs.stop", cwd=place.a)["portFree"] is True
        child.wait(SLOW)
