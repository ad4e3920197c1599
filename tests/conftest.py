"""Fixtures: a world of its own for each test, with nothing left of it afterwards."""

import compileall
import gc
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import no_proc  # first: what follows may look into /proc
import pytest

import devservers
import forking
from support import World, claimed_ports, template

MEMORY = Path("/dev/shm")  # noqa: S108 - on a disk a folder costs ten times as much, on each test
hooked_in: list[Path] = []  # files that are there for the time of the run


def pytest_configure(config: pytest.Config) -> None:
    """Compile the package once: `inv` would do so on every call, since it writes no bytecode.

    So would each worker the tests, whose assertions pytest rewrites: most of what collecting costs.
    """
    sys.dont_write_bytecode = False
    World.forks = not os.environ.get("DEVSERVERS_REAL_INV")
    if hasattr(config, "workerinput"):
        return
    compileall.compile_dir(Path(devservers.__file__).parent, quiet=1)
    if no_proc.IS_ON:
        hooked_in.append(Path(no_proc.hook_in(sysconfig.get_path("purelib"))))
    if "not real" in config.option.markexpr and is_roomy(MEMORY):  # hard links to a cache on disk
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
    if config.getoption("numprocesses", None) and not are_compiled():
        words = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "-p", "no:xdist"]
        subprocess.run(words, cwd=config.rootpath, capture_output=True, check=False)


def is_roomy(folder: Path) -> bool:
    """Return whether tests can have their folders there: programs, too, and some hundred MB."""
    try:
        facts = os.statvfs(folder)
    except OSError:
        return False
    forbidden = os.ST_RDONLY | os.ST_NOEXEC
    roomy = facts.f_bavail * facts.f_frsize > 1 << 30
    return roomy and not facts.f_flag & forbidden and os.access(folder, os.W_OK | os.X_OK)


def are_compiled() -> bool:
    """Return whether every file of tests has bytecode of this pytest's that is no older."""
    here, end = Path(__file__).parent, f"-pytest-{pytest.__version__}.pyc"
    compiled = {file.name.partition(".")[0]: file for file in here.glob(f"__pycache__/*{end}")}
    return all(
        file.stem in compiled and compiled[file.stem].stat().st_mtime >= file.stat().st_mtime
        for file in here.glob("test_*.py")
    )


def pytest_collection_finish() -> None:
    """Spare the garbage collector what has been collected: it stays to the end."""
    gc.freeze()


def pytest_unconfigure() -> None:
    """End what the calls of `inv` were forked from."""
    forking.end()
    for file in hooked_in:
        file.unlink(missing_ok=True)


@pytest.fixture
def real_inv(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each call of `inv` be a new process, where that is what a test is about."""
    monkeypatch.setattr(World, "forks", False)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A scratch repository with its own port and files; a server that survives is a failure."""
    with claimed_ports() as port:
        made = World(tmp_path.resolve(), port, template())
        try:
            yield made
        finally:
            strays = made.processes.end()
        if strays and not made.leaves_server:
            pytest.fail("left running: " + "; ".join(strays))


@pytest.fixture
def running(world: World) -> World:
    """A world whose server runs, and may still run at the end."""
    world.leaves_server = True
    world.started = world.ok("ensure", cwd=world.a)
    return world
