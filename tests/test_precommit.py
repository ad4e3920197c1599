"""The hook for pre-commit, with the real pre-commit from the registry."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hooking import accept, run_git, settle
from installing import ROOT, registry_env
from support import Ran, World

PRE_COMMIT = Path(sys.executable).with_name("pre-commit")
pytestmark = [
    pytest.mark.usefixtures("real_inv"),
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not PRE_COMMIT.exists(), reason="pre-commit is not installed here"),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pre-commit keeps the environments that it builds: one for all tests here."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a repository of what is in the working tree: pre-commit installs from git only."""
    folder = tmp_path_factory.mktemp("source") / "devservers"
    skipped = shutil.ignore_patterns(".*cache", ".git", ".venv", "__pycache__", ".hypothesis")
    shutil.copytree(ROOT, folder, ignore=skipped)
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@example.com"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "All"], ["tag", "v1"]):
        subprocess.run([*git, *words], cwd=folder, env=_plain_env(), check=True)
    return folder


@pytest.fixture
def team(world: World, source: Path, store: Path) -> World:
    """A world with the lines of docs/hooks-and-ci.md, and pre-commit installed."""
    text = (
        "default_install_hook_types: [post-checkout, post-merge]\n"
        f"repos:\n  - repo: {source}\n    rev: v1\n    hooks:\n      - id: inngest-ensure\n"
    )
    (world.main / ".pre-commit-config.yaml").write_text(text)
    run_git(world, "add", ".pre-commit-config.yaml", cwd=world.main)
    run_git(world, "commit", "-m", "pre-commit", cwd=world.main)
    assert world.a.is_dir()
    assert world.b.is_dir()  # made when first asked for: before the hooks
    done = pre_commit(world, store, "install", "--install-hooks")
    assert done.code == 0, done
    accept(world)
    return world


def _plain_env() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}


def env(store: Path) -> dict[str, str]:
    return registry_env() | {
        "PRE_COMMIT_HOME": str(store),
        "PATH": f"{PRE_COMMIT.parent}:/usr/bin:/bin",
    }


def pre_commit(world: World, store: Path, *words: str) -> Ran:
    return world.run(*words, program=PRE_COMMIT, env=env(store), timeout=240)


def test_starts_the_server_on_checkout_and_says_so_once(team: World, store: Path) -> None:
    done = run_git(team, "checkout", "-b", "new", cwd=team.main, env=env(store))
    assert done.code == 0, done
    assert "being started in the background" in done.out + done.err
    settle(team)
    assert team.ok("status")["state"] == "running"
    again = run_git(team, "checkout", "main", cwd=team.main, env=env(store))
    assert (again.code, "devservers:" in again.out + again.err) == (0, False), again
    assert "Passed" in again.out + again.err
    team.ok("stop")


def test_starts_the_server_on_merge_and_in_a_new_worktree(team: World, store: Path) -> None:
    run_git(team, "commit", "--allow-empty", "-m", "More", cwd=team.b)
    done = run_git(team, "merge", "-m", "Merge", "b", cwd=team.main, env=env(store))
    assert "being started" in done.out + done.err, done
    settle(team)
    team.ok("stop")
    new = team.folder / "c"
    done = run_git(team, "worktree", "add", new, "HEAD", cwd=team.main, env=env(store))
    assert (done.code, "being started" in done.out + done.err) == (0, True), done
    settle(team)
    assert team.ok("status")["worktree"] == str(new)
    team.ok("stop")


def test_passes_and_tells_of_trouble_in_one_line(team: World, store: Path) -> None:
    holder = team.listener()
    done = run_git(team, "checkout", "-b", "new", cwd=team.main, env=env(store))
    assert done.code == 0
    assert f"pid {holder.pid}" in done.out + done.err


def test_does_nothing_when_files_are_checked_out(team: World, store: Path) -> None:
    done = run_git(team, "checkout", "--", "tasks.py", cwd=team.main, env=env(store))
    assert (done.code, "being started" in done.out + done.err) == (0, False)
    team.assert_nothing_left()


def test_hooks_install_names_it_and_leaves_its_hooks_alone(team: World) -> None:
    file = team.main / ".git" / "hooks" / "post-checkout"
    before = file.read_bytes()
    done = team.run("hooks.install", "--json", env={"PATH": "/usr/bin:/bin"})
    assert [hook["state"] for hook in done.json["hooks"]] == ["pre-commit"] * 2
    assert len(done.json["warnings"]) == 2
    assert file.read_bytes() == before
