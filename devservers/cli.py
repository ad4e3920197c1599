"""The console script `devservers`: the same words as `inv`, where there is no tasks.py."""

import sys

from devservers import config, console, inngest, worktree
from devservers.errors import DevServerError
from devservers.lifecycle import status, verdict
from devservers.rendering import servers
from devservers.rendering.servers import Rendered

ENSURE = frozenset({"inngest.ensure", "inngest.start"})
SIMPLE = frozenset({"--json", "--quiet"})


def main() -> None:
    """Run the tasks named on the command line; leave with their exit status."""
    sys.excepthook = console.excepthook
    task, *flags = sys.argv[1:] or [""]
    if task in ENSURE and SIMPLE.issuperset(flags):
        rendered = _glance()
        if rendered is not None:
            as_json, quiet = "--json" in flags, "--quiet" in flags
            sys.exit(console.answer(lambda: rendered, as_json=as_json, quiet=quiet))
    _run_invoke()


def _glance() -> Rendered | None:
    """Return what a warm ensure says, None if the task itself has to say it.

    What is proved to run needs neither Invoke nor its tasks, which are most of the time it takes.
    """
    try:
        here = worktree.find()
        settings = config.load(here.root, here.main)
        spec = inngest.spec(settings, here)
        record = verdict.glance(spec) if settings.inngest.enabled else None
    except DevServerError:
        return None
    except KeyboardInterrupt:
        sys.exit(console.INTERRUPTED)
    if record is None:
        return None
    done = status.answer(spec, "already-running", record)
    return servers.ensured(done, spec.title, spec.name, watches=True)


def _run_invoke() -> None:
    from importlib import metadata  # noqa: PLC0415 - what a warm ensure does without

    from invoke.program import Program  # noqa: PLC0415

    from devservers.tasks import ns  # noqa: PLC0415

    version = metadata.version("worktree-devservers")
    Program(name="devservers", binary="devservers", namespace=ns, version=version).run()
