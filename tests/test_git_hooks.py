"""hooks.install, hooks.uninstall and hooks.status, and what git does with them."""

import json
import os
import stat
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from devservers import worktree
from devservers.errors import HooksUnusableError
from devservers.githooks import file as githooks_file
from devservers.githooks import install as githooks_install
from devservers.githooks.file import BEGIN, END
from devservers.system import git as git_program
from hooking import detached, put_hook, run_git, settle
from support import World, accepts, git, make_repository, until

REPOSITORY = Path(githooks_install.__file__).parents[2]

BOTH = ("post-checkout", "post-merge")
SH = "#!/bin/sh\n"
RECORD = 'echo "$0 $*" >> "$HOME/ran"\n'
KEYS = {"action", "folder", "hooksPath", "hooks", "trusted", "warnings"}


@pytest.fixture(autouse=True)
def _worktrees(world: World) -> None:
    """Make the worktrees before any hook is there: they are made when first asked for."""
    assert world.a.is_dir()
    assert world.b.is_dir()
    (world.main / ".git" / "hooks").mkdir()


def hooks(world: World, task: str, cwd: Path | None = None) -> Any:
    done = world.run(f"hooks.{task}", "--json", cwd=cwd, env=_git_env())
    assert done.code == 0, done
    assert done.json.keys() == KEYS
    return done.json


def _git_env() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin:/usr/local/bin", "GIT_CONFIG_NOSYSTEM": "1"}


def states(answer: Any) -> set[str]:
    return {hook["state"] for hook in answer["hooks"]}


def ran(world: World) -> list[str]:
    file = world.folder / "home" / "ran"
    return file.read_text().splitlines() if file.exists() else []


def tree(folder: Path) -> dict[str, tuple[int, bytes | str]]:
    """Return what is in a folder: modes, contents, links."""
    return {
        file.name: (
            file.lstat().st_mode,
            os.readlink(file) if file.is_symlink() else file.read_bytes(),
        )
        for file in folder.iterdir()
    }


def test_installs_both_hooks_once(world: World) -> None:
    folder = world.main / ".git" / "hooks"
    assert states(hooks(world, "status")) == {"absent"}
    first = hooks(world, "install", cwd=world.a)
    assert (first["action"], first["folder"], first["hooksPath"]) == (
        "installed",
        str(folder),
        False,
    )
    assert [(hook["name"], hook["state"], hook["chained"]) for hook in first["hooks"]] == [
        (event, "installed", False) for event in BOTH
    ]
    assert all(os.access(folder / event, os.X_OK) for event in BOTH)
    before = tree(folder)
    assert hooks(world, "install")["action"] == "unchanged"
    assert tree(folder) == before


def test_uninstalls_what_it_installed_and_nothing_else(world: World) -> None:
    folder = world.main / ".git" / "hooks"
    before = tree(folder)
    hooks(world, "install")
    assert hooks(world, "uninstall", cwd=world.b)["action"] == "uninstalled"
    assert tree(folder) == before
    assert hooks(world, "uninstall")["action"] == "unchanged"


def test_tells_people_where_and_what(world: World) -> None:
    done = world.run("hooks.install", env=_git_env())
    assert (done.code, done.err) == (0, "")
    assert all(word in done.out for word in (str(world.main / ".git/hooks"), *BOTH, "installed"))
    assert world.run("hooks", env=_git_env()).out == done.out


def test_git_starts_the_server_on_a_checkout_in_a_linked_worktree(world: World) -> None:
    hooks(world, "install")
    done = run_git(world, "checkout", "-b", "new", cwd=world.a)
    assert done.code == 0, done
    assert "devservers: the Inngest dev server is not running" in done.err
    settle(world)
    assert world.ok("status")["worktree"] == str(world.a)
    again = run_git(world, "checkout", "-", cwd=world.a)
    assert (again.code, "devservers" in again.err) == (0, False)
    world.ok("stop")


def test_git_starts_the_server_on_worktree_add_and_on_merge(world: World) -> None:
    hooks(world, "install")
    done = run_git(world, "worktree", "add", world.folder / "c", cwd=world.main)
    assert done.code == 0, done
    assert "being started" in done.err
    settle(world)
    assert world.ok("status")["worktree"] == str(world.folder / "c")
    world.ok("stop")
    run_git(world, "commit", "--allow-empty", "-m", "More", cwd=world.b)
    done = run_git(world, "merge", "b", cwd=world.main)
    assert (done.code, "being started" in done.err) == (0, True), done
    settle(world)
    world.ok("stop")


def test_a_checkout_of_files_starts_nothing(world: World) -> None:
    hooks(world, "install")
    assert run_git(world, "checkout", "--", "tasks.py", cwd=world.a).err == ""
    world.assert_nothing_left()


def test_trouble_fails_no_checkout(world: World) -> None:
    hooks(world, "install")
    world.config.write_text("{")
    done = run_git(world, "worktree", "add", world.folder / "c", cwd=world.main)
    assert done.code == 0
    assert "not valid JSON" in done.err


def test_a_bare_repository_with_worktrees_around_it(world: World) -> None:
    bare, tree_ = world.folder / "all" / ".bare", world.folder / "all" / "trunk"
    git("clone", "-q", "--bare", world.main, bare, cwd=world.folder)
    git("worktree", "add", "-q", tree_, cwd=bare)
    world.configure(folder=tree_, command=world.fake())
    answer = hooks(world, "install", cwd=tree_)
    assert answer["folder"] == str(bare / "hooks")
    done = run_git(world, "checkout", "-b", "x", cwd=tree_)
    assert (done.code, "being started" in done.err) == (0, True), done
    settle(world)
    assert world.ok("status", cwd=tree_)["worktree"] == str(tree_)
    world.ok("stop", cwd=tree_)


@pytest.mark.parametrize("relative", [True, False])
def test_follows_core_hooks_path(world: World, relative: bool) -> None:  # noqa: FBT001
    folder = world.main / "team"
    git("config", "core.hooksPath", "team" if relative else folder, cwd=world.main)
    answer = hooks(world, "install")
    assert (answer["folder"], answer["hooksPath"]) == (str(folder), True)
    assert any("core.hooksPath" in warning for warning in answer["warnings"])
    done = run_git(world, "checkout", "-b", "x", cwd=world.main)
    assert "being started" in done.err
    settle(world)
    hooks(world, "uninstall")
    assert list(folder.iterdir()) == []
    world.ok("stop")


def test_warns_where_core_hooks_path_holds_for_every_repository(world: World) -> None:
    (world.folder / "home" / ".gitconfig").write_text(f"[core]\nhooksPath = {world.folder}/all\n")
    (warning,) = hooks(world, "install")["warnings"]
    assert "every repository" in warning


def test_git_variables_of_a_caller_do_not_mislead_it(world: World) -> None:
    other = make_repository(world.folder / "other")
    env = _git_env() | {"GIT_DIR": str(other / ".git"), "GIT_WORK_TREE": str(other)}
    done = world.run("hooks.install", "--json", cwd=world.a, env=env)
    assert done.json["folder"] == str(world.main / ".git" / "hooks")


# Beside other hooks


@pytest.mark.parametrize(
    ("shebang", "status"),
    [("#!/bin/sh", 0), ("#!/bin/sh -e", 0), ("#!/usr/bin/env bash", 3), ("#! /bin/bash", 1)],
)
def test_keeps_a_shell_hook_with_its_status_output_and_arguments(
    running: World, shebang: str, status: int
) -> None:
    file = running.main / ".git" / "hooks" / "post-checkout"
    text = f"{shebang}\nset -u\necho theirs >&2\n{RECORD}exit {status}\n"
    put_hook(file, text, 0o750)
    alone = run_git(running, "checkout", "-b", "one", cwd=running.a)
    answer = hooks(running, "install")
    assert [hook["chained"] for hook in answer["hooks"]] == [True, False]
    both = run_git(running, "checkout", "-", cwd=running.a)
    assert alone.code == both.code == min(status, 1)  # git makes 1 of every failure
    assert alone.err.replace("a new branch 'one'", "branch 'a'") == both.err
    first, second = ran(running)
    assert first == second
    direct = running.run("a", "b", "1", program=file, cwd=running.a, env=_git_env())
    assert (direct.code, direct.err) == (status, "theirs\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o750
    hooks(running, "uninstall")
    assert file.read_text() == text


@pytest.mark.parametrize("name", ["python", "link", "switched off"])
def test_moves_aside_what_takes_no_block_and_calls_it(running: World, name: str) -> None:
    file = running.main / ".git" / "hooks" / "post-checkout"
    if name == "link":
        put_hook(running.main / "scripts" / "hook", f"{SH}{RECORD}exit 3\n")
        file.symlink_to("../../scripts/hook")
    elif name == "python":
        code = "import os, sys\nopen(os.environ['HOME'] + '/ran', 'a').write('x\\n')\nsys.exit(3)\n"
        put_hook(file, f"#!{sys.executable}\n{code}")
    else:
        put_hook(file, f"{SH}{RECORD}exit 3\n", 0o644)
    before, text = tree(file.parent), file.read_text()
    hooks(running, "install")
    assert hooks(running, "install")["action"] == "unchanged"
    aside = file.with_name(file.name + githooks_file.ASIDE)
    assert tree(file.parent)[aside.name] == before[file.name]
    assert aside.read_text() == text, "nor is changed what a link leads to: git may track it"
    done = run_git(running, "checkout", "-b", "one", cwd=running.a)
    expected = (0, 0) if name == "switched off" else (1, 1)
    assert (done.code, len(ran(running))) == expected, done
    hooks(running, "uninstall")
    assert tree(file.parent) == before


def test_renews_its_part_for_another_interpreter(world: World) -> None:
    file = put_hook(world.main / ".git" / "hooks" / "post-merge", f"{SH}echo theirs\n")
    here = worktree.find(world.main)
    githooks_install.install(here, "/old/python")
    assert "/old/python" in file.read_text()
    assert githooks_install.install(here, "/new/python").action == "installed"
    assert "/old/python" not in file.read_text()
    assert file.read_text().count(BEGIN) == 1
    assert file.read_text().endswith("echo theirs\n")


def test_keeps_what_somebody_added_to_its_file(world: World) -> None:
    hooks(world, "install")
    file = world.main / ".git" / "hooks" / "post-merge"
    file.write_text(file.read_text() + "echo mine\n")
    hooks(world, "uninstall")
    assert file.read_text() == f"{SH}echo mine\n"


def test_leaves_pre_commits_own_hook_alone_and_names_it(world: World) -> None:
    text = f"{SH}# File generated by pre-commit: https://pre-commit.com\nexit 0\n"
    file = put_hook(world.main / ".git" / "hooks" / "post-checkout", text)
    answer = hooks(world, "install")
    assert [hook["state"] for hook in answer["hooks"]] == ["pre-commit", "installed"]
    assert "pre-commit" in " ".join(answer["warnings"])
    assert "inngest-ensure" in " ".join(answer["warnings"])
    hooks(world, "uninstall")
    assert file.read_text() == text


def test_knows_its_part_where_pre_commit_has_moved_it(world: World) -> None:
    hooks(world, "install")
    file = world.main / ".git" / "hooks" / "post-checkout"
    legacy = file.replace(file.with_name("post-checkout.legacy"))
    put_hook(file, f"{SH}# File generated by pre-commit\n")
    assert states(hooks(world, "status")) == {"installed"}
    hooks(world, "uninstall")
    assert not legacy.exists()
    assert file.exists()


# Without the environment it was installed from


def _run_block(world: World, python: str, **env: str) -> "subprocess.CompletedProcess[str]":
    block = githooks_file.block("ensure", python)
    # A shell that ends at the first failure, and at a variable that isn't set.
    file = put_hook(world.folder / "hook", f"#!/bin/sh -eu\n{block}echo after\n")
    whole = world.env({"PATH": "/usr/bin:/bin", **env})
    return subprocess.run(
        [file], cwd=world.a, env=whole, capture_output=True, text=True, check=True, timeout=20
    )


def test_calls_the_interpreter_it_was_installed_with(running: World) -> None:
    done = _run_block(running, sys.executable)
    assert (done.stdout, done.stderr) == ("after\n", "")


def test_calls_the_hook_on_the_path_where_the_interpreter_is_gone(world: World) -> None:
    put_hook(world.bin / "devservers-hook", f'{SH}echo "called $*"\nexit 1\n')
    for python in ("/gone/python", "/usr/bin/false"):
        done = _run_block(world, python, PATH=f"{world.bin}:/usr/bin:/bin")
        assert (done.stdout, done.stderr) == ("called ensure\nafter\n", "")


def test_is_silent_where_nothing_is_left_to_call(world: World) -> None:
    for python in ("/gone/python", "/gone/it's/$HOME python"):
        done = _run_block(world, python)
        assert (done.stdout, done.stderr) == ("after\n", "")
    assert not accepts(world.port)


def test_is_silent_where_the_package_is_gone(world: World) -> None:
    venv.create(world.folder / "it's")
    done = _run_block(world, str(world.folder / "it's" / "bin" / "python"))
    assert (done.stdout, done.stderr) == ("after\n", "")


def test_warns_of_an_interpreter_that_goes_with_its_worktree(world: World) -> None:
    own = str(world.a / ".venv" / "bin" / "python")
    (warning,) = githooks_install.install(worktree.find(world.a), own).warnings
    assert own in warning
    assert githooks_install.install(worktree.find(world.main), own).warnings == ()


# A stranger's branch


PWNED = 'open({!r}, "a").close()\n'
# What Python imports by itself, and what it looks for, on other systems only.
UNASKED = ("sitecustomize", "usercustomize", "encodings", "nt", "_winapi", "msvcrt", "org", "json")
UNASKED += ("site", "devservers", "asked_by_pth")  # and what comes before the hook itself


def _environment(folder: Path, *more: Path) -> Path:
    """Make an environment with what ours has, and more folders; return its Python."""
    venv.create(folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    paths = [one for one in sys.path if one.endswith("-packages")]
    (packages / "ours.pth").write_text("\n".join([*paths, str(REPOSITORY), *map(str, more)]))
    (packages / "asked.pth").write_text("import asked_by_pth\n")  # as virtualenv and setuptools do
    (packages / "asked_by_pth.py").touch()
    return folder / "bin" / "python"


def _install(world: World, python: Path) -> None:
    done = world.run("-m", "devservers", "hooks.install", program=python, env=_git_env())
    assert done.code == 0, done


def _bring(world: World, *files: Path, text: str) -> Path:
    """Commit files on a branch `evil` that isn't checked out; return what they would leave."""
    quiet = ("-c", "core.hooksPath=/dev/null", "checkout", "-q")
    git(*quiet, "-b", "evil", cwd=world.b)
    left = world.folder / "pwned"
    for file in files:
        (world.b / file).parent.mkdir(parents=True, exist_ok=True)
        (world.b / file).write_text(text.format(str(left)))
        (world.b / file).chmod(0o755)
        git("add", "-f", file, cwd=world.b)
    git("commit", "-q", "--no-verify", "-m", "Evil", cwd=world.b)
    git(*quiet, "b", cwd=world.b)
    return left


def test_no_branch_decides_what_the_environment_in_the_worktree_does(world: World) -> None:
    """Git overwrites what is ignored: the environment's packages, and its Python itself."""
    python = _environment(world.main / ".venv")
    (world.main / ".gitignore").write_text("/.venv/\n")
    _install(world, python)
    (packages,) = (world.main / ".venv").glob("lib/python*/site-packages")
    inside = packages.relative_to(world.main) / "sitecustomize.py"
    left = _bring(world, inside, text=PWNED)
    done = run_git(world, "checkout", "evil", cwd=world.main)
    # The hook of every worktree calls that Python.
    for again in (done, run_git(world, "checkout", "-b", "new", cwd=world.a)):
        assert (again.code, left.exists()) == (0, False), again
        assert f"git tracks files in {world.main / '.venv'}" in again.err
    done = run_git(world, "checkout", "-", cwd=world.main)
    assert "being started" in done.err, done
    settle(world)
    world.ok("stop")


def test_an_environment_counts_whatever_the_case_of_its_name(world: World) -> None:
    """On a disk that ignores case it is the same folder."""
    _install(world, _environment(world.main / ".venv"))
    _bring(world, Path(".VENV/lib/x.py"), text=PWNED)
    done = run_git(world, "checkout", "evil", cwd=world.main)
    assert f"git tracks files in {world.main / '.venv'}" in done.err
    assert detached(world) == []


def test_no_branch_decides_what_an_editable_environment_imports(world: World) -> None:
    """A project installed editable is on sys.path; PYTHONPATH often names the working directory."""
    _install(world, _environment(world.folder / "venv", world.main))
    names = [Path(f"{name}.py") for name in UNASKED]
    left = _bring(world, *names, text=PWNED)
    done = run_git(world, "checkout", "evil", cwd=world.main, env={"PYTHONPATH": "."})
    assert "being started" in done.err, done
    settle(world)  # what the hook left to do the work imports nothing else
    assert not left.exists()
    assert world.ok("status", cwd=world.a)["running"]
    world.ok("stop", cwd=world.a)


def test_calls_no_hook_on_the_path_that_a_branch_brought(world: World) -> None:
    left = _bring(world, Path("bin/devservers-hook"), text="#!/bin/sh\ntouch {}\n")
    git("checkout", "-q", "evil", cwd=world.a)
    for path in (f"{world.a}/bin", "bin", "./bin"):
        done = _run_block(world, "/gone/python", PATH=f"{path}:/usr/bin:/bin")
        assert (done.stdout, left.exists()) == ("after\n", False), done
        assert "git tracks files" in done.stderr


def test_looks_where_the_system_would_for_a_hook_behind_a_link(world: World) -> None:
    """`tools/..` is not where `tools` lies, if a branch makes a link of it."""
    left = _bring(world, Path("vendor/env/bin/devservers-hook"), text="#!/bin/sh\ntouch {}\n")
    git("checkout", "-q", "evil", cwd=world.a)
    (world.a / "vendor" / "x").mkdir()
    (world.a / "tools").symlink_to("vendor/x")
    done = _run_block(world, "/gone/python", PATH=f"{world.a}/tools/../env/bin:/usr/bin:/bin")
    assert (done.stdout, left.exists()) == ("after\n", False), done
    assert "git tracks files" in done.stderr


# Failures


def test_outside_git_it_says_so(world: World) -> None:
    outside = world.folder / "home"
    done = world.run("hooks.install", "--json", cwd=outside, env=_git_env(), program=_devservers())
    assert done.code == 20
    assert done.error["code"] == "hooks-unusable"
    assert str(outside) in done.error["message"]


def _devservers() -> Path:
    return Path(sys.executable).with_name("devservers")


def test_without_git_it_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    here = worktree.find(world.main)
    monkeypatch.setattr(git_program, "program", lambda *_: None)
    with pytest.raises(HooksUnusableError, match="git can't be run") as caught:
        githooks_install.install(here, sys.executable)
    assert caught.value.exit_code == 20


OUR_LINES = "if true; then :\nfi\n"
DAMAGES = {
    "no end": (f"{SH}{BEGIN}{OUR_LINES}echo theirs\n", "end` is missing"),
    "no begin": (f"{SH}{OUR_LINES}{END}echo theirs\n", "takes this part out)` is missing"),
    "two begins": (
        f"{SH}{BEGIN}{BEGIN}{OUR_LINES}{END}echo theirs\n",
        "stands in it 2 times",
    ),
    "two parts": (
        f"{SH}{(BEGIN + OUR_LINES + END) * 2}echo theirs\n",
        "stands in it 2 times",
    ),
    "turned": (f"{SH}{END}{OUR_LINES}{BEGIN}echo theirs\n", "stands before"),
}


@pytest.mark.parametrize("damage", list(DAMAGES))
@pytest.mark.parametrize("task", ["install", "uninstall"])
@pytest.mark.parametrize("place", ["post-merge", "post-merge.legacy"])
def test_a_hook_whose_marks_are_damaged_is_left_alone_with_its_sentence(
    world: World, task: str, damage: str, place: str
) -> None:
    text, problem = DAMAGES[damage]
    folder = world.main / ".git" / "hooks"
    put_hook(folder / "post-checkout", f"{SH}{RECORD}")
    put_hook(folder / "post-merge", f"{SH}# {githooks_file.BY_PRE_COMMIT}\n")
    put_hook(folder / place, text)
    before = tree(folder)
    done = world.run(f"hooks.{task}", "--json", env=_git_env())
    assert (done.code, done.error["code"]) == (20, "hooks-unusable"), done
    assert f"{folder / place} was left as it is" in done.error["message"]
    assert problem in done.error["message"]
    assert "`inv hooks.uninstall`" in done.error["hint"]
    assert tree(folder) == before
    status = {hook["name"]: hook for hook in hooks(world, "status")["hooks"]}
    assert (status["post-merge"]["state"], status["post-checkout"]["state"]) == ("damaged", "other")
    assert problem in status["post-merge"]["damage"]
    assert problem in world.run("hooks.status", env=_git_env()).out


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_a_hook_that_is_damaged_after_the_look_is_left_alone_too(world: World, damage: str) -> None:
    file = put_hook(world.main / ".git" / "hooks" / "post-merge", f"{SH}{RECORD}")
    hook = githooks_file.read(file.parent, "post-merge")
    file.write_text(DAMAGES[damage][0])
    before = tree(file.parent)
    with pytest.raises(HooksUnusableError):
        githooks_file.put_in(hook, sys.executable)
    with pytest.raises(HooksUnusableError):
        githooks_file.take_out(hook)
    assert tree(file.parent) == before


def test_a_hook_is_replaced_whole_and_never_changed_in_place(world: World) -> None:
    """Git may run it in that moment: a shell reads its script piece by piece."""
    text = f"{SH}{RECORD}"
    file = put_hook(world.main / ".git" / "hooks" / "post-merge", text)
    with file.open() as running:
        hooks(world, "install")
        assert running.read() == text
    with file.open() as running:
        hooks(world, "uninstall")
        assert running.read() != text == file.read_text()
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_a_hook_that_is_no_longer_executable_is_made_so_again(world: World) -> None:
    hooks(world, "install")
    file = world.main / ".git" / "hooks" / "post-merge"
    file.chmod(0o644)
    assert hooks(world, "install")["action"] == "installed"
    assert os.access(file, os.X_OK)
    assert hooks(world, "install")["action"] == "unchanged"


def test_marks_that_an_editor_has_touched_are_still_marks(world: World) -> None:
    file = put_hook(world.main / ".git" / "hooks" / "post-merge", f"{SH}{RECORD}")
    before = file.read_text()
    hooks(world, "install")
    file.write_text(file.read_text().replace(BEGIN, "  # devservers: begin\n"))
    assert states(hooks(world, "install")) == {"installed"}
    assert file.read_text().count("devservers: begin") == 1
    file.write_text(f"{SH}{RECORD}{BEGIN}{OUR_LINES}{END}".removesuffix("\n"))
    hooks(world, "uninstall")
    assert file.read_text() == before


def test_a_folder_in_the_place_of_a_hook_is_left_alone(world: World) -> None:
    (world.main / ".git" / "hooks" / "post-merge").mkdir()
    with pytest.raises(HooksUnusableError, match="post-merge can't be read"):
        githooks_install.status(worktree.find(world.main))


def test_does_not_overwrite_what_it_moved_aside_before(world: World) -> None:
    file = put_hook(world.main / ".git" / "hooks" / "post-merge", "#!/usr/bin/python3\n")
    aside = put_hook(file.with_name(file.name + githooks_file.ASIDE), "precious")
    with pytest.raises(HooksUnusableError, match=r"before-devservers"):
        githooks_install.install(worktree.find(world.main))
    assert aside.read_text() == "precious"
    assert json.dumps(file.read_text()) == '"#!/usr/bin/python3\\n"'


def test_a_hook_that_is_cold_holds_no_output_of_gits(world: World) -> None:
    gate = world.folder / "gate"
    world.behave(f"gate={gate}")
    hooks(world, "install")
    done = run_git(world, "checkout", "-b", "new", cwd=world.a)  # waits for the pipes to close
    assert done.code == 0
    until(lambda: detached(world))
    gate.touch()
    settle(world)
    world.ok("stop")
