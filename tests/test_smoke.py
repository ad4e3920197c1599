"""The CI recipes of docs/hooks-and-ci.md: exactly their commands, in a scratch repository."""

import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from installing import ROOT, registry_env
from support import World, accepts

yaml = pytest.importorskip("yaml")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.usefixtures("real_inv")]


def recipes() -> list[Any]:
    """Return the YAML blocks of the section on CI."""
    section = (ROOT / "docs" / "hooks-and-ci.md").read_text().partition("\n## CI\n")[2]
    blocks = section.split("```yaml\n")[1:]
    return [yaml.safe_load(block.partition("```")[0]) for block in blocks]


class Outcome(NamedTuple):
    """What a job left."""

    failed: list[str]
    ran: list[str]
    text: str


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What actions/setup-python gives: an environment where pip finds this very package."""
    folder = tmp_path_factory.mktemp("ci")
    words = [sys.executable, "-m", "build", "--wheel", "--outdir", folder / "dist", ROOT]
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder), **registry_env()}
    subprocess.run(words, env=env, check=True, capture_output=True)
    venv.create(folder / "venv", with_pip=True)
    return folder / "venv" / "bin"


def run_job(
    world: World, python: Path, steps: list[dict[str, Any]], env: dict[str, str]
) -> Outcome:
    """Run the commands of a job as GitHub's runner does, each in a shell of its own."""
    links = f"{python.parents[1] / 'dist'} {os.environ.get('PIP_FIND_LINKS', '')}"
    file = world.folder / "github-env"
    file.touch()
    base = {**registry_env(), "PIP_FIND_LINKS": links, "PATH": f"{python}:/usr/bin:/bin", **env}
    base |= {"RUNNER_TEMP": str(world.folder / "tmp"), "GITHUB_ENV": str(file)}
    failed: list[str] = []
    ran: list[str] = []
    text = ""
    for step in steps:
        if "run" not in step or (failed and step.get("if") != "always()"):
            continue
        added = dict(line.split("=", 1) for line in file.read_text().splitlines())
        done = world.run(
            "-e", "-c", step["run"],
            program=Path("/bin/bash"), cwd=world.a, env=base | added, timeout=240,
        )  # fmt: skip
        ran.append(step["name"])
        text += done.out + done.err
        if done.code:
            failed.append(step["name"])
    return Outcome(failed, ran, text)


def github() -> tuple[list[dict[str, Any]], dict[str, str]]:
    job = recipes()[0]["jobs"]["smoke"]
    return job["steps"], job["env"]


def test_the_recipe_for_github_passes_and_leaves_nothing(world: World, python: Path) -> None:
    steps, env = github()
    done = run_job(world, python, steps, env)
    assert done.failed == [], done.text
    assert done.ran == ["Install", "Start Inngest", "Test", "Show the log", "Stop"]
    assert "::error" not in done.text
    assert "stand-in for the Inngest dev server" in done.text
    assert world.starts() == 1
    world.assert_nothing_left()


def test_a_failure_is_annotated_and_the_log_is_shown_all_the_same(
    world: World, python: Path
) -> None:
    steps, env = github()
    holder = world.listener()
    done = run_job(world, python, steps, env)
    assert done.failed[0] == "Start Inngest"
    assert done.ran[-2:] == ["Show the log", "Stop"]
    (annotation,) = [line for line in done.text.splitlines() if line.startswith("::error")]
    assert annotation.startswith("::error title=Inngest, port-in-use::")
    assert f"pid {holder.pid}" in annotation
    assert holder.is_running()


def test_a_failing_test_leaves_no_server(world: World, python: Path) -> None:
    steps, env = github()
    broken = [{**step, "run": "exit 1"} if step.get("name") == "Test" else step for step in steps]
    done = run_job(world, python, broken, env)
    assert done.failed == ["Test"]
    assert done.ran[-1] == "Stop"
    world.assert_nothing_left()


def test_the_recipe_for_gitlab_passes_and_leaves_nothing(world: World, python: Path) -> None:
    job = recipes()[1]["smoke"]
    own = [line.replace(":8288", f":{world.port}") for line in job["script"]]  # its port is fixed
    steps = [{"name": line, "run": line} for line in own]
    steps += [{"name": line, "run": line, "if": "always()"} for line in job["after_script"]]
    done = run_job(world, python, steps, {})
    assert done.failed == [], done.text
    assert len(done.ran) == len(steps)
    assert not accepts(world.port)
    world.assert_nothing_left()
