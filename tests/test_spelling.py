"""A folder has one name, also where the file system ignores case, as it does on macOS."""

import os
import unicodedata
from pathlib import Path

import pytest

from devservers import worktree
from devservers.system import spelling
from support import World


@pytest.fixture
def _ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the file system seem to ignore case; what it lists is true."""
    monkeypatch.setattr(os.path, "samefile", lambda *_: True)


@pytest.mark.usefixtures("_ignored")
@pytest.mark.parametrize(
    ("listed", "spelled"),
    [
        ("Repo", "repo"),
        ("repo", "REPO"),
        ("Straße", "STRASSE"),
        (unicodedata.normalize("NFC", "Café"), unicodedata.normalize("NFD", "café")),
    ],
)
def test_where_case_is_ignored_a_path_is_spelled_as_it_is_listed(
    tmp_path: Path, listed: str, spelled: str
) -> None:
    folder = tmp_path.resolve() / listed / "Inner"
    folder.mkdir(parents=True)
    assert spelling.as_listed(tmp_path.resolve() / spelled / "inner") == folder


@pytest.mark.usefixtures("_ignored")
def test_of_two_names_that_differ_in_case_alone_each_is_itself(tmp_path: Path) -> None:
    for name in ("repo", "Repo"):
        (tmp_path / name).mkdir(exist_ok=True)
    for folder in tmp_path.resolve().iterdir():
        assert spelling.as_listed(folder) == folder


@pytest.mark.usefixtures("_ignored")
def test_what_is_not_there_stays_as_it_is(tmp_path: Path) -> None:
    gone = tmp_path.resolve() / "gone" / "Below"
    assert spelling.as_listed(gone) == gone


def test_a_worktree_is_the_same_however_its_path_is_spelled(world: World) -> None:
    folder = world.add_worktree(world.folder / "Linked")
    other = folder.with_name("lINKED")
    if not other.exists():
        pytest.skip("this file system tells upper from lower case")
    assert worktree.find(other) == worktree.find(folder)
    assert world.ok("ensure", cwd=other)["worktree"] == str(folder)
    shown = world.run("dev.status", "--json", cwd=other).json["worktrees"]
    assert [tree["worktree"] for tree in shown if tree["current"]] == [str(folder)]
    assert len(shown) == 2
    world.ok("stop", cwd=folder)
