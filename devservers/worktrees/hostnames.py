"""Hostnames: the name in `login.shop.localhost` that leads a browser to one worktree."""

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable

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
    branch which is spelled so, and the others have some digits of their own at its end. Each
    worktree has one.
    """
    named = [(label(tree.branch or tree.root.name), tree) for tree in trees]
    count = Counter(its for its, _ in named)
    spelled = {tree.branch: tree for _, tree in reversed(named)}
    found: dict[str, Worktree] = {}
    for its, tree in named:
        owner = spelled.get(its)
        is_plain = its and (count[its] == 1 if owner is None else owner is tree)
        found[its if is_plain else _told_apart(its, tree, {*count, *found})] = tree
    return found


def _told_apart(its: str, tree: Worktree, taken: Collection[str]) -> str:
    text = tree.branch or tree.root.name
    while True:
        chance = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:CHANCE]
        made = f"{its[: LONGEST - CHANCE - 1]}-{chance}".lstrip("-")
        if made not in taken:
            return made
        text += f"\0{tree.root}"  # one branch in two worktrees, or none in two folders of one name


def label(name: str) -> str:
    """Return a name as a label: lower-case letters, digits, and single hyphens inside it."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:LONGEST].rstrip("-")
