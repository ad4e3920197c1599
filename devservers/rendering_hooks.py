"""Rendering of what the hooks.* tasks answer."""

from devservers.githooks import Hooks
from devservers.rendering import Rendered

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
        "warnings": result.warnings,
    }
    lines = [f"git hooks in {result.folder}{': nothing to do' * (result.action == 'unchanged')}"]
    for hook in result.hooks:
        beside = ", beside the hook that was there" if hook.chained else ""
        damage = f"; {hook.damage}" if hook.damage else ""
        lines.append(f"  {hook.event}: {_STATES[hook.state]}{beside}{damage}")
    return Rendered(data, tuple(lines), result.warnings)
