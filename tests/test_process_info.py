"""Whereabouts of a process: by /proc, and by psutil where there is none, they are the same."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devservers.system import process_info, procfs

GONE = 1 << 30  # no pid is that high


@pytest.fixture(params=["proc", "psutil"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let /proc be asked, or psutil as where there is none."""
    if request.param == "psutil":
        monkeypatch.setattr(procfs, "HAS_PROC", False)
    elif not procfs.HAS_PROC:
        pytest.skip("there is no /proc")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = (tmp_path / "place").resolve()
    folder.mkdir()
    return folder


@pytest.fixture
def pid(place: Path) -> Iterator[int]:
    """A process that works in that folder."""
    words = [sys.executable, "-I", "-S", "-c", "print(flush=True); input()"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, cwd=place, **pipes) as child:
        assert child.stdout
        child.stdout.readline()
        yield child.pid
        child.kill()


@pytest.mark.usefixtures("_way")
def test_a_process_works_in_its_folder_and_in_no_other(pid: int, place: Path) -> None:
    assert process_info.folder(pid) == place
    assert process_info.works_in(pid, place)
    assert not process_info.works_in(pid, place.parent)
    assert not process_info.works_in(pid, place / "nowhere")
    assert not process_info.is_gone(pid)


@pytest.mark.usefixtures("_way")
def test_a_folder_that_was_deleted_is_gone(pid: int, place: Path) -> None:
    place.rmdir()
    assert process_info.is_gone(pid)
    assert not process_info.works_in(pid, place)


@pytest.mark.usefixtures("_way")
def test_it_calls_itself_by_its_program(pid: int) -> None:
    assert "python" in process_info.title(pid)


@pytest.mark.usefixtures("_way")
def test_of_a_process_that_is_gone_nothing_is_known() -> None:
    assert process_info.folder(GONE) is None
    assert process_info.title(GONE) == ""
    assert process_info.output_file(GONE) is None
    assert not process_info.is_gone(GONE)
    assert not process_info.works_in(GONE, Path.cwd())


def test_a_folder_may_be_called_deleted(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = place / "app (deleted)"
    odd.mkdir()
    monkeypatch.chdir(odd)
    assert process_info.folder(os.getpid()) == odd
    assert not process_info.is_gone(os.getpid())
