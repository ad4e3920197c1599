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
ASKED = ("worktree", "server", "action")
AT_ONCE = 4
PATIENCE = 200.0  # seconds; each task ends by itself before
_turns = threading.BoundedSemaphore(AT_ONCE)


def do(asked: object) -> tuple[int, dict[str, Any]]:
    """Do what a request asks for; return an HTTP status, and what to tell of it."""
    known = asked if isinstance(asked, dict) else {}
    folder, server, action = (str(known.get(key)) for key in ASKED)
    try:
        trees = worktree.every(worktree.find())  # of this repository, no others
        tree = next((one for one in trees if str(one.root) == folder), None)
        if tree is None or not _has(tree, server, action):
            return 400, {"ok": False, "message": "There is no such button.", "hint": None}
    except DevServerError as error:
        return 200, {"ok": False, "message": error.message, "hint": error.hint}
    if not _turns.acquire(blocking=False):
        busy = "Too much is being done already."
        return 503, {"ok": False, "message": busy, "hint": "Try again in a moment."}
    try:
        return 200, _run(tree, f"{server}.{TASKS[action]}")
    finally:
        _turns.release()


def _has(tree: Worktree, server: str, action: str) -> bool:
    """Return whether that worktree's server can do that. Raises ConfigInvalidError."""
    kind = kinds.of(config.load(tree.root, tree.main)).get(server)
    return kind is not None and action in TASKS and (action != "sync" or kind.watches)


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
        # Its Python may have gone, with the worktree where that lay.
        hint = "`inv dev.status` says what is true, `inv board.restart` starts the board anew."
        return {"ok": False, "message": f"{task}: {type(error).__name__}", "hint": hint}
    if failed := said.get("error"):
        return {"ok": False, "message": failed["message"], "hint": failed["hint"]}
    warnings = said.get("warnings") or ()
    return {"ok": True, "message": f"{task}: {said.get('action')}", "hint": "; ".join(warnings)}
