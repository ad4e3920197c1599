"""The tasks of this repository: those that it gives to others, and its benchmark."""

import subprocess
import sys
from pathlib import Path

from invoke.context import Context
from invoke.tasks import task

from devservers.tasks import ns


@task(auto_shortflags=False)
def bench(_: Context) -> None:
    """Measure it against what one would use instead: a table, within five minutes."""
    script = Path(__file__).parent / "tests" / "benchmarks" / "bench.py"
    sys.exit(subprocess.run([sys.executable, script], check=False).returncode)  # noqa: S603


ns.add_task(bench)

__all__ = ["ns"]
