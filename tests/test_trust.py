"""What a checkout brought along runs in a hook only after a person ran it by hand once."""

import json
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import no_proc
import pytest

import devservers.trust.gate
from devservers import config, inngest, worktree
from devservers.errors import HooksUnusableError
from devservers.lifecycle import server
from devservers.trust import brought_along
from devservers.trust.tracked_files import Tracked
from hooking import BRANCH, HOOK, accept, brought_by_psutil, detached, run_git, run_hook, settle
from next_support import NextWorld, next_world
from support import CONFIG, STAND_IN, World, accepts, git, make_repository

BIN = Path("node_modules/.bin/inngest-cli")


@pytest.fixture(autouse=True)
def _worktrees(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the worktrees, and a CLI of the user's own on the PATH, also of this very process.

    That the pid file is this world's own is accepted, so that whatever else comes decides.
    """
    assert world.a.is_dir()
    assert world.b.is_dir()
    world.install("inngest-cli")
    monkeypatch.setenv("PATH", f"{world.bin}{os.pathsep}{os.environ['PATH']}")
    world.configure()
    accept(world)


def trusted_file(world: World) -> Path:
    return world.main / ".git" / "devservers" / "trusted"


def commit(cwd: Path, *files: str | Path) -> None:
    for file in files:
        git("add", "-f", file, cwd=cwd)
    git("commit", "-q", "--no-verify", "-m", "More", cwd=cwd)


def script(file: Path, text: str = "") -> Path:
    """Write a program that is a server, and says with `text` which it is."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'#!/bin/sh\n# {text}\nexec {sys.executable} -I -S {STAND_IN} "$@"\n')
    file.chmod(0o755)
    return file


def refuses(world: World, *names: str, cwd: Path | None = None, **options: Any) -> str:
    """Require that the hook, waiting or not, names what is not accepted and does nothing else."""
    log = world.log_text()
    for words in (BRANCH, ("--wait", "ensure")):
        said = run_hook(world, *words, cwd=cwd, trusted=False, **options).err
        assert all(name in said for name in ("inv hooks.trust", *names)), said
    assert detached(world) == []
    assert world.log_text() == log
    assert not world.lock_file.exists() or world.starts()
    world.assert_nothing_left()
    return said


def starts(world: World, cwd: Path | None = None, **options: Any) -> None:
    """Require that the hook starts the server, and stop it."""
    said = run_hook(world, cwd=cwd, trusted=False, **options).err
    assert "being started in the background" in said, said
    settle(world)
    assert accepts(world.port), world.log_text()
    world.ok("stop", cwd=cwd)
    world.lock_file.unlink()


def trust(world: World, cwd: Path | None = None, **options: Any) -> Any:
    done = world.run("hooks.trust", "--json", cwd=cwd, **options)
    assert done.code == 0, done
    assert done.json.keys() == {"action", "worktree", "trusts", "warnings"}
    return done.json


# What needs none


def test_what_the_user_installed_needs_no_trust(world: World) -> None:
    starts(world)
    script(world.a / BIN)  # untracked, as every package manager leaves it
    starts(world, world.a)
    found = trust(world, world.a)
    assert (found["action"], found["trusts"]) == ("already-trusted", ["inngest.pidFile"])


def test_keys_that_decide_nothing_need_none(world: World) -> None:
    data = {"inngest": {"port": world.port, "enabled": True, "logMaxBytes": 5}}
    data["nextjs"] = {"ports": world.apps, "turbopack": False}
    world.config.write_text(json.dumps(data))
    found = trust(world)
    assert (found["action"], found["trusts"]) == ("nothing-to-trust", [])


# What needs it, and how it is given


@pytest.mark.parametrize("task", ["inngest.ensure", "inngest.restart", "hooks.trust"])
def test_a_configured_command_runs_after_a_person_ran_it_or_accepted_it(
    world: World, task: str
) -> None:
    world.behave()
    refuses(world, "inngest.command")
    assert world.run(task).code == 0
    if task != "hooks.trust":
        world.ok("stop")
        world.lock_file.unlink()
    starts(world)
    assert trust(world)["action"] == "already-trusted"


def test_a_start_that_fails_was_a_persons_wish_all_the_same(world: World) -> None:
    world.behave("exit=3")
    world.fails("ensure", code=13)
    assert "being started" in run_hook(world, trusted=False).err
    settle(world)


def test_installing_the_hooks_accepts_what_they_would_execute(world: World) -> None:
    world.behave()
    env = {"PATH": f"{world.bin}:/usr/bin:/bin"}
    assert world.run("hooks.status", "--json", env=env).json["trusted"] is False
    assert "inv hooks.trust" in world.run("hooks.status", env=env).out
    done = world.run("hooks.install", env=env)
    assert (done.code, "inngest.command" in done.out) == (0, True), done
    assert world.run("hooks.status", "--json", env=env).json["trusted"] is True
    starts(world)


def test_trust_says_what_was_accepted(world: World) -> None:
    world.behave(args=["--persist"])
    script(world.main / BIN)
    commit(world.main, CONFIG, BIN)
    plain = world.run("hooks.trust")
    assert (plain.code, plain.err) == (0, "")
    assert all(name in plain.out for name in ("inngest.command", "inngest.args", str(BIN)))
    found = trust(world, world.b)
    assert (found["action"], found["worktree"]) == ("already-trusted", str(world.b))
    assert found["trusts"] == ["inngest.args", "inngest.command", "inngest.pidFile", str(BIN)]


def test_status_stop_and_the_stand_in_accept_nothing(world: World) -> None:
    world.behave()
    world.ok("status", code=3)
    world.ok("ensure", "--stand-in")
    world.ok("ensure")
    world.ok("stop")
    world.lock_file.unlink()
    refuses(world, "inngest.command")


def test_what_is_accepted_is_readable_by_its_owner_only(world: World) -> None:
    file = trusted_file(world)
    world.behave()
    trust(world)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [len(line) for line in file.read_text().splitlines()] == [64, 64]
    file.chmod(0o666)
    refuses(world, "inngest.command")


def test_many_who_accept_at_once_lose_nothing(world: World) -> None:
    folders = [world.main, world.a, world.b]
    for number, folder in enumerate(folders):
        world.configure(folder=folder, command=world.fake(), args=[f"--n={number}"])
    for child in [world.start("hooks.trust", cwd=folder) for folder in folders * 3]:
        assert world.result(child).code == 0
    assert {trust(world, folder)["action"] for folder in folders} == {"already-trusted"}


def test_the_file_stays_small_and_forgets_the_oldest(world: World) -> None:
    file = trusted_file(world)
    file.write_text("".join(f"{number:064x}\n" for number in range(1100)))
    file.chmod(0o600)
    world.behave()
    trust(world)
    lines = file.read_text().splitlines()
    assert (len(lines), lines[0]) == (551, f"{550:064x}")
    starts(world)


def test_a_line_that_was_cut_short_spoils_no_other(world: World) -> None:
    file = trusted_file(world)
    with file.open("a") as stream:
        stream.write("abc")  # and the disk was full
    world.behave()
    trust(world)
    assert [len(line) for line in file.read_text().splitlines()] == [64, 3, 64]
    starts(world)


@pytest.mark.parametrize("kind", ["link", "second name", "fifo", "folder"])
def test_nothing_is_written_through_what_somebody_put_in_its_place(world: World, kind: str) -> None:
    world.behave()
    precious = world.folder / "precious"
    precious.write_text("precious\n")
    file = trusted_file(world)
    file.unlink()
    make = {"link": file.symlink_to, "second name": file.hardlink_to}.get(kind)
    if make:
        make(precious)
    else:
        os.mkfifo(file) if kind == "fifo" else file.mkdir()
    done = world.run("hooks.trust", "--json")
    assert (done.code, str(file) in done.error["message"]) == (17, True)
    world.ok("ensure")  # a start by hand goes on without
    world.ok("stop")
    world.lock_file.unlink()
    assert precious.read_text() == "precious\n"
    refuses(world, "inngest.command")


def test_outside_git_nothing_can_be_accepted(world: World) -> None:
    folder = world.folder / "plain"
    world.configure(folder=folder, command=world.fake())
    said = run_hook(world, cwd=folder, trusted=False).err
    assert "inngest.command" in said
    world.assert_nothing_left()


# Ways round


def test_what_holds_in_one_worktree_holds_in_another_if_it_is_the_same(world: World) -> None:
    for folder in (world.a, world.b):
        script(folder / BIN)
        commit(folder, BIN)
    refuses(world, str(BIN), cwd=world.a)
    trust(world, world.a)
    starts(world, world.b)
    script(world.b / BIN, "other")
    refuses(world, str(BIN), cwd=world.b)
    starts(world, world.a)


def test_git_checkout_runs_nothing_of_a_branch_that_nobody_has_accepted(world: World) -> None:
    """By checkout in the main worktree and by `worktree add`, a program and a configuration."""
    script(world.main / "tools" / "cli", "good")
    world.configure(command=["tools/cli"])
    commit(world.main, "tools", CONFIG)
    git("checkout", "-q", "-b", "pr-1", "main", cwd=world.b)
    script(world.b / "tools" / "cli", "evil")
    commit(world.b, "tools")
    git("checkout", "-q", "-b", "pr-2", "main", cwd=world.b)
    world.configure(folder=world.b, command=["tools/cli"], args=["evil"])
    commit(world.b, CONFIG)
    git("checkout", "-q", "--detach", cwd=world.b)
    env = {"PATH": f"{world.bin}:/usr/bin:/bin", "GIT_CONFIG_NOSYSTEM": "1"}
    assert world.run("hooks.install", env=env).code == 0
    for branch, name in (("pr-1", "tools/cli"), ("pr-2", "inngest.args")):
        done = run_git(world, "checkout", branch, cwd=world.main)
        assert (done.code, name in done.err, "hooks.trust" in done.err) == (0, True, True), done
        assert detached(world) == []
        world.assert_nothing_left()
    done = run_git(world, "checkout", "main", cwd=world.main)
    assert (done.code, "being started" in done.err) == (0, True), done
    settle(world)
    world.ok("stop")
    done = run_git(world, "worktree", "add", world.folder / "c", "pr-2", cwd=world.main)
    assert (done.code, "inngest.args" in done.err, "hooks.trust" in done.err) == (0, True, True)
    world.assert_nothing_left()


def test_a_changed_file_of_the_same_length_and_times_is_another(world: World) -> None:
    file = script(world.a / BIN, "good")
    commit(world.a, BIN)
    trust(world, world.a)
    before = file.stat()
    script(file, "evil")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    refuses(world, str(BIN), cwd=world.a)


def test_a_program_behind_links_counts_with_all_that_leads_there(world: World) -> None:
    script(world.a / "tools" / "one", "one")
    script(world.a / "tools" / "two", "two")
    link = world.a / BIN
    link.parent.mkdir(parents=True)
    link.symlink_to("../../tools/one")
    commit(world.a, "tools", BIN)
    assert trust(world, world.a)["trusts"][1:] == [str(BIN), "tools/one"]
    starts(world, world.a)
    link.unlink()
    link.symlink_to("../../tools/two")
    refuses(world, "tools/two", cwd=world.a)


def test_a_tracked_link_to_a_whole_folder_of_packages_counts(world: World) -> None:
    script(world.a / "vendor" / ".bin" / "inngest-cli")
    (world.a / "node_modules").symlink_to("vendor")
    commit(world.a, "vendor", "node_modules")
    refuses(world, "node_modules", "vendor/.bin/inngest-cli", cwd=world.a)


def test_a_tracked_file_of_a_package_counts_where_its_program_is_not_tracked(
    world: World,
) -> None:
    script(world.a / BIN)
    lib = script(world.a / "node_modules" / "inngest-cli" / "lib.js")
    commit(world.a, lib)
    refuses(world, "node_modules/inngest-cli/lib.js", cwd=world.a)
    trust(world, world.a)
    starts(world, world.a)
    script(lib, "changed")
    refuses(world, "node_modules/inngest-cli/lib.js", cwd=world.a)


def test_packages_elsewhere_count_where_the_program_is_one_of_them(world: World) -> None:
    """They load each other: which ones, nobody can tell without running them."""
    modules = world.main / "tools" / "node_modules"
    for file in ("@s/one/cli.js", "@s/one/lib/x.js", "@s/two/x.js"):
        script(modules / file)
    link = modules / ".bin" / "inngest-cli"
    link.parent.mkdir()
    link.symlink_to("../@s/one/cli.js")
    commit(world.main, "tools")
    env = {"PATH": str(link.parent)}
    names = (".bin/inngest-cli", "@s/one/cli.js", "@s/one/lib/x.js", "@s/two/x.js")
    found = trust(world, env=env)["trusts"]
    assert found == ["inngest.pidFile", *(f"tools/node_modules/{name}" for name in names)]
    starts(world, env=env)
    script(modules / "@s/two/x.js", "changed")
    refuses(world, "and 1 more", env=env)  # it is the fifth


def test_a_program_in_a_submodule_counts(world: World) -> None:
    module = make_repository(world.folder / "module")
    script(module / ".bin" / "inngest-cli")
    commit(module, ".bin")
    allowed = ("-c", "protocol.file.allow=always")
    git(*allowed, "submodule", "add", "-q", module, "node_modules", cwd=world.a)
    commit(world.a)
    refuses(world, str(BIN), cwd=world.a)
    trust(world, world.a)
    starts(world, world.a)
    script(world.a / BIN, "changed")
    refuses(world, str(BIN), cwd=world.a)


def test_in_a_submodule_itself_it_is_the_same(world: World) -> None:
    module = make_repository(world.folder / "module")
    world.configure(folder=module, command=world.fake())
    commit(module, CONFIG)
    git("-c", "protocol.file.allow=always", "submodule", "add", "-q", module, "sub", cwd=world.a)
    refuses(world, "inngest.command", cwd=world.a / "sub")
    trust(world, world.a / "sub")
    starts(world, world.a / "sub")


def test_the_script_that_a_command_names_counts_and_what_it_names_in_turn(world: World) -> None:
    """Relative to where the server runs: the main worktree."""
    lib = world.main / "scripts" / "lib.sh"
    script(lib)
    run = world.main / "scripts" / "run.sh"
    run.write_text('. "${0%/*}/lib.sh"\n')
    world.configure(command=["/bin/sh", "scripts/run.sh"])
    commit(world.main, "scripts")
    assert trust(world)["trusts"][2:] == ["scripts/lib.sh", "scripts/run.sh"]
    starts(world, world.a)
    script(lib, "changed")
    refuses(world, "scripts/lib.sh", cwd=world.a)
    trust(world)
    run.write_text(f"{run.read_text()}\n")
    refuses(world, "scripts/", cwd=world.a)


@pytest.mark.parametrize(
    ("word", "file"),
    [
        ("--import=./tools/x.mjs", "tools/x.mjs"),
        ("tools/x", "tools/x.js"),
        ("./tools", "tools/index.js"),
        ("tools.server", "tools/server.py"),
        ("cd tools && ./x", "tools/package.json"),
    ],
)
def test_a_word_names_a_file_in_many_ways(world: World, word: str, file: str) -> None:
    script(world.main / file)
    commit(world.main, file)
    world.configure(command=["node", word])
    world.install("node")
    assert file in trust(world)["trusts"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("inngest.yaml", ["inngest-cli"]),
        (".corepack.env", ["pnpx", "inngest-cli"]),
        (".env", ["bunx", "inngest-cli"]),
        ("docker-compose.override.yml", ["docker", "compose", "up"]),
        ("package.json", ["node", "tools/x.js"]),
    ],
)
def test_what_a_program_reads_unasked_counts(world: World, name: str, words: list[str]) -> None:
    world.install(words[0])
    world.configure(command=words)
    trust(world)
    (world.main / name).write_text("{}")
    commit(world.main, name)
    refuses(world, name)


@pytest.mark.parametrize(
    ("words", "evil"),
    [
        (["python3", "tools/x.py"], "tools/gettext.py"),
        (["python3", "tools/x.py"], "tools/gettext/__init__.py"),
        (["python3", "-m", "tools.x"], "gettext.py"),
        (["sh", "run.sh"], "tools/gettext.py"),
        (["node", "tools/x.js"], "tools/node_modules/next/index.js"),
    ],
)
def test_a_module_that_a_script_gets_in_place_of_another_counts(
    world: World, words: list[str], evil: str
) -> None:
    """The script names what isn't tracked, and that asks for the other in turn."""
    for file in ("tools/x.py", "tools/x.js"):
        script(world.main / file, "import argparse; require('next')")
    (world.main / "run.sh").write_text("python3 tools/x.py\n")
    commit(world.main, "tools", "run.sh")
    world.install(words[0])
    world.configure(command=words)
    trust(world)
    script(world.main / evil)
    commit(world.main, evil)
    refuses(world, evil)


def test_an_npmrc_counts_for_a_launcher_and_of_package_json_what_it_reads(world: World) -> None:
    (world.bin / "inngest-cli").unlink()
    world.install("npx")
    package = world.main / "package.json"
    package.write_text('{"name": "x", "scripts": {"dev": "a"}, "dependencies": {"next": "1"}}')
    commit(world.main, package)
    assert trust(world)["action"] == "already-trusted"
    (world.main / ".npmrc").write_text("registry=http://localhost:1/\n")
    commit(world.main, ".npmrc")
    refuses(world, ".npmrc")
    trust(world)
    starts(world)
    package.write_text('{"name": "x", "bin": {"inngest-cli": "evil.js"}}')
    refuses(world, "package.json")


def test_the_scripts_of_package_json_count_for_a_command_that_runs_them(world: World) -> None:
    world.install("npm")
    package = world.main / "package.json"
    package.write_text('{"scripts": {"inngest": "a"}}')
    commit(world.main, package)
    world.configure(command=["npm", "run", "inngest"])
    assert "package.json" in trust(world)["trusts"]
    package.write_text('{"scripts": {"inngest": "b"}}')
    refuses(world, "package.json")


def test_programs_on_a_path_that_leads_into_the_checkout_count(world: World) -> None:
    """A launcher finds its interpreter there, whichever program was found before it."""
    script(world.main / "bin" / "node")
    commit(world.main, "bin")
    for entry in ("bin", str(world.main / "bin")):
        env = {"PATH": f"{world.bin}:{entry}"}
        refuses(world, "bin/node", env=env)
        assert "bin/node" in trust(world, env=env)["trusts"]
        trusted_file(world).unlink()


def test_git_itself_is_not_looked_for_in_the_checkout(world: World) -> None:
    evil = world.main / "node_modules" / ".bin" / "git"
    script(evil)
    evil.write_text(f"#!/bin/sh\necho > {world.folder}/ran\n")
    commit(world.main, evil)
    for entry in ("node_modules/.bin", str(evil.parent)):
        refuses(world, "node_modules/.bin/git", env={"PATH": f"{entry}:{world.bin}"})
    assert not (world.folder / "ran").exists()


def test_git_runs_nothing_that_a_repository_names(world: World) -> None:
    """`git ls-files` would ask a file system monitor."""
    monitor = script(world.folder / "monitor")
    monitor.write_text(f"#!/bin/sh\necho > {world.folder}/ran\n")
    git("config", "core.fsmonitor", monitor, cwd=world.main)
    script(world.main / ".git" / "hooks" / "post-index-change").write_text(monitor.read_text())
    world.behave()
    refuses(world, "inngest.command")
    assert not (world.folder / "ran").exists()


def test_a_configuration_that_appears_later_and_is_not_tracked_counts(world: World) -> None:
    starts(world, world.a)
    world.configure(folder=world.a, command=world.fake())
    refuses(world, "inngest.command", cwd=world.a)


def test_a_configuration_that_the_environment_names_counts(world: World) -> None:
    other = world.a / "other.json"
    other.write_text(world.config.read_text().replace("{", '{"worktree": {}, ', 1))
    env = {"DEVSERVERS_CONFIG": str(other)}
    starts(world, env=env)  # the very same keys
    data = json.loads(other.read_text())
    data["inngest"]["command"] = world.fake()
    other.write_text(json.dumps(data))
    refuses(world, "inngest.command", env=env)


def test_another_value_of_an_accepted_key_is_not_accepted(world: World) -> None:
    world.behave(args=["--persist"])
    trust(world)
    world.behave(args=["--persist", "--no-discovery"])
    refuses(world, "inngest.args")
    world.behave(args=["--persist"])
    starts(world)


def test_a_branch_does_not_have_output_written_to_a_file_of_its_choice(world: World) -> None:
    precious = world.folder / "home" / ".bashrc"
    precious.write_text("precious\n")
    world.configure(logFile="~/.bashrc")
    refuses(world, "inngest.logFile")
    world.configure()
    world.log.symlink_to(precious)  # where the log is by default
    commit(world.main, world.log)
    refuses(world, "inngest-system.log")
    assert precious.read_text() == "precious\n"


@pytest.mark.parametrize("link", ["run", ".inngest"])
def test_a_link_on_the_way_to_the_pid_file_or_the_database_counts(world: World, link: str) -> None:
    (world.folder / "state" / "run").mkdir()
    world.configure(pidFile="run/inngest.pid")
    trust(world)
    (world.main / link).symlink_to(world.folder / "state" / "run")
    commit(world.main, link)
    done = run_hook(world, "--wait", "ensure", trusted=False)
    assert f"{link} (written)" in done.err
    assert world.servers() == []


@pytest.mark.parametrize(("name", "most"), [("MOST_FILES", 2), ("MOST_BYTES", 1 << 20)])
def test_what_is_too_much_to_look_at_is_not_taken_for_harmless(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str, most: int
) -> None:
    """A person may start it all the same: by hand nothing is asked."""
    for number in range(3):
        script(world.main / "node_modules" / "x" / f"{number}.js", "x" * (1 << 19))
    commit(world.main, "node_modules")
    here = worktree.find(world.main)
    spec = inngest.spec(config.load(here.root, here.main, {}), here, env=world.env())
    assert devservers.trust.gate.claim_of(spec).trusts
    monkeypatch.setattr(brought_along, name, most)
    with pytest.raises(HooksUnusableError, match="too many to check"):
        devservers.trust.gate.require(spec)
    assert devservers.trust.gate.accept(spec) == spec.command()


def test_a_package_json_that_can_not_be_read_counts_whole(world: World) -> None:
    (world.bin / "inngest-cli").unlink()
    world.install("npx")
    package = world.main / "package.json"
    package.write_text("{}")
    commit(world.main, package)
    starts(world)
    package.write_text("{")
    refuses(world, "package.json")


def test_names_count_as_on_a_disk_that_ignores_case(world: World) -> None:
    """There git writes `Tools/x` where a command runs `tools/X`; elsewhere it is one more."""
    script(world.a / "Tools" / "über" / "x.js")
    commit(world.a, "Tools")
    tracked = Tracked(worktree.find(world.a))
    for name in ("Tools/über/x.js", "tools/ÜBER/X.js", "tools/u\u0308ber/x.js"):
        assert tracked.has(str(world.a / name)), name
    assert not tracked.has(str(world.a / "Tools" / "y.js"))


def test_what_lies_in_a_worktree_within_another_is_asked_of_the_inner_one(world: World) -> None:
    inner = world.add_worktree(world.main / "inner")
    script(inner / "x.js")
    commit(inner, "x.js")
    tracked = Tracked(worktree.find(world.main))
    assert tracked.top_of(str(inner / "x.js")) == str(inner)
    assert tracked.has(str(inner / "x.js"))


def test_a_bare_repository_inside_a_checkout_vouches_for_nothing(world: World) -> None:
    """It may be tracked with what it calls accepted; a hook of the user's own may stand in it."""
    world.behave()
    trust(world)
    digests = trusted_file(world).read_bytes()
    inner = world.main / "inner"
    git("init", "-q", "--bare", inner, cwd=world.main)
    (inner / "devservers").mkdir()
    (inner / "devservers/trusted").write_bytes(digests)
    (inner / "devservers/trusted").chmod(0o600)
    world.configure(folder=inner, command=world.fake())
    refuses(world, "inngest.command", cwd=inner)


def test_another_checkout_before_the_detached_runs_turn_is_noticed(world: World) -> None:
    file = script(world.a / BIN, "good")
    commit(world.a, BIN)
    trust(world, world.a)
    with filelock.FileLock(world.lock_file):
        assert "being started" in run_hook(world, cwd=world.a, trusted=False).err
        script(file, "evil")
    settle(world)
    assert "hooks.trust" in world.log_text()
    world.assert_nothing_left()


def test_what_is_executed_is_asked_for_once_more_right_before(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = script(world.a / BIN, "good")
    commit(world.a, BIN)
    trust(world, world.a)
    monkeypatch.chdir(world.a)
    here = worktree.find()
    spec = inngest.spec(config.load(here.root, here.main, {}), here, env=world.env())
    devservers.trust.gate.require(spec)
    script(file, "evil")
    with pytest.raises(HooksUnusableError, match="inngest-cli"):
        server.ensure(devservers.trust.gate.by_hook(spec), timeout=5)
    world.assert_nothing_left()


def test_without_git_nothing_is_taken_for_harmless(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devservers.system.git.program", lambda *_, **__: None)
    here = worktree.find(world.main)
    spec = inngest.spec(config.load(here.root, here.main, {}), here, env=world.env())
    with pytest.raises(HooksUnusableError, match="git is not on the PATH"):
        devservers.trust.gate.require(spec)


def test_a_warm_hook_pays_nothing(world: World) -> None:
    world.leaves_server = True
    world.behave()
    world.ok("ensure")
    run_hook(world, trusted=False)
    trusted_file(world).unlink()
    code = "from devservers.hook import main; import sys; main(); print(*sys.modules)"
    code = f"import sys; sys.path += {sys.path!r}\n{no_proc.PRELUDE}{code}"
    words = ("-P", "-S", "-c", code, "ensure")
    warm = set(world.run(*words, program=Path(sys.executable)).out.split())
    ours = {"devservers.trust.gate", "devservers.trust.brought_along"}
    assert not warm & {*ours, "devservers.system.ownership"}
    (world.main / ".git" / "devservers" / "inngest.receipt").unlink()
    glanced = set(world.run(*words, program=Path(sys.executable)).out.split())
    assert "devservers.lifecycle.verdict" in glanced
    assert not glanced & ({*ours, "subprocess", "hashlib"} - brought_by_psutil())


def test_the_packages_that_python_imports_on_the_way_count(world: World) -> None:
    server = world.main / "tools" / "sub" / "deep" / "server.py"
    server.parent.mkdir(parents=True)
    server.write_text("pass\n")
    commit(world.main, server)
    world.configure(command=[sys.executable, "-I", "-c", "...", "tools.sub.deep.server"])
    accept(world)
    for package in ("tools", "tools/sub", "tools/sub/deep"):
        init = world.main / package / "__init__.py"
        init.touch()
        commit(world.main, init)
        refuses(world)
        assert f"{package}/__init__.py" in world.run("hooks.trust", "--json").json["trusts"]


# Next.js


@pytest.fixture
def place(tmp_path: Path, world: World) -> Iterator[NextWorld]:
    del world
    (tmp_path / "next").mkdir()
    with next_world(tmp_path / "next") as made:
        yield made


def test_the_same_holds_for_the_worktrees_own_server(place: NextWorld) -> None:
    words = ("ensure", "nextjs")
    for more in ((), ("--wait",)):
        said = run_hook(place, *more, *words, cwd=place.a, trusted=False).err
        assert "nextjs.command" in said
    assert not (place.a / ".dev-port").exists()
    place.call("nextjs.ensure", cwd=place.a)
    place.call("nextjs.stop", cwd=place.a)
    assert run_hook(place, "--wait", *words, cwd=place.b, trusted=False).err == ""
    place.call("nextjs.stop", cwd=place.b)
    (place.b / "next.config.mjs").write_text('import "./lib/evil.mjs"\n')
    script(place.b / "lib" / "evil.mjs")
    place.git("add", "next.config.mjs", "lib", cwd=place.b)
    said = run_hook(place, *words, cwd=place.b, trusted=False).err
    assert "lib/evil.mjs" in said
    assert detached(place) == []


def test_dev_up_accepts_both(place: NextWorld) -> None:
    place.behave()
    place.call("dev.up", "--timeout=20", cwd=place.a, timeout=60)
    place.call("dev.down", "--all", cwd=place.a)
    done = place.run("--wait", "--nextjs", "ensure", program=HOOK, cwd=place.b)
    assert (done.code, done.err) == (0, "")
    place.call("dev.down", "--all", cwd=place.b)
