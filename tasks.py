"""The tasks of this repository: those that it gives to others, its benchmark, its torture."""

import subprocess
import sys
from pathlib import Path

from invoke.context import Context
from invoke.tasks import task

from devservers.tasks import ns

TESTS = Path(__file__).parent / "tests"


@task(auto_shortflags=False)
def bench(_: Context) -> None:
    """Measure it against what one would use instead: a table, within five minutes."""
    script = TESTS / "benchmarks" / "bench.py"
    sys.exit(subprocess.run([sys.executable, script], check=False).returncode)  # noqa: S603


@task(
    auto_shortflags=False,
    help={"minutes": "For how long; 0: one episode.", "seed": "The first episode; 0: any."},
)
def torture(_: Context, minutes: float = 1.0, seed: int = 0) -> None:
    """Callers, kills and strangers at random: what must always hold is checked from outside."""
    sys.path.insert(0, str(TESTS))
    from torture.campaign import main  # noqa: PLC0415 - the tests need not be there for the rest

    sys.exit(main(minutes, seed))


ns.add_task(bench)
ns.add_task(torture)

__all__ = ["ns"]
