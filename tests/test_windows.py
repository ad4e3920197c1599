"""Windows: what can be imported there says in one sentence that it isn't made for it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from devservers.errors import UNSUPPORTED

SCRIPT = Path(__file__).with_name("on_windows.py")
OURS = "from devservers.tasks import ns\n"
SAID = f"error: {UNSUPPORTED}\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "tasks.py").write_text(OURS)
    return tmp_path


def run(folder: Path, entry: str, *words: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    argv = [sys.executable, SCRIPT, entry, *words]
    return subprocess.run(argv, cwd=folder, env=env, check=False, capture_output=True, text=True)


@pytest.mark.parametrize("entry", ["inv", "devservers"])
@pytest.mark.parametrize("words", [("inngest.ensure",), ("dev.up", "--only=nextjs"), ("hooks",)])
def test_a_task_says_so_in_one_sentence(project: Path, entry: str, words: tuple[str, ...]) -> None:
    done = run(project, entry, *words)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", SAID)
    assert {file.name for file in project.iterdir()} == {".git", "tasks.py"}
    assert not list((project / ".git").iterdir())


@pytest.mark.parametrize("entry", ["inv", "devservers"])
def test_with_json_it_is_one_error_object(project: Path, entry: str) -> None:
    done = run(project, entry, "inngest.ensure", "--json")
    error = {"code": "usage", "message": UNSUPPORTED, "hint": None}
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout) == {"action": "error", "error": error, "next": []}


def test_every_task_says_so(project: Path) -> None:
    done = run(
        project,
        "from devservers.tasks import groups\n"
        "found = [task for group in groups.every() for task in group.tasks.values()]\n"
        "print(len(found), {task.run({}) for task in found})",
    )
    count, codes = done.stdout.split()
    assert int(count) > 30
    assert codes == "{1}"
    assert done.stderr == SAID * int(count)


def test_the_console_script_says_so_whatever_it_is_asked(project: Path) -> None:
    for words in ((), ("--list",), ("no.task",)):
        done = run(project, "devservers", *words)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", SAID)


def test_a_list_of_tasks_says_so_and_has_the_projects_own(project: Path) -> None:
    (project / "tasks.py").write_text(
        "from invoke.collection import Collection\n"
        "from invoke.tasks import task\n"
        "from devservers.tasks import inngest\n\n"
        "@task\ndef hello(_):\n    print('hello')\n\n"
        "ns = Collection(hello, inngest)\n"
    )
    done = run(project, "inv", "--list")
    assert (done.returncode, done.stderr) == (0, f"{UNSUPPORTED}\n")
    assert "hello" in done.stdout
    own = run(project, "inv", "hello")
    assert (own.returncode, own.stdout, own.stderr) == (0, "hello\n", "")


@pytest.mark.parametrize("words", [("ensure",), ("post-checkout", "1", "2", "1"), ("nonsense",)])
def test_a_hook_says_so_in_a_line_and_fails_nothing(project: Path, words: tuple[str, ...]) -> None:
    done = run(project, "devservers-hook", *words)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"devservers: {UNSUPPORTED}\n"


def test_callers_from_python_are_told_before_anything_is_looked_at(project: Path) -> None:
    code = (
        "from devservers import DevServerError, worktree\n"
        "try:\n    worktree.find()\n"
        "except DevServerError as error:\n    print(error.code, error)"
    )
    done = run(project, code)
    assert (done.stdout, done.stderr) == (f"usage {UNSUPPORTED}\n", "")


def test_every_module_can_be_imported(project: Path) -> None:
    code = (
        "import importlib, pkgutil, devservers\n"
        "for one in pkgutil.walk_packages(devservers.__path__, 'devservers.'):\n"
        "    one.name.endswith('__main__') or importlib.import_module(one.name)\n"
        "    print(one.name)"
    )
    done = run(project, code)
    assert (done.returncode, done.stderr) == (0, "")
    assert "devservers.lifecycle.server" in done.stdout.split()
