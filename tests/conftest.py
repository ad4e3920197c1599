"""Fixtures: a world of its own for each test, with nothing left of it afterwards."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support import World, claimed_ports


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A scratch repository with its own port and files; a server that survives is a failure."""
    with claimed_ports() as port:
        made = World(tmp_path.resolve(), port)
        try:
            yield made
        finally:
            strays = made.processes.end()
        if strays and not made.leaves_server:
            pytest.fail("left running: " + "; ".join(strays))


@pytest.fixture
def running(world: World) -> World:
    """A world whose server runs, and may still run at the end; `pid` is the server's."""
    world.leaves_server = True
    world.started = world.ok("ensure", cwd=world.a)
    return world
