"""What only Next.js has: errors."""

from devservers import config, kinds, worktree
from devservers.lifecycle import state, status
from devservers.rendering import nextjs as rendering
from devservers.rendering.servers import Rendered
from devservers.tasks.definition import task


def _errors() -> Rendered:
    from devservers.nextjs import errors  # noqa: PLC0415 - only here

    here = worktree.find()
    settings = config.load(here.root, here.main)
    spec = kinds.declared(kinds.kind("nextjs"), settings, here)
    now = status.status(spec)
    if not now.running:
        return rendering.errors(None, now)
    record = state.read(spec.files.pid)
    chatter = spec.behaviour.chatter
    found = errors.report(
        now, record.log_offset if record else 0, chatter.pattern if chatter else None
    )
    return rendering.errors(found, now)


TASKS = {
    "errors": task(
        "nextjs-errors",
        "Say whether the app compiles, or what failed: exit status 0 or 1, 3 not running.",
        _errors,
    )
}
