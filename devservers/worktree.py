"""Git worktrees: the one the caller stands in, the main one, and an environment without git's own.

Read from the files that gitrepository-layout(5) documents instead of asking git: this runs on every
call, and inside hooks `GIT_DIR` would make git answer for another repository, with status 0.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Worktree(NamedTuple):
    """Where a call stands. Outside git `root` and `main` are the folder itself, the rest None."""

    root: Path
    """The top of the worktree."""
    main: Path
    """The main worktree, or the git common folder of a bare repository: no worktree remove takes
    it away."""
    git_dir: Path | None = None
    common_dir: Path | None = None

    @property
    def branch(self) -> str | None:
        """The branch that is checked out; None outside git, or where HEAD names no branch."""
        head = _read(self.git_dir / "HEAD") if self.git_dir else ""
        name = head.removeprefix("ref: refs/heads/")
        return name if name not in (head, ".invalid") else None  # .invalid: reftable


def find(folder: Path | None = None) -> Worktree:
    """Return the worktree that `folder` (default: the working directory) belongs to."""
    start = Path(folder or Path.cwd()).resolve()
    for top in (start, *start.parents):
        git_dir = _git_dir(top / ".git")
        if git_dir is not None:
            return _worktree(top, git_dir)
        if _is_git_dir(top):  # inside a git folder: its worktree is meant, where it has one
            main = _worktree(top, top).main
            return Worktree(main, main, top, top)
    return Worktree(start, start)


def clean_env(env: Mapping[str, str]) -> dict[str, str]:
    """Return `env` without what must not reach a server that outlives its caller.

    Every `GIT_*` variable would point it to the caller's repository or index; `PORT` and
    `DEV_PORT` are the caller's own (the Inngest server adds `PORT` to the ports it scans).
    """
    return {
        name: value
        for name, value in env.items()
        if not name.startswith("GIT_") and name not in ("PORT", "DEV_PORT")
    }


def _worktree(top: Path, git_dir: Path) -> Worktree:
    link = _read(git_dir / "commondir")
    common = (git_dir / link).resolve() if link else git_dir
    core = _core_settings(common)
    if core.get("bare", "").lower() in ("true", "yes", "on", "1"):
        main = common
    elif common == git_dir != top:
        main = top
    elif "worktree" in core:  # a submodule: its git folder lies in that of the repository around it
        main = (common / core["worktree"]).resolve()
    else:
        # git's own rule (get_main_worktree in worktree.c): the common folder less a final /.git
        main = common.parent if common.name == ".git" else common
    return Worktree(top, main if main.is_dir() else common, git_dir, common)


def _git_dir(entry: Path) -> Path | None:
    if entry.is_dir():
        return entry.resolve() if _is_git_dir(entry) else None
    pointer = _read(entry)
    if not pointer.startswith("gitdir: "):
        return None
    target = (entry.parent / pointer.removeprefix("gitdir: ")).resolve()
    return target if (target / "HEAD").exists() else None


def _is_git_dir(folder: Path) -> bool:
    return (folder / "HEAD").is_file() and all(
        (folder / name).is_dir() for name in ("objects", "refs")
    )


def _core_settings(common: Path) -> dict[str, str]:
    # With extensions.worktreeConfig, core.bare and core.worktree live in config.worktree.
    found: dict[str, str] = {}
    for name in ("config", "config.worktree"):
        section = ""
        for line in _read(common / name).splitlines():
            stripped = line.strip()
            if stripped.startswith("["):
                section = stripped.lower()
            elif section == "[core]":
                key, equals, value = stripped.partition("=")
                found[key.strip().lower()] = value.strip().strip('"') if equals else "true"
    return found


def _read(file: Path) -> str:
    try:
        with open(file, encoding="utf-8", errors="surrogateescape") as stream:  # hot path
            return stream.read(65536).strip()
    except OSError:
        return ""
