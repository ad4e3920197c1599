"""Use: makes a worktree the one in use: the door leads to it, and the shared servers know it."""

import time

from devservers import config, kinds, worktree
from devservers.config import Config
from devservers.door import settings as door_settings
from devservers.errors import UsageError
from devservers.kind import Notify
from devservers.lifecycle import locked, server, status
from devservers.rendering import lists
from devservers.spec import Description, ServerSpec, url_of
from devservers.system import localhost_http, polling
from devservers.worktree import Worktree
from devservers.worktrees import hostnames, in_use
from devservers.worktrees.in_use import Used

SWITCH_PATIENCE = 3.0  # seconds; the door sees it within a twentieth
ANSWER = 0.5  # seconds


def use(settings: Config, here: Worktree, wanted: str, notify: Notify | None = None) -> Used:
    """Make the worktree that `wanted` names the one in use; `here` where that is empty.

    Where there is to be a door, it is started first: nothing is changed if it can't be. Raises
    UsageError, and what `server.ensure` raises.
    """
    trees = worktree.every(here)
    tree = in_use.find(trees, wanted, here)
    if tree is None:
        names = lists.cut([one.branch or str(one.root) for one in trees])
        raise UsageError(
            f"There is no worktree {wanted!r}; there are {', '.join(names)}."
            if wanted
            else "This is no worktree: name the one to be in use, by its branch or its folder."
        )
    its = config.load(tree.root, tree.main)  # or it fails before anything is changed
    spec = _door(settings, here)
    port = server.ensure(spec, notify=notify).port if spec.enabled else None
    with locked.locked(spec, locked.LOCK_TIMEOUT, notify):
        before = in_use.read(here)
        in_use.write(here, tree.root)
        notes = _notes(settings, here, tree)
    warnings = () if port is None else _unproved(port, tree)
    kind = kinds.of_app()
    app = kinds.declared(kind, its, tree, by_itself=tree != here)
    return Used(
        action="already-used" if before == tree.root else "used",
        tree=tree,
        before=before,
        kind=kind,
        app=status.status(app),
        url=url_of(None, port) if port else None,
        name_url=_name_url(here, trees, tree, port),
        notes=notes,
        warnings=warnings,
    )


def release(settings: Config, here: Worktree, notify: Notify | None = None) -> Used:
    """Let no worktree be in use any more. Raises LockTimeoutError, StateUnusableError."""
    spec = _door(settings, here)
    with locked.locked(spec, locked.LOCK_TIMEOUT, notify):
        before = in_use.read(here)
        in_use.write(here, None)
        notes = _notes(settings, here, None)
    kind = kinds.of_app()
    action = "released" if before else "none-used"
    url = spec.url(spec.port) if spec.enabled else None
    return Used(action, None, before, kind, None, url, None, notes)


def _door(settings: Config, here: Worktree) -> ServerSpec:
    kind = kinds.of(settings, kinds.BUNDLED)[door_settings.NAME]
    return kinds.declared(kind, settings, here)


def _notes(settings: Config, here: Worktree, tree: Worktree | None) -> tuple[Description, ...]:
    return tuple(kind.use(settings, here, tree) for kind in kinds.every() if kind.use)


def _unproved(port: int, tree: Worktree) -> tuple[str, ...]:
    """Wait until the door itself says whom it leads to; return a warning if it doesn't in time."""

    def attempt() -> bool | None:
        answer = localhost_http.ask_ours("GET", port, door_settings.HEALTH, timeout=ANSWER)
        said = answer.json() if answer else None
        leads = isinstance(said, dict) and said.get("inUse") == str(tree.root)
        return True if leads else None

    if polling.wait(attempt, time.monotonic() + SWITCH_PATIENCE, what=str):
        return ()
    return (f"The door on port {port} doesn't lead there yet: `inv {door_settings.NAME}.logs`.",)


def _name_url(
    here: Worktree, trees: tuple[Worktree, ...], tree: Worktree, port: int | None
) -> str | None:
    if port is None:
        return None
    label = next(name for name, one in hostnames.labels(trees).items() if one.root == tree.root)
    return url_of(f"{label}.{hostnames.zone(here)}", port)
