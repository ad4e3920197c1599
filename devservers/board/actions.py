"""Actions: what a button does: one of our own tasks, as a process of its own in that worktree."""

import json
import os
import subprocess
import threading
from typing import Any

from devservers import config, kinds, worktree
from devservers.errors import DevServerError
from devservers.system import isolated
from devservers.worktree import Worktree, clean_env

TASKS = {"start": "ensure", "stop": "stop", "restart": "restart", "sync": "sync"}
AT_ONCE = 4
PATIENCE = 200.0  # seconds; each task ends by itself before
_turns = threading.BoundedSemaphore(AT_ONCE)


def do(asked: object) -> tuple[int, dict[str, Any]]:
    """Do what a request asks for; return an HTTP status, and what to tell of it."""
    worktree_, server, action = (
        (asked.get(key) for key in ("worktree", "server", "action"))
        if isinstance(asked, dict)
        else (None, None, None)
    )
    tree = next((one for one in _trees() if str(one.root) == worktree_), None)
    if tree is None or action not in TASKS or not _has(tree, server):
        return 400, {"ok": False, "message": "There is no such button.", "hint": None}
    if not _turns.acquire(blocking=False):
        busy = "Too much is being done already."
        return 503, {"ok": False, "message": busy, "hint": "Try again in a moment."}
    try:
        return 200, _run(tree, f"{server}.{TASKS[action]}")
    finally:
        _turns.release()


def _trees() -> tuple[Worktree, ...]:
    """Return the worktrees of this repository, no others: of one a button may be pressed."""
    return worktree.every(worktree.find())


def _has(tree: Worktree, server: object) -> bool:
    try:
        return server in kinds.of(config.load(tree.root, tree.main))
    except DevServerError:
        return False


def _run(tree: Worktree, task: str) -> dict[str, Any]:
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            isolated.argv("devservers.cli", task, "--json"),
            cwd=tree.root,
            env=clean_env(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=PATIENCE,
        )
        said = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return {"ok": False, "message": f"{task}: {type(error).__name__}", "hint": None}
    if failed := said.get("error"):
        return {"ok": False, "message": failed["message"], "hint": failed["hint"]}
    warnings = said.get("warnings") or ()
    return {"ok": True, "message": f"{task}: {said.get('action')}", "hint": "; ".join(warnings)}
