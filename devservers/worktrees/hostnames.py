"""Hostnames: the name in `login.shop.localhost` that leads a browser to one worktree."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable

from devservers.worktree import Worktree

TOP = "localhost"  # browsers lead every name below it to this machine (RFC 6761, 6.3)
LONGEST = 63  # characters of a label (RFC 1035)
CHANCE = 4  # hexadecimal digits that tell two branches apart whose names look alike


def zone(here: Worktree) -> str:
    """Return the name that the names of a repository's worktrees end with: `shop.localhost`."""
    return f"{label(here.main.name.removesuffix('.git')) or 'repository'}.{TOP}"


def labels(trees: Iterable[Worktree]) -> dict[str, Worktree]:
    """Return the worktrees by label: that of the branch, without one that of the folder.

    `feature/login` becomes `feature-login`. Where several come to the same, it is that of the
    branch which is spelled so, and the others have some digits of their own at its end.
    """
    named = [(tree.branch or tree.root.name, tree) for tree in trees]
    count = Counter(label(name) for name, _ in named)
    found: dict[str, Worktree] = {}
    for name, tree in named:
        its = label(name)
        if not its or (count[its] > 1 and its != name):
            chance = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:CHANCE]
            its = f"{its[: LONGEST - CHANCE - 1]}-{chance}".lstrip("-")
        found.setdefault(its, tree)
    return found


def label(name: str) -> str:
    """Return a name as a label: lower-case letters, digits, and single hyphens inside it."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:LONGEST].rstrip("-")
