"""Whose code runs: nobody's service is taken by our hand, and whom a user chose stays served."""

import http.client
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from devservers.inngest.api import Api
from devservers.inngest.proof import make_served
from next_support import NextWorld, next_world
from support import World, git, make_repository, quickly, until

FAST = ["--poll-interval", "0.2"]  # of the stand-in, which asks every 5 s else


@pytest.fixture
def place(tmp_path: Path) -> Iterator[NextWorld]:
    with next_world(tmp_path, "lock", "app=flowt") as made:
        made.leaves_server = True
        yield made


def served(world: World) -> list[int]:
    """Return the ports that the server says events run on."""
    found = world.ok("apps")["apps"]
    return [app["port"] for app in found if app["state"] == "served"]


def apps_up(world: World) -> list[int]:
    """Start an app in `a` and one in `b`; return their ports."""
    for port, folder in zip(world.apps, (world.a, world.b), strict=True):
        world.app(port, cwd=folder)
    return world.apps


def test_a_restart_serves_whom_the_server_served_before(world: World) -> None:
    world.leaves_server = True
    world.behave(args=FAST)
    first, second = apps_up(world)
    world.ok("ensure", cwd=world.a)
    for port, folder in ((first, world.a), (second, world.b), (first, world.a)):
        world.ok("sync", cwd=folder)
        world.ok("sync", "--release", cwd=folder)
        done = world.ok("restart", cwd=world.main)
        assert (done["servedBefore"], done["servedBy"], done["pinned"]) == (port, port, None)
        assert served(world) == [port]
        assert done["warnings"] == []


def test_a_repair_serves_whom_the_server_served_before(world: World) -> None:
    world.leaves_server = True
    first, second = world.apps
    both = apps_up(world)
    world.apps = [first]
    world.behave(args=FAST)
    world.ok("ensure", cwd=world.a)
    until(lambda: served(world) == [first])
    world.apps = both
    world.behave(args=FAST)
    done = world.ok("ensure", cwd=world.b)
    assert done["added"] == [second]
    assert (done["servedBefore"], done["servedBy"]) == (first, first)
    assert served(world) == [first]
    assert world.ok("status", cwd=world.b)["missing"] == []


def test_a_server_that_answers_slowly_serves_whom_it_served_before(world: World) -> None:
    world.leaves_server = True
    world.behave("ponders=0.8", args=FAST)
    first, second = apps_up(world)
    world.ok("ensure", cwd=world.a)
    for port in (second, first):
        poll(port)
        done = world.ok("restart", cwd=world.main)
        assert (done["servedBefore"], done["servedBy"], done["warnings"]) == (port, port, [])


def test_whoever_is_served_by_a_server_that_does_not_say_so_is_warned_of(world: World) -> None:
    world.leaves_server = True
    apps_up(world)
    server = psutil.Process(world.ok("ensure", cwd=world.a)["pid"])
    server.suspend()
    done = world.ok("restart", cwd=world.main)
    assert done["action"] == "restarted"
    assert "did not say whom it served before" in " ".join(done["warnings"])


def test_a_served_app_that_has_gone_meanwhile_is_named_with_the_reason(world: World) -> None:
    world.leaves_server = True
    first, second = world.apps
    app = world.app(first, cwd=world.a)
    world.ok("ensure", cwd=world.a)
    until(lambda: served(world) == [first])
    app.kill()
    app.wait()
    world.app(second, cwd=world.b)
    done = world.ok("restart", cwd=world.main)  # before the server asks the first one again
    assert (done["servedBefore"], done["servedBy"]) == (first, second)
    assert f"Port {first} is served no longer: its app no longer answers" in str(done["warnings"])


def test_a_question_that_is_still_under_way_takes_nobodys_service(world: World) -> None:
    world.leaves_server = True
    world.behave(args=["--no-poll"])
    first, second = (f"http://localhost:{port}/api/inngest" for port in world.apps)
    world.app(world.apps[0], cwd=world.a)
    world.ok("ensure", cwd=world.a)
    world.app(world.apps[1], cwd=world.b, behaviour="compiles")
    asked = asking(world.apps[1])
    made = make_served(Api(world.port), first, time.monotonic() + 20, [second])
    assert made.url == first
    assert asked.getresponse().status == 200
    assert served(world) == [world.apps[0]]


def test_a_warm_ensure_asks_nobody_who_is_served(world: World) -> None:
    world.leaves_server = True
    apps_up(world)
    world.ok("ensure", cwd=world.a)
    done = world.ok("ensure", cwd=world.b)
    assert (done["action"], done["scope"]) == ("already-running", "machine")
    assert (done["servedBefore"], done["servedBy"], done["pinned"]) == (None, None, None)


def test_a_choice_outlives_the_server_and_ends_with_a_release(world: World) -> None:
    world.leaves_server = True
    world.behave(args=FAST)
    first, second = apps_up(world)
    world.ok("ensure", cwd=world.a)
    assert world.ok("sync", cwd=world.a)["pinned"] == str(world.a)
    for _ in range(2):
        world.ok("stop", cwd=world.b)
        done = world.ok("ensure", cwd=world.b)
        assert (done["pinned"], done["servedBy"]) == (str(world.a), first)
        assert served(world) == [first]
    assert world.ok("status", cwd=world.b)["pinned"] == str(world.a)
    assert world.ok("apps", cwd=world.b)["pinned"] == str(world.a)
    released = world.ok("sync", "--release", cwd=world.b)
    assert (released["action"], released["released"]) == ("released", str(world.a))
    assert world.ok("sync", "--release")["action"] == "nothing-pinned"
    assert world.ok("status", cwd=world.b)["pinned"] is None
    assert world.ok("sync", cwd=world.b)["pinned"] == str(world.b)
    assert served(world) == [second]


def test_a_choice_ends_with_its_worktree(world: World) -> None:
    world.leaves_server = True
    world.behave(args=FAST)
    apps_up(world)
    world.ok("ensure", cwd=world.a)
    world.ok("sync", cwd=world.b)
    shutil.rmtree(world.b)
    assert world.ok("status", cwd=world.a)["pinned"] is None


def test_a_pinned_worktree_without_an_app_is_not_said_to_be_served(world: World) -> None:
    world.leaves_server = True
    world.behave(args=FAST)
    first, second = world.apps
    app = world.app(first, cwd=world.a)
    (world.a / ".dev-port").write_text(str(first))
    world.ok("ensure", cwd=world.a)
    world.ok("sync", cwd=world.a)
    app.kill()
    app.wait()
    world.app(second, cwd=world.b)
    world.ok("stop")
    done = world.ok("ensure", cwd=world.b)
    assert (done["servedBy"], done["pinned"]) == (second, str(world.a))
    assert f"{world.a} is pinned, but its app does not answer" in str(done["warnings"])


def test_a_start_from_one_repository_keeps_the_choice_of_another(world: World) -> None:
    world.leaves_server = True
    world.behave(args=FAST)
    other = make_repository(world.folder / "other")
    linked = world.folder / "linked"
    git("worktree", "add", "-q", linked, cwd=other)
    world.configure(folder=other, command=world.fake(), args=FAST)
    for port, folder in zip(world.apps, (other, linked), strict=True):
        world.app(port, cwd=folder)
    world.ok("ensure", cwd=other)
    for port in world.apps:
        world.ok("sync", f"--port={port}", cwd=other)
        world.ok("stop", cwd=other)
        world.ok("ensure", cwd=world.a)
        assert served(world) == [port]


def test_an_app_outside_of_git_is_served_and_not_pinned(world: World) -> None:
    world.leaves_server = True
    port = world.apps[0]
    world.app(port, cwd=world.folder / "home")
    world.ok("ensure", cwd=world.a)
    assert world.ok("sync", f"--port={port}", cwd=world.a)["pinned"] is None
    assert served(world) == [port]


def test_apps_that_hang_take_no_longer_than_the_time_out(world: World) -> None:
    world.leaves_server = True
    world.behave(args=FAST)
    first, second = world.apps
    world.app(first, cwd=world.a)
    world.ok("ensure", cwd=world.a)
    world.ok("sync", cwd=world.a)
    world.app(second, cwd=world.b, behaviour="hang")

    def start() -> None:
        world.ok("stop")
        world.ok("ensure", "--timeout=1.5", cwd=world.b)

    quickly(4.5, start)  # each app that hangs would be waited for


@pytest.mark.parametrize("kind", ["somebody else's", "a link", "a hard link"])
def test_what_is_no_file_of_our_own_is_no_choice_and_is_left_alone(world: World, kind: str) -> None:
    world.leaves_server = True
    world.behave(args=FAST)
    apps_up(world)
    world.ok("ensure", cwd=world.a)
    world.ok("sync", cwd=world.a)
    pin = world.pid_file.with_name("inngest.pid.pin")
    text = pin.read_text()
    before = served(world)
    if kind == "somebody else's":
        if os.geteuid():
            pytest.skip("only root can give a file away")
        os.chown(pin, 65534, 65534)
    else:
        elsewhere = pin.rename(pin.with_name("elsewhere"))
        (pin.symlink_to if kind == "a link" else pin.hardlink_to)(elsewhere)
    assert world.ok("status", cwd=world.a)["pinned"] is None
    for words in ((), ("--release",)):
        error = world.fails("sync", *words, code=17, cwd=world.b)
        assert error["file"] == str(pin)
    assert (pin.read_text(), served(world)) == (text, before)


@pytest.mark.parametrize("content", ["", "rubbish", "[]", '{"a": 5}', '{"\\u0000": "x"}'])
def test_a_broken_note_of_the_choice_is_none(world: World, content: str) -> None:
    world.leaves_server = True
    world.ok("ensure", cwd=world.a)
    world.pid_file.with_name("inngest.pid.pin").write_text(content)
    assert world.ok("status", cwd=world.a)["pinned"] is None


def test_a_port_and_a_release_at_once_are_refused(world: World) -> None:
    done = world.run("inngest.sync", "--json", "--port=5", "--release")
    assert done.code == 1
    assert "use one of them" in done.error["message"]


def test_doctor_fails_where_the_pinned_worktree_is_not_the_served_one(world: World) -> None:
    world.leaves_server = True
    first, second = apps_up(world)
    world.ok("ensure", cwd=world.a)
    world.ok("sync", cwd=world.a)
    assert pin_check(world)["ok"] is True
    poll(second)
    found = pin_check(world)
    assert (found["ok"], str(world.a) in found["detail"]) == (False, True)
    assert "sync" in found["fix"]
    assert str(first) not in served(world)


def poll(port: int) -> None:
    """Have an app register itself, as the server's poll does."""
    connection = asking(port)
    assert connection.getresponse().status == 200
    connection.close()


def asking(port: int) -> http.client.HTTPConnection:
    """Ask an app to register itself, and don't wait for its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("PUT", "/api/inngest", headers={"Host": f"localhost:{port}"})
    return connection


def pin_check(world: World) -> dict[str, Any]:
    checks = json.loads(world.run("inngest.doctor", "--json", cwd=world.b).out)["checks"]
    return next(check for check in checks if check["name"] == "pin")


def test_a_new_worktrees_up_takes_the_service_and_names_whom_it_displaced(place: NextWorld) -> None:
    first = place.call("dev.up", cwd=place.a)
    done = place.run("dev.up", cwd=place.b)
    assert f"in place of port {first['nextjs']['port']} ({place.a})" in done.out
    table = {row["branch"]: row for row in place.call("dev.status")["worktrees"]}
    assert (table["a"]["served"], table["b"]["served"]) == (False, True)


def test_a_new_worktrees_up_gives_the_service_back_to_the_pinned_one(place: NextWorld) -> None:
    first = place.call("dev.up", cwd=place.a)["nextjs"]["port"]
    place.call("inngest.sync", cwd=place.a)
    done = place.call("dev.up", cwd=place.b)
    assert (done["app"]["state"], done["app"]["servedBy"]) == ("shadowed", first)
    said = f"not served: {place.a} is pinned; `inv inngest.sync` here changes that"
    assert said in place.run("dev.up", cwd=place.b).err
    assert place.call("inngest.status", cwd=place.b)["servedBy"] == first
    shown = place.run("dev.status", cwd=place.b).out
    assert "yes, pinned" in shown


def test_a_server_that_starts_takes_nobodys_service(place: NextWorld) -> None:
    first = place.call("dev.up", cwd=place.a)["nextjs"]["port"]
    done = place.call("nextjs.ensure", cwd=place.b)
    assert done["action"] == "started"
    assert f"not served: the app on port {first} was before" in " ".join(done["warnings"])
    assert place.call("inngest.status", cwd=place.a)["served"] is True
    again = place.call("nextjs.restart", cwd=place.b)
    assert again["action"] == "restarted"
    assert place.call("inngest.status", cwd=place.a)["served"] is True


def test_the_pinned_worktrees_app_is_served_again_when_it_comes_back(place: NextWorld) -> None:
    place.call("dev.up", cwd=place.a)
    place.call("inngest.sync", cwd=place.a)
    place.call("nextjs.stop", cwd=place.a)
    assert place.call("dev.up", cwd=place.b)["app"]["state"] == "served"
    assert place.call("nextjs.ensure", cwd=place.a)["warnings"] == []
    assert place.call("inngest.status", cwd=place.a)["served"] is True


def test_a_choice_and_an_app_that_comes_up_are_not_in_each_others_way(place: NextWorld) -> None:
    for folder in (place.a, place.b, place.main):
        place.call("dev.up", cwd=folder)
    for folder in (place.a, place.b, place.a):
        child = place.start("nextjs.restart", "--json", cwd=place.main)
        assert place.call("inngest.sync", cwd=folder)["pinned"] == str(folder)
        assert place.result(child, 60).code == 0
        assert place.call("inngest.status", cwd=folder)["served"] is True


def test_an_app_with_an_id_of_its_own_takes_nobodys_place(place: NextWorld) -> None:
    place.call("dev.up", cwd=place.a)
    place.be("lock", "app=other")
    assert place.call("nextjs.ensure", cwd=place.b)["warnings"] == []
    found = place.call("inngest.apps", cwd=place.b)["apps"]
    assert {app["appId"] for app in found if app["state"] == "served"} == {"flowt", "other"}


def test_the_served_worktrees_own_restart_leaves_it_served(place: NextWorld) -> None:
    place.call("dev.up", cwd=place.a)
    place.call("nextjs.ensure", cwd=place.b)
    done = place.call("nextjs.restart", cwd=place.a)
    assert done["warnings"] == []
    until(lambda: place.call("inngest.status", cwd=place.a)["served"])


def test_two_repositories_that_share_a_server_are_told_of_each_other(world: World) -> None:
    world.leaves_server = True
    first, second = world.apps
    blog = make_repository(world.folder / "blog")
    world.ok("ensure", cwd=world.a)
    alone = world.ok("status", cwd=world.b)
    assert alone["neighbours"] == []
    world.app(first, cwd=world.a)
    world.ok("sync", cwd=world.a)
    world.configure(folder=blog, command=world.fake())
    world.app(second, cwd=blog, app_id="blog")
    shop = {
        "repository": str(world.main),
        "ports": [first],
        "served": [first],
        "started": True,
        "pinned": str(world.a),
    }
    for task in ("status", "apps", "sync"):
        assert world.ok(task, cwd=blog)["neighbours"] == [shop]
        said = world.run(f"inngest.{task}", cwd=blog).out
        words = f"hared with another repository: {world.main}, which started it, watching {first}"
        assert words in said
    there = world.ok("status", cwd=world.b)["neighbours"]
    assert there == [
        {
            "repository": str(blog),
            "ports": [second],
            "served": [second],
            "started": False,
            "pinned": str(blog),
        }
    ]


def test_sync_says_whose_place_it_took(world: World) -> None:
    world.leaves_server = True
    first, second = world.apps
    clone = make_repository(world.folder / "clone")
    world.configure(folder=clone, command=world.fake())
    world.ok("ensure", cwd=world.a)
    world.app(first, cwd=world.a)
    world.ok("sync", cwd=world.a)
    world.app(second, cwd=clone)  # with the same app id
    done = world.ok("sync", cwd=clone)
    assert (done["replaced"], done["replacedWorktree"]) == (first, str(world.a))
    world.ok("sync", cwd=world.a)
    said = world.run("inngest.sync", cwd=clone).out
    assert f"in place of port {first} ({world.a})" in said
