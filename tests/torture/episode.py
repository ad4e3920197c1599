"""One episode: a few rounds of seeded trouble in a world of its own, and then order again."""

import contextlib
import json
import random
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

import psutil

from support import Ran, World, accepts, describe, git, is_alive, until
from torture import outside
from torture.outside import CALL, Witness

CALLS = ("ensure", "ensure", "ensure", "ensure", "status", "status", "stop", "restart")
SIDE = ("ensure", "ensure", "stop", "status", "restart")  # of a server that is declared besides
SIDE_SERVER = """import os, time
if os.fork():
    time.sleep(0.3)
    print("Ready", flush=True)
time.sleep(600)"""
SHAPES = ("", "hidden", "setsid", "unmarked")  # the last only where no launcher is killed
MANNERS = ("", "slow=0.8", "late=0.4", "noise", "moves-once")
BAD_MANNERS = ("slow=0.8", "deaf", "fork-on-term", "exit=1", "hang", "mute")
ROUNDS = 4  # at most
BOUND = 90.0  # seconds for a round, in which everything takes its own time-out
WAIT = 60.0  # seconds that stop waits for the lock
SLACK = 30.0  # seconds beyond a call's own time-out: stopping, undoing, a busy machine
MOST_KEPT = 4000  # characters of an output, in the story


class Step(NamedTuple):
    """Something to be done in a round."""

    at: float
    """Seconds from the beginning of the round."""
    do: str
    pick: float
    """Between 0 and 1: which worktree, process, file or address."""
    killed: float | None = None
    """Seconds until the caller gets SIGKILL."""


class Call(NamedTuple):
    """A running command."""

    task: str
    folder: Path
    child: "subprocess.Popen[bytes]"
    killed_at: float
    """A monotonic instant."""
    begun: float
    """A monotonic instant."""
    timeout: float
    """Seconds."""
    server: str = "inngest"


class Episode:
    """What is decided by the seed, and what became of it.

    A gentle one has callers only, some of which are killed: every other must succeed. In a rough
    one servers are killed or frozen, strangers take the port and files get lost.
    """

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self.rough = self.rng.random() < 0.7
        self.began = time.monotonic()
        self.story: list[str] = []
        self.calls: list[Call] = []
        self.number = 0
        self.ended = self.crashed = False  # something ends servers in this round; kills in any
        self.folders = [world.main, world.a, world.b]
        self.witnesses = [Witness(world, 0)]
        if self.rng.random() < 0.3 and outside.can_make_containers():
            self.witnesses.append(Witness(world, 1, manner="neighbour"))
        self.by_hand: list[psutil.Process] = []

    def run(self, most: int) -> int:
        """Go through it; return the number of rounds. A violation is an AssertionError."""
        rounds = min(self.rng.randint(1, ROUNDS), most)
        for _ in range(rounds):
            self.round()
        self.converge()
        return rounds

    # A round

    def plan(self) -> list[Step]:
        """Draw what is to happen."""
        rng = self.rng
        deeds = [rng.choice(CALLS) for _ in range(rng.randint(2, 6))]
        deeds += [f"side {rng.choice(SIDE)}" for _ in range(rng.randint(0, 3))]
        deeds += [rng.choice(("add worktree", "remove worktree"))] if rng.random() < 0.3 else []
        deeds += [rng.choice(list(DEEDS)) for _ in range(rng.randint(1, 3))] if self.rough else []
        return sorted(
            Step(
                at=rng.uniform(0, 1.2),
                do=deed,
                pick=rng.random(),
                killed=rng.uniform(0.05, 0.9) if rng.random() < 0.25 else None,
            )
            for deed in deeds
        )

    def round(self) -> None:
        """Let it happen, and check what can be checked without an end to it."""
        shape = self.rng.choice(SHAPES[:-1] if self.rough else SHAPES)
        manner = self.rng.choice((*MANNERS, *BAD_MANNERS) if self.rough else MANNERS)
        once = f"={self.world.folder / 'moved'}" if manner == "moves-once" else ""
        opens = f"opens={self.world.folder}"
        self.world.behave(*filter(None, (shape, opens, manner + once)))
        self.declare()
        steps = self.plan()
        kind = "rough" if self.rough else "gentle"
        self.tell(f"round, {kind}, launcher {shape!r} {manner!r}")
        self.ended = self.rough or any(step.do in {"stop", "restart"} for step in steps)
        self.crashed |= self.rough or any(step.killed and step.do in CALLS for step in steps)
        begun = time.monotonic()
        while steps or self.calls:
            while steps and time.monotonic() >= begun + steps[0].at:
                self.do(steps.pop(0))
            self.reap()
            outside.check_one_server(self.world)
            outside.check_one_server(self.world, outside.side_mark(self.world))
            assert time.monotonic() < begun + BOUND, ("did not end", self.calls)
            time.sleep(0.02)
        outside.check_files_are_whole(self.world)
        if not self.crashed:
            outside.check_record(self.world, must_be_there=False)
        for witness in self.witnesses:
            witness.check()
        outside.check_opened(self.world)

    def do(self, step: Step) -> None:
        """Begin with a step."""
        if step.do in CALLS:
            self.call(step.do, pick(self.folders, step.pick), step.killed)
        elif step.do.startswith("side "):
            self.call(step.do.removeprefix("side "), self.world.main, step.killed, server="side")
        elif step.do == "add worktree":
            folder = self.world.folder / f"w{len(self.story)}"
            self.folders.append(self.world.add_worktree(folder))
            self.tell(f"{step.do} {folder.name}")
        elif step.do == "remove worktree":
            busy = {self.world.main, *(call.folder for call in self.calls)}
            if free := [folder for folder in self.folders if folder not in busy]:
                folder = pick(free, step.pick)
                self.folders.remove(folder)
                git("worktree", "remove", "--force", folder, cwd=self.world.main)
                self.tell(f"{step.do} {folder.name}")
        else:
            self.tell(f"{step.do}: {DEEDS[step.do](self, step.pick)}")

    def declare(self) -> None:
        """Declare a server besides, without a port, that has a child."""
        data = json.loads(self.world.config.read_text())
        command = [sys.executable, "-I", "-S", "-c", SIDE_SERVER]
        data["servers"] = {"side": {"command": command, "ready": {"log": "^Ready"}}}
        self.world.config.write_text(json.dumps(data))

    def call(
        self,
        task: str,
        folder: Path,
        killed: float | None = None,
        timeout: int = 0,
        *,
        server: str = "inngest",
    ) -> None:
        """Start a command."""
        self.number += 1
        timeout = timeout or (5 if self.rough else 30)
        words = [f"--timeout={timeout}"] if task in {"ensure", "restart"} else []
        env = {CALL: str(self.number)}
        child = self.world.start(f"{server}.{task}", "--json", *words, cwd=folder, env=env)
        killed_at = time.monotonic() + (killed or 2 * BOUND)
        patience = timeout if words else WAIT  # the others wait for whoever holds the lock
        self.calls.append(Call(task, folder, child, killed_at, time.monotonic(), patience, server))
        fate = f", to be killed after {killed:.2f} s" if killed else ""
        self.tell(f"{server}.{task} in {folder.name}: pid {child.pid}, call {self.number}{fate}")

    def reap(self) -> None:
        """Kill whose time has come; check the answers of those that have ended."""
        for call in list(self.calls):
            if time.monotonic() > call.killed_at:
                call.child.kill()
                call.child.wait()
            late = time.monotonic() - call.begun
            assert late < call.timeout + SLACK, ("did not end in its own time", call, late)
            if call.child.poll() is not None:
                self.calls.remove(call)
                self.check_answer(call)

    def check_answer(self, call: Call) -> Ran:
        """Fail unless a command said what it may say."""
        done = self.world.result(call.child)
        self.tell(
            f"{call.server}.{call.task}, pid {call.child.pid}: {done.code} "
            f"{(done.out + done.err)[:MOST_KEPT]}"
        )
        if done.code == -9 and call.killed_at < time.monotonic():
            return done
        allowed = {"status": {0, 3, 4}, "stop": {0}}.get(call.task, {0})
        if self.rough and call.task in {"ensure", "restart"} and call.server == "inngest":
            allowed = {0, 13, 14, 15} | ({12} if self.strangers or self.by_hand else set())
        assert done.code in allowed, (f"{call.task} may give {allowed}", done)
        assert "Traceback" not in done.err, done
        if done.json.get("action") == "error":
            assert done.code > 4, done
            assert done.error["message"], done
        elif call.task in {"ensure", "restart"} and call.server == "inngest":
            self.check_named(done.json)
        return done

    def check_named(self, answer: dict[str, object]) -> None:
        """Fail unless the server that was named is that of this world, as far as can be known."""
        holders = outside.listeners(self.world)
        if self.ended:  # it may be gone by now
            known = {process.pid for process in outside.ours(self.world, self.witnesses)}
            unknown = {answer["pid"], answer["listenerPid"]} - known
            with contextlib.suppress(AssertionError):  # one that ends has no environment
                until(lambda: not any(map(is_running, unknown)), 5)
            assert not any(map(is_running, unknown)), ("named a stranger", answer)
            return
        assert [holder.pid for holder in holders] == [answer["listenerPid"]], (answer, holders)
        assert outside.belongs(holders[0], int(str(answer["pid"]))), (answer, holders)

    # Trouble

    def kill_server(self, where: float) -> str:
        """SIGKILL a launcher or a listener."""
        return self._hit(where, psutil.Process.kill)

    def freeze_server(self, where: float) -> str:
        """SIGSTOP a launcher or a listener."""
        return self._hit(where, psutil.Process.suspend)

    def _hit(self, where: float, blow) -> str:  # noqa: ANN001
        known = {witness.child.pid for witness in self.witnesses}
        found = {*outside.marked(self.world), *outside.listeners(self.world)}
        found = {process for process in found if process.pid not in known}
        if not found:
            return "none there"
        victim = pick(sorted(found, key=lambda process: process.pid), where)
        with contextlib.suppress(psutil.NoSuchProcess):
            blow(victim)
        return describe(victim)

    @property
    def strangers(self) -> list[Witness]:
        """The witnesses that listen."""
        return [witness for witness in self.witnesses if witness.listens]

    def stranger(self, where: float) -> str:
        """Let another listener have the port, where it is free."""
        address = pick(list(outside.addresses()), where)
        manner = {0: "mute", 1: "drip", 2: "drip"}.get(int(where * 10 % 1 * 10), "")
        witness = Witness(self.world, len(self.witnesses), address, manner)
        self.witnesses.append(witness)
        return f"{witness.name}, pid {witness.child.pid}, {witness.is_there or 'taken'}"

    def stranger_leaves(self, _: float = 0) -> str:
        """End all other listeners."""
        here = [witness for witness in self.strangers if witness.is_there]
        for witness in here:
            witness.leave()
        return str([witness.child.pid for witness in here])

    def start_by_hand(self, _: float) -> str:
        """Start a server of the same kind without the package; it may be adopted, and stopped."""
        words = [*self.world.fake(), "dev", "--port", str(self.world.port)]
        child = self.world.processes.popen(
            words, env=self.world.env(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.by_hand.append(psutil.Process(child.pid))
        return f"pid {child.pid}"

    def lose_file(self, where: float) -> str:
        """Remove the pid file, the record, or both."""
        files = (self.world.pid_file, self.world.record_file)
        lost = pick([files[:1], files[1:], files], where)
        for file in lost:
            file.unlink(missing_ok=True)
        return str([file.name for file in lost])

    def crash(self, where: float) -> str:
        """SIGKILL all callers, lose what was written, and maybe SIGKILL a server's process."""
        self.calls = [call._replace(killed_at=time.monotonic()) for call in self.calls]
        for call in self.calls:
            call.child.kill()
        lost = self.lose_file(0.99)
        hit = self.kill_server(where * 2) if where < 0.5 else "no server"
        return f"{len(self.calls)} callers, {lost}, {hit}"

    def forge_file(self, _: float) -> str:
        """Let pid file and record name a bystander, as if a pid had been used again."""
        pid = self.witnesses[0].child.pid
        self.world.pid_file.write_text(f"{pid}\n")
        with contextlib.suppress(FileNotFoundError, ValueError):
            record = json.loads(self.world.record_file.read_text())
            self.world.record_file.write_text(json.dumps({**record, "pid": pid}))
        return f"pid {pid}"

    def open_program(self, _: float) -> str:
        """Let a server that was proved to run open a program, as a user opens an editor."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            if json.loads(self.world.record_file.read_text())["listener"]:
                url = f"http://127.0.0.1:{self.world.port}/open-in-editor"
                with urllib.request.urlopen(url, timeout=1) as answer:
                    return f"status {answer.status}"
        return "none there"

    # Order

    def converge(self) -> None:
        """Fail unless `ensure` makes all good and `stop` leaves nothing.

        A launcher that outlived its listener, or a server that is frozen, is waited for and left
        alone by `ensure` (docs/architecture.md): then it must say so, and `restart` is the remedy.
        """
        self.tell("order again")
        self.stranger_leaves()
        for process in {*self.by_hand} - {*outside.listeners(self.world)}:
            with contextlib.suppress(psutil.NoSuchProcess):  # it went to another port
                process.kill()
        for process in self.by_hand:
            with contextlib.suppress(psutil.NoSuchProcess):  # frozen, it can't say what it is
                process.resume()
        self.world.behave()
        self.declare()
        self.converge_side()
        done = self.now("ensure", timeout=5 if self.rough else 30)
        if done.code == 14:
            done = self.now("restart", timeout=30)
        assert done.code == 0, done
        holders = outside.listeners(self.world)
        assert [holder.pid for holder in holders] == [done.json["listenerPid"]], (done, holders)
        outside.check_one_server(self.world)
        outside.check_record(self.world, must_be_there=True)
        stopped = self.now("stop").json
        assert stopped["portFree"], stopped
        outside.check_nothing_left(self.world)
        outside.check_opened(self.world)
        for witness in self.witnesses:
            witness.check()
        with contextlib.suppress(AssertionError):  # a child of a killed caller may take a moment
            until(lambda: not outside.ours(self.world, self.witnesses), 2)
        left = [*map(describe, outside.ours(self.world, self.witnesses))]
        assert not left, ("left after stop", left)
        assert not accepts(self.world.port)
        self.witnesses[0].leave()

    def converge_side(self) -> None:
        """Fail unless the declared server can be had, once, and goes without a trace."""
        mark = outside.side_mark(self.world)
        done = self.now("ensure", timeout=30, server="side")
        outside.check_one_server(self.world, mark)
        assert done.json["pid"] in {one.pid for one in outside.marked(self.world, mark)}, done
        self.now("stop", server="side")
        assert [*map(describe, outside.marked(self.world, mark))] == []

    def now(self, task: str, timeout: int = 0, server: str = "inngest") -> Ran:
        """Run a command to its end."""
        self.ended = True
        self.call(task, self.world.main, timeout=timeout, server=server)
        call = self.calls.pop()
        call.child.wait(BOUND)
        return self.check_answer(call)

    def tell(self, what: str) -> None:
        """Put something into the story."""
        self.story.append(f"{time.monotonic() - self.began:7.2f} {what.strip()}")


DEEDS = {
    "kill server": Episode.kill_server,
    "freeze server": Episode.freeze_server,
    "stranger comes": Episode.stranger,
    "strangers leave": Episode.stranger_leaves,
    "start by hand": Episode.start_by_hand,
    "lose file": Episode.lose_file,
    "crash": Episode.crash,
    "forge file": Episode.forge_file,
    "open program": Episode.open_program,
}


def pick(things, where: float):  # noqa: ANN001, ANN201
    """Return the thing at that fraction of a sequence."""
    return things[int(where * len(things))]


def is_running(pid: object) -> bool:
    """Return whether a process has that pid, and is no zombie."""
    with contextlib.suppress(psutil.Error):
        return isinstance(pid, int) and is_alive(psutil.Process(pid))
    return False
