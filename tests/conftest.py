"""Fixtures: a world of its own for each test, with nothing left of it afterwards."""

import compileall
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import devservers
import forking
from support import World, claimed_ports, make_repository


def pytest_configure(config: pytest.Config) -> None:
    """Compile the package once: `inv` would do so on every call, since it writes no bytecode."""
    if not hasattr(config, "workerinput"):
        compileall.compile_dir(Path(devservers.__file__).parent, quiet=1)
    World.forks = not os.environ.get("DEVSERVERS_REAL_INV")


def pytest_unconfigure() -> None:
    """End what the calls of `inv` were forked from."""
    forking.end()


@pytest.fixture
def real_inv(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each call of `inv` be a new process, where that is what a test is about."""
    monkeypatch.setattr(World, "forks", False)


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one commit, to be copied."""
    return make_repository(tmp_path_factory.mktemp("template") / "repository")


@pytest.fixture
def world(tmp_path: Path, repository: Path) -> Iterator[World]:
    """A scratch repository with its own port and files; a server that survives is a failure."""
    with claimed_ports() as port:
        made = World(tmp_path.resolve(), port, repository)
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
