"""The wheel and the sdist: what they hold, and that what is installed from them works."""

import os
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from installing import ROOT, registry_env
from support import World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.usefixtures("real_inv")]
SOURCES = {str(file.relative_to(ROOT)) for file in (ROOT / "devservers").rglob("*.py")}
DATA = {"devservers/py.typed", "devservers/inngest/empty.json"}
DATA |= {f"devservers/board/page.{kind}" for kind in ("css", "html", "js")}
OF_THE_REPOSITORY = {".pre-commit-config.yaml", ".pre-commit-hooks.yaml"}
OF_THE_REPOSITORY |= {f"{name}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY")}
OF_THE_REPOSITORY |= {
    str(file.relative_to(ROOT))
    for folder in (".ci", ".github")
    for file in (ROOT / folder).rglob("*")
    if file.is_file()
}
SCRIPTS = ("inv", "devservers", "devservers-hook")


def plain_env(**more: str) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", **registry_env(), **more}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from the sdist, as a release does; return the folder of both."""
    folder = tmp_path_factory.mktemp("dist")
    words = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    env = plain_env(HOME=str(folder))
    done = subprocess.run(words, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel with pip into an environment of its own; return its scripts' folder."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True)
    words = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", wheel]
    subprocess.run(words, env=plain_env(HOME=str(folder)), check=True)
    return folder / "bin"


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        info = {name.rpartition("/")[2] for name in archive.namelist() if ".dist-info/" in name}
        scripts = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
        text = archive.read(scripts).decode()
        metadata = archive.read(scripts.replace("entry_points.txt", "METADATA")).decode()
    assert names == SOURCES | DATA
    assert info == {"METADATA", "WHEEL", "entry_points.txt", "LICENSE", "RECORD"}
    assert "devservers = devservers.cli:main" in text
    assert "devservers-hook = devservers.hook:main" in text
    needs = [line.split()[1] for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    names_needed = {need.split(">")[0].strip(";") for need in needs}
    assert names_needed == {"filelock", "invoke", "psutil", "requests"}
    assert "Requires-Python: >=3.11" in metadata
    assert metadata.startswith("Metadata-Version: 2.4\n")


def test_the_sdist_holds_what_is_needed_to_test_it(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"LICENSE", "README.md", "pyproject.toml", "tasks.py", *OF_THE_REPOSITORY}
    tests = {str(file.relative_to(ROOT)) for file in (ROOT / "tests").rglob("*.py")}
    docs = {str(file.relative_to(ROOT)) for file in (ROOT / "docs").iterdir()}
    assert wanted | SOURCES | tests | docs <= names
    known = wanted | SOURCES | tests | docs | DATA | {"PKG-INFO", ".gitignore"}
    others = names - known
    assert {name.split("/")[0] for name in others} <= {"tests"}


def test_pypi_takes_what_was_built(built: Path) -> None:
    pytest.importorskip("twine")
    files = sorted(built.glob("worktree_devservers-*"))
    assert [file.suffix for file in files] == [".whl", ".gz"]
    words = [sys.executable, "-m", "twine", "check", "--strict", *files]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_pip_installs_it_whole_and_compiled(installed: Path, world: World) -> None:
    assert all(os.access(installed / name, os.X_OK) for name in SCRIPTS)
    packages = installed.parent / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    assert len(list((packages / "devservers").rglob("*.pyc"))) == len(SOURCES)
    done = world.run("inngest.ensure", "--json", program=installed / "devservers", cwd=world.a)
    assert (done.code, done.json["action"]) == (0, "started")
    again = world.run("inngest.ensure", "--json", program=installed / "inv", cwd=world.b)
    assert again.json["action"] == "already-running"
    hook = world.run("ensure", program=installed / "devservers-hook", cwd=world.b)
    assert (hook.code, hook.out, hook.err) == (0, "", "")
    assert world.run("inngest.stop", program=installed / "inv").code == 0


def test_the_stand_in_starts_from_an_installed_package(installed: Path, world: World) -> None:
    done = world.run("inngest.ensure", "--stand-in", "--json", program=installed / "devservers")
    assert (done.code, done.json["standIn"]) == (0, True)
    assert world.run("inngest.stop", program=installed / "devservers").code == 0


def test_doctor_finds_the_installed_package_in_its_place(installed: Path, world: World) -> None:
    done = world.run("inngest.doctor", "--json", program=installed / "devservers", timeout=60)
    (package,) = [check for check in done.json["checks"] if check["name"] == "package"]
    assert package["ok"], package


def test_the_version_is_that_of_the_distribution(installed: Path, world: World) -> None:
    done = world.run("--version", program=installed / "devservers")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert done.out == f"devservers {project['version']}\n"


def test_what_was_installed_without_bytecode_is_compiled_once(
    wheel: Path, world: World, tmp_path: Path
) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    words = [python, "-m", "pip", "install", "--quiet", "--no-compile", wheel]
    subprocess.run(words, env=plain_env(HOME=str(tmp_path)), check=True)
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")

    def compiled() -> set[str]:
        return {str(file) for file in (packages / "devservers").rglob("*.pyc")}

    inv = python.with_name("inv")
    assert world.run("inngest.status", program=inv, env={"PYTHONDONTWRITEBYTECODE": "1"}).code == 3
    assert compiled() == set()
    assert world.run("inngest.status", program=inv).code == 3
    first = compiled()
    assert any("server" in name for name in first)
    assert not list(world.main.rglob("*.pyc")), "nothing of the user's own is compiled"
    assert world.run("inngest.status", program=inv).code == 3
    assert compiled() == first
