"""doctor: every precondition with its result, the remedy for what fails, and no secrets."""

from pathlib import Path

import pytest

import devservers
from support import World

NAMES = {
    "config", "package", "localhost", "proxy", "git", "cli", "node", "npm", "pnpm", "pid-file",
    "lock", "server-folder", "app-ids",
}  # fmt: skip


def checks(world: World, code: int, **options: dict[str, str]) -> dict[str, dict[str, object]]:
    found = world.ok("doctor", code=code, **options)["checks"]
    assert all(check.keys() == {"name", "ok", "detail", "fix"} for check in found)
    assert all(check["ok"] or check["fix"] for check in found), "a failure without a remedy"
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
    found = checks(healthy, 0)
    assert found.keys() >= NAMES
    assert f"port-{healthy.port}" in found
    assert f"port-{healthy.port + 1}" in found
    assert "1.45.1" in str(found["cli"]["detail"])
    assert str(healthy.config) in str(found["config"]["detail"])
    assert "inngest.port" in str(found["config"]["detail"])
    assert str(found["package"]["detail"]).endswith(f" in {Path(devservers.__file__).parent}")
    assert healthy.run("inngest.doctor").out.endswith("All is well.\n")


def test_a_broken_config_is_the_first_that_is_said(healthy: World) -> None:
    healthy.config.write_text('{"inngest": {"prot": 1}}')
    assert "inngest.prot" in str(checks(healthy, 1)["config"]["detail"])


def test_a_cli_that_is_missing_or_can_not_start(healthy: World) -> None:
    healthy.configure()
    (healthy.bin / "inngest").unlink()
    assert "npm install" in str(checks(healthy, 1)["cli"]["fix"])
    healthy.configure(command=healthy.fake("stub"))
    found = checks(healthy, 1)["cli"]
    assert "binary not found" in str(found["detail"])
    assert "rebuild" in str(found["fix"])


def test_a_proxy_is_named_without_its_password(healthy: World) -> None:
    env = {"HTTP_PROXY": "http://user:secret@proxy:3128"}
    done = healthy.run("inngest.doctor", "--json", env=env)
    assert done.code == 1
    assert "secret" not in done.out + done.err
    assert not {check["name"]: check["ok"] for check in done.json["checks"]}["proxy"]
    assert checks(healthy, 0, env=env | {"NO_PROXY": "a, localhost"})["proxy"]["ok"]


def test_git_variables_are_named(healthy: World) -> None:
    found = checks(healthy, 1, env={"GIT_DIR": "/elsewhere"})["git"]
    assert "GIT_DIR" in str(found["detail"])


def test_holders_of_the_port_and_of_its_neighbour_are_named(healthy: World) -> None:
    stranger = healthy.listener()
    neighbour = healthy.listener(port=healthy.port + 1)
    found = checks(healthy, 1)
    assert str(stranger.pid) in str(found[f"port-{healthy.port}"]["detail"])
    assert str(neighbour.pid) in str(found[f"port-{healthy.port + 1}"]["detail"])


def test_a_pid_file_that_can_not_be_used(healthy: World) -> None:
    healthy.pid_file.mkdir()
    assert "folder" in str(checks(healthy, 1)["pid-file"]["detail"])


def test_a_held_lock_names_its_holder(healthy: World) -> None:
    import filelock  # noqa: PLC0415

    with filelock.FileLock(healthy.lock_file):
        assert str(healthy.lock_file) in str(checks(healthy, 1)["lock"]["detail"])


def test_two_worktrees_with_one_app_id(healthy: World) -> None:
    healthy.leaves_server = True
    healthy.behave()
    healthy.ok("ensure")
    for port, folder in zip(healthy.apps, (healthy.a, healthy.b), strict=True):
        healthy.app(port, cwd=folder)
        healthy.ok("sync", f"--port={port}")
    found = healthy.ok("doctor", code=1)["checks"]
    [app_ids] = [check for check in found if check["name"] == "app-ids"]
    assert f"{healthy.apps[0]} by {healthy.apps[1]}" in app_ids["detail"]
