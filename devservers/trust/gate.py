"""Trust: what a checkout brought along runs in a hook only after a person ran it by hand once.

Brought along is what the configuration says of how a server is started, and every file that git
tracks and that decides what is executed: the program, what its words name, what redirects a
launcher. A digest of all that is kept for all worktrees of a repository. Contents count, never
sizes or times; where a worktree lies doesn't, so that the same commands are the same everywhere.
"""

import os
import stat
from typing import NamedTuple, NoReturn

from devservers import worktree
from devservers.errors import HooksUnusableError, StateUnusableError
from devservers.spec import ServerSpec
from devservers.system import untrusted_files
from devservers.trust import brought_along
from devservers.worktree import Worktree

PLACE = "trusted"
MOST_NAMES = 4  # in one line
LARGEST = 64 * 1024  # bytes; about a thousand digests, of which the older half is forgotten


class Claim(NamedTuple):
    """What one start would execute, and whether a person has accepted that."""

    argv: tuple[str, ...]
    trusts: tuple[str, ...]
    """The keys and files that the checkout brought along for it; empty: none, nothing to accept."""
    digest: str
    accepted: bool


def claim_of(spec: ServerSpec) -> Claim:
    """Return what a start of `spec` would execute now. Nothing is written.

    Raises CliNotFoundError, and HooksUnusableError where it can't be told what was brought along.
    """
    argv = spec.command()
    here = worktree.find(spec.worktree)
    found = brought_along.along(spec, here, argv)
    accepted = not found.names or found.digest in _accepted(here)
    return Claim(argv, found.names, found.digest, accepted)


def require(spec: ServerSpec) -> tuple[str, ...]:
    """Return the argv of `spec`. Raises HooksUnusableError unless a person has accepted it.

    Else as `claim_of`.
    """
    claim = claim_of(spec)
    if not claim.accepted:
        some, rest = claim.trusts[:MOST_NAMES], len(claim.trusts) - MOST_NAMES
        more = f" and {rest} more" if rest > 0 else ""
        raise HooksUnusableError(
            f"The {spec.title} was neither started nor changed: this checkout brings along "
            f"what nobody has accepted yet ({', '.join(some)}{more}).",
            hint="Look at it; then `inv hooks.trust`, or start the server by hand, accepts it.",
            details={"trusts": list(claim.trusts)},
        )
    return claim.argv


def accept(spec: ServerSpec) -> tuple[str, ...]:
    """Return the argv of `spec`, which a person starts by hand, and accept it for hooks.

    What can't be kept is left: it costs a question later. Raises CliNotFoundError.
    """
    argv = spec.command()
    try:
        here = worktree.find(spec.worktree)
        found = brought_along.along(spec, here, argv)
        if found.names and found.digest not in _accepted(here):
            _keep(here, found.digest)
    except (HooksUnusableError, StateUnusableError):
        pass
    return argv


def add(spec: ServerSpec) -> Claim:
    """Accept what a start of `spec` would execute; return it as it was before.

    Raises CliNotFoundError, HooksUnusableError, StateUnusableError.
    """
    claim = claim_of(spec)
    if not claim.accepted:
        _keep(worktree.find(spec.worktree), claim.digest)
    return claim


def by_hand(spec: ServerSpec) -> ServerSpec:
    """Return `spec` as a person starts it: whatever it executes is accepted right before that."""
    return spec._replace(command=lambda: accept(spec))


def by_hook(spec: ServerSpec) -> ServerSpec:
    """Return `spec` as a hook starts it: only what was accepted, asked right before the start."""
    return spec._replace(command=lambda: require(spec))


def _accepted(here: Worktree) -> frozenset[str]:
    if not worktree.is_checked_out(here):  # what lies there may be part of a checkout itself
        return frozenset()
    try:
        if not _is_own(os.lstat(path := _file(here))):
            return frozenset()
        return frozenset(untrusted_files.read(path, 2 * LARGEST).decode("ascii", "replace").split())
    except OSError:
        return frozenset()


def _keep(here: Worktree, digest: str) -> None:
    """Append to what is accepted: one write, so that callers at the same time lose nothing."""
    path = _file(here)
    if not worktree.is_checked_out(here):
        what = "it lies in no worktree of a git repository"
        raise StateUnusableError(f"What {here.root} executes can't be accepted: {what}.")
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    flags |= getattr(os, "O_NONBLOCK", 0)
    try:
        here.shared_dir.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, flags, 0o600)
        with open(fd, "r+b", buffering=0) as stream:
            info = os.fstat(fd)
            if not _is_own(info) or info.st_nlink > 1:
                _refuse(path, "it is no plain file that you alone may write to")
            if info.st_size > LARGEST:
                _forget(path)
                return _keep(here, digest)
            broken = info.st_size > 0 and os.pread(fd, 1, info.st_size - 1) != b"\n"
            stream.write(b"\n" * broken + f"{digest}\n".encode())
    except OSError as error:
        _refuse(path, error.strerror or str(error))
    return None


def _refuse(path: str, why: str) -> NoReturn:
    raise StateUnusableError(
        f"What was accepted can't be kept in {path}: {why}.",
        hint=f"Look at it, and move {path} away.",
        details={"file": path},
    )


def _forget(path: str) -> None:
    """Leave the later half of the digests, in a new file in the place of the old."""
    lines = untrusted_files.read(path, 2 * LARGEST).decode("ascii", "replace").splitlines()
    new = f"{path}.{os.getpid()}"
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write("".join(f"{line}\n" for line in lines[len(lines) // 2 :]))
    os.replace(new, path)  # noqa: PTH105


def _is_own(info: os.stat_result) -> bool:
    own = not hasattr(os, "geteuid") or info.st_uid == os.geteuid()
    alone = not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return own and alone and stat.S_ISREG(info.st_mode)


def _file(here: Worktree) -> str:
    return str(here.shared_dir / PLACE)
