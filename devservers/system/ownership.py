"""Ownership: what somebody else wrote, or could have written, is neither read nor executed.

The rule is git's (CVE-2022-24765), and so is the way to except a folder: `safe.directory` in the
user's or the system's configuration of git, never in that of the repository in question.
"""

import os
import stat

from devservers.system import untrusted_files

CHANGEABLE = stat.S_IWOTH


def objection(path: str, top: str | None = None, root: str | None = None) -> tuple[str, str] | None:
    """Return why `path` is not to be used, a sentence and what to do; None if it may be.

    It, each link that leads to it, and each folder from there up to `top` (the top of its worktree)
    must belong to the caller or to root, and others must not be able to change them. What lies
    outside `top` is asked for its owner, and its folders whether everyone may write to them. What
    isn't there is nobody's. git's exception is looked for under the name of `root`, if that isn't
    `top`: a git folder is excepted with its worktree.
    """
    if not hasattr(os, "geteuid"):
        return None
    fault = _fault(path, top)
    folder = root or top or os.path.dirname(path)
    if fault is None or _is_excepted(folder):
        return None
    sentence, step, cure = fault
    return (
        f"{sentence}: {path} is not used." if step != path else f"{sentence}: it is not used.",
        f"If you trust it: `{cure}`, or `git config --global --add safe.directory {folder}`.",
    )


def _fault(path: str, top: str | None) -> tuple[str, str, str] | None:
    """Return what is wrong, with which file or folder, and the command that mends it."""
    seen: set[str] = set()
    for step in untrusted_files.steps(path):
        within = top is not None and (step == top or step.startswith(f"{top.rstrip('/')}/"))
        last = top if within else os.sep
        place, owned = step, True
        while place not in seen:
            seen.add(place)
            if (fault := _fault_of(place, owned=owned)) is not None:
                return fault
            if place in (last, os.sep):
                break
            place, owned = os.path.dirname(place), within
    return None


def _fault_of(place: str, *, owned: bool) -> tuple[str, str, str] | None:
    try:
        info = os.lstat(place)
    except OSError:
        return None
    if owned and info.st_uid not in _trusted():
        own = f"neither you (uid {os.geteuid()}) nor root"
        sentence = f"{place} belongs to {_name(info.st_uid)} (uid {info.st_uid}), {own}"
        return sentence, place, f"chown {os.geteuid()} {place}"
    sticky = stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_ISVTX
    if info.st_mode & CHANGEABLE and not stat.S_ISLNK(info.st_mode) and not sticky:
        mode = f"mode {stat.S_IMODE(info.st_mode):04o}"
        return f"Everyone may write to {place} ({mode})", place, f"chmod o-w {place}"
    return None


def _trusted() -> tuple[int, ...]:
    own = os.geteuid()
    through_sudo = os.environ.get("SUDO_UID", "")
    more = (int(through_sudo),) if own == 0 and through_sudo.isdecimal() else ()
    return (own, 0, *more)


def _name(uid: int) -> str:
    import pwd  # noqa: PLC0415 - rarely needed

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return "somebody without a name here"


def _is_excepted(folder: str) -> bool:
    real, found = os.path.realpath(folder), False
    for value in _safe_directories(real):
        below = value.endswith("/*") and real.startswith(value[:-1])
        same = os.path.isabs(value) and os.path.realpath(value) == real
        # As everywhere in git, an empty value forgets those before.
        found = bool(value) and (found or value == "*" or below or same)
    return found


def _safe_directories(doubtful: str) -> list[str]:
    """Return git's own list; it is asked outside of any repository, or that one could answer.

    Nor is it a git that lies in the `doubtful` folder.
    """
    import subprocess  # noqa: PLC0415 - only where something is wrong

    from devservers.system import git  # noqa: PLC0415 - only where something is wrong

    words = ("config", "--show-scope", "--type=path", "-z", "--get-all", "safe.directory")
    try:
        done = git.run(os.sep, *words, settings=True, timeout=10, avoid=(doubtful,))
    except (OSError, subprocess.SubprocessError):
        return []
    fields = os.fsdecode(done.stdout).split("\0")
    pairs = zip(fields[::2], fields[1::2], strict=False)
    return [value for scope, value in pairs if scope in ("system", "global", "command")]
