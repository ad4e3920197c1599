"""What only the Inngest dev server has: apps, sync, doctor."""

from collections.abc import Callable

from devservers import config, inngest, worktree
from devservers.config import Config
from devservers.rendering import servers
from devservers.rendering.servers import Rendered
from devservers.tasks import factory, flags
from devservers.tasks.factory import Flag
from devservers.worktree import Worktree


def _apps() -> Rendered:
    def make(settings: Config, here: Worktree) -> Rendered:
        from devservers.inngest import apps  # noqa: PLC0415 - only here
        from devservers.rendering import inngest as rendering  # noqa: PLC0415 - only here

        return rendering.apps(apps.survey(settings), str(here.root))

    return _unless_disabled(make, apps=())


def _sync(*, port: str) -> Rendered:
    def make(settings: Config, here: Worktree) -> Rendered:
        from devservers.inngest import apps  # noqa: PLC0415 - only here
        from devservers.rendering import inngest as rendering  # noqa: PLC0415 - only here

        number = flags.port("--port", port) if port else None
        return rendering.synced(apps.sync(settings, here, number))

    return _unless_disabled(make)


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
    "apps": factory.task(
        "inngest-apps", "Show which worktree's app the Inngest server really serves.", _apps
    ),
    "sync": factory.task(
        "inngest-sync",
        "Make this worktree's app the one that the Inngest server serves, and prove it.",
        _sync,
        {"port": Flag("", "of the app (default: this worktree's)")},
    ),
    "doctor": factory.task(
        "inngest-doctor", "Check every precondition, and name the remedy for what fails.", _doctor
    ),
}
