"""git's hooks of a repository: where they are, and our part in all of them at once."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from devservers import kinds
from devservers.errors import DevServerError, HooksUnusableError
from devservers.githooks import acceptance
from devservers.githooks import file as githooks_file
from devservers.githooks.acceptance import Standing
from devservers.githooks.file import Hook
from devservers.system import git
from devservers.worktree import Worktree, every

EVENTS = ("post-checkout", "post-merge")


class Hooks(NamedTuple):
    """The answer of install, uninstall and status."""

    action: str
    """installed, uninstalled, unchanged or status."""
    folder: Path
    configured: bool
    """core.hooksPath names the folder."""
    hooks: tuple[Hook, ...]
    warnings: tuple[str, ...] = ()
    standing: Standing | None = None
    """What the hooks would execute here and whether it is accepted; None where that can't be told,
    and in the answer of uninstall."""


def status(worktree: Worktree) -> Hooks:
    """Return what is there now. Raises HooksUnusableError."""
    folder, configured = _folder(worktree)
    hooks = tuple(githooks_file.read(folder, event) for event in EVENTS)
    return Hooks("status", folder, configured, hooks, standing=_standing(worktree))


def install(worktree: Worktree, python: str = sys.executable) -> Hooks:
    """Put our part into each hook: it calls `python`, or else devservers-hook on the PATH.

    What is there goes on working. A hook of pre-commit's is left as it is, and warned of. What
    the hooks would execute in this worktree is accepted. Raises HooksUnusableError.
    """
    before = status(worktree)
    for hook in before.hooks:  # all or none
        githooks_file.check(hook)
    tops = [tree.root for tree in every(worktree)]
    guarded = any(Path(python).is_relative_to(top) for top in tops)
    changed = [githooks_file.put_in(hook, python, guarded=guarded) for hook in before.hooks]
    warnings = [*_warnings(worktree, before, python)]
    warnings += [
        f"{hook.file} belongs to pre-commit and was left alone. Add the hook "
        f"`{kinds.HOOKED[0]}-ensure` to .pre-commit-config.yaml instead (docs/hooks-and-ci.md)."
        for hook in before.hooks
        if hook.state == "pre-commit"
    ]
    try:
        warnings += acceptance.accept(worktree).warnings
    except DevServerError as error:
        warnings.append(f"{error.message} {error.hint or ''}".strip())
    action = "installed" if any(changed) else "unchanged"
    return status(worktree)._replace(action=action, warnings=tuple(warnings))


def uninstall(worktree: Worktree) -> Hooks:
    """Take our part out of each hook, and leave the rest as it was. Raises HooksUnusableError."""
    before = status(worktree)
    for hook in before.hooks:
        githooks_file.check(hook)
    taken = [githooks_file.take_out(hook) for hook in before.hooks]
    action = "uninstalled" if any(taken) else "unchanged"
    return status(worktree)._replace(action=action, standing=None)


def _standing(worktree: Worktree) -> Standing | None:
    try:
        return acceptance.standing(worktree)
    except DevServerError:  # whoever starts a server says what is wrong
        return None


def _folder(worktree: Worktree) -> tuple[Path, bool]:
    if worktree.git_dir is None:
        raise HooksUnusableError(
            f"{worktree.root} is not in a git repository.", hint="Change into one, or `git init`."
        )
    configured = _git(worktree, "config", "--get", "core.hooksPath", allowed=(0, 1))
    # The answer may be relative, to the folder that git is run in.
    path = _git(worktree, "rev-parse", "--git-path", "hooks")
    return Path(os.path.normpath(worktree.root / path)), bool(configured)


def _git(worktree: Worktree, *words: str, allowed: tuple[int, ...] = (0,)) -> str:
    try:
        done = git.run(worktree.root, *words)
    except subprocess.TimeoutExpired as error:
        msg = f"`git {' '.join(words)}` did not answer within {git.TIMEOUT:g} s."
        raise HooksUnusableError(msg, hint="See what holds git up.") from error
    except OSError as error:
        msg = f"git can't be run: {error.strerror}."
        raise HooksUnusableError(msg, hint="Install git, or correct PATH.") from error
    if done.returncode not in allowed:
        said = os.fsdecode(done.stderr).strip().splitlines()
        raise HooksUnusableError(f"`git {' '.join(words)}` failed in {worktree.root}:", lines=said)
    return os.fsdecode(done.stdout).removesuffix("\n")


def _warnings(worktree: Worktree, hooks: Hooks, python: str) -> list[str]:
    found = []
    if hooks.configured:
        scope = _git(worktree, "config", "--show-scope", "--get", "core.hooksPath", allowed=(0, 1))
        where = f"core.hooksPath names {hooks.folder}"
        if scope.startswith(("global", "system")):
            found.append(f"{where} for every repository: these hooks run in all of them.")
        elif hooks.folder.is_relative_to(worktree.root) and ".git" not in hooks.folder.parts:
            found.append(
                f"{where}, a folder of this worktree: each worktree has its own. A branch that "
                "brings hooks there has git itself run them, whatever they are."
            )
    if worktree.root != worktree.main and Path(python).is_relative_to(worktree.root):
        found.append(
            f"The hooks of all worktrees now call {python}, which goes when this worktree goes; "
            "from then on devservers-hook on the PATH, if there is one."
        )
    return found
