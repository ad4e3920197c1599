"""The benchmark: `inv bench`. Prints a markdown table; about three minutes, at most five.

Loopback only, with a home, ports and files of its own; it ends all that it started, by identity.
"""

import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from scene import BIN, Scene  # noqa: E402 - beside this file
from timing import Case, Times, machine, measure, peak  # noqa: E402

from support import World, claimed_ports, make_repository  # noqa: E402 - one folder up

LIMIT = 290.0  # seconds for everything
FLOOR = "`inv`, empty task"
GIGABYTE = 1 << 30
PYTHON = "`python -c pass`"
NOTES = {
    "cold shell lines": "two seconds of them asleep; no proof that it answers",
    "stop by shell lines": "half a second of it asleep",
    "cold `pm2 start`": "returns before the server answers",
    "warm shell lines": "a pid and a listener, of whatever kind",
}


def main() -> None:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="devservers-bench-") as folder, claimed_ports() as port:
        home = Path(folder).resolve()
        world = World(home, port, make_repository(home / "seed"))
        scene = Scene(world)
        about = f"{machine()}; Python {platform.python_version()}"
        say(f"{about}\n\n| what | median | of `inv` | |\n| --- | ---: | ---: | --- |")
        try:
            rivals = scene.install_rivals(40)
            for section in (warm, together, status, cold, callers, company, long_log, memory):
                left = LIMIT - (time.monotonic() - began)
                if left < 20:
                    say(f"| {section.__name__}: no time left | | | |")
                    continue
                for row in section(scene, rivals, left):
                    say(row)
        finally:
            ends = [scene.shell("stop", "stop.sh")]
            ends += [scene.pm2("kill", "kill")] if "pm2" in rivals else []
            scene.close(ends)
            world.processes.end()
    say(f"\n{time.monotonic() - began:.0f} seconds in all.")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def rows(found: dict[str, Times], floor: Times) -> Iterator[str]:
    python = found.get(PYTHON)
    for name, times in found.items():
        plain = python and ("hook" in name or "`devservers" in name)
        note = f"{times.of(python):.2f} of {PYTHON}" if python and plain else ""
        ratio = f"{times.of(floor):.2f}"
        yield f"| {name} | {_time(times.median)} | {ratio} | {NOTES.get(name, note)} |"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def warm(scene: Scene, rivals: tuple[str, ...], left: float) -> Iterator[str]:
    scene.ensure()
    scene.run(scene.shell("start", "ensure.sh"))
    cases = [
        *scene.floors(),
        scene.inv("warm `inv inngest.ensure`", "inngest.ensure"),
        scene.devservers("warm `devservers inngest.ensure`", "inngest.ensure"),
        scene.hook("warm hook, as `hooks.install` puts it"),
        scene.case("warm hook, `devservers-hook`", BIN / "devservers-hook", "ensure"),
        scene.shell("warm shell lines", "ensure.sh"),
    ]
    if "pm2" in rivals:
        scene.run(scene.pm2_start("start"))
        cases.append(scene.pm2("`pm2 describe`, to learn whether it runs", "describe", "inngest"))
    if "portless" in rivals:
        cases.append(scene.portless("`portless list`", "list"))
    found = measure(cases, 15, left * 0.25)
    yield from rows(found, found[FLOOR])


def together(scene: Scene, _: tuple[str, ...], left: float) -> Iterator[str]:
    scene.ensure()
    names = ("one", "two", "three")
    with scene.declared(*names):
        only = f"--only={','.join(('inngest', *names))}"
        cases = [
            scene.floors()[0],
            scene.inv("warm `inv dev.up`, Inngest and three declared", "dev.up", only),
            scene.inv("warm `inv inngest.ensure` beside them", "inngest.ensure"),
        ]
        found = measure(cases, 15, left * 0.15)
    yield from rows({n: t for n, t in found.items() if n != FLOOR}, found[FLOOR])


def status(scene: Scene, rivals: tuple[str, ...], left: float) -> Iterator[str]:
    floors = scene.floors()[:2]
    cases = [
        *floors,
        scene.inv("`inv inngest.status`", "inngest.status"),
        scene.devservers("`devservers inngest.status`", "inngest.status"),
        scene.shell("status by shell lines", "status.sh"),
    ]
    if "pm2" in rivals:
        cases.append(scene.pm2("`pm2 jlist`", "jlist"))
    found = measure(cases, 9, left * 0.1)
    names = {floor.name for floor in floors}
    yield from _besides(names, found)
    with scene.app():
        cases = [
            *floors,
            scene.devservers("`devservers nextjs.status`", "nextjs.status"),
            scene.devservers("warm `devservers nextjs.ensure`", "nextjs.ensure"),
            scene.devservers("`devservers ports.assign`", "ports.assign"),
        ]
        found = measure(cases, 9, left * 0.1)
    yield from _besides(names, found)


def _besides(floors: set[str], found: dict[str, Times]) -> Iterator[str]:
    """Yield the rows of all but the floors, which have theirs already."""
    for name, row in zip(found, rows(found, found[FLOOR]), strict=True):
        if name not in floors:
            yield row


def cold(scene: Scene, rivals: tuple[str, ...], left: float) -> Iterator[str]:
    scene.stop()
    own = sorted(scene.own_start() for _ in range(5))[2]
    shell_start, shell_stop = scene.shell("start", "ensure.sh"), scene.shell("stop", "stop.sh")
    cases = [
        scene.floors()[0],
        scene.inv("cold `inv inngest.ensure`", "inngest.ensure", before=scene.stop),
        scene.inv("`inv inngest.stop`", "inngest.stop", before=scene.ensure),
        scene.hook("cold hook, until it returns", before=scene.stop, after=scene.settle),
        shell_start._replace(name="cold shell lines", before=lambda: scene.run(shell_stop)),
        shell_stop._replace(name="stop by shell lines", before=lambda: scene.run(shell_start)),
    ]
    if "pm2" in rivals:
        start, delete = scene.pm2_start("cold `pm2 start`"), scene.pm2("", "delete", "inngest")
        cases.append(start._replace(before=lambda: scene.run(delete)))
        cases.append(delete._replace(name="`pm2 delete`", before=lambda: scene.run(start)))
    found = measure(cases, 5, left * 0.3)
    share = own / found[FLOOR].median
    yield f"| the server's own start, by nobody | {_time(own)} | {share:.2f} | |"
    yield from rows({n: t for n, t in found.items() if n != FLOOR}, found[FLOOR])
    over = found["cold `inv inngest.ensure`"].median - found[FLOOR].median - own
    yield f"| cold ensure less `inv` and the server's own start | {_time(over)} | | |"


def callers(scene: Scene, _: tuple[str, ...], left: float) -> Iterator[str]:
    scene.ensure()
    many = scene.inv("64 warm `inv inngest.ensure` at once", "inngest.ensure", at_once=64)
    floor = scene.floors()[0]._replace(name="64 `inv`, empty task, at once", at_once=64)
    again = many._replace(name="64 cold `inv inngest.ensure` at once", before=scene.stop)
    found = measure([floor, many, again], 2, left * 0.4)
    yield from rows(found, found[floor.name])


def company(scene: Scene, _: tuple[str, ...], left: float) -> Iterator[str]:
    alone: dict[str, Times] = {}
    for kind, count in (
        ("processes", 0),
        ("processes", 500),
        ("processes", 2000),
        ("sockets", 5000),
    ):
        with scene.crowd(kind, count):
            scene.ensure()
            cases = [
                scene.floors()[0],
                scene.inv("warm ensure", "inngest.ensure"),
                scene.hook("warm hook"),
                scene.inv("status", "inngest.status"),
            ]
            found = measure(cases, 7, left * 0.1)
        alone = alone or found
        for name in ("warm ensure", "warm hook", "status"):
            share = found[name].of(found[FLOOR])
            ratio = share / alone[name].of(alone[FLOOR])
            note = "" if found is alone else f"{ratio:.2f} of that without them"
            what = f"{name}, {count} more {kind}"
            yield f"| {what} | {_time(found[name].median)} | {share:.2f} | {note} |"


def long_log(scene: Scene, _: tuple[str, ...], left: float) -> Iterator[str]:
    scene.ensure()
    log = scene.sparse_log(2 * GIGABYTE)
    ours = scene.inv("last 50 lines of a 2 GB log, `inv inngest.logs`", "inngest.logs")
    tail = scene.case("the same, `tail -n 50`", "/usr/bin/tail", "-n", "50", log)
    found = measure([scene.floors()[0], ours, tail], 5, left * 0.2)
    size = peak(ours, Path(sys.executable)) / (1 << 20)
    for row in rows({n: t for n, t in found.items() if n != FLOOR}, found[FLOOR]):
        yield row.removesuffix(" |") + (f"peak memory {size:.0f} MB |" if "inv" in row else " |")


def memory(scene: Scene, rivals: tuple[str, ...], _: float) -> Iterator[str]:
    cases: list[Case] = [
        *scene.floors(),
        scene.inv("warm ensure", "inngest.ensure"),
        scene.inv("cold ensure", "inngest.ensure", before=scene.stop),
        scene.hook("warm hook"),
        *([scene.pm2("`pm2 describe`", "describe", "inngest")] if "pm2" in rivals else ()),
    ]
    for case in cases:
        scene.ensure()
        yield f"| peak memory, {case.name} | {peak(case, Path(sys.executable)) / 1e6:.0f} MB | | |"


if __name__ == "__main__":
    main()
