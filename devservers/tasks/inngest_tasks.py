"""What only the Inngest dev server has: apps, sync, doctor."""

from collections.abc import Callable

from devservers import config, inngest, worktree
from devservers.config import Config
from devservers.errors import UsageError
from devservers.rendering import servers
from devservers.rendering.servers import Rendered
from devservers.tasks import flags
from devservers.tasks.definition import Flag, task
from devservers.worktree import Worktree


def _apps() -> Rendered:
    def make(settings: Config, here: Worktree) -> Rendered:
        from devservers.inngest import apps, neighbours, pin, target  # noqa: PLC0415 - only here
        from devservers.rendering import inngest as rendering  # noqa: PLC0415 - only here

        it = target.of(settings, here)
        pinned = pin.read(it.pid_file, here) if it.shared else None
        found = apps.survey(settings, it)
        return rendering.apps(found, str(here.root), pinned, neighbours.now(here, it))

    return _unless_disabled(make, apps=(), pinned=None, neighbours=())


def _sync(*, port: str, release: bool) -> Rendered:
    def make(settings: Config, here: Worktree) -> Rendered:
        from devservers.inngest import neighbours, serving, target  # noqa: PLC0415 - only here
        from devservers.rendering import inngest as rendering  # noqa: PLC0415 - only here

        if port and release:
            raise UsageError("--port makes an app the served one, --release none: use one of them.")
        spec = inngest.spec(settings, here)
        if release:
            return rendering.synced(serving.release(here, spec))
        number = flags.port("--port", port) if port else None
        it = target.of(settings, here)
        done = serving.choose(settings, here, it, spec, number)
        return rendering.synced(done, neighbours.now(here, it))

    return _unless_disabled(make)


def _runs(*, last: str) -> Rendered:
    def make(settings: Config, here: Worktree) -> Rendered:
        from devservers.inngest import runs, target  # noqa: PLC0415 - only here
        from devservers.rendering import inngest as rendering  # noqa: PLC0415 - only here

        count = flags.whole("--last", last, most=runs.MOST)
        return rendering.runs(runs.last(settings, here, target.of(settings, here), count))

    return _unless_disabled(make, runs=())


def _doctor() -> Rendered:
    from devservers.inngest import doctor  # noqa: PLC0415 - only here
    from devservers.rendering import inngest as rendering  # noqa: PLC0415 - only here

    return rendering.doctor(doctor.examine())


def _unless_disabled(make: Callable[[Config, Worktree], Rendered], **empty: object) -> Rendered:
    here = worktree.find()
    settings = config.load(here.root, here.main)
    spec = inngest.spec(settings, here)
    if not spec.enabled:
        return servers.disabled(inngest.KIND, spec.port, **empty)
    return make(settings, here)


TASKS = {
    "apps": task(
        "inngest-apps", "Show which worktree's app the Inngest server really serves.", _apps
    ),
    "sync": task(
        "inngest-sync",
        "Make this worktree's app the one that is served, prove it, and keep it so (pin it).",
        _sync,
        {
            "port": Flag("", "of the app (default: this worktree's)"),
            "release": Flag(default=False, help="pin no worktree any more"),
        },
    ),
    "runs": task(
        "inngest-runs",
        "Show the last runs of this worktree's app: state, error, the step that failed.",
        _runs,
        {"last": Flag("10", "how many (default 10)")},
    ),
    "doctor": task(
        "inngest-doctor", "Check every precondition, and name the remedy for what fails.", _doctor
    ),
}
