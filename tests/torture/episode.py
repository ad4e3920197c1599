"""One episode: a few rounds of seeded trouble in a world of its own, and then order again."""

import contextlib
import json
import random
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

import psutil

from support import Ran, World, accepts, describe, git, is_alive, until
from torture import outside
from torture.outside import CALL, Witness
from torture.scoped import Own, ScopedWorld

ENDS = frozenset({"stop", "restart"})  # a server, by being asked to
CALLS = ("ensure", "ensure", "ensure", "ensure", "status", "status", "stop", "restart")
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
        self.servers = {folder: self.server_of(folder) for folder in self.folders}
        self.gone: list[World] = []  # of worktrees that were removed; only where each has its own
        self.whose: dict[int, str] = {}  # the pid file that each process of a server was marked by
        self.asked: set[Path] = set()  # whose server somebody was asked to end in this round
        self.witnesses = [Witness(self.servers[world.main], 0)]
        if self.rng.random() < 0.3 and outside.can_make_containers():
            self.witnesses.append(Witness(self.servers[world.main], 1, manner="neighbour"))
        self.by_hand: list[psutil.Process] = []

    def run(self, most: int) -> int:
        """Go through it; return the number of rounds. A violation is an AssertionError."""
        rounds = min(self.rng.randint(1, ROUNDS), most)
        for _ in range(rounds):
            self.round()
        self.converge()
        return rounds

    def server_of(self, folder: Path) -> World:
        """Return what is asked for the server that a worktree uses."""
        own = isinstance(self.world, ScopedWorld)
        return Own(self.world, folder) if own else self.world  # type: ignore[return-value]

    @property
    def scoped(self) -> bool:
        """Whether each worktree has a server of its own."""
        return isinstance(self.world, ScopedWorld)

    def each(self) -> list[World]:
        """Return every server that there may be, those of removed worktrees included."""
        return list({id(one): one for one in (*self.servers.values(), *self.gone)}.values())

    def some(self, where: float) -> World:
        """Return one of the servers."""
        return pick(list(self.servers.values()), where * 7 % 1)

    # A round

    def plan(self) -> list[Step]:
        """Draw what is to happen."""
        rng = self.rng
        deeds = [rng.choice(CALLS) for _ in range(rng.randint(2, 6))]
        deeds += [rng.choice(("add worktree", "remove worktree"))] if rng.random() < 0.3 else []
        deeds += ["prune"] if self.scoped and rng.random() < 0.3 else []
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
        steps = self.plan()
        kind = "rough" if self.rough else "gentle"
        self.tell(f"round, {kind}{self.scoped * ', scoped'}, launcher {shape!r} {manner!r}")
        self.ended = self.rough or any(step.do in ENDS for step in steps)
        self.crashed |= self.rough or any(step.killed and step.do in CALLS for step in steps)
        before, self.asked = {} if self.rough else self.up(), set()
        begun = time.monotonic()
        while steps or self.calls:
            while steps and time.monotonic() >= begun + steps[0].at:
                self.do(steps.pop(0))
            self.reap()
            seen = outside.carriers()
            self.whose |= {process.pid: file for process, (file, _) in seen.items()}
            for server in self.each():
                outside.check_one_server(server, seen)
            assert time.monotonic() < begun + BOUND, ("did not end", self.calls)
            time.sleep(0.02)
        for server in self.servers.values():
            outside.check_files_are_whole(server)
            if not self.crashed:
                outside.check_record(server, must_be_there=False)
        now = self.up()
        lost = {folder for folder in before if before[folder] != now.get(folder)}
        lost &= self.servers.keys() - self.asked
        assert not lost, ("ended by nobody who was asked to", lost, before, now)
        for witness in self.witnesses:
            witness.check()
        outside.check_opened(self.world)

    def up(self) -> dict[Path, list[int]]:
        """Return who listens for each worktree."""
        found = {folder: outside.listeners(server) for folder, server in self.servers.items()}
        return {folder: [one.pid for one in there] for folder, there in found.items() if there}

    def do(self, step: Step) -> None:
        """Begin with a step."""
        if step.do in CALLS or step.do == "prune":
            self.call(step.do, pick(self.folders, step.pick), step.killed)
        elif step.do == "add worktree":
            folder = self.world.folder / f"w{len(self.story)}"
            self.folders.append(self.world.add_worktree(folder))
            self.servers[folder] = self.server_of(folder)
            self.tell(f"{step.do} {folder.name}")
        elif step.do == "remove worktree":
            busy = {self.world.main, *(call.folder for call in self.calls)}
            if free := [folder for folder in self.folders if folder not in busy]:
                folder = pick(free, step.pick)
                self.folders.remove(folder)
                server = self.servers.pop(folder)
                self.gone += [server] if self.scoped else []
                git("worktree", "remove", "--force", folder, cwd=self.world.main)
                self.tell(f"{step.do} {folder.name}")
        else:
            self.tell(f"{step.do}: {DEEDS[step.do](self, step.pick)}")

    def call(self, task: str, folder: Path, killed: float | None = None, timeout: int = 0) -> None:
        """Start a command."""
        self.number += 1
        timeout = timeout or (5 if self.rough else 30)
        words = [f"--timeout={timeout}"] if task in {"ensure", "restart"} else []
        env = {CALL: str(self.number)}
        if task in ENDS:
            self.asked |= {folder} if self.scoped else {*self.servers}
        name = "dev.prune" if task == "prune" else f"inngest.{task}"
        child = self.world.start(name, "--json", *words, cwd=folder, env=env)
        killed_at = time.monotonic() + (killed or 2 * BOUND)
        patience = timeout if words else WAIT  # the others wait for whoever holds the lock
        self.calls.append(Call(task, folder, child, killed_at, time.monotonic(), patience))
        fate = f", to be killed after {killed:.2f} s" if killed else ""
        self.tell(f"{task} in {folder.name}: pid {child.pid}, call {self.number}{fate}")

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
            f"{call.task}, pid {call.child.pid}: {done.code} {(done.out + done.err)[:MOST_KEPT]}"
        )
        if done.code == -9 and call.killed_at < time.monotonic():
            return done
        allowed = {"status": {0, 3, 4}, "stop": {0}}.get(call.task, {0})
        if self.rough and call.task in {"ensure", "restart"}:
            allowed = {0, 13, 14, 15} | ({12} if self.strangers or self.by_hand else set())
        if self.scoped and call.task in {"ensure", "restart"}:  # what is left over, no slot
            allowed = allowed | ({12} if self.gone else set()) | self.no_slot()
        assert done.code in allowed, (f"{call.task} may give {allowed}", done)
        assert "Traceback" not in done.err, done
        if done.json.get("action") == "error":
            assert done.code > 4, done
            assert done.error["message"], done
        elif call.task in {"ensure", "restart"}:
            self.check_named(done.json, self.servers[call.folder])
        for pid in done.json.get("pidsKilled", ()) if self.scoped else ():
            file = str(self.servers[call.folder].pid_file)
            assert self.whose.get(pid, file) == file, ("ended another worktree's", pid, done)
        return done

    def no_slot(self) -> set[int]:
        """Return what says that there are more worktrees than slots, where that is so."""
        assert isinstance(self.world, ScopedWorld)
        return {18} if len(self.folders) + len(self.gone) > len(self.world.pool) else set()

    def check_named(self, answer: dict[str, object], server: World) -> None:
        """Fail unless the server that was named is the one meant, as far as can be known."""
        holders = outside.listeners(server)
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
        found = {one for server in self.each() for one in outside.marked(server)}
        found |= {one for server in self.each() for one in outside.listeners(server)}
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
        witness = Witness(self.some(where), len(self.witnesses), address, manner)
        self.witnesses.append(witness)
        return f"{witness.name}, pid {witness.child.pid}, {witness.is_there or 'taken'}"

    def stranger_leaves(self, _: float = 0) -> str:
        """End all other listeners."""
        here = [witness for witness in self.strangers if witness.is_there]
        for witness in here:
            witness.leave()
        return str([witness.child.pid for witness in here])

    def start_by_hand(self, where: float) -> str:
        """Start a server of the same kind without the package; it may be adopted, and stopped."""
        port = self.some(where).port or self.world.port
        words = [*self.world.fake(), "dev", "--port", str(port)]
        child = self.world.processes.popen(
            words, env=self.world.env(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.by_hand.append(psutil.Process(child.pid))
        return f"pid {child.pid}"

    def lose_file(self, where: float) -> str:
        """Remove the pid file, the record, or both."""
        server = self.some(where)
        files = (server.pid_file, server.record_file)
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

    def forge_file(self, where: float) -> str:
        """Let pid file and record name a bystander, as if a pid had been used again."""
        pid = self.witnesses[0].child.pid
        server = self.some(where)
        server.pid_file.write_text(f"{pid}\n")
        with contextlib.suppress(FileNotFoundError, ValueError):
            record = json.loads(server.record_file.read_text())
            server.record_file.write_text(json.dumps({**record, "pid": pid}))
        return f"pid {pid}"

    def open_program(self, where: float) -> str:
        """Let a server that was proved to run open a program, as a user opens an editor."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            server = self.some(where)
            if json.loads(server.record_file.read_text())["listener"]:
                url = f"http://127.0.0.1:{server.port}/open-in-editor"
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
        at_home = {one for server in self.each() for one in outside.listeners(server)}
        for process in {*self.by_hand} - at_home:
            with contextlib.suppress(psutil.NoSuchProcess):  # it went to another port
                process.kill()
        for process in self.by_hand:
            with contextlib.suppress(psutil.NoSuchProcess):  # frozen, it can't say what it is
                process.resume()
        self.world.behave()
        if self.scoped:
            self.now("prune", self.world.main)
            self.gone.clear()
        up = [folder for folder in self.folders[: None if self.scoped else 1] if self.comes(folder)]
        for number, folder in enumerate(up):
            server = self.servers[folder]
            stopped = self.now("stop", folder).json
            assert stopped["portFree"], stopped
            outside.check_nothing_left(server)
            for other in up[number + 1 :]:
                outside.check_record(self.servers[other], must_be_there=True)
        outside.check_opened(self.world)
        for witness in self.witnesses:
            witness.check()
        with contextlib.suppress(AssertionError):  # a child of a killed caller may take a moment
            until(lambda: not outside.ours(self.world, self.witnesses), 2)
        left = [*map(describe, outside.ours(self.world, self.witnesses))]
        assert not left, ("left after stop", left)
        assert not any(accepts(server.port) for server in self.each())
        self.witnesses[0].leave()

    def comes(self, folder: Path) -> bool:
        """Fail unless `ensure` gives a worktree its server; return False where it has no slot."""
        done = self.now("ensure", folder, timeout=5 if self.rough else 30)
        if done.code == 14:
            done = self.now("restart", folder, timeout=30)
        if done.code == 18 and self.scoped:
            return False
        assert done.code == 0, done
        server = self.servers[folder]
        holders = outside.listeners(server)
        assert [holder.pid for holder in holders] == [done.json["listenerPid"]], (done, holders)
        outside.check_one_server(server)
        outside.check_record(server, must_be_there=True)
        return True

    def now(self, task: str, folder: Path, timeout: int = 0) -> Ran:
        """Run a command to its end."""
        self.ended = True
        self.call(task, folder, timeout=timeout)
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
