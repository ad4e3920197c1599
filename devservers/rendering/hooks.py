"""Rendering of what the hooks.* tasks answer."""

from devservers.githooks.acceptance import Standing
from devservers.githooks.install import Hooks
from devservers.rendering.servers import Rendered

_STATES = {
    "installed": "installed",
    "absent": "not installed",
    "other": "not installed; there is another hook, which install would keep",
    "damaged": "half of our part is there",
    "pre-commit": "not installed; pre-commit's own hook is there",
}


def hooks(result: Hooks) -> Rendered:
    """Render hooks.install, hooks.uninstall and hooks.status."""
    data = {
        "action": result.action,
        "folder": str(result.folder),
        "hooksPath": result.configured,
        "hooks": [
            {
                "name": hook.event,
                "file": str(hook.file),
                "state": hook.state,
                "installed": hook.state == "installed",
                "chained": hook.chained,
                "damage": hook.damage,
            }
            for hook in result.hooks
        ],
        "trusted": result.standing.holds if result.standing else None,
        "warnings": result.warnings,
    }
    lines = [f"git hooks in {result.folder}{': nothing to do' * (result.action == 'unchanged')}"]
    for hook in result.hooks:
        beside = ", beside the hook that was there" if hook.chained else ""
        damage = f"; {hook.damage}" if hook.damage else ""
        lines.append(f"  {hook.event}: {_STATES[hook.state]}{beside}{damage}")
    if result.standing and result.standing.trusts:
        lines += _trusts(result.standing)
    return Rendered(data, tuple(lines), result.warnings)


def trusted(result: Standing) -> Rendered:
    """Render hooks.trust."""
    data = {
        "action": result.action,
        "worktree": result.worktree,
        "trusts": result.trusts,
        "warnings": result.warnings,
    }
    return Rendered(data, tuple(_trusts(result)), result.warnings)


def _trusts(result: Standing) -> list[str]:
    if not result.trusts:
        return [f"Hooks need no trust in {result.worktree}: it brings nothing along to execute."]
    if not result.holds:
        head = "Hooks start nothing here until `inv hooks.trust` accepts what it brings along:"
    else:
        head = "Accepted, here and in every worktree with the very same: hooks may execute"
    return [head, *(f"  {name}" for name in result.trusts)]
