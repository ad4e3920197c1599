"""inngest.scope "worktree": a server for each worktree, and nobody's events in another's code."""

import itertools
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devservers import config, inngest, worktree
from devservers.lifecycle import verdict
from devservers.system import sockets
from hooking import run_hook
from next_support import FAKE_NEXT, NextWorld, next_world
from support import CONFIG, accepts, claimed_ports, until


class Scoped(NextWorld):
    """A repository whose worktrees have an Inngest server each."""

    own_ports: tuple[int, ...] = ()

    def configure(self, *, folder: Path | None = None, **inngest: Any) -> None:  # type: ignore[override]
        inngest.pop("nextjs", None)
        own: dict[str, object] = {"scope": "worktree", "ports": list(self.own_ports)}
        own["args"] = ["--poll-interval", "0.2"]
        command = [sys.executable, "-I", "-S", str(FAKE_NEXT), *self.behaviours, "{port}"]
        data = {
            "nextjs": {"ports": self.pool, "command": command},
            "inngest": {**own, **inngest},
        }
        file = self.config if folder is None else folder / CONFIG
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(data))

    def mark(self, folder: Path) -> None:
        """Let the server of a worktree be found by its mark when the test ends."""
        pid_file = self.git_dir(folder) / "devservers" / "inngest.pid"
        self.processes.marks.append(("DEVSERVERS_SERVER", f"inngest:{pid_file}"))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Scoped]:
    with claimed_ports() as first, claimed_ports() as second, claimed_ports() as third:
        Scoped.own_ports = (first, second, third)
        with next_world(tmp_path, "lock", "app=flowt", size=3, make=Scoped) as made:
            assert isinstance(made, Scoped)
            for folder in (made.main, made.a, made.b):
                made.mark(folder)
            made.leaves_server = True
            yield made


def test_each_worktree_has_a_server_of_its_own_that_watches_its_app_only(place: Scoped) -> None:
    first = place.call("inngest.ensure", cwd=place.a)
    second = place.call("inngest.ensure", cwd=place.b)
    assert (first["action"], first["scope"], first["pinned"]) == ("started", "worktree", None)
    assert first["port"] != second["port"]
    assert {first["port"], second["port"]} <= set(place.own_ports)
    for done, folder in ((first, place.a), (second, place.b)):
        port = place.call("ports.assign", cwd=folder)["port"]
        assert done["watching"] == [port]
        assert place.own_ports.index(done["port"]) == place.pool.index(port)
        assert done["logFile"] == str(place.git_dir(folder) / "devservers" / "inngest.log")
        assert done["worktree"] == str(folder)
    assert place.call("inngest.ensure", cwd=place.a)["action"] == "already-running"


def test_a_port_that_the_caller_asks_for_is_watched_and_the_slot_stays(place: Scoped) -> None:
    with claimed_ports() as beside:
        asks = {"PORT": str(beside)}
        done = place.call("inngest.ensure", cwd=place.a, env=asks)
        assert done["watching"] == [beside]
        assert done["port"] == place.own_ports[place.pool.index(int(place.claim(place.a)))]
        up = place.call("dev.up", cwd=place.a, env=asks)
        assert (up["inngest"]["action"], up["inngest"]["added"]) == ("already-running", [])
        assert (up["app"]["port"], up["app"]["state"]) == (beside, "served")
        status = place.call("inngest.status", cwd=place.a)  # the app's port is known by now
        assert (status["servedBy"], status["missing"]) == (beside, [])
        place.call("nextjs.stop", cwd=place.a)


def test_without_a_slot_there_is_no_server_and_nobody_elses_is_touched(place: Scoped) -> None:
    others = (place.main, place.a, place.b)
    pids = [place.call("inngest.ensure", cwd=folder)["pid"] for folder in others]
    late = place.tree("late")
    for env in ({}, {"PORT": str(place.pool[0])}, {"PORT": str(place.port)}):
        for words in (("inngest.ensure",), ("inngest.ensure", "--force"), ("inngest.restart",)):
            error = place.refused(*words, cwd=late, env=env, code=18)
            assert (error["code"], len(error["ports"])) == ("no-port", 3)
        status = place.call("inngest.status", cwd=late, env=env, code=3)
        assert (status["state"], status["port"], status["pid"]) == ("stopped", None, None)
        assert place.call("inngest.stop", "--force", cwd=late, env=env)["action"] == "not-running"
    assert "no slot" in place.refused("inngest.sync", cwd=late, code=19)["message"]
    assert [place.call("inngest.status", cwd=folder)["pid"] for folder in others] == pids


def test_the_bundled_imitation_can_be_each_ones_own(place: Scoped) -> None:
    done = [place.call("inngest.ensure", "--stand-in", cwd=one) for one in (place.a, place.b)]
    assert [one["standIn"] for one in done] == [True, True]
    words = [word for one in done for word in one["command"]]
    further = [int(port) for flag, port in itertools.pairwise(words) if "-port" in flag]
    assert len(set(further)) == len(further) == 8
    for one in done:
        assert accepts(int(one["command"][one["command"].index("--connect-gateway-port") + 1]))


def test_nobody_takes_over_a_server_whose_worktree_has_lost_its_slot(place: Scoped) -> None:
    own = place.call("inngest.ensure", cwd=place.a)
    slot = place.claim(place.a)
    (place.a / ".dev-port").unlink()
    (place.b / ".dev-port").write_text(slot)
    error = place.refused("inngest.ensure", cwd=place.b, code=12)
    assert error["holders"][0]["pid"] == own["pid"]
    place.call("inngest.stop", cwd=place.b)
    assert place.call("inngest.status", cwd=place.a)["pid"] == own["pid"]
    place.call("inngest.stop", cwd=place.a)
    assert place.call("inngest.ensure", cwd=place.b)["port"] == own["port"]


def test_a_stop_or_a_restart_of_one_leaves_the_others(place: Scoped) -> None:
    first = place.call("inngest.ensure", cwd=place.a)
    second = place.call("inngest.ensure", cwd=place.b)
    again = place.call("inngest.restart", cwd=place.a)
    assert (again["action"], again["port"]) == ("restarted", first["port"])
    place.call("inngest.stop", cwd=place.a)
    assert place.call("inngest.status", cwd=place.a, code=3)["state"] == "stopped"
    assert place.call("inngest.status", cwd=place.b)["pid"] == second["pid"]


def test_all_at_once_each_get_their_own(place: Scoped) -> None:
    folders = [place.main, place.a, place.b] * 3
    done = [ran.json for ran in place.at_once(folders, "inngest.ensure", "--json")]
    pids = {folder: {one["pid"] for one, of in zip(done, folders, strict=True) if of == folder}
            for folder in folders}  # fmt: skip
    assert all(len(found) == 1 for found in pids.values())
    assert len(set.union(*pids.values())) == 3
    assert {one["port"] for one in done} == set(place.own_ports)


def test_up_hands_the_server_to_the_app_and_events_stay_in_the_worktree(place: Scoped) -> None:
    for folder in (place.a, place.b):
        up = place.call("dev.up", cwd=folder)
        assert up["app"]["state"] == "served"
        assert up["app"]["replaced"] is None
    rows = {row["branch"]: row for row in place.call("dev.status", cwd=place.a)["worktrees"]}
    assert (rows["a"]["served"], rows["b"]["served"]) == (True, True)
    assert rows["a"]["inngest"]["state"] == rows["b"]["inngest"]["state"] == "running"
    for folder in (place.a, place.b):
        status = place.call("inngest.status", cwd=folder)
        assert (status["served"], status["missing"]) == (True, [])


def test_the_app_is_given_its_own_servers_address(place: Scoped) -> None:
    dump = place.folder / "dump.json"
    place.be("lock", "app=flowt", f"dump={dump}")
    place.call("dev.up", cwd=place.a)
    port = place.call("inngest.status", cwd=place.a)["port"]
    env = json.loads(dump.read_text())["env"]
    assert env["INNGEST_DEV"] == f"http://localhost:{port}"


def test_down_stops_the_worktrees_own(place: Scoped) -> None:
    place.call("dev.up", cwd=place.a)
    place.call("dev.up", cwd=place.b)
    done = place.call("dev.down", cwd=place.a)
    assert (done["inngest"]["action"], done["nextjs"]["action"]) == ("stopped", "stopped")
    assert place.call("inngest.status", cwd=place.b)["state"] == "running"


def test_a_hook_ensures_the_worktrees_own(place: Scoped) -> None:
    place.call("inngest.ensure", cwd=place.a)  # what it executes is accepted from now on
    place.call("inngest.stop", cwd=place.a)
    run_hook(place, "--wait", "ensure", "inngest", cwd=place.b)
    status = place.call("inngest.status", cwd=place.b)
    assert (status["state"], status["scope"]) == ("running", "worktree")
    assert place.call("inngest.status", cwd=place.a, code=3)["state"] == "stopped"


def test_a_hook_runs_nothing_of_a_checkout_not_even_to_learn_its_version(place: Scoped) -> None:
    ran = place.folder / "ran"
    script = place.main / "tool.sh"
    script.write_text(f"#!/bin/sh\necho $* >>{ran}\nexit 1\n")
    script.chmod(0o755)
    place.configure(command=["./tool.sh"])
    place.git("add", "-f", "tool.sh", CONFIG, cwd=place.main)
    for words in (("--wait", "ensure", "inngest"), ("ensure", "inngest")):
        assert "inv hooks.trust" in run_hook(place, *words, cwd=place.main, trusted=False).err
    place.run("hooks.status", cwd=place.main)
    assert not ran.exists()
    place.run("inngest.ensure", cwd=place.main)  # by hand it is run, and asked for its version
    assert ran.read_text().startswith("version\ndev --port")


@pytest.mark.parametrize("scope", ["worktree", "machine"])
def test_a_server_of_another_worktree_is_nobody_elses_to_take_over(
    place: Scoped, scope: str
) -> None:
    first = place.call("inngest.ensure", cwd=place.a)
    (place.b / ".dev-port").write_text(place.claim(place.a))  # it has the same slot, for once
    (place.a / ".dev-port").unlink()
    if scope == "machine":
        shared = {"scope": scope, "ports": None, "pidFile": str(place.pid_file)}
        place.behave(port=first["port"], **shared)
    refused = place.refused("inngest.ensure", code=12, cwd=place.b)
    assert [holder["pid"] for holder in refused["holders"]] == [first["pid"]]
    place.call("inngest.stop", cwd=place.b)
    place.behave()
    assert place.call("inngest.status", cwd=place.a)["pid"] == first["pid"]


def test_a_hook_notices_that_the_worktree_has_another_port(place: Scoped) -> None:
    place.call("inngest.ensure", cwd=place.a)
    before = int(place.claim(place.a))
    for _ in range(2):
        assert run_hook(place, "--wait", "ensure", "inngest", cwd=place.a).err == ""
    now = next(port for port in place.pool if port != before)
    (place.a / ".dev-port").write_text(str(now))
    run_hook(place, "--wait", "ensure", "inngest", cwd=place.a)
    assert now in place.call("inngest.status", cwd=place.a)["watching"]


def test_the_callers_port_is_that_of_no_other_worktree(place: Scoped) -> None:
    for folder in (place.a, place.b):
        place.call("inngest.ensure", cwd=folder)
    done = place.call("dev.status", cwd=place.a, env={"PORT": place.claim(place.a).strip()})
    assert [row["inngest"]["missing"] for row in done["worktrees"]] == [None, [], []]
    assert [row["inngest"]["warnings"] for row in done["worktrees"]] == [[], [], []]


def test_a_warm_call_asks_nobody_who_listens(
    place: Scoped, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.call("inngest.ensure", cwd=place.a)
    place.listener(port=int(place.claim(place.a)))
    monkeypatch.setattr(sockets, "listening", pytest.fail)
    here = worktree.find(place.a)
    spec = inngest.spec(config.load(here.root, here.main), here, env=place.env())
    assert verdict.quick_proof(spec) is not None


def test_a_worktree_that_goes_takes_its_server_along(place: Scoped) -> None:
    done = place.call("inngest.ensure", cwd=place.b)
    place.git("worktree", "remove", "--force", place.b, cwd=place.main)
    pruned = place.call("dev.prune", cwd=place.main)["pruned"]
    assert [found["kind"] for found in pruned] == ["server"]
    until(lambda: not accepts(done["port"]))


def test_a_worktree_without_a_slot_has_every_key_of_a_status(place: Scoped) -> None:
    for folder, port in zip((place.main, place.a, place.b), place.pool, strict=True):
        (folder / ".dev-port").write_text(str(port))
    none = place.call("inngest.status", cwd=place.tree("c"), code=3)
    assert none.keys() == place.call("inngest.status", cwd=place.a, code=3).keys()
    assert (none["port"], none["scope"], none["served"]) == (None, "worktree", None)
    checks = place.run("inngest.doctor", "--json", cwd=place.folder / "c").json["checks"]
    assert [check["name"] for check in checks if check["name"].startswith("port-")] == []


def test_a_changed_scope_names_what_is_left_over_and_prune_ends_it(place: Scoped) -> None:
    own = place.call("inngest.ensure", cwd=place.a)
    with claimed_ports() as port:
        shared = {"scope": "machine", "ports": None, "port": port, "pidFile": str(place.pid_file)}
        place.behave(**shared)
        machine = place.call("inngest.ensure", cwd=place.a)
        assert f"left over: pid {own['pid']}" in " ".join(machine["warnings"])
        assert (machine["scope"], machine["pid"] != own["pid"]) == ("machine", True)
        pruned = place.call("dev.prune", cwd=place.main)["pruned"]
        assert [found["kind"] for found in pruned] == ["server"]
        assert str(own["pid"]) in pruned[0]["what"]
        again = place.call("inngest.ensure", cwd=place.a)
        assert (again["pid"], again["warnings"]) == (machine["pid"], [])
        place.call("inngest.stop", cwd=place.a)


def test_prune_ends_no_server_that_another_worktrees_configuration_asks_for(place: Scoped) -> None:
    place.behave()
    own = place.call("inngest.ensure", cwd=place.a)
    with claimed_ports() as port:
        shared = {"scope": "machine", "ports": None, "port": port, "pidFile": str(place.pid_file)}
        place.configure(folder=place.b, command=place.fake(), **shared)
        machine = place.call("inngest.ensure", cwd=place.b)
        for folder in (place.a, place.b):
            assert place.call("dev.prune", cwd=folder)["pruned"] == []
        assert place.call("inngest.status", cwd=place.a)["pid"] == own["pid"]
        assert place.call("inngest.status", cwd=place.b)["pid"] == machine["pid"]
        place.call("inngest.stop", cwd=place.b)


@pytest.mark.parametrize(
    ("inngest", "words"),
    [
        ({"scope": "galaxy"}, ("inngest.scope", '"galaxy"', '"machine" or "worktree"')),
        ({"pidFile": "/tmp/x.pid"}, ("inngest.pidFile", "must be relative")),  # noqa: S108
        ({"logFile": "/tmp/x.log"}, ("inngest.logFile", "must be relative")),  # noqa: S108
        ({"ports": [9001]}, ("inngest.ports", "[9001]", "a port for each of nextjs.ports")),
        ({"ports": [9001, 9001, 9002]}, ("inngest.ports", "twice")),
        ({"ports": []}, ("inngest.ports", "at least one")),
    ],
)
def test_a_wrong_declaration_is_named(
    place: Scoped, inngest: dict[str, object], words: tuple[str, ...]
) -> None:
    place.behave(**inngest)
    message = place.refused("inngest.status", code=10)["message"]
    assert all(word in message for word in words), message


def test_a_port_of_the_pool_can_be_no_servers_own(place: Scoped) -> None:
    place.behave(ports=[*place.own_ports[:2], place.pool[0]])
    message = place.refused("inngest.status", code=10)["message"]
    assert f"two servers would share port {place.pool[0]}" in message


def test_its_further_ports_are_no_neighbours(place: Scoped) -> None:
    commands = [place.call("inngest.ensure", cwd=one)["command"] for one in (place.a, place.b)]
    ports = [
        int(words[words.index(flag) + 1])
        for words in commands
        for flag in ("--port", "--connect-gateway-port")
    ]
    assert len(set(ports)) == len(ports)
    assert not set(ports) & {8289, 50052, 50053}


def test_nothing_of_the_callers_configures_it(place: Scoped) -> None:
    evil = {"INNGEST_PORT": "1", "INNGEST_SDK_URL": "http://localhost:1", "DEBUG": "1"}
    done = place.call("inngest.ensure", cwd=place.a, env=evil)
    environ = Path(f"/proc/{done['pid']}/environ")
    if os.path.exists(environ):  # noqa: PTH110
        names = {entry.partition(b"=")[0] for entry in environ.read_bytes().split(b"\0")}
        assert not {b"INNGEST_PORT", b"INNGEST_SDK_URL", b"DEBUG", b"PORT"} & names
    assert "--no-discovery" in done["command"]
    assert "--config" not in done["command"]
    (place.main / "inngest.json").write_text('{"port": 1}')  # above git's folder of the worktree
    again = place.call("inngest.restart", cwd=place.a)
    assert again["port"] == done["port"]
    empty = Path(again["command"][again["command"].index("--config") + 1])
    assert json.loads(empty.read_text()) == {}
    assert place.call("inngest.ensure", cwd=place.a)["warnings"] == []


def test_a_home_that_cannot_be_looked_into_has_no_configuration(
    place: Scoped, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = worktree.find(place.a)
    settings = config.load(here.root, here.main)
    for home in ("/" + "x" * 300, "relative"):
        monkeypatch.setenv("HOME", home)
        assert "--config" not in inngest.spec(settings, here, stand_in=True).command()
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 1 << 30)  # of nobody here
    assert "--config" not in inngest.spec(settings, here, stand_in=True).command()


def test_whoever_starts_the_app_by_hand_is_told_what_to_export(place: Scoped) -> None:
    port = place.call("inngest.ensure", cwd=place.a)["port"]
    line = f"export INNGEST_DEV=http://localhost:{port}"
    assert line in place.run("ports.assign", cwd=place.a).out
    assert line in place.run("inngest.status", cwd=place.a).out
    assert line in place.run("dev.status", cwd=place.a).out
    assert place.call("ports.assign", cwd=place.a)["exports"]["INNGEST_DEV"].endswith(str(port))


def test_doctor_names_the_ports_of_this_worktrees_server(place: Scoped) -> None:
    done = place.run("inngest.doctor", "--json", cwd=place.a)
    names = [check["name"] for check in done.json["checks"]]
    claimed = place.pool.index(place.call("ports.assign", cwd=place.a)["port"])
    assert f"port-{place.own_ports[claimed]}" in names
    assert sum(name.startswith("port-") for name in names) == 4


def test_a_cli_that_does_not_know_further_ports_is_not_told_of_them(place: Scoped) -> None:
    place.behave("old")
    command = place.call("inngest.ensure", cwd=place.a)["command"]
    assert not [word for word in command if word.startswith("--connect")]
