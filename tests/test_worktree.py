"""Git worktrees: each layout that git makes, found without asking git, compared with its answer."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from devservers.worktree import Worktree, clean_env, find

ENV = {
    **clean_env(os.environ),
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}


def git(folder: Path, *words: str) -> str:
    argv = ["git", "-C", str(folder), "-c", "protocol.file.allow=always", *words]
    done = subprocess.run(argv, env=ENV, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def make(folder: Path, *flags: str) -> Path:
    """Make a repository with one commit on the branch `main`."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q", "-b", "main", *flags)
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    return folder


def add(repository: Path, place: Path, branch: str = "feat") -> Path:
    git(repository, "worktree", "add", "-q", "-b", branch, str(place))
    return place


def listed(folder: Path) -> list[Path]:
    """Return the worktrees that git lists, the main one (or bare repository) first."""
    lines = git(folder, "worktree", "list", "--porcelain").splitlines()
    return [Path(line.removeprefix("worktree ")) for line in lines if line.startswith("worktree ")]


def git_path(folder: Path, what: str) -> Path:
    return Path(git(folder, "rev-parse", "--path-format=absolute", what))


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make(tmp_path / "repo")


def test_the_main_worktree_is_its_own_main(repo: Path) -> None:
    assert find(repo) == Worktree(repo, repo, repo / ".git", repo / ".git")
    assert find(repo).main == listed(repo)[0]


def test_a_linked_worktree_knows_the_main_one(repo: Path, tmp_path: Path) -> None:
    linked = add(repo, tmp_path / "linked")
    found = find(linked)
    assert found.root == git_path(linked, "--show-toplevel") == linked
    assert found.main == listed(linked)[0] == repo
    assert found.git_dir == git_path(linked, "--git-dir")
    assert found.common_dir == git_path(linked, "--git-common-dir")


def test_a_folder_below_belongs_to_the_worktree_around_it(repo: Path, tmp_path: Path) -> None:
    linked = add(repo, tmp_path / "linked")
    for top in (repo, linked):
        below = top / "apps" / "web"
        below.mkdir(parents=True)
        assert find(below) == find(top)


def test_a_worktree_inside_the_main_one_is_its_own(repo: Path) -> None:
    nested = add(repo, repo / ".worktrees" / "feat")
    (nested / "src").mkdir()
    for folder in (nested, nested / "src"):
        assert find(folder).root == nested
        assert find(folder).main == repo
    assert find(nested.parent).root == repo


def test_another_repository_inside_a_worktree_is_its_own(repo: Path) -> None:
    inner = make(repo / "vendor" / "inner")
    assert find(inner) == Worktree(inner, inner, inner / ".git", inner / ".git")


def test_a_submodule_is_its_own_main(repo: Path, tmp_path: Path) -> None:
    library = make(tmp_path / "library")
    git(repo, "submodule", "add", "-q", str(library), "libs/sub")
    submodule = repo / "libs" / "sub"
    found = find(submodule)
    assert found.root == git_path(submodule, "--show-toplevel") == submodule
    assert found.main == submodule
    assert found.git_dir == git_path(submodule, "--git-dir")


def test_a_worktree_of_a_submodule_knows_the_submodule(repo: Path, tmp_path: Path) -> None:
    library = make(tmp_path / "library")
    git(repo, "submodule", "add", "-q", str(library), "libs/sub")
    linked = add(repo / "libs" / "sub", tmp_path / "linked")
    assert find(linked).root == linked
    # git 2.39 itself lists the folder in .git/modules here, which nobody works in.
    assert find(linked).main == repo / "libs" / "sub"


def test_a_submodule_in_a_linked_worktree_is_its_own_main(repo: Path, tmp_path: Path) -> None:
    library = make(tmp_path / "library")
    git(repo, "submodule", "add", "-q", str(library), "libs/sub")
    git(repo, "commit", "-q", "-m", "submodule")
    linked = add(repo, tmp_path / "linked")
    git(linked, "submodule", "update", "-q", "--init")
    submodule = linked / "libs" / "sub"
    assert find(submodule).root == git_path(submodule, "--show-toplevel") == submodule
    assert find(submodule).main == submodule


def bare_named_git(base: Path) -> tuple[Path, Path]:
    git(base, "clone", "-q", "--bare", str(make(base / "origin")), str(base / "repo.git"))
    return base / "repo.git", base / "linked"


def bare_beside_a_git_file(base: Path) -> tuple[Path, Path]:
    project = base / "project"
    project.mkdir()
    git(base, "clone", "-q", "--bare", str(make(base / "origin")), str(project / ".bare"))
    (project / ".git").write_text("gitdir: ./.bare\n")
    return project / ".bare", project / "linked"


def bare_as_dot_git(base: Path) -> tuple[Path, Path]:
    project = base / "project"
    project.mkdir()
    git(base, "clone", "-q", "--bare", str(make(base / "origin")), str(project / ".git"))
    return project / ".git", project / "linked"


def bare_by_worktree_config(base: Path) -> tuple[Path, Path]:
    common, linked = bare_as_dot_git(base)
    git(common, "config", "extensions.worktreeConfig", "true")
    git(common, "config", "--unset", "core.bare")
    git(common, "config", "--worktree", "core.bare", "true")
    return common, linked


BARE = pytest.mark.parametrize(
    "layout",
    [bare_named_git, bare_beside_a_git_file, bare_as_dot_git, bare_by_worktree_config],
    ids=lambda layout: layout.__name__,
)


@BARE
def test_a_worktree_of_a_bare_repository_has_its_common_folder_as_main(
    tmp_path: Path, layout: Callable[[Path], tuple[Path, Path]]
) -> None:
    common, place = layout(tmp_path)
    linked = add(common, place)
    found = find(linked)
    assert found.root == linked
    assert found.main == common == git_path(linked, "--git-common-dir")
    assert found.git_dir == git_path(linked, "--git-dir")
    assert found.branch == "feat"


@BARE
def test_every_place_around_a_bare_repository_has_the_same_main(
    tmp_path: Path, layout: Callable[[Path], tuple[Path, Path]]
) -> None:
    common, place = layout(tmp_path)
    linked = add(common, place)
    other = add(linked, tmp_path / "other", "other")
    places = [linked, other, common, common / "refs"]
    if layout is not bare_named_git:
        places.append(common.parent)
    assert {find(folder).main for folder in places} == {common}


def test_git_lists_the_bare_repository_as_main_too(tmp_path: Path) -> None:
    common, place = bare_named_git(tmp_path)
    linked = add(common, place)
    assert find(linked).main == listed(linked)[0]


def test_worktree_config_does_not_hide_the_main_worktree(repo: Path, tmp_path: Path) -> None:
    git(repo, "config", "extensions.worktreeConfig", "true")
    linked = add(repo, tmp_path / "linked")
    git(linked, "config", "--worktree", "core.sparseCheckout", "true")
    assert find(linked).main == listed(linked)[0] == repo
    assert find(repo).main == repo


def test_a_separate_git_dir_is_followed(tmp_path: Path) -> None:
    repo = make(tmp_path / "repo", f"--separate-git-dir={tmp_path / 'elsewhere'}")
    found = find(repo)
    assert found == Worktree(repo, repo, tmp_path / "elsewhere", tmp_path / "elsewhere")


def test_a_worktree_of_a_separate_git_dir_is_answered_as_git_does(tmp_path: Path) -> None:
    repo = make(tmp_path / "repo", f"--separate-git-dir={tmp_path / 'elsewhere'}")
    linked = add(repo, tmp_path / "linked")
    # Nothing on disk leads from there to the main worktree; git names the common folder as well.
    assert find(linked).main == listed(linked)[0] == tmp_path / "elsewhere"


def test_outside_git_the_folder_stands_for_itself(tmp_path: Path) -> None:
    assert find(tmp_path) == Worktree(tmp_path, tmp_path)
    assert find(tmp_path).branch is None


def test_the_working_directory_is_the_default(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repo)
    assert find().root == repo


def test_inside_the_git_folder_of_a_submodule_the_submodule_is_meant(
    repo: Path, tmp_path: Path
) -> None:
    git(repo, "submodule", "add", "-q", str(make(tmp_path / "library")), "libs/sub")
    assert find(repo / ".git" / "modules" / "libs" / "sub").main == repo / "libs" / "sub"


@pytest.mark.parametrize("inside", [".git", ".git/refs", ".git/worktrees/linked"])
def test_inside_the_git_folder_the_worktree_around_it_is_meant(
    repo: Path, tmp_path: Path, inside: str
) -> None:
    add(repo, tmp_path / "linked")
    assert find(repo / inside).main == listed(repo / inside)[0] == repo


def test_a_folder_that_is_only_called_git_is_passed_over(repo: Path) -> None:
    folder = repo / "sub"
    (folder / ".git").mkdir(parents=True)
    assert find(folder).root == git_path(folder, "--show-toplevel") == repo


def test_a_worktree_whose_repository_is_gone_counts_as_outside_git(
    repo: Path, tmp_path: Path
) -> None:
    linked = add(repo, tmp_path / "linked")
    repo.rename(tmp_path / "moved")
    assert find(linked) == Worktree(linked, linked)


def test_a_git_dir_in_the_environment_is_ignored(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_COMMON_DIR", str(other / ".git"))
    assert find(repo) == Worktree(repo, repo, repo / ".git", repo / ".git")


def test_a_folder_behind_a_link_is_the_folder_that_it_names(repo: Path, tmp_path: Path) -> None:
    (repo / "src").mkdir()
    link = tmp_path / "link"
    link.symlink_to(repo / "src")
    assert find(link).root == repo == git_path(link, "--show-toplevel")


def test_a_repository_behind_a_linked_git_folder_is_found(repo: Path, tmp_path: Path) -> None:
    (repo / ".git").rename(tmp_path / "store.git")
    (repo / ".git").symlink_to(tmp_path / "store.git")
    assert find(repo).root == git_path(repo, "--show-toplevel") == repo
    assert find(repo).main == repo


@pytest.mark.parametrize("branch", ["feat", "feat/a/b", "fix-#1", "bücher", "heads/x", "refs"])
def test_the_branch_is_named_as_git_does(repo: Path, tmp_path: Path, branch: str) -> None:
    linked = add(repo, tmp_path / "linked", branch)
    assert find(linked).branch == git(linked, "symbolic-ref", "--short", "HEAD").removeprefix(
        "heads/" if branch == "refs" else ""
    )
    assert find(repo).branch == "main"


def test_a_detached_head_is_on_no_branch(repo: Path, tmp_path: Path) -> None:
    linked = add(repo, tmp_path / "linked")
    git(linked, "checkout", "-q", "--detach")
    assert find(linked).branch is None


def test_a_branch_without_a_commit_is_a_branch(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "unborn")
    assert find(tmp_path).branch == "unborn"


def test_the_branch_is_the_one_that_is_checked_out_now(repo: Path) -> None:
    found = find(repo)
    git(repo, "checkout", "-q", "-b", "later")
    assert found.branch == "later"


def test_every_variable_that_binds_git_to_a_repository_is_dropped(repo: Path) -> None:
    local = git(repo, "rev-parse", "--local-env-vars").split()
    assert "GIT_DIR" in local
    assert clean_env(dict.fromkeys(local, "x")) == {}


def test_other_variables_of_git_and_the_callers_ports_are_dropped() -> None:
    dropped = ["GIT_AUTHOR_NAME", "GIT_EDITOR", "GIT_", "PORT", "DEV_PORT"]
    assert clean_env(dict.fromkeys(dropped, "x")) == {}


def test_all_other_variables_are_kept() -> None:
    kept = {
        "PATH": "/bin",
        "RUNNER_TRACKING_ID": "1",
        "GITHUB_TOKEN": "t",
        "DIGIT_X": "1",
        "PORTS": "1",
        "NPM_CONFIG_PORT": "1",
        "EMPTY": "",
    }
    assert clean_env(kept) == kept
