"""One episode: a few rounds of seeded trouble in a world of its own, and then order again."""

import contextlib
import json
import random
import subprocess
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from support import Ran, describe, git, is_alive, until
from torture import outside
from torture.outside import CALL, Witness
from torture.program import LEFT
from torture.servers import WORKTREE, Server, TortureWorld

STARTS = frozenset({"ensure", "restart", "up"})
ENDS = frozenset({"stop", "restart", "down", "down --all"})  # a server, by being asked to
CALLS = ("ensure", "ensure", "ensure", "ensure", "status", "status", "stop", "restart")
ALL = ("up", "up", "down", "down --all", "prune", "status")  # of dev, where servers are declared
SHAPES = ("", "hidden", "setsid", "unmarked")  # the last only where no launcher is killed
MANNERS = ("", "slow=0.8", "late=0.4", "noise", "moves-once")
DECLARED = ("", "unmarked", "slow=0.8")  # manners; the second only where nothing is killed
BAD_DECLARED = ("", "slow=0.8", "deaf", "exit=1", "hang")
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

    verb: str
    servers: tuple[Server, ...]
    """Whom it is about; none: it answers for no single one."""
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

    def __init__(self, world: TortureWorld, seed: int) -> None:
        self.world = world
        self.rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self.rough = self.rng.random() < 0.7
        self.began = time.monotonic()
        self.story: list[str] = []
        self.calls: list[Call] = []
        self.number = 0
        self.ended = self.crashed = False  # something ends servers in this round; kills in any
        self.folders = [world.main, world.a, world.b]
        self.gone: list[Server] = []  # those of worktrees that were removed
        self.whose: dict[int, str] = {}  # the mark of each process of a server
        self.asked: set[Server] = set()  # whom somebody was asked to end in this round
        first = self.of(world.main)[0]
        self.witnesses = [Witness(first, 0)]
        if self.rng.random() < 0.3 and outside.can_make_containers():
            self.witnesses.append(Witness(self.some(self.rng.random()), 1, manner="neighbour"))
        self.by_hand: list[psutil.Process] = []

    def run(self, most: int) -> int:
        """Go through it; return the number of rounds. A violation is an AssertionError."""
        rounds = min(self.rng.randint(1, ROUNDS), most)
        for _ in range(rounds):
            self.round()
        self.converge()
        return rounds

    def of(self, folder: Path) -> list[Server]:
        """Return the servers that a worktree uses, in the order of the world's kinds."""
        return [self.world.server(kind, folder) for kind in self.world.kinds]

    def servers(self) -> list[Server]:
        """Return every server of the worktrees that are there."""
        return list(dict.fromkeys(one for folder in self.folders for one in self.of(folder)))

    def each(self) -> list[Server]:
        """Return every server that there may be, those of removed worktrees included."""
        return [*self.servers(), *self.gone]

    def some(self, where: float, fits: Callable[[Server], object] = bool) -> Server:
        """Return one of the servers, if possible one that fits."""
        found = self.servers()
        return pick([*filter(fits, found)] or found, where * 7 % 1)

    @property
    def declares(self) -> bool:
        """Whether the configuration declares servers."""
        return len(self.world.kinds) > 1

    # A round

    def plan(self) -> list[Step]:
        """Draw what is to happen."""
        rng = self.rng
        deeds = [self.draw_call() for _ in range(rng.randint(2, 6) + 2 * self.declares)]
        deeds += [rng.choice(("add worktree", "remove worktree"))] if rng.random() < 0.3 else []
        deeds += ["dev.prune"] if self.world.is_scoped and rng.random() < 0.3 else []
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

    def draw_call(self) -> str:
        """Draw a task: of one of the servers, or of all at once."""
        if self.declares and self.rng.random() < 0.3:
            return f"dev.{self.rng.choice(ALL)}"
        return f"{self.rng.choice(self.world.kinds).name}.{self.rng.choice(CALLS)}"

    def round(self) -> None:
        """Let it happen, and check what can be checked without an end to it."""
        shape = self.rng.choice(SHAPES[:-1] if self.rough else SHAPES)
        manner = self.rng.choice((*MANNERS, *BAD_MANNERS) if self.rough else MANNERS)
        once = f"={self.world.folder / 'moved'}" if manner == "moves-once" else ""
        opens = f"opens={self.world.folder}"
        its = self.rng.choice(BAD_DECLARED if self.rough else DECLARED)
        self.world.be(words(shape, opens, manner + once), words(its))
        steps = self.plan()
        kind = "rough" if self.rough else "gentle"
        names = [one.name for one in self.world.kinds]
        self.tell(f"round, {kind}, {self.world.is_scoped * 'scoped '}{names}, {shape!r} {manner!r}")
        self.tell(f"what is declared is {its!r}")
        verbs = {step.do: step.do.partition(".")[2] for step in steps}
        self.ended = self.rough or any(verb in ENDS for verb in verbs.values())
        self.crashed |= self.rough or any(step.killed and verbs[step.do] for step in steps)
        before, self.asked = {} if self.rough else self.up(), set()
        begun = time.monotonic()
        while steps or self.calls:
            while steps and time.monotonic() >= begun + steps[0].at:
                self.do(steps.pop(0))
            self.reap()
            seen = outside.carriers()
            self.whose |= {process.pid: mark for process, (mark, _) in seen.items()}
            for server in self.each():
                outside.check_one_server(server, seen)
            assert time.monotonic() < begun + BOUND, ("did not end", self.calls)
            time.sleep(0.02)
        for server in self.servers():
            outside.check_files_are_whole(server)
            if not self.crashed:
                outside.check_record(server, must_be_there=False)
        now = self.up()
        lost = {server for server in before if before[server] != now.get(server)}
        lost &= {*self.servers()} - self.asked
        assert not lost, ("ended by nobody who was asked to", lost, before, now)
        for witness in self.witnesses:
            witness.check()
        outside.check_opened(self.world)

    def up(self) -> dict[Server, list[int]]:
        """Return which servers are up, and by which processes."""
        found = {server: outside.up(server) for server in self.servers()}
        return {server: pids for server, pids in found.items() if pids}

    def do(self, step: Step) -> None:
        """Begin with a step."""
        if "." in step.do:
            self.call(step.do, pick(self.folders, step.pick), step.killed)
        elif step.do == "add worktree":
            folder = self.world.folder / f"w{len(self.story)}"
            self.folders.append(self.world.add_worktree(folder))
            self.tell(f"{step.do} {folder.name}")
        elif step.do == "remove worktree":
            busy = {self.world.main, *(call.folder for call in self.calls)}
            if free := [folder for folder in self.folders if folder not in busy]:
                folder = pick(free, step.pick)
                self.folders.remove(folder)
                self.gone += [one for one in self.of(folder) if one.kind.scope == WORKTREE]
                git("worktree", "remove", "--force", folder, cwd=self.world.main)
                self.tell(f"{step.do} {folder.name}")
        else:
            self.tell(f"{step.do}: {DEEDS[step.do](self, step.pick)}")

    def call(
        self,
        task: str,
        folder: Path,
        killed: float | None = None,
        timeout: int = 0,
        flags: Sequence[str] = (),
    ) -> None:
        """Start a command."""
        self.number += 1
        name, verb = task.split(".")
        verb, *more = verb.split()
        about = [server for server in self.of(folder) if name in (server.kind.name, "dev")]
        timeout = timeout or (5 if self.rough else 30)
        flags = [*more, *flags, *([f"--timeout={timeout}"] if verb in STARTS else [])]
        if verb == "up":  # Next.js is left out
            flags += ["--only=" + ",".join(server.kind.name for server in about)]
        if verb == "down" and not more:
            about = [server for server in about if server.kind.scope == WORKTREE]
        if verb in ENDS:
            self.asked |= {*about}
        env = {CALL: str(self.number)}
        child = self.world.start(f"{name}.{verb}", "--json", *flags, cwd=folder, env=env)
        killed_at = time.monotonic() + (killed or 2 * BOUND)
        # The others wait for whoever holds the lock; of servers, what needs another one comes then.
        patience = (1 + (verb == "up")) * timeout if verb in STARTS else WAIT
        whom = () if task in ("dev.status", "dev.prune") else tuple(about)
        self.calls.append(Call(verb, whom, folder, child, killed_at, time.monotonic(), patience))
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
            f"{call.verb}, pid {call.child.pid}: {done.code} {(done.out + done.err)[:MOST_KEPT]}"
        )
        if done.code == -9 and call.killed_at < time.monotonic():
            return done
        allowed = self.allowed(call)
        assert done.code in allowed, (f"{call.verb} may give {allowed}", done)
        assert "Traceback" not in done.err, done
        for server in call.servers:
            self.check_said(call.verb, server, said_of(done.json, server, len(call.servers)), done)
        return done

    def allowed(self, call: Call) -> set[int]:
        """Return the exit statuses that a command may give."""
        if call.verb not in STARTS:
            return {0, 3, 4} if call.verb == "status" and call.servers else {0}
        found = {0}
        kinds = {server.kind for server in call.servers}
        if self.rough:
            found |= {13, 14, 15} | ({21} if call.verb == "up" else set())
            others = self.strangers or self.by_hand  # the latter go to other ports, too
            found |= {12} if others and any(kind.offset is not None for kind in kinds) else set()
        if any(kind.scope == WORKTREE for kind in kinds):  # what is left over, no slot
            found |= {12, 21} if self.gone else set()
            found |= {18} if self.lacks_slots() else set()
        return found

    def lacks_slots(self) -> bool:
        """Return whether there are more worktrees than slots."""
        return len(self.folders) + len({one.root for one in self.gone}) > len(self.world.pool)

    def check_said(self, verb: str, server: Server, said: dict[str, Any] | None, done: Ran) -> None:
        """Fail unless that is a right answer of one server; None: it had no turn."""
        if said is None:
            assert done.code > 4, ("nothing said of", server, done)
        elif said.get("action") == "error":
            assert done.code > 4, done
            assert said["error"]["message"], done
        elif verb in STARTS:
            self.check_named(said, server)
        for pid in (said or {}).get("pidsKilled", ()):
            assert self.whose.get(pid, server.mark) == server.mark, ("ended another's", pid, done)

    def check_named(self, answer: dict[str, Any], server: Server) -> None:
        """Fail unless the server that was named is the one meant, as far as can be known."""
        named = {answer["pid"], answer["listenerPid"]} - {None}
        if self.ended:  # it may be gone by now
            known = {process.pid for process in outside.ours(self.world, self.witnesses)}
            unknown = named - known
            with contextlib.suppress(AssertionError):  # one that ends has no environment
                until(lambda: not any(map(is_running, unknown)), 5)
            assert not any(map(is_running, unknown)), ("named a stranger", answer)
            return
        assert outside.up(server) == [answer["listenerPid"] or answer["pid"]], (server, answer)
        for pid in named:
            assert outside.belongs(psutil.Process(pid), answer["pid"]), (server, answer)

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
        server = self.some(where, lambda one: one.port)
        witness = Witness(server, len(self.witnesses), address, manner)
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
        port = self.some(where, lambda one: not one.kind.is_declared).port or self.world.port
        words = [*self.world.fake(), "dev", "--port", str(port)]
        child = self.world.processes.popen(
            words, env=self.world.env(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.by_hand.append(psutil.Process(child.pid))
        return f"pid {child.pid}"

    def lose_file(self, where: float) -> str:
        """Remove the pid file, the record, or both."""
        server = self.some(where, outside.recorded)
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
        return self.forge(self.some(where, outside.recorded))

    def forge(self, server: Server) -> str:
        """Do so to that server's."""
        pid = self.witnesses[0].child.pid
        server.pid_file.write_text(f"{pid}\n")
        with contextlib.suppress(FileNotFoundError, ValueError):
            record = json.loads(server.record_file.read_text())
            server.record_file.write_text(json.dumps({**record, "pid": pid}))
        return f"{server}, pid {pid}"

    def open_program(self, where: float) -> str:
        """Let a server that was proved to run open a program, as a user opens an editor."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            server = self.some(where, lambda one: not one.kind.is_declared)
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
        inngest = [server for server in self.each() if not server.kind.is_declared]
        at_home = {one for server in inngest for one in outside.listeners(server)}
        for process in {*self.by_hand} - at_home:
            with contextlib.suppress(psutil.NoSuchProcess):  # it went to another port
                process.kill()
        for process in self.by_hand:
            with contextlib.suppress(psutil.NoSuchProcess):  # frozen, it can't say what it is
                process.resume()
        self.world.be()
        if self.gone:
            self.now("dev.prune", self.world.main)
            self.gone.clear()
        up = [server for server in self.servers() if self.comes(server)]
        if self.rough and up:
            forged = pick(up, self.rng.random())
            self.tell(f"forge file: {self.forge(forged)}")
            self.comes(forged)
        for number, server in enumerate(up):
            self.goes(server)
            for other in up[number + 1 :]:
                outside.check_record(other, must_be_there=True)
        outside.check_opened(self.world)
        for witness in self.witnesses:
            witness.check()
        with contextlib.suppress(AssertionError):  # a child of a killed caller may take a moment
            until(lambda: not outside.ours(self.world, self.witnesses), 2)
        left = [*map(describe, outside.ours(self.world, self.witnesses))]
        assert not left, ("left after stop", left)
        for server in self.servers():
            outside.check_free(server)
        self.witnesses[0].leave()

    def comes(self, server: Server) -> bool:
        """Fail unless `ensure` gives a server; return False where its worktree has no slot."""
        name, folder = server.kind.name, server.root or self.world.main
        done = self.now(f"{name}.ensure", folder, timeout=5 if self.rough else 30)
        if done.code == 14:
            done = self.now(f"{name}.restart", folder, timeout=30)
        if done.code == 18 and server.kind.scope == WORKTREE:
            return False
        assert done.code == 0, done
        assert outside.up(server) == [done.json["listenerPid"] or done.json["pid"]], (done, server)
        outside.check_one_server(server)
        outside.check_record(server, must_be_there=True)
        return True

    def goes(self, server: Server) -> None:
        """Fail unless `stop` ends a server, and leaves nothing of it.

        What left its session and lost its parent to a SIGKILL could be an editor: it is named and
        left alone, and ended where that is asked for.
        """
        name, folder = server.kind.name, server.root or self.world.main
        stopped = self.now(f"{name}.stop", folder).json
        assert stopped["portFree"] is (None if server.kind.offset is None else True), stopped
        if LEFT in outside.marked(server).values() and self.crashed:
            assert stopped["left"], stopped
            self.now(f"{name}.stop", folder, flags=["--force"])
        outside.check_nothing_left(server)

    def now(self, task: str, folder: Path, timeout: int = 0, flags: Sequence[str] = ()) -> Ran:
        """Run a command to its end."""
        self.ended = True
        self.call(task, folder, timeout=timeout, flags=flags)
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


def words(*given: str) -> tuple[str, ...]:
    """Return those that are not empty."""
    return tuple(filter(None, given))


def said_of(answer: dict[str, Any], server: Server, count: int) -> dict[str, Any] | None:
    """Return what an answer says of one of so many servers; None where it says nothing of it."""
    name = server.kind.name
    if count == 1:
        return answer
    return answer.get(name) or answer.get("servers", {}).get(name)


def is_running(pid: object) -> bool:
    """Return whether a process has that pid, and is no zombie."""
    with contextlib.suppress(psutil.Error):
        return isinstance(pid, int) and is_alive(psutil.Process(pid))
    return False
