"""What the tests of git hooks add: the hook itself, and a git that runs hooks."""

import contextlib
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import no_proc
import psutil

from devservers import worktree
from devservers.errors import DevServerError
from devservers.githooks import acceptance
from devservers.system import procfs
from forking import HOOK
from support import Ran, World, until

ZEROS, COMMIT = "0" * 40, "1" * 40
BRANCH = ("post-checkout", ZEROS, COMMIT, "1")


def run_hook(
    world: World,
    *words: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 20,
    trusted: bool = True,
) -> Ran:
    """Run devservers-hook as git would, with its output captured; it must end with 0.

    Unless `trusted` is false, a person has accepted before what is configured there.
    """
    if trusted:
        accept(world, cwd)
    done = world.run(*(words or BRANCH), program=HOOK, cwd=cwd, env=env, timeout=timeout)
    assert done.code == 0, done
    assert done.out == "", done
    assert done.err.count("\n") <= 1, done
    assert "Traceback" not in done.err, done
    return done


def accept(world: World, cwd: Path | None = None) -> None:
    """Accept what is configured in a folder, as `hooks.trust` does; what is wrong there is left."""
    with contextlib.suppress(DevServerError, FileNotFoundError):
        acceptance.accept(worktree.find(cwd or world.main))


def run_git(
    world: World, *words: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Ran:
    """Run git with its hooks, in the world's environment, with its output captured.

    It must end at once: a descendant that holds its output would keep it open.
    """
    git = Path(shutil.which("git") or "git")
    more = {"PATH": f"{world.bin}:{git.parent}:/usr/bin:/bin", "GIT_CONFIG_NOSYSTEM": "1"}
    for who in ("AUTHOR", "COMMITTER"):
        more |= {f"GIT_{who}_NAME": "A", f"GIT_{who}_EMAIL": "a@example.com"}
    return world.run(*map(str, words), program=git, cwd=cwd, env={**more, **(env or {})})


def detached(world: World) -> list[psutil.Process]:
    """Return the detached runs that a hook has left to do the work."""
    found = []
    for process in world.processes.carrying("HOME", str(world.folder / "home")):
        with contextlib.suppress(psutil.Error):
            if "--detached" in process.cmdline():
                found.append(process)
    return found


def settle(world: World) -> None:
    """Wait until every detached run has ended."""
    until(lambda: not detached(world))


def warm(world: World, cwd: Path | None = None) -> None:
    """Run the hook until it has nothing to do and has noted down why."""
    run_hook(world, "--wait", "ensure", cwd=cwd)
    assert run_hook(world, cwd=cwd).err == ""


@functools.cache
def brought_by_psutil() -> frozenset[str]:
    """Return what psutil imports where a warm call can't do without it; nothing on Linux."""
    if procfs.HAS_PROC:
        return frozenset()
    code = f"import sys; sys.path += {sys.path!r}; import psutil; print(*sys.modules)"
    words = [sys.executable, "-P", "-S", "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return frozenset(done.stdout.split())


def imported_by_hook(world: World, cwd: Path | None = None, *options: str) -> set[str]:
    """Return the modules that a call of the hook imports."""
    code = "from devservers.hook import main; import sys; main(); print(*sys.modules)"
    code = f"import sys; sys.path += {sys.path!r}\n{no_proc.PRELUDE}{code}"
    words = ("-P", "-S", "-c", code, *options, *BRANCH)
    done = world.run(*words, program=Path(sys.executable), cwd=cwd)
    assert (done.code, done.err) == (0, ""), done
    return set(done.out.split())


def put_hook(file: Path, text: str, mode: int = 0o755) -> Path:
    """Write somebody's own hook."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    os.chmod(file, mode)  # noqa: PTH101
    return file
