"""Finding inngest-cli: the order of docs/reference.md, each launcher's words, and none at all."""

import json
import shlex
from typing import Any

import pytest

from support import World

NPX = [
    "--yes",
    "--ignore-scripts=false",
    "--allow-scripts=inngest-cli",
    "--foreground-scripts=true",
    "inngest-cli",
]


def started_by(world: World, **options: Any) -> tuple[str, list[str]]:
    """Start the server and stop it; return the name of what was run, and the words it was given."""
    world.log.unlink(missing_ok=True)
    command = world.ok("ensure", **options)["command"]
    world.ok("stop")
    said = json.loads(world.log_text().splitlines()[0])
    words = said["words"][1:]
    assert words == command[1:], "the answer names what was run"
    return said["name"], words


def test_the_order_is_the_worktrees_own_the_main_ones_then_the_path(world: World) -> None:
    world.configure()
    own = world.install("inngest-cli", folder=world.a / "node_modules" / ".bin")
    pinned = world.install("inngest-cli", folder=world.main / "node_modules" / ".bin")
    own.write_text(own.read_text().replace("name=inngest-cli", "name=own"))
    pinned.write_text(pinned.read_text().replace("name=inngest-cli", "name=pinned"))
    on_path = {name: world.install(name) for name in ("pnpx", "npx", "inngest-cli", "inngest")}
    for script, name in ((own, "own"), (pinned, "pinned")):
        assert started_by(world, cwd=world.a)[0] == name
        script.unlink()
    for name, script in on_path.items():
        assert started_by(world, cwd=world.a)[0] == name
        script.unlink()
    world.fails("ensure", code=11)


@pytest.mark.parametrize(
    ("name", "first"),
    [("pnpx", ["inngest-cli"]), ("npx", NPX), ("inngest-cli", []), ("inngest", [])],
)
def test_each_launcher_gets_the_words_that_it_needs(
    world: World, name: str, first: list[str]
) -> None:
    world.configure(args=["--no-discovery"], path="/x/inngest")
    world.install(name)
    urls = [f"http://localhost:{port}/x/inngest" for port in world.apps]
    watched = [word for url in urls for word in ("--sdk-url", url)]
    words = [*first, "dev", "--port", str(world.port), *watched, "--no-discovery"]
    assert started_by(world) == (name, words)


def test_a_configured_command_comes_before_all_others(world: World) -> None:
    world.install("npx")
    script = world.install("wrapper", folder=world.folder / "tools")
    world.configure(command=[str(script), "extra"])
    name, words = started_by(world)
    assert (name, words[:2]) == ("wrapper", ["extra", "dev"])


def test_a_configured_command_is_found_on_the_path_and_in_the_main_worktree(world: World) -> None:
    world.install("on-path")
    world.configure(command=["on-path"])
    assert started_by(world)[0] == "on-path"
    world.install("inside", folder=world.main / "tools")
    world.configure(command=["tools/inside"])
    assert started_by(world, cwd=world.a)[0] == "inside"


def test_a_host_is_passed_on_and_listened_on(world: World) -> None:
    world.behave(host="127.0.0.1")
    done = world.ok("ensure")
    assert shlex.join(done["command"]).count("--host 127.0.0.1") == 1
    assert done["url"] == world.url
    assert world.ok("status")["responsive"] is True
    assert world.ok("ensure")["action"] == "already-running"
    world.ok("stop")
    world.assert_nothing_left()


def test_a_host_of_ipv6_works_as_well(world: World) -> None:
    world.behave(host="::1")
    assert world.ok("ensure")["action"] == "started"
    assert world.ok("status")["responsive"] is True
    world.ok("stop")
    world.assert_nothing_left()


def test_none_at_all_says_what_was_looked_for_and_how_to_install_it(world: World) -> None:
    world.configure()
    error = world.fails("ensure", code=11, cwd=world.a)
    assert error["code"] == "cli-not-found"
    bins = [str(folder / "node_modules/.bin/inngest-cli") for folder in (world.a, world.main)]
    names = [f"{name} on the PATH" for name in ("pnpx", "npx", "inngest-cli", "inngest")]
    assert error["lookedFor"] == [*bins, *names]
    assert "npm install" in error["hint"]
    assert all(place in error["message"] for place in error["lookedFor"])
    world.assert_nothing_left()


def test_a_configured_command_that_is_not_there_is_named(world: World) -> None:
    world.configure(command=["no-such-program", "x"])
    error = world.fails("ensure", code=11)
    assert "'no-such-program'" in error["message"]
    assert "inngest.command" in error["message"]


def test_a_file_that_is_not_executable_is_passed_over(world: World) -> None:
    world.configure()
    world.install("inngest-cli", folder=world.main / "node_modules" / ".bin").chmod(0o644)
    world.install("inngest")
    assert started_by(world)[0] == "inngest"


def test_install_scripts_are_allowed_in_the_environment_of_the_launcher(world: World) -> None:
    world.leaves_server = True
    world.ok("ensure", env={"npm_config_ignore_scripts": "true"})
    (server,) = world.servers()
    assert server.environ()["npm_config_ignore_scripts"] == "false"
