"""Git worktrees: the one the caller stands in, the main one, and an environment without git's own.

Read from the files that gitrepository-layout(5) documents instead of asking git: this runs on every
call, and inside hooks `GIT_DIR` would make git answer for another repository, with status 0.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from devservers.errors import ConfigInvalidError, UsageError, refuse_windows
from devservers.system import git as git_program
from devservers.system import ownership, spelling, untrusted_files

if TYPE_CHECKING:
    import subprocess

STATE_FOLDERS = ("devservers", ".devservers")  # in git's folder; in a folder outside git


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

    @property
    def state_dir(self) -> Path:
        """Where a server of this worktree keeps its files: git removes them with the worktree."""
        inside, outside = STATE_FOLDERS
        return self.git_dir / inside if self.git_dir else self.root / outside

    @property
    def shared_dir(self) -> Path:
        """Where all worktrees of the repository keep what they share."""
        inside, outside = STATE_FOLDERS
        return self.common_dir / inside if self.common_dir else self.root / outside


def find(folder: Path | None = None) -> Worktree:
    """Return the worktree that `folder` (default: the working directory) belongs to.

    Raises UsageError if the working directory is gone, or on Windows; ConfigInvalidError if what
    would be its git folder is another user's: it is not passed over either, as git doesn't.
    """
    refuse_windows()
    try:
        start = _real(Path(folder or Path.cwd()))
    except FileNotFoundError as error:
        raise UsageError(
            "The working directory is gone.", hint="Change into one that exists, and try again."
        ) from error
    for top in (start, *start.parents):
        git_dir = _git_dir(top / ".git")
        if git_dir is not None:
            return _refuse_foreign(_worktree(top, git_dir), top / ".git")
        if _is_git_dir(top):  # inside a git folder: its worktree is meant, where it has one
            main = _worktree(top, top).main
            return _refuse_foreign(Worktree(main, main, top, top), top)
    return Worktree(start, start)


def peek(folder: Path) -> Worktree | None:
    """Return what `find` does, for a folder where anyone may be at work.

    None where that is another user's, is gone, or may not be looked into.
    """
    try:
        return find(folder) if _is_dir(folder) else None
    except (ConfigInvalidError, OSError, RuntimeError):  # the last: links in a circle
        return None


def is_checked_out(here: Worktree) -> bool:
    """Return whether `here` is a worktree with a `.git` that leads to its git folder.

    It isn't where a call stands in a bare repository: that may be part of a checkout itself.
    """
    return here.git_dir is not None and _git_dir(here.root / ".git") == here.git_dir


def every(here: Worktree) -> tuple[Worktree, ...]:
    """Return all worktrees of the repository that are there, the main one first, then by path.

    One that git still lists, but whose folder is gone, has lost its `.git` or is another user's
    by now, is not among them.
    """
    if here.common_dir is None:
        return (here,)
    found = {here.root: here} if here.root != here.common_dir else {}  # a bare one is no worktree
    if here.main != here.common_dir and _is_dir(here.main):  # not bare
        found.setdefault(here.main, here._replace(root=here.main, git_dir=here.common_dir))
    for git_dir, root in linked(here.common_dir).items():
        entry = root / ".git" if root else None
        if (
            root
            and entry
            and _git_dir(entry) == git_dir
            and not ownership.objection(str(entry), str(root))
        ):
            found.setdefault(root, here._replace(root=root, git_dir=git_dir))
    return tuple(sorted(found.values(), key=lambda tree: (tree.root != here.main, tree.root)))


def linked(common: Path) -> dict[Path, Path | None]:
    """Return git's folder of each linked worktree with the worktree it names, there or not."""
    try:
        folders = sorted((common / "worktrees").iterdir())
    except OSError:
        return {}
    return {_real(folder): top_of(folder) for folder in folders if _is_dir(folder)}


def likely(here: Worktree) -> Iterator[str]:
    """Yield at least the folders of `every`, none of them proved: what costs next to nothing."""
    yield str(here.main)
    listed = str(here.common_dir / "worktrees") if here.common_dir else None
    for name in os.listdir(listed) if listed and _is_dir(Path(listed)) else ():  # noqa: PTH208
        git_dir = f"{listed}/{name}"
        if pointer := _read(f"{git_dir}/gitdir"):
            relative = not pointer.startswith("/")  # since git 2.48; what git writes is normal
            entry = os.path.abspath(f"{git_dir}/{pointer}") if relative else pointer  # noqa: PTH100
            yield os.path.dirname(entry)  # noqa: PTH120


def top_of(git_dir: Path) -> Path | None:
    """Return the worktree that a linked worktree's git folder names; None for any other folder."""
    pointer = _read(git_dir / "gitdir")  # may be relative since git 2.48
    return _real(Path(os.path.abspath(git_dir / pointer)).parent) if pointer else None  # noqa: PTH100


def is_there(git_dir: Path) -> bool:
    """Return whether the worktree of a git folder exists, and still belongs to it."""
    if not _exists(git_dir / "HEAD"):
        return False
    top = top_of(git_dir)
    return top is None or _git_dir(top / ".git") == _real(git_dir)


def commits(here: Worktree) -> dict[Path, str]:
    """Return the commit that each worktree has checked out, as git says; {} where git can't."""
    found: dict[Path, str] = {}
    text = git(here.root, "worktree", "list", "--porcelain", "-z")  # since git 2.36
    end = "\0" if text else "\n"
    text = text or git(here.root, "worktree", "list", "--porcelain")
    for block in text.split(end * 2):
        facts = dict(line.partition(" ")[::2] for line in block.split(end))
        if "worktree" in facts and facts.get("HEAD", "").strip("0"):
            found[_real(Path(facts["worktree"]))] = facts["HEAD"]
    return found


def is_ignored(here: Worktree, name: str) -> bool:
    """Return whether git ignores that file; outside git, and where git can't tell, it is."""
    done = None if here.git_dir is None else _run(here.root, "check-ignore", "-q", "--", name)
    return done is None or done.returncode != 1


def git(folder: Path, *words: str) -> str:
    """Return what git prints in `folder`, whatever repository a hook's environment names.

    Empty where there is no git, or where it fails.
    """
    done = _run(folder, *words)
    return os.fsdecode(done.stdout) if done and done.returncode == 0 else ""


def _run(folder: Path, *words: str) -> "subprocess.CompletedProcess[bytes] | None":
    """Run git in `folder`; None where there is none, or where it takes too long."""
    import subprocess  # noqa: PLC0415 - rarely needed

    try:
        return git_program.run(folder, *words)
    except (OSError, subprocess.TimeoutExpired):
        return None


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
    common = _real(git_dir / link) if link else git_dir
    core = _core_settings(common)
    if core.get("bare", "").lower() in ("true", "yes", "on", "1"):
        main = common
    elif common == git_dir != top:
        main = top
    elif "worktree" in core:  # a submodule: its git folder lies in that of the repository around it
        main = _real(common / core["worktree"])
    else:
        # git's own rule (get_main_worktree in worktree.c): the common folder less a final /.git
        main = common.parent if common.name == ".git" else common
    return Worktree(top, main if _is_dir(main) else common, git_dir, common)


def _refuse_foreign(found: Worktree, entry: Path) -> Worktree:
    own, common = found.git_dir or entry, found.common_dir or entry
    for path, top in {own: common, common: common, entry: entry.parent}.items():
        fault = ownership.objection(str(path), str(top), str(found.root))
        if fault:
            sentence, hint = fault
            raise ConfigInvalidError(sentence, hint=hint, details={"file": str(path)})
    return found


def _real(path: Path) -> Path:
    return spelling.as_listed(path.resolve())


# Path's own raise where a folder may not be looked into (until Python 3.14).
def _is_dir(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112


def _exists(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110


def _git_dir(entry: Path) -> Path | None:
    if _is_dir(entry):
        return _real(entry) if _is_git_dir(entry) else None
    pointer = _read(entry)
    if not pointer.startswith("gitdir: "):
        return None
    target = _real(entry.parent / pointer.removeprefix("gitdir: "))
    return target if _exists(target / "HEAD") else None


def _is_git_dir(folder: Path) -> bool:
    head = os.path.isfile(folder / "HEAD")  # noqa: PTH113
    return head and all(_is_dir(folder / name) for name in ("objects", "refs"))


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


def _read(file: str | Path) -> str:
    try:
        return untrusted_files.read(str(file), 65536).decode("utf-8", "surrogateescape").strip()
    except OSError:
        return ""
