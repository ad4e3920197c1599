"""Timing: medians of commands that are run in turn, so that a busy machine is unfair to none."""

import os
import random
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


def nothing() -> None:
    """Do nothing."""


class Case(NamedTuple):
    """One thing to measure."""

    name: str
    command: Sequence[str | Path]
    env: Mapping[str, str]
    cwd: Path
    before: Callable[[], None] = nothing
    """Not timed."""
    after: Callable[[], None] = nothing
    """Not timed."""
    at_once: int = 1
    """How many of them are run side by side; the time is that of all together."""


def seconds(case: Case) -> float:
    """Run a case once; return how long it took. A failure is an error: it would be fast."""
    case.before()
    words = [str(word) for word in case.command]
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    began = time.perf_counter()
    children = [
        subprocess.Popen(words, env=case.env, cwd=case.cwd, **quiet)  # type: ignore[call-overload]
        for _ in range(case.at_once)
    ]
    codes = {child.wait() for child in children}
    took = time.perf_counter() - began
    case.after()
    if codes != {0}:
        raise RuntimeError(f"{case.name} ended with {codes}: {words}")
    return took


class Times(list[float]):
    """The seconds of a case, round by round."""

    @property
    def median(self) -> float:
        return statistics.median(self)

    def of(self, floor: "Times") -> float:
        """Return the median of the ratios to another case, each of the same round."""
        return statistics.median(own / its for own, its in zip(self, floor, strict=True))


def measure(cases: Sequence[Case], rounds: int, patience: float) -> dict[str, Times]:
    """Return the times of each case, of `rounds` in turn, or of what `patience` allows."""
    deadline = time.monotonic() + patience
    found = {case.name: Times() for case in cases}
    for number in range(rounds + 1):
        for case in random.sample(cases, len(cases)):  # whoever follows a heavy one is slower
            took = seconds(case)
            if number:  # the first round only warms the caches
                found[case.name].append(took)
        if number and time.monotonic() > deadline:
            break
    return found


def peak(case: Case, python: Path) -> int:
    """Return the peak memory of a case in bytes."""
    case.before()
    script = Path(__file__).with_name("peak.py")
    words = [python, "-I", "-S", script, *case.command]
    done = subprocess.run(
        [str(word) for word in words],
        env=case.env, cwd=case.cwd, capture_output=True, text=True, check=True,
    )  # fmt: skip
    case.after()
    return int(done.stdout)


def machine() -> str:
    """Describe the machine in a line."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in _lines("/proc/cpuinfo")
            if "model name" in line
        ),
        os.uname().machine,
    )
    kilobytes = next((line.split()[1] for line in _lines("/proc/meminfo")), "0")
    load = f"{os.getloadavg()[0]:.1f}"
    memory = f"{int(kilobytes) / (1 << 20):.0f} GB"
    return f"{os.cpu_count()} x {model}, {memory}, {os.uname().sysname}, load {load} at the start"


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
