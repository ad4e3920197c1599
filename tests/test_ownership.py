"""What another user wrote, or everyone may write to, is neither read nor executed."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devservers.system import ownership
from hooking import run_hook, warm
from support import CONFIG, DEVSERVERS, Ran, World, git

STRANGER = 61_234  # a uid that nobody has
pytestmark = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away"
)


def give_away(path: Path) -> Path:
    os.chown(path, STRANGER, STRANGER, follow_symlinks=False)
    return path


def ran(world: World) -> Path:
    """Return the file that the world's CLI writes once it has been executed."""
    return world.folder / "ran"


@pytest.fixture(autouse=True)
def _tells(world: World) -> None:
    """Let the CLI write a file as soon as it is executed, and not stay."""
    world.configure(command=telling(world))


def telling(world: World) -> list[str]:
    return ["/bin/sh", "-c", f"echo > {ran(world)}; exit 1"]


def refused(world: World, code: int, names: Path, **options: Any) -> str:
    """Require that no task executes anything, and says whose that file is; return the hint."""
    error = world.fails("ensure", code=code, **options)
    assert error["code"] == {10: "config-invalid", 11: "cli-not-found"}[code]
    assert str(names) in error["message"], error
    assert f"uid {STRANGER}" in error["message"] or "Everyone may write" in error["message"]
    assert "safe.directory" in error["hint"]
    told = world.run("inngest.doctor", "--json", **options)
    assert told.code == 1, told
    assert any(error["message"] == check["detail"] for check in told.json["checks"]), told
    assert not ran(world).exists()
    return str(error["hint"])


def foreign_git(world: World) -> Path:
    return give_away(world.main / ".git")


def foreign_top(world: World) -> Path:
    return give_away(world.main)


def foreign_config(world: World) -> Path:
    return give_away(world.config)


def foreign_folder_of_the_config(world: World) -> Path:
    return give_away(world.config.parent)


def config_for_everyone(world: World) -> Path:
    world.config.chmod(0o666)
    return world.config


def folder_for_everyone(world: World) -> Path:
    world.config.parents[1].chmod(0o777)
    return world.config.parents[1]


def link_to_a_foreign_config(world: World) -> Path:
    real = world.config.replace(world.folder / "real.json")
    world.config.symlink_to(real)
    return give_away(real)


def foreign_link_to_a_config(world: World) -> Path:
    world.config.symlink_to(world.config.replace(world.folder / "real.json"))
    return give_away(world.config)


@pytest.mark.parametrize(
    "arrange",
    [
        foreign_git,
        foreign_top,
        foreign_config,
        foreign_folder_of_the_config,
        config_for_everyone,
        folder_for_everyone,
        link_to_a_foreign_config,
        foreign_link_to_a_config,
    ],
)
def test_a_configuration_of_others_is_refused(
    world: World, arrange: Callable[[World], Path]
) -> None:
    named = arrange(world)
    hint = refused(world, 10, named)
    assert str(world.main) in hint
    below = world.main / "apps"
    below.mkdir()
    refused(world, 10, named, cwd=below)


def test_a_git_file_of_ours_that_leads_to_a_folder_of_others_is_refused(world: World) -> None:
    folder = world.main / ".git" / "worktrees" / world.a.name
    refused(world, 10, give_away(folder), cwd=world.a)


def test_a_common_folder_of_others_is_refused(world: World) -> None:
    assert world.a.is_dir()
    refused(world, 10, foreign_git(world), cwd=world.a)


def test_the_main_worktrees_configuration_is_asked_for_its_owner_in_a_linked_one(
    world: World,
) -> None:
    assert world.a.is_dir()
    hint = refused(world, 10, foreign_config(world), cwd=world.a)
    assert f"safe.directory {world.main}" in hint


def test_a_configuration_that_the_environment_names_is_asked_for_its_owner(world: World) -> None:
    other = world.config.replace(world.folder / "other.json")
    env = {"DEVSERVERS_CONFIG": str(give_away(other))}
    refused(world, 10, other, env=env)


def test_a_git_folder_of_others_further_up_is_refused_and_not_passed_over(world: World) -> None:
    """Another user's repository in a folder that both can write to, as /tmp is."""
    shared = world.folder / "shared"
    (shared / "mine").mkdir(parents=True)
    shared.chmod(0o1777)
    git("init", "-q", cwd=shared)
    world.configure(folder=shared, command=telling(world))
    refused(world, 10, give_away(shared / ".git"), cwd=shared / "mine", program=DEVSERVERS)


def test_without_git_the_folder_itself_is_asked(world: World) -> None:
    shared = world.folder / "shared"
    shared.mkdir()
    world.configure(folder=shared, command=telling(world))
    refused(world, 10, give_away(shared / CONFIG), cwd=shared, program=DEVSERVERS)
    (shared / CONFIG).unlink()
    world.install("inngest-cli", f"dump={ran(world)}", folder=shared / "node_modules/.bin")
    program = give_away(shared / "node_modules/.bin/inngest-cli")
    refused(world, 11, program, cwd=shared, program=DEVSERVERS, env=own_files(world))


def own_files(world: World) -> dict[str, str]:
    """Return an environment with a configuration of ours: this world's port and pid file."""
    world.configure(folder=world.folder / "home")
    return {"DEVSERVERS_CONFIG": str(world.folder / "home" / CONFIG)}


# Programs


def in_modules(world: World) -> Path:
    world.configure()
    folder = world.a / "node_modules" / ".bin"
    return give_away(world.install("inngest-cli", f"dump={ran(world)}", folder=folder))


def behind_a_link(world: World) -> Path:
    world.configure()
    real = world.install("cli.js", f"dump={ran(world)}", folder=world.a / "packages")
    (world.a / "node_modules" / ".bin").mkdir(parents=True)
    (world.a / "node_modules" / ".bin" / "inngest-cli").symlink_to("../../packages/cli.js")
    return give_away(real)


def in_a_folder_for_everyone(world: World) -> Path:
    give_away(in_modules(world))
    os.chown(world.a / "node_modules/.bin/inngest-cli", 0, 0)
    (world.a / "node_modules").chmod(0o777)
    return world.a / "node_modules"


def configured(world: World) -> Path:
    program = world.install("cli", f"dump={ran(world)}", folder=world.main / "tools")
    world.configure(command=["tools/cli"])
    return give_away(program)


@pytest.mark.parametrize(
    "arrange", [in_modules, behind_a_link, in_a_folder_for_everyone, configured]
)
def test_a_program_of_others_in_a_checkout_is_refused(
    world: World, arrange: Callable[[World], Path]
) -> None:
    assert world.a.is_dir()
    refused(world, 11, arrange(world), cwd=world.a)


def test_a_program_of_others_on_a_relative_path_is_refused(world: World) -> None:
    world.configure()
    program = world.install("npx", f"dump={ran(world)}", folder=world.main / "tools")
    refused(world, 11, give_away(program), env={"PATH": f"tools{os.pathsep}{world.bin}"})


def test_doctor_does_not_even_ask_such_a_program_for_its_version(world: World) -> None:
    program = world.main / "tools" / "node"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho > {ran(world)}\n")
    program.chmod(0o755)
    give_away(program)
    done = world.run("inngest.doctor", "--json", env={"PATH": "tools"})
    (node,) = [check for check in done.json["checks"] if check["name"] == "node"]
    assert (node["ok"], str(program) in node["detail"]) == (False, True)
    assert not (world.main / "ran").exists()
    assert "sh" not in {check["name"] for check in done.json["checks"]}


@pytest.mark.parametrize("name", ["package.json", ".npmrc", "node_modules"])
def test_a_launcher_is_not_run_below_what_others_could_redirect_it_by(
    world: World, name: str
) -> None:
    """Npx looks upwards, beyond the top of the worktree: all the way to the root."""
    world.configure()
    world.install("npx", f"dump={ran(world)}")
    file = world.folder / name
    file.mkdir() if name == "node_modules" else file.write_text("{}")
    refused(world, 11, give_away(file))


def test_the_cli_gets_no_settings_of_others_from_a_folder_above(world: World) -> None:
    world.behave(f"dump={ran(world)}")
    (file := world.folder / "inngest.yaml").write_text("host: 0.0.0.0\n")
    refused(world, 11, give_away(file))
    assert world.ok("ensure", "--stand-in")["action"] == "started"  # it reads none
    world.ok("stop")


def test_the_same_holds_for_the_programs_of_next_js(world: World) -> None:
    (world.main / "package.json").write_text('{"dependencies": {"next": "1"}}')
    folder = world.main / "node_modules" / ".bin"
    program = give_away(world.install("next", f"dump={ran(world)}", folder=folder))
    done = world.run("nextjs.ensure", "--json")
    assert (done.code, str(program) in done.error["message"]) == (11, True)
    assert not ran(world).exists()


# What git excepts


def excepted(world: World, *values: str) -> Ran:
    lines = "".join(f"\tdirectory = {value}\n" for value in values)
    (world.folder / "home" / ".gitconfig").write_text(f"[safe]\n{lines}")
    ran(world).unlink(missing_ok=True)
    return world.run("inngest.ensure", "--json", "--timeout=20")


def test_what_git_trusts_is_trusted(world: World) -> None:
    foreign_git(world)
    foreign_config(world)
    for values in ([str(world.main)], ["*"], ["/nowhere", f"{world.folder}/*"]):
        assert excepted(world, *values).code == 13, "it was executed, and ended"
        assert ran(world).exists()
    for values in (["/nowhere"], ["*", ""], [f"{world.main}x"], [str(world.main / ".git")]):
        assert excepted(world, *values).code == 10
        assert not ran(world).exists()


def test_a_command_line_of_gits_excepts_too_but_never_the_repository_itself(world: World) -> None:
    foreign_config(world)
    with (world.main / ".git" / "config").open("a") as config:
        config.write("[safe]\n\tdirectory = *\n")
    own = {"GIT_DIR": str(world.main / ".git")}
    assert world.run("inngest.ensure", "--json", env=own).code == 10
    given = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": str(world.main),
    }
    assert world.run("inngest.ensure", "--json", env=given).code == 13


def test_the_repository_in_question_is_not_even_read_for_that(world: World) -> None:
    foreign_config(world)
    with (world.main / ".git" / "config").open("a") as config:
        config.write("[broken\n")
    assert excepted(world, str(world.main)).code == 13


@pytest.mark.parametrize("place", ["tools", "whole"])
def test_the_git_that_is_asked_is_not_one_of_the_checkout(world: World, place: str) -> None:
    foreign_config(world)
    path = os.pathsep.join((str(its_own_git(world)) if place == "whole" else place, "/usr/bin"))
    assert world.run("inngest.ensure", "--json", env={"PATH": path}).code == 10
    assert not (world.folder / "asked").exists()


def test_no_git_on_a_relative_path_is_asked_anything(world: World) -> None:
    path = os.pathsep.join((its_own_git(world).name, "/usr/bin"))
    assert world.run("dev.status", "--json", env={"PATH": path}).code == 0
    assert not (world.folder / "asked").exists()


def its_own_git(world: World) -> Path:
    """Put a program of that name into the checkout, and return its folder."""
    program = world.main / "tools" / "git"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho > {world.folder / 'asked'}\n")
    program.chmod(0o755)
    return program.parent


def test_a_repository_at_the_root_of_all_excepts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = b"system\0/a\0global\0/b\0local\0*\0worktree\0*\0command\0/c\0"
    done = subprocess.CompletedProcess([], 0, stdout=answer)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    assert ownership._safe_directories("/x") == ["/a", "/b", "/c"]


def test_what_sudo_came_from_is_trusted_by_root(world: World) -> None:
    foreign_git(world)
    foreign_config(world)
    assert world.run("inngest.ensure", "--json", env={"SUDO_UID": str(STRANGER)}).code == 13


def test_sudo_widens_nobody_elses_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", str(STRANGER))
    assert ownership._trusted() == (0, 0, STRANGER)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert ownership._trusted() == (1000, 0)


def test_folders_outside_the_worktree_are_not_asked_for_their_owner(world: World) -> None:
    """A file of ours may lie in another's folder, such as an administrator's."""
    folder = world.folder / "theirs"
    folder.mkdir()
    world.config.symlink_to(world.config.replace(folder / "real.json"))
    give_away(folder)
    assert world.run("inngest.ensure", "--json").code == 13, "it was executed, and ended"
    ran(world).unlink()
    folder.chmod(0o777)
    refused(world, 10, folder)


def test_the_sticky_bit_of_a_folder_for_everyone_is_enough(world: World) -> None:
    world.config.parents[1].chmod(0o1777)
    assert world.run("inngest.ensure", "--json").code == 13


# Looking at others' processes


@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_a_listener_in_a_repository_of_others_is_in_no_worktree(world: World, mode: int) -> None:
    theirs = world.folder / "theirs"
    theirs.mkdir()
    git("init", "-q", cwd=theirs)
    give_away(theirs / ".git")
    theirs.chmod(mode)
    port = world.apps[0]
    app = world.app(port, cwd=give_away(theirs))
    found = world.run("ports.who", f"--port={port}", "--json").json["holders"]
    assert [(holder["pid"], holder["worktree"]) for holder in found] == [(app.pid, None)]
    row = world.run("ports.list", "--json").json["ports"][0]
    assert (row["pid"], row["worktree"], row["state"]) == (app.pid, None, "foreign")
    (first, _) = world.ok("apps")["apps"]
    assert (first["port"], first["worktree"]) == (port, None)


def test_a_worktree_whose_place_another_user_took_is_none_of_ours(world: World) -> None:
    world.configure(folder=world.a, command=["never"])
    give_away(world.a / ".git")
    found = world.run("dev.status", "--json").json["worktrees"]
    assert [row["worktree"] for row in found] == [str(world.main)]


# Files that are none


@pytest.mark.parametrize("target", ["/dev/zero", "/dev/stdin", "fifo"])
def test_a_configuration_that_is_no_file_holds_nobody_up(world: World, target: str) -> None:
    world.config.unlink()
    if target == "fifo":
        os.mkfifo(world.config)
    else:
        world.config.symlink_to(target)
    error = world.fails("ensure", code=10)
    assert str(world.config) in error["message"]


def test_a_receipt_of_others_proves_nothing(world: World) -> None:
    world.leaves_server = True
    world.behave()
    world.ok("ensure")
    warm(world)
    receipt = world.main / ".git" / "devservers" / "inngest.receipt"
    text = receipt.read_text()
    give_away(receipt)
    assert run_hook(world).err == ""
    assert receipt.read_text() == text
    assert receipt.stat().st_uid == 0, "it was proved anew, and noted down"


def test_the_error_is_json_for_those_who_want_that(world: World) -> None:
    done = world.run("inngest.status", "--json", cwd=foreign_top(world))
    assert done.code == 10
    assert json.loads(done.out)["error"]["file"] == str(world.main / ".git")
