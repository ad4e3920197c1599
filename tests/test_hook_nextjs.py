"""devservers-hook --nextjs: the worktree's own server, besides the Inngest server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hooking import BRANCH, HOOK, accept, detached, imported_by_hook, run_hook, settle
from next_support import NextWorld, next_world


@pytest.fixture
def place(tmp_path: Path) -> Iterator[NextWorld]:
    with next_world(tmp_path) as made:
        yield made


def test_starts_both_and_then_is_silent(place: NextWorld) -> None:
    accept(place, place.a)
    done = place.run("--nextjs", *BRANCH, program=HOOK, cwd=place.a)
    assert (done.code, done.out, done.err.count("\n")) == (0, "", 2), done
    assert "the Next.js server is not running" in done.err
    settle(place)
    assert place.call("nextjs.status", cwd=place.a)["state"] == "running"
    assert place.call("inngest.status")["state"] == "running"
    assert run_hook(place, "--nextjs", "ensure", cwd=place.a).err == ""
    assert run_hook(place, "--nextjs", "ensure", cwd=place.a).err == ""
    place.call("dev.down", "--all", cwd=place.a)


def test_without_the_flag_the_worktrees_own_server_is_not_started(place: NextWorld) -> None:
    assert run_hook(place, "--wait", "ensure", cwd=place.a).err == ""
    assert place.call("nextjs.status", code=3, cwd=place.a)["state"] == "stopped"
    place.call("inngest.stop")


def test_trouble_with_one_is_none_with_the_other(place: NextWorld) -> None:
    holder = place.listener()  # on the Inngest server's port
    accept(place, place.a)
    done = place.run("--nextjs", *BRANCH, program=HOOK, cwd=place.a)
    assert f"pid {holder.pid}" in done.err
    settle(place)
    assert place.call("nextjs.status", cwd=place.a)["state"] == "running"
    place.call("nextjs.stop", cwd=place.a)


def test_a_warm_call_for_both_imports_next_to_nothing(place: NextWorld) -> None:
    for _ in range(2):
        run_hook(place, "--wait", "--nextjs", "ensure", cwd=place.a)
    assert "typing" not in imported_by_hook(place, place.a, "--nextjs")
    assert detached(place) == []
    place.call("dev.down", "--all", cwd=place.a)
