"""doctor: every precondition with its result, the remedy for what fails, and no secrets."""

import os
import socket
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import devservers
from devservers import config, inngest, worktree
from devservers.inngest import doctor, program, target
from support import STAND_IN, World, accepts, until

NAMES = {
    "config", "package", "localhost", "proxy", "git", "cli", "node", "npm", "pnpm", "pid-file",
    "lock", "server-folder", "app-ids",
}  # fmt: skip


# A real Inngest server of this machine's may have them, which then is one more failed check.
GRPC = {f"port-{port}" for port in doctor.GRPC_PORTS}


def checks(world: World, *failing: str, **options: dict[str, str]) -> dict[str, dict[str, object]]:
    """Return every check by its name; just these must fail."""
    done = world.run("inngest.doctor", "--json", **options)
    found = done.json["checks"]
    assert all(check.keys() == {"name", "ok", "detail", "fix"} for check in found)
    assert all(check["ok"] or check["fix"] for check in found), "a failure without a remedy"
    failed = {check["name"] for check in found if not check["ok"]}
    assert done.code == bool(failed), done
    assert failed - GRPC == set(failing)
    return {check["name"]: check for check in found}


@pytest.fixture
def healthy(world: World) -> World:
    """A machine on which all is well: with a node, and a CLI that tells its version."""
    for name in ("node", "inngest"):
        script = world.bin / name
        script.write_text(f"#!/bin/sh\necho {name} 1.45.1\n")
        script.chmod(0o755)
    world.configure(command=[str(world.bin / "inngest")])
    return world


def test_all_is_well(healthy: World) -> None:
    found = checks(healthy)
    ports = {f"port-{port}" for port in (healthy.port, healthy.port + 1)} | GRPC
    assert found.keys() == NAMES | ports
    assert "1.45.1" in str(found["cli"]["detail"])
    assert str(healthy.config) in str(found["config"]["detail"])
    assert "inngest.port" in str(found["config"]["detail"])
    assert str(found["package"]["detail"]).endswith(f" in {Path(devservers.__file__).parent}")
    well = all(check["ok"] for check in found.values())
    assert healthy.run("inngest.doctor").out.endswith("All is well.\n") is well


def test_a_broken_config_is_the_first_that_is_said(healthy: World) -> None:
    healthy.config.write_text('{"inngest": {"prot": 1}}')
    assert "inngest.prot" in str(checks(healthy, "config")["config"]["detail"])


def test_a_cli_that_is_missing_or_can_not_start(healthy: World) -> None:
    healthy.configure()
    (healthy.bin / "inngest").unlink()
    assert "npm install" in str(checks(healthy, "cli")["cli"]["fix"])
    healthy.configure(command=healthy.fake("stub"))
    found = checks(healthy, "cli")["cli"]
    assert "binary not found" in str(found["detail"])
    assert "rebuild" in str(found["fix"])


def test_a_proxy_is_named_without_its_password(healthy: World) -> None:
    env = {"HTTP_PROXY": "http://user:secret@proxy:3128"}
    done = healthy.run("inngest.doctor", "--json", env=env)
    assert "secret" not in done.out + done.err
    checks(healthy, "proxy", env=env)
    checks(healthy, env=env | {"NO_PROXY": "a, localhost"})


def test_git_variables_are_named(healthy: World) -> None:
    found = checks(healthy, "git", env={"GIT_DIR": "/elsewhere"})["git"]
    assert "GIT_DIR" in str(found["detail"])


def test_holders_of_the_port_and_of_its_neighbour_are_named(healthy: World) -> None:
    stranger = healthy.listener()
    neighbour = healthy.listener(port=healthy.port + 1)
    found = checks(healthy, f"port-{healthy.port}", f"port-{healthy.port + 1}")
    assert str(stranger.pid) in str(found[f"port-{healthy.port}"]["detail"])
    assert str(neighbour.pid) in str(found[f"port-{healthy.port + 1}"]["detail"])


def test_a_pid_file_that_can_not_be_used(healthy: World) -> None:
    healthy.pid_file.mkdir()
    assert "folder" in str(checks(healthy, "pid-file")["pid-file"]["detail"])


def test_a_held_lock_names_its_holder(healthy: World) -> None:
    import filelock  # noqa: PLC0415

    with filelock.FileLock(healthy.lock_file):
        assert str(healthy.lock_file) in str(checks(healthy, "lock")["lock"]["detail"])


def test_two_worktrees_with_one_app_id(healthy: World) -> None:
    healthy.leaves_server = True
    healthy.behave()
    healthy.ok("ensure")
    for port, folder in zip(healthy.apps, (healthy.a, healthy.b), strict=True):
        healthy.app(port, cwd=folder)
        healthy.ok("sync", f"--port={port}")
    found = checks(healthy, "app-ids")["app-ids"]
    assert f"{healthy.apps[0]} by {healthy.apps[1]}" in str(found["detail"])


def test_a_node_that_is_missing_or_can_not_start(healthy: World) -> None:
    node = healthy.bin / "node"
    node.write_text("#!/bin/sh\nexit 1\n")
    assert "can't start" in str(checks(healthy, "node")["node"]["detail"])
    node.unlink()
    assert "not on the PATH" in str(checks(healthy, "node")["node"]["detail"])


def test_a_server_whose_folder_is_gone(healthy: World) -> None:
    folder = healthy.folder / "gone"
    folder.mkdir()
    words = [sys.executable, "-I", "-S", str(STAND_IN), "dev", "--port", str(healthy.port)]
    healthy.processes.popen(words, env=healthy.env(), cwd=folder)
    until(lambda: accepts(healthy.port))
    healthy.ok("ensure")
    assert str(folder) in str(checks(healthy)["server-folder"]["detail"])
    folder.rmdir()
    assert f"{folder} is gone" in str(checks(healthy, "server-folder")["server-folder"]["detail"])
    healthy.ok("stop")


def test_a_folder_for_the_pid_file_that_is_not_there(healthy: World) -> None:
    folder = healthy.folder / "no" / "such"
    healthy.configure(command=[str(healthy.bin / "inngest")], pidFile=str(folder / "pid"))
    assert checks(healthy, "pid-file", "lock")["pid-file"]["fix"] == f"mkdir -p {folder}"


def test_a_package_that_hides_the_installed_one(healthy: World) -> None:
    """What `import` finds first may be a folder of that name, and not what pip installed."""
    site = healthy.folder / "site"
    info = site / "worktree_devservers-9.9.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Name: worktree-devservers\nVersion: 9.9\n")
    (site / "devservers").symlink_to(Path(devservers.__file__).parent)
    env = {"PYTHONPATH": str(site)}
    assert "9.9" in str(checks(healthy, env=env)["package"]["detail"])
    (site / "devservers").unlink()
    found = checks(healthy, "package", env=env)["package"]
    assert f"hides the installed {site / 'devservers'}" in str(found["detail"])


# What a machine has to be bent for is asked of the function


def test_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    found = doctor._package()
    assert (found.ok, found.fix) == (False, "pip install worktree-devservers")


@pytest.mark.parametrize(
    ("answer", "ok"), [("127.0.0.1", True), ("::1", True), ("192.0.2.1", False), (None, False)]
)
def test_a_localhost_that_is_not_this_machine(
    monkeypatch: pytest.MonkeyPatch, answer: str | None, ok: object
) -> None:
    def resolve(*_: Any, **__: Any) -> list[Any]:
        if answer is None:
            raise socket.gaierror(-2, "Name or service not known")
        return [(0, 0, 0, "", (answer, 80))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    found = doctor._localhost()
    assert (found.ok, found.fix is None) == (ok, ok)
    assert str(answer or "Name or service not known") in found.detail


def test_a_folder_for_the_pid_file_that_is_closed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = worktree.find(world.main)
    spec = inngest.spec(config.load(here.root, here.main, {}), here, env={})
    assert doctor._pid_file(spec).ok
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    found = doctor._pid_file(spec)
    assert (found.ok, str(world.pid_file.parent) in found.detail) == (False, True)


def test_a_holder_of_a_port_that_inngest_has_besides(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "GRPC_PORTS", (world.port + 2, world.port + 3))
    stranger = world.listener(port=world.port + 3)
    here = worktree.find(world.main)
    settings = config.load(here.root, here.main, {})
    spec = inngest.spec(settings, here, env={})
    ports = doctor._ports(spec, target.of(settings, here))
    found = {check.name: check for check in ports}
    assert [name for name, check in found.items() if not check.ok] == [f"port-{world.port + 3}"]
    assert f"pid {stranger.pid}" in found[f"port-{world.port + 3}"].detail


def test_a_program_that_hangs_is_ended_with_all_that_it_started(world: World) -> None:
    words = ("/bin/sh", "-c", "sleep 600 & sleep 600")
    assert program.run(words, {**world.env(), "PATH": os.defpath}, world.main, 0.3) is None
    assert world.processes.carrying("HOME", str(world.folder / "home")) == []
