"""The torture test: `inv torture --minutes=N [--seed=S]`. Episode after episode, until time is up.

The seed names the first episode; each next has the next number. Every episode has a world of its
own: loopback, its own ports, files and home. What it started is ended by identity, ^C included.
"""

import contextlib
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from support import claimed_ports, make_repository
from torture.episode import ROUNDS, Episode
from torture.servers import INNGEST, LOOP, MAIL, WEB, WORKER, WORKTREE, Kind, TortureWorld

STORY = 60  # lines of it that a failure shows
LOG = 4000  # characters of the server's log
SCOPED = 0.3  # of all episodes: each worktree has an Inngest server of its own
DECLARED = 0.3  # of all episodes: the configuration declares servers
SLOTS = 4  # for the three worktrees, and those that are added


def main(minutes: float, seed: int) -> int:
    """Run for so long, one episode at least; return the exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it is cleaned up as on ^C
    seed = seed or random.SystemRandom().randrange(1, 1_000_000)
    began = time.monotonic()
    episodes = rounds = 0
    while not episodes or time.monotonic() - began < minutes * 60:
        try:
            rounds += run(seed + episodes)
        except Exception:  # noqa: BLE001 - told by run
            return 1
        episodes += 1
        if sys.stderr.isatty():
            say(f"\r{episodes} episodes, {rounds} rounds ", end="")
    spent = (time.monotonic() - began) / 60
    say(f"{episodes} episodes, {rounds} rounds in {spent:.1f} minutes, from seed {seed}: all held.")
    return 0


def run(seed: int, most: int = ROUNDS) -> int:
    """Run one episode and return the number of its rounds; tell its story if it fails."""
    with contextlib.ExitStack() as held:
        blocks = [held.enter_context(claimed_ports()) for _ in range(1 + SLOTS)]
        folder = tempfile.TemporaryDirectory(prefix="torture-")
        home = Path(folder.name).resolve()
        world = TortureWorld(home, blocks, make_repository(home / "seed"), kinds_of(seed))
        episode = None
        try:
            episode = Episode(world, seed)
            return episode.run(most)
        except Exception as error:
            story = episode.story[-STORY:] if episode else []
            say("\n".join(story), f"\nThe log ends with:\n{world.log_text()[-LOG:]}")
            say(f"{type(error).__name__}: {error}")
            say(f"Once more: inv torture --minutes=0 --seed={seed}")
            raise
        finally:
            with undisturbed():
                world.processes.end()
                folder.cleanup()


def kinds_of(seed: int) -> tuple[Kind, ...]:
    """Return which servers there are in an episode."""
    rng = random.Random(f"scope {seed}")  # noqa: S311 - to be repeated, not to be secret
    inngest = INNGEST._replace(scope=WORKTREE) if rng.random() < SCOPED else INNGEST
    declared = rng.random() < DECLARED
    return (inngest, *((WEB, rng.choice((WORKER, LOOP)), MAIL) if declared else ()))


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Let a second ^C wait, so that nothing is left."""
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def say(*words: str, end: str = "\n") -> None:
    """Tell it at once."""
    sys.stderr.write(" ".join(words) + end)
    sys.stderr.flush()
