"""The console script `devservers`: the same words as `inv`, where there is no tasks.py."""

from importlib import metadata

from invoke.program import Program

from devservers.tasks import ns


def main() -> None:
    """Run the tasks named on the command line; leave with their exit status."""
    version = metadata.version("worktree-devservers")
    Program(name="devservers", binary="devservers", namespace=ns, version=version).run()
