"""Declared servers: any server of a project gets the whole lifecycle from the configuration."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hooking import run_hook
from next_support import NextWorld, next_world
from support import DEVSERVERS, accepts, claimed_ports, heed_interrupts, until

WEB = [sys.executable, "-m", "http.server", "{port}", "--bind", "127.0.0.1"]
SAYS = (
    "import time, sys\nprint(sys.argv[1:], flush=True)\ntime.sleep({})\n"
    "print('Ready!', flush=True)\ntime.sleep(600)"
)


def prints(after: float = 0.1, *words: str) -> list[str]:
    """Return a command that says that it is ready after so many seconds, and stays."""
    return [sys.executable, "-c", SAYS.format(after), *words]


class Place(NextWorld):
    """A repository that declares servers."""

    first = 0

    def declare(self, servers: Any, *, folder: Path | None = None, **more: Any) -> None:
        data = json.loads(self.config.read_text())
        data |= {"servers": servers, **more}
        file = self.config if folder is None else folder / self.config.relative_to(self.main)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(data))
        for name in servers if isinstance(servers, dict) else ():
            for tree in (self.main, self.a, self.b):
                for place in (self.git_dir(tree), self.main / ".git"):
                    mark = f"{name}:{place / 'devservers' / name}.pid"
                    self.processes.marks.append(("DEVSERVERS_SERVER", mark))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with claimed_ports() as first, next_world(tmp_path, "lock", size=3, make=Place) as made:
        assert isinstance(made, Place)
        made.first = first
        made.leaves_server = True
        made.behave(enabled=False)
        yield made


def web(place: Place, **more: Any) -> dict[str, Any]:
    return {"command": WEB, "port": place.first, "ready": {"http": "/"}, **more}


def test_it_has_the_tasks_of_every_server(place: Place) -> None:
    place.declare({"storybook": web(place)})
    listed = place.run("--list").out
    words = ("ensure", "stop", "restart", "status", "logs", "run")
    assert all(f"storybook.{word}" in listed for word in words)
    assert place.call("storybook.status", code=3)["state"] == "stopped"
    done = place.call("storybook.ensure")
    assert (done["action"], done["worktree"], done["branch"]) == (
        "started",
        str(place.main),
        "main",
    )
    assert done["port"] in range(place.first, place.first + 3)
    assert place.call("storybook.start")["pid"] == done["pid"]
    assert place.call("storybook.status")["responsive"] is True
    again = place.call("storybook.restart")
    assert (again["action"], again["pidsKilled"]) == ("restarted", [done["pid"]])
    assert "GET /" in place.run("storybook.logs").out
    assert place.call("storybook.stop")["portFree"] is True
    assert place.call("storybook.stop")["action"] == "not-running"


def test_each_worktree_has_its_own_on_the_port_of_its_slot(place: Place) -> None:
    place.declare({"storybook": web(place)})
    for folder in (place.a, place.b):
        slot = place.pool.index(place.call("ports.assign", cwd=folder)["port"])
        assert place.call("storybook.ensure", cwd=folder)["port"] == place.first + slot
    pids = {place.call("storybook.status", cwd=folder)["pid"] for folder in (place.a, place.b)}
    assert len(pids) == 2


def test_a_list_of_ports_gives_each_slot_its_own(place: Place) -> None:
    ports = [place.first + 2, place.first, place.first + 1]
    place.declare({"storybook": web(place, port=None, ports=ports) | {"port": place.first}})
    assert "either port or ports" in place.refused("storybook.ensure", code=10)["message"]
    declared = web(place, ports=ports)
    del declared["port"]
    place.declare({"storybook": declared})
    slot = place.pool.index(place.call("ports.assign", cwd=place.a)["port"])
    assert place.call("storybook.ensure", cwd=place.a)["port"] == ports[slot]


def test_one_for_the_machine_is_the_same_from_every_worktree(place: Place) -> None:
    place.declare({"mail": web(place, scope="machine")})
    folders = [place.main, place.a, place.b] * 2
    done = [ran.json for ran in place.at_once(folders, "mail.ensure", "--json")]
    assert len({one["pid"] for one in done}) == 1
    assert sorted(one["action"] for one in done) == ["already-running"] * 5 + ["started"]
    assert {one["port"] for one in done} == {place.first}
    place.declare({"mail": web(place, scope="machine", command=[*WEB, "-d", "/"])}, folder=place.b)
    differing = place.call("mail.ensure", cwd=place.b)
    assert differing["pid"] == done[0]["pid"]
    assert "`inv mail.restart` would change that" in " ".join(differing["warnings"])
    assert place.call("mail.stop", cwd=place.b)["action"] == "stopped"


def test_one_without_a_port_is_up_once_it_says_so(place: Place) -> None:
    place.declare({"stripe": {"command": prints(0.4, "{branch}"), "ready": {"log": "^Ready!$"}}})
    begun = time.monotonic()
    done = place.call("stripe.ensure", cwd=place.a)
    assert time.monotonic() - begun >= 0.4
    assert (done["port"], done["url"], done["listenerPid"]) == (None, None, None)
    assert "['a']" in place.run("stripe.logs", cwd=place.a).out
    assert place.call("stripe.stop", cwd=place.a)["portFree"] is None


def test_placeholders_stand_for_the_ports_of_others(place: Place) -> None:
    words = ["{slot}", "{worktree}", "{main}", "{web.url}", "{nextjs.port}", "{{kept}}"]
    env = {"WEB": "{web.port}", "PLAIN": "x"}
    place.declare(
        {
            "web": web(place),
            "worker": {"command": prints(0.1, *words), "env": env, "ready": {"log": "Ready"}},
        }
    )
    done = place.call("worker.ensure", cwd=place.a)
    port = place.call("ports.assign", cwd=place.a)["port"]
    slot = place.pool.index(port)
    shown = done["command"][3:]
    own = place.first + slot
    assert shown == [
        *(str(slot), str(place.a), str(place.main)),
        *(f"http://localhost:{own}", str(port), "{kept}"),
    ]
    environ = Path(f"/proc/{done['pid']}/environ")
    if environ.exists():
        assert f"WEB={own}".encode() in environ.read_bytes().split(b"\0")


def test_a_start_that_fails_shows_the_last_words_and_leaves_nothing(place: Place) -> None:
    code = "print('no such database'); raise SystemExit(3)"
    place.declare({"worker": {"command": [sys.executable, "-c", code]}})
    error = place.refused("worker.ensure", code=13)
    assert (error["exitStatus"], error["lastLines"]) == (3, ["no such database"])
    assert place.call("worker.status", code=3)["state"] == "stopped"
    place.declare({"worker": {"command": ["no-such-program"]}})
    assert "no-such-program" in place.refused("worker.ensure", code=11)["message"]


def test_up_starts_what_is_independent_side_by_side(place: Place) -> None:
    place.declare(
        {f"slow-{n}": {"command": prints(1.5), "ready": {"log": "Ready"}} for n in range(4)}
    )
    begun = time.monotonic()
    done = place.call("dev.up")
    assert time.monotonic() - begun < 4 * 1.5
    assert {one["action"] for one in done["servers"].values()} == {"started"}
    shown = place.run("dev.status").out
    assert shown.count("running") >= 5
    row = place.call("dev.status")["worktrees"][0]
    assert {one["state"] for one in row["servers"].values()} == {"running"}


def test_up_starts_what_is_needed_first_and_down_stops_it_last(place: Place) -> None:
    place.declare(
        {
            "last": {"command": prints(), "ready": {"log": "Ready"}, "needs": ["middle"]},
            "middle": {"command": prints(), "ready": {"log": "Ready"}, "needs": ["nextjs"]},
            "spare": {"command": prints(), "up": False},
        }
    )
    done = place.run("dev.up")
    order = [line.partition(":")[0] for line in done.err.splitlines() if ": up after" in line]
    assert order == ["Next.js", "middle", "last"]
    assert place.call("spare.status", code=3)["state"] == "stopped"
    lines = place.run("dev.down").out.splitlines()
    stopped = [line.partition(" stopped")[0] for line in lines if " stopped: " in line]
    assert stopped == ["last server", "middle server", "Next.js server"]


def test_only_starts_those_and_what_they_need(place: Place) -> None:
    place.declare(
        {
            "one": {"command": prints(), "ready": {"log": "Ready"}},
            "two": {"command": prints(), "ready": {"log": "Ready"}, "needs": ["one"]},
            "three": {"command": prints(), "ready": {"log": "Ready"}},
        }
    )
    done = place.call("dev.up", "--only=two")
    assert set(done["servers"]) == {"one", "two"}
    assert "nextjs" not in done
    assert "no server 'four'" in place.refused("dev.up", "--only=four", code=1)["message"]


def test_a_need_that_fails_is_named_and_the_rest_is_up(place: Place) -> None:
    place.declare(
        {
            "base": {"command": [sys.executable, "-c", "print('boom'); raise SystemExit(2)"]},
            "above": {"command": prints(), "needs": ["base"]},
            "beside": {"command": prints(), "ready": {"log": "Ready"}},
        }
    )
    done = place.run("dev.up", "--json")
    assert (done.code, done.json["action"]) == (21, "error")
    error = done.json["error"]
    assert (error["code"], error["need"]) == ("need-failed", "base")
    assert "boom" in error["message"]
    assert done.json["servers"]["beside"]["action"] == "started"
    assert done.json["servers"]["base"]["error"]["code"] == "server-exited"
    assert place.call("beside.status")["state"] == "running"
    assert place.call("above.status", code=3)["state"] == "stopped"


def test_an_interrupted_up_undoes_what_was_starting_and_leaves_what_was_up(place: Place) -> None:
    place.declare(
        {
            "quick": {"command": prints(), "ready": {"log": "Ready"}},
            "slow": {"command": prints(60), "ready": {"log": "Ready"}},
        }
    )
    place.call("quick.ensure")
    up = place.start("dev.up", "--json", preexec_fn=heed_interrupts)
    until(lambda: place.run("slow.status", "--json").json["state"] == "starting")
    up.send_signal(signal.SIGINT)
    assert up.wait(20) == 130
    assert place.call("slow.status", code=3)["state"] == "stopped"
    assert place.call("quick.status")["state"] == "running"


def test_a_killed_start_is_put_right_by_the_next(place: Place) -> None:
    place.declare({"slow": {"command": prints(1), "ready": {"log": "Ready"}}})
    child = place.start("slow.ensure")
    until(lambda: place.run("slow.status", "--json").json["state"] == "starting")
    child.kill()
    child.wait()
    assert place.call("slow.ensure")["action"] == "already-running"


def test_a_worktree_that_goes_takes_its_servers_along(place: Place) -> None:
    place.declare({"storybook": web(place)})
    done = place.call("storybook.ensure", cwd=place.b)
    place.git("worktree", "remove", "--force", place.b, cwd=place.main)
    pruned = place.call("dev.prune", cwd=place.main)["pruned"]
    assert "server" in [found["kind"] for found in pruned]
    until(lambda: not accepts(done["port"]))


def test_the_console_script_and_hooks_know_it(place: Place) -> None:
    place.declare({"storybook": web(place)})
    done = place.run("storybook.ensure", "--json", program=DEVSERVERS)
    assert (done.code, done.json["action"]) == (0, "started")
    warm = place.run("storybook.ensure", "--json", program=DEVSERVERS)
    assert warm.json["pid"] == done.json["pid"]
    place.call("storybook.stop")
    run_hook(place, "--wait", "ensure", "storybook")
    assert place.call("storybook.status")["state"] == "running"
    run_hook(place, "--wait", "--storybook", "ensure", "storybook", cwd=place.a)


def test_a_hook_starts_none_that_nobody_has_accepted(place: Place) -> None:
    place.declare({"storybook": web(place)})
    done = run_hook(place, "--wait", "ensure", "storybook", trusted=False)
    assert "nobody has accepted yet (servers.storybook.command" in done.err
    assert place.call("storybook.status", code=3)["state"] == "stopped"


def test_a_broken_configuration_is_said_by_its_tasks_and_leaves_the_others(place: Place) -> None:
    place.declare({"storybook": web(place, prot=1)})
    assert "storybook.ensure" in place.run("--list").out
    error = place.refused("storybook.ensure", code=10)
    assert "servers.storybook.prot" in error["message"]
    assert place.run("--help").code == 0
    place.config.write_text("{")
    assert place.run("--list").code == 0
    assert place.refused("inngest.status", code=10)


WRONG = [
    ([], "servers is []; it must be an object"),
    ({"a": []}, "servers.a is []; it must be an object"),
    ({"A": {}}, "lower-case letters"),
    ({"a b": {}}, "lower-case letters"),
    ({"inngest": {"command": ["x"]}}, "a namespace of its own"),
    ({"dev": {"command": ["x"]}}, "a namespace of its own"),
    ({"a": {}}, "servers.a.command is null; it is needed"),
    ({"a": {"command": "x"}}, "servers.a.command"),
    ({"a": {"command": []}}, "begins with a program"),
    ({"a": {"command": ["x"], "cmd": 1}}, "servers.a.cmd is 1; it is not a known key"),
    ({"a": {"command": ["x"], "port": 0}}, "from 1 to 65535"),
    ({"a": {"command": ["x"], "port": "6006"}}, "from 1 to 65535"),
    ({"a": {"command": ["x"], "port": 65535}}, "slots would have port"),
    ({"a": {"command": ["x"], "ports": [1]}}, "a port for each of nextjs.ports"),
    ({"a": {"command": ["x"], "ports": [1, 1, 2]}}, "twice"),
    ({"a": {"command": ["x"], "scope": "all"}}, '"worktree" or "machine"'),
    ({"a": {"command": ["x"], "scope": "machine", "ports": [1, 2, 3]}}, "use port"),
    ({"a": {"command": ["x"], "cwd": "/srv"}}, "inside the worktree"),
    ({"a": {"command": ["x"], "cwd": "../x"}}, "inside the worktree"),
    ({"a": {"command": ["x"], "env": []}}, "an object of texts"),
    ({"a": {"command": ["x"], "env": {"A B": "x"}}}, "letters, digits and underscores"),
    ({"a": {"command": ["x"], "env": {"A": 1}}}, "servers.a.env is 1; it must be a text"),
    ({"a": {"command": ["x"], "ready": {}}}, "exactly one of"),
    ({"a": {"command": ["x"], "ready": {"http": "/", "tcp": True}}}, "exactly one of"),
    ({"a": {"command": ["x"], "ready": {"http": "x"}}}, 'begins with "/"'),
    ({"a": {"command": ["x"], "ready": {"http": "/"}}}, "without a port"),
    ({"a": {"command": ["x"], "ready": {"log": "("}}}, "a regular expression"),
    ({"a": {"command": ["x"], "ready": {"alive": 0}}}, "above 0"),
    ({"a": {"command": ["x"], "ready": {"tcp": False}}}, "tcp must be true"),
    ({"a": {"command": ["x"], "timeout": -1}}, "above 0"),
    ({"a": {"command": ["x"], "needs": "b"}}, "a list of names"),
    ({"a": {"command": ["x"], "needs": ["b"]}}, "no server has that name"),
    ({"a": {"command": ["x"], "needs": ["a"]}}, "a circle"),
    ({"a": {"command": ["x"], "up": 1}}, "true or false"),
    ({"a": {"command": ["x", "{port}"]}}, "it has no port"),
    ({"a": {"command": ["x", "{prot}"]}}, "not a known placeholder"),
    ({"a": {"command": ["x", "{"]}}, "stand for braces"),
    ({"a": {"command": ["x", "{b.url}"]}}, "no server has that name"),
    ({"a": {"command": ["x", "{inngest.pid}"]}}, "there are port and url"),
    ({"a": {"command": ["x"], "logMaxBytes": -1}}, "whole number of bytes"),
]


@pytest.mark.parametrize(("servers", "words"), WRONG)
def test_a_wrong_declaration_names_file_key_value_and_what_is_allowed(
    place: Place, servers: Any, words: str
) -> None:
    place.declare(servers)
    message = place.refused("inngest.status", code=10)["message"]
    assert message.startswith(f"{place.config}: servers")
    assert words in message


def test_a_circle_names_its_members(place: Place) -> None:
    place.declare({name: {"command": ["x"], "needs": [need]} for name, need in ("ab", "bc", "ca")})
    message = place.refused("dev.up", code=10)["message"]
    assert "a circle can't be started" in message
    assert all(f"{name} needs" in message for name in "abc")


def test_a_port_that_two_would_share_is_an_error(place: Place) -> None:
    place.declare({"one": web(place), "two": web(place, port=place.first + 2)})
    message = place.refused("inngest.status", code=10)["message"]
    assert f"two servers would share port {place.first + 2}" in message
    place.declare({"one": web(place, port=place.pool[0])})
    assert "two servers would share" in place.refused("inngest.status", code=10)["message"]


def test_the_app_of_a_monorepo_runs_in_its_own_folder(place: Place) -> None:
    (place.a / "apps" / "web").mkdir(parents=True)
    dump = place.folder / "dump.json"
    place.be("lock", f"dump={dump}")
    data = json.loads(place.config.read_text())
    data["nextjs"]["cwd"] = "apps/web"
    place.config.write_text(json.dumps(data))
    done = place.call("nextjs.ensure", cwd=place.a)
    assert json.loads(dump.read_text())["cwd"] == str(place.a / "apps" / "web")
    assert place.call("nextjs.status", cwd=place.a)["pid"] == done["pid"]
    place.call("nextjs.stop", cwd=place.a)
    by_hand = place.next_by_hand(place.a / "apps" / "web", done["port"], "lock")
    found = place.call("nextjs.ensure", cwd=place.a)
    assert (found["adopted"], found["listenerPid"]) == (True, by_hand.pid)
    assert "apps/web" in place.refused("nextjs.ensure", code=11, cwd=place.b)["message"]
    assert os.path.isdir(place.b)  # noqa: PTH112


def test_a_declared_server_is_not_taken_for_the_app(place: Place) -> None:
    place.behave()
    place.declare({"docs": web(place)})
    place.call("inngest.ensure", cwd=place.a)
    docs = place.call("docs.ensure", cwd=place.a)["port"]
    app = int(place.claim(place.a))
    error = place.refused("inngest.sync", code=19, cwd=place.a)
    assert f"Nothing listens on port {app}." in error["message"]
    assert str(docs) not in error["message"]


def test_a_folder_that_is_not_there_is_named_not_made(place: Place) -> None:
    place.declare({"worker": {"command": prints(), "cwd": "apps/absent"}})
    error = place.refused("worker.ensure", code=11)
    assert (
        f"servers.worker.cwd names 'apps/absent', and there is no folder {place.main}"
        in error["message"]
    )
    assert not (place.main / "apps").exists()
    assert place.call("worker.status", code=3)["state"] == "stopped"


def test_what_a_placeholder_stands_for_is_the_worktrees_to_keep(place: Place) -> None:
    server = {"command": prints(0.1, "{web.port}"), "ready": {"log": "Ready"}}
    place.declare(
        {"web": web(place), "worker": server, "slotted": {"command": prints(1, "{slot}")}}
    )
    folders = [place.a, place.b]
    done = [ran.json["command"][3] for ran in place.at_once(folders, "worker.ensure", "--json")]
    assert done == [str(place.call("web.ensure", cwd=folder)["port"]) for folder in folders]
    slot = place.call("slotted.ensure", cwd=place.main)["command"][3]
    assert place.claim(place.main).strip() == str(place.pool[int(slot)])


def test_a_pool_that_is_used_up_keeps_nobody_from_asking_and_stopping(place: Place) -> None:
    words = ["{slot}", "{web.url}"]
    worker = {"command": prints(0.1, *words), "env": {"SLOT": "{slot}"}, "ready": {"log": "Ready"}}
    place.declare({"web": web(place), "worker": worker, "plain": {"command": prints()}})
    for folder in (place.main, place.a, place.b):
        place.call("ports.assign", cwd=folder)
    late = place.tree("late")
    assert "claimed by" in place.run("worker.ensure", cwd=late).err
    assert place.refused("worker.ensure", code=18, cwd=late)
    assert place.call("worker.status", code=3, cwd=late)["state"] == "stopped"
    assert place.call("worker.stop", cwd=late)["action"] == "not-running"
    assert place.call("dev.status", cwd=late)["worktrees"][-1]["servers"]["worker"]
    place.call("dev.down", cwd=late)
    assert place.call("plain.ensure", cwd=late)["action"] == "started"
    place.call("plain.stop", cwd=late)


def test_a_server_that_is_declared_no_more_is_pruned(place: Place) -> None:
    place.declare({"old": web(place), "kept": {"command": prints()}})
    done = place.call("old.ensure", cwd=place.a)
    kept = place.call("kept.ensure", cwd=place.a)
    place.declare({"kept": {"command": prints()}})
    found = place.call("dev.prune", "--dry-run")["pruned"]
    assert [(one["kind"], one["why"]) for one in found] == [
        ("server", "the configuration declares it no more")
    ]
    assert accepts(done["port"])
    place.call("dev.prune")
    until(lambda: not accepts(done["port"]))
    assert place.call("dev.prune")["pruned"] == []
    assert place.call("kept.status", cwd=place.a)["pid"] == kept["pid"]
    assert not list((place.git_dir(place.a) / "devservers").glob("old.pid*[!k]"))


def test_one_that_cannot_be_stopped_keeps_no_other_running(place: Place) -> None:
    place.declare({name: {"command": prints()} for name in ("first", "middle", "last")})
    place.call("dev.up")
    record = place.git_dir(place.main) / "devservers" / "middle.pid.json"
    aside = record.rename(record.with_suffix(".aside"))
    record.mkdir()
    assert place.refused("dev.down", code=17)
    assert [place.run(f"{name}.status").code for name in ("first", "last")] == [3, 3]
    record.rmdir()
    aside.rename(record)
    assert place.call("middle.stop")["action"] == "stopped"


def test_who_used_a_shared_server_is_named_only_if_it_was_stopped(place: Place) -> None:
    place.declare({"mail": web(place, scope="machine")})
    place.call("nextjs.ensure", cwd=place.a)
    assert "was still using the mail" not in place.run("dev.down", "--all").err
    place.call("mail.ensure")
    assert "was still using the mail" in place.run("dev.down", "--all").err


def test_a_file_that_is_no_json_is_said_by_whatever_is_asked_for(place: Place) -> None:
    place.config.write_text('{"servers": {,}')
    assert "not valid JSON" in place.refused("storybook.ensure", code=10)["message"]
    assert "No idea what" in place.run("storybook.tset").err


def test_doctor_looks_at_folder_program_and_port(place: Place) -> None:
    worker = {"command": prints(0.1, "a-secret")}
    place.declare({"web": web(place), "worker": worker})

    def checks() -> dict[str, dict[str, Any]]:
        found = place.run("inngest.doctor", "--json").json["checks"]
        return {one["name"]: one for one in found if one["name"].startswith("servers.")}

    found = checks()
    kinds = {"web": ("cwd", "command", "port"), "worker": ("cwd", "command")}
    assert list(found) == [f"servers.{name}.{key}" for name in kinds for key in kinds[name]]
    assert all(one["ok"] for one in found.values()), found
    assert "a-secret" not in str(found)
    port = place.call("web.ensure")["port"]
    assert checks()["servers.web.port"]["detail"] == f"{port}: ours, listens and answers"
    place.call("web.stop")
    stranger = place.listener(port=port)
    gone = {"command": ["no-such-program"]}
    place.declare({"web": web(place), "gone": gone, "lost": {**worker, "cwd": "no/where"}})
    found = {name: one for name, one in checks().items() if not one["ok"]}
    assert list(found) == ["servers.web.port", "servers.gone.command", "servers.lost.cwd"]
    assert f"pid {stranger.pid}" in found["servers.web.port"]["detail"]
    assert "another servers.web.port" in found["servers.web.port"]["fix"]
    assert "no-such-program" in found["servers.gone.command"]["detail"]
    assert str(place.main / "no/where") in found["servers.lost.cwd"]["detail"]


def test_its_program_is_looked_for_on_the_path_that_it_is_given(place: Place) -> None:
    tool = place.main / "bin" / "tool"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho Ready\nexec sleep 600\n")
    tool.chmod(0o755)
    env = {"PATH": f"{{main}}/bin:{os.environ['PATH']}"}
    place.declare({"tool": {"command": ["tool"], "env": env, "ready": {"log": "Ready"}}})
    assert place.call("tool.ensure")["action"] == "started"
    assert place.call("tool.stop")["action"] == "stopped"
    place.declare({"tool": {"command": ["sleep", "600"], "env": {"PATH": "{main}/bin"}}})
    assert "'sleep', which can't be run" in place.refused("tool.ensure", code=11)["message"]
