"""The console script `devservers`: the same words as `inv`, where there is no tasks.py."""

import sys

from devservers import config, console, kinds, worktree
from devservers.errors import DevServerError
from devservers.kind import Kind
from devservers.lifecycle import status, verdict
from devservers.rendering import servers
from devservers.rendering.servers import Rendered

SIMPLE = frozenset({"--json", "--quiet"})


def main() -> None:
    """Run the tasks named on the command line; leave with their exit status."""
    sys.excepthook = console.excepthook
    task, *flags = sys.argv[1:] or [""]
    name, _, word = task.partition(".")
    if name in kinds.NAMES and word in {"ensure", "start"} and SIMPLE.issuperset(flags):
        rendered = _glance(kinds.kind(name))
        if rendered is not None:
            as_json, quiet = "--json" in flags, "--quiet" in flags
            sys.exit(console.run(lambda: rendered, as_json=as_json, quiet=quiet))
    _run_invoke()


def _glance(kind: Kind) -> Rendered | None:
    """Return what a warm ensure says, None if the task itself has to say it.

    What is proved to run needs neither Invoke nor its tasks, which are most of the time it takes.
    """
    try:
        here = worktree.find()
        spec = kinds.declared(kind, config.load(here.root, here.main), here)
        record = verdict.quick_proof(spec) if spec.enabled else None
    except DevServerError:
        return None
    except KeyboardInterrupt:
        sys.exit(console.INTERRUPTED)
    if record is None:
        return None
    done = status.ensured(spec, "already-running", record)
    return servers.of(servers.ensured(done, kind), spec)


def _run_invoke() -> None:
    from importlib import metadata  # noqa: PLC0415 - what a warm ensure does without

    from invoke.program import Program  # noqa: PLC0415

    from devservers.tasks import ns  # noqa: PLC0415

    version = metadata.version("worktree-devservers")
    Program(name="devservers", binary="devservers", namespace=ns, version=version).run()
