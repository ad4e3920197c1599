"""Processes: who is who, who belongs to a server, and how they are started and ended."""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from devservers.system import process, procfs, spawn
from devservers.system.identity import Identity, Listener

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
PROC_ONLY = pytest.mark.skipif(not procfs.HAS_PROC, reason="there is no /proc")
Start = Callable[..., "subprocess.Popen[str]"]

# What the actors share. Each blocks in `rest`, which ends it when the test's end of its stdin is
# closed: so no child or grandchild outlives a test, however the test ends.
PRELUDE = """
import os, signal, sys, time
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
def rest():
    while os.read(0, 1):
        pass
    os._exit(0)
def fork(act):
    pid = os.fork()
    if pid == 0:
        act()
        rest()
    return pid
"""
SLEEPER = "say(os.getpid()); rest()"
# A child and a grandchild, both alive.
TREE = """
def child():
    fork(lambda: say(os.getpid()))
    say(os.getpid())
fork(child); say(os.getpid()); rest()
"""
# A grandchild whose parent has died, in the session of the first.
ORPHAN_IN_SESSION = """
def child():
    fork(lambda: say(os.getpid()))
    os._exit(0)
os.waitpid(fork(child), 0); say(os.getpid()); rest()
"""
# A daemon: a grandchild in its own session, its parent dead.
DAEMON = """
def child():
    os.setsid()
    fork(lambda: say(os.getpid()))
    os._exit(0)
os.waitpid(fork(child), 0); say("done")
"""
POLITE = """
def end(*_):
    say("TERM"); os._exit(7)
signal.signal(signal.SIGTERM, end); say(os.getpid()); rest()
"""
STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN); say(os.getpid()); rest()"
# On SIGTERM leaves an heir that ends at once when it is asked to, and ends.
WITH_HEIR = """
def end(*_):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # before the fork: the next may come right after
    say(fork(lambda: None)); os._exit(0)
signal.signal(signal.SIGTERM, end); say(os.getpid()); rest()
"""
# On SIGTERM leaves an heir that does the same, for ever.
PHOENIX = """
def end(*_):
    if os.fork():
        os._exit(0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    rest()
signal.signal(signal.SIGTERM, end); say(os.getpid()); rest()
"""


@pytest.fixture
def marker(tmp_path: Path) -> str:
    return f"DEVSERVERS_SERVER=test:{tmp_path}/server.pid"


def family(roots: list[Identity], marker: str) -> tuple[Identity, ...]:
    """Return the members of a server's family."""
    return process.family(roots, marker).members


@pytest.fixture
def start() -> Iterator[Start]:
    children: list[subprocess.Popen[str]] = []

    def begin(
        act: str, marker: str | None = None, *, own_session: bool = False
    ) -> "subprocess.Popen[str]":
        env = dict([marker.split("=", 1)] if marker else [])
        if marker:  # as a server has it that stays in the session it was started in
            env[procfs.SESSION] = str(os.getsid(0))
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", PRELUDE + act],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=own_session,
        )
        children.append(child)
        return child

    yield begin
    for child in children:
        assert child.stdin is not None
        with suppress(BrokenPipeError):
            child.stdin.close()
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def told(child: "subprocess.Popen[str]") -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def known(pid: int | str) -> Identity:
    identity = process.identify(int(pid))
    assert identity is not None
    return identity


def pids(found: tuple[Identity, ...]) -> set[int]:
    return {identity.pid for identity in found}


def await_zombie(pid: int) -> None:
    """Wait until our child `pid` has ended, without reaping it."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def forged(identity: Identity) -> Identity:
    """Return what a record would hold if the pid had been used again since."""
    if procfs.HAS_PROC:
        return identity._replace(started=f"{identity.started}9")
    return identity._replace(started=f"{float(identity.started) - 100:.3f}")


def ended_pid() -> int:
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


@pytest.fixture(params=["proc", "psutil"])
def _each_source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the process table from /proc, and as it is read where there is none."""
    if request.param == "psutil":
        monkeypatch.setattr(procfs, "HAS_PROC", False)
    elif not procfs.HAS_PROC:
        pytest.skip("there is no /proc")


EACH_SOURCE = pytest.mark.usefixtures("_each_source")


@EACH_SOURCE
def test_a_live_process_is_the_same_each_time_it_is_looked_at(start: Start) -> None:
    identity = known(told(start(SLEEPER)))
    assert known(identity.pid) == identity
    assert process.is_alive(identity)


@EACH_SOURCE
def test_two_processes_have_different_identities(start: Start) -> None:
    assert known(told(start(SLEEPER))) != known(os.getpid())


@EACH_SOURCE
def test_a_process_that_has_ended_has_no_identity(start: Start) -> None:
    child = start(SLEEPER)
    identity = known(told(child))
    child.kill()
    child.wait()
    assert process.identify(child.pid) is None
    assert not process.is_alive(identity)


@EACH_SOURCE
def test_a_zombie_is_gone(start: Start) -> None:
    child = start(SLEEPER)
    identity = known(told(child))
    child.kill()
    await_zombie(child.pid)
    os.kill(child.pid, 0)  # it still has its pid
    assert process.identify(child.pid) is None
    assert not process.is_alive(identity)
    assert child.pid not in pids(family([identity], "NONE=1"))


@EACH_SOURCE
@pytest.mark.parametrize("pid", [-1, 1 << 22, 1 << 30])
def test_a_pid_that_nobody_has_has_no_identity(pid: int) -> None:
    assert process.identify(pid) is None


@EACH_SOURCE
def test_a_pid_that_was_used_again_is_not_alive(start: Start) -> None:
    assert not process.is_alive(forged(known(told(start(SLEEPER)))))


@PROC_ONLY
def test_a_process_name_with_brackets_and_spaces_is_read_rightly(tmp_path: Path) -> None:
    program = tmp_path / "a) S 1 (b"
    program.symlink_to(sys.executable)
    child = subprocess.Popen(
        [str(program), "-I", "-S", "-c", PRELUDE + SLEEPER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONHOME": sys.base_prefix},
    )
    with child:
        try:
            row = process._row(int(told(child)))
        finally:
            child.kill()
    own = process._row(os.getpid())
    assert row is not None
    assert own is not None
    assert (row.parent, row.session) == (os.getpid(), own.session)


@pytest.mark.parametrize(
    ("recorded", "same"),
    [("1000.000", True), ("1000.900", True), ("999.100", True), ("1001.1", False), ("x", False)],
)
def test_without_proc_the_start_may_move_a_little_with_the_clock(
    monkeypatch: pytest.MonkeyPatch, recorded: str, *, same: bool
) -> None:
    monkeypatch.setattr(procfs, "HAS_PROC", False)
    assert process._same_start("1000.000", recorded) is same


@PROC_ONLY
def test_with_proc_the_start_has_to_be_the_very_same() -> None:
    assert not process._same_start("boot:1000", "boot:1001")
    assert not process._same_start("boot:1000", "other boot:1000")


@PROC_ONLY
def test_a_listener_holds_its_socket_until_it_closes_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        fd = server.fileno()
        inode = procfs.socket_inode(os.getpid(), fd)
        listener = Listener(known(os.getpid()), "127.0.0.1", fd, inode)
        assert inode.startswith("socket:[")
        assert process.holds(listener)
        assert not process.holds(listener._replace(process=forged(listener.process)))
    assert not process.holds(listener)
    with socket.socket() as other:  # a socket that came to the same place is another one
        assert not process.holds(listener._replace(fd=other.fileno()))


def test_a_listener_whose_socket_could_not_be_read_is_not_proved() -> None:
    assert not process.holds(Listener(known(os.getpid()), "127.0.0.1", -1, ""))


@EACH_SOURCE
def test_the_marker_is_found_in_the_environment(start: Start, marker: str) -> None:
    child = start(SLEEPER, marker)
    told(child)
    assert process.has_marker(child.pid, marker)


@EACH_SOURCE
def test_a_marker_that_only_begins_or_ends_alike_is_another(start: Start, marker: str) -> None:
    child = start(SLEEPER, f"{marker}.other")
    told(child)
    for other in (marker, marker.removeprefix("DEV"), f"{marker}.other2"):
        assert not process.has_marker(child.pid, other)


@EACH_SOURCE
def test_no_process_has_no_marker(marker: str) -> None:
    assert not process.has_marker(ended_pid(), marker)


@EACH_SOURCE
def test_the_family_of_a_root_is_itself_first_and_all_its_descendants(
    start: Start, marker: str
) -> None:
    child = start(TREE)
    members = {int(told(child)) for _ in range(3)}
    found = family([known(child.pid)], marker)
    assert pids(found) == members
    assert found[0].pid == child.pid
    assert all(process.is_alive(member) for member in found)


@EACH_SOURCE
def test_the_family_has_the_session_that_its_root_leads(start: Start, marker: str) -> None:
    child = start(ORPHAN_IN_SESSION, own_session=True)
    members = {int(told(child)) for _ in range(2)}
    assert pids(family([known(child.pid)], marker)) == members


@EACH_SOURCE
def test_the_family_has_not_the_session_that_its_root_only_belongs_to(
    start: Start, marker: str
) -> None:
    root, stranger = start(SLEEPER), start(SLEEPER)
    told(root)
    told(stranger)
    assert os.getsid(root.pid) == os.getsid(stranger.pid)
    assert pids(family([known(root.pid)], marker)) == {root.pid}


@EACH_SOURCE
def test_a_session_whose_leader_is_gone_proves_nothing(start: Start, marker: str) -> None:
    child = start(ORPHAN_IN_SESSION, own_session=True)
    told(child)
    told(child)
    leader = known(child.pid)
    child.kill()
    child.wait()
    assert family([leader], marker) == ()


@EACH_SOURCE
def test_a_daemon_that_carries_the_marker_and_has_left_tree_and_session_is_a_stray(
    start: Start, marker: str
) -> None:
    child = start(DAEMON, marker)
    daemon = int(next(word for _ in range(2) if (word := told(child)) != "done"))
    child.wait()
    assert os.getsid(daemon) != os.getsid(0)
    found = process.family([], marker)
    assert found.members == ()
    assert pids(found.strays) == {daemon}
    assert pids(family([known(daemon)], marker)) == {daemon}  # unless there is other proof
    assert process.family([known(daemon)], marker).strays == ()


@EACH_SOURCE
def test_who_carries_the_marker_without_a_session_belongs_to_no_server(
    start: Start, marker: str
) -> None:
    child = start(f"import os; os.environ\n{SLEEPER}", marker)
    told(child)
    other = start(
        f"import os; del os.environ['{procfs.SESSION}']\n"
        "os.execv(sys.executable, [sys.executable, '-I', '-S', '-c', "
        f"{PRELUDE + SLEEPER!r}])",
        marker,
    )
    told(other)
    found = process.family([], marker)
    assert pids(found.members) == {child.pid}
    assert pids(found.strays) == {other.pid}


def test_a_spawned_program_is_in_the_session_that_its_environment_names(
    tmp_path: Path, marker: str
) -> None:
    name, _, value = marker.partition("=")
    words = (
        sys.executable,
        "-I",
        "-S",
        "-c",
        f"import os, sys\n{PRELUDE}say(os.getpid())\ntime.sleep(60)",
    )
    child = spawn.spawn(words, tmp_path, {name: value}, tmp_path / "log")
    try:
        deadline = time.monotonic() + 20
        while not (tmp_path / "log").read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (tmp_path / "log").read_text() == f"{child.pid}\n"
        assert pids(family([], marker)) == {child.pid}
    finally:
        child.kill()
        child.wait()


@PROC_ONLY
@ROOT_ONLY
def test_a_process_in_other_namespaces_is_not_alive_for_us_and_never_signalled(
    marker: str,
) -> None:
    name, _, value = marker.partition("=")
    code = f"{PRELUDE}{SLEEPER}"
    for flags in (("--net",), ("--mount",), ("--pid", "--fork")):
        words = ["unshare", *flags, sys.executable, "-I", "-S", "-c", code]
        env = {"PATH": os.environ["PATH"], name: value, procfs.SESSION: str(os.getsid(0))}
        child = subprocess.Popen(
            words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            told(child)
            inner = child.pid if "--fork" not in flags else inner_of(child.pid)
            identity = known(inner)
            assert not process.is_alive(identity)
            assert not process.has_marker(inner, marker)
            assert inner not in pids(family([identity], marker))
            assert process.stop([identity], 0) == process.Ended((), forced=False, survivors=())
            assert child.poll() is None
        finally:
            child.stdin.close()  # its end ends them
            child.wait(20)
            child.stdout.close()


def inner_of(pid: int) -> int:
    """Return the only child of `pid`."""
    (child,) = psutil.Process(pid).children()
    return int(child.pid)


@EACH_SOURCE
def test_a_daemon_without_the_marker_is_nobodys(start: Start, marker: str) -> None:
    child = start(DAEMON)
    told(child)
    child.wait()
    assert family([], marker) == ()


@EACH_SOURCE
def test_the_family_has_the_descendants_of_who_carries_the_marker(
    start: Start, marker: str
) -> None:
    shed = "import os; os.execve(sys.executable, [sys.executable, '-I', '-S', '-c', CODE], {})"
    code = PRELUDE + SLEEPER
    act = f"CODE = {code!r}\ndef child():\n    {shed}\nfork(child); say(os.getpid()); rest()"
    child = start(act, marker)
    members = {int(told(child)) for _ in range(2)}
    assert pids(family([], marker)) == members


@EACH_SOURCE
def test_a_root_whose_pid_was_used_again_has_no_family(start: Start, marker: str) -> None:
    child = start(TREE, own_session=True)
    for _ in range(3):
        told(child)
    assert family([forged(known(child.pid))], marker) == ()


def test_the_caller_and_its_ancestors_are_no_family_for_the_marker_they_carry(
    tmp_path: Path, marker: str
) -> None:
    name, _, value = marker.partition("=")
    ask = (
        "import sys\nfrom devservers.system import process\n"
        "print(*[member.pid for member in process.family([], sys.argv[1]).members])"
    )
    parent = (
        "import os, subprocess, sys\n"
        "sibling = subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()'],"
        " stdin=subprocess.PIPE)\n"
        "with sibling:\n"
        "    caller = subprocess.run([sys.executable, '-c', *sys.argv[1:]],"
        " capture_output=True, text=True, check=True)\n"
        "    print(sibling.pid, '|', caller.stdout)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", parent, ask, marker],
        env={**os.environ, name: value, procfs.SESSION: str(os.getsid(0))},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    sibling, _, found = done.stdout.partition("|")
    assert found.split() == [sibling.strip()]


def test_the_caller_is_not_in_the_family_of_its_own_server(marker: str) -> None:
    parent = known(os.getppid())
    assert os.getpid() not in pids(family([parent], marker))


def test_a_process_is_asked_to_end_before_it_is_killed(start: Start) -> None:
    child = start(POLITE)
    told(child)
    begun = time.monotonic()
    ended = process.stop([known(child.pid)], 20)
    assert time.monotonic() - begun < 5  # it doesn't wait for longer than it has to
    assert ended == process.Ended((child.pid,), forced=False, survivors=())
    assert told(child) == "TERM"
    assert child.wait() == 7


def test_a_process_that_ignores_the_request_is_killed_after_the_grace(start: Start) -> None:
    child = start(STUBBORN)
    told(child)
    begun = time.monotonic()
    ended = process.stop([known(child.pid)], 0.3)
    assert 0.3 <= time.monotonic() - begun < 3
    assert ended == process.Ended((child.pid,), forced=True, survivors=())
    assert child.wait() == -signal.SIGKILL


def test_without_grace_a_process_is_killed_at_once(start: Start) -> None:
    child = start(STUBBORN)
    told(child)
    assert process.stop([known(child.pid)], 0).forced
    assert child.wait() == -signal.SIGKILL


def test_a_process_that_is_halted_is_killed(start: Start) -> None:
    child = start(POLITE)
    told(child)
    child.send_signal(signal.SIGSTOP)
    assert process.stop([known(child.pid)], 0.2).forced
    assert child.wait() == -signal.SIGKILL


def test_only_the_stubborn_one_of_several_is_killed(start: Start) -> None:
    polite, stubborn = start(POLITE), start(STUBBORN)
    members = [known(told(child)) for child in (polite, stubborn)]
    ended = process.stop(members, 0.3)
    assert ended == process.Ended((polite.pid, stubborn.pid), forced=True, survivors=())
    assert polite.wait() == 7
    assert stubborn.wait() == -signal.SIGKILL


def test_what_is_forked_during_the_stop_is_ended_too(start: Start, marker: str) -> None:
    child = start(WITH_HEIR, marker)
    told(child)
    ended = process.stop(family([], marker), 10, lambda: family([], marker))
    heir = int(told(child))
    assert ended == process.Ended((child.pid, heir), forced=False, survivors=())
    assert family([], marker) == ()


def test_what_forks_for_ever_while_it_is_asked_to_end_is_killed(start: Start, marker: str) -> None:
    child = start(PHOENIX, marker)
    told(child)
    begun = time.monotonic()
    ended = process.stop(family([], marker), 0.4, lambda: family([], marker))
    assert time.monotonic() - begun < 4
    assert ended.forced
    assert not ended.survivors
    assert family([], marker) == ()


def test_a_process_whose_pid_was_used_again_is_never_signalled(start: Start) -> None:
    child = start(POLITE)
    identity = known(told(child))
    nothing = process.Ended((), forced=False, survivors=())
    assert process.stop([forged(identity)], 0.1) == nothing
    assert process.stop([forged(identity)], 0.1, lambda: [forged(identity)]) == nothing
    assert child.stdin is not None
    child.stdin.close()
    assert told(child) == ""  # it would have told of a signal
    assert child.wait() == 0


@pytest.mark.parametrize("has_pidfd", [True, False], ids=["pidfd", "no pidfd"])
def test_a_pid_that_is_used_again_between_proof_and_signal_is_not_signalled(
    start: Start, monkeypatch: pytest.MonkeyPatch, *, has_pidfd: bool
) -> None:
    child = start(SLEEPER)
    identity = known(told(child))
    sent: list[object] = []
    looks = iter([True])  # alive when the list is made, gone right before the signal
    monkeypatch.setattr(process, "is_alive", lambda _: next(looks, False))
    send = "pidfd_send_signal"
    monkeypatch.setattr(signal, send, lambda *words: sent.append(words), raising=False)
    monkeypatch.setattr(os, "kill", lambda *words: sent.append(words))
    if not has_pidfd:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    process.stop([identity], 0)
    monkeypatch.undo()
    assert sent == []


def test_a_stop_ends_even_if_somebody_new_is_found_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "is_alive", lambda _: True)
    monkeypatch.setattr(process, "_send", lambda *_: True)
    monkeypatch.setattr(process, "KILL_WAIT", 0.1)
    numbers = iter(range(1000, 10**9))
    ended = process.stop([Identity(2, "s")], 0.1, lambda: [Identity(next(numbers), "s")])
    assert ended.forced
    assert ended.pids == ()
    assert ended.survivors[:2] == (2, 1000)


def test_stopping_nobody_does_nothing() -> None:
    assert process.stop([], 5) == process.Ended((), forced=False, survivors=())


def test_who_has_ended_before_is_not_among_the_ended(start: Start) -> None:
    child = start(SLEEPER)
    identity = known(told(child))
    child.kill()
    await_zombie(child.pid)
    assert process.stop([identity], 5).pids == ()


@pytest.mark.parametrize("lack", ["no such function", "no such system call", "forbidden"])
def test_where_there_are_no_pidfds_a_plain_signal_does(
    start: Start, monkeypatch: pytest.MonkeyPatch, lack: str
) -> None:
    def fail(_: int) -> int:
        number = 38 if lack == "no such system call" else 1  # ENOSYS; EPERM as seccomp has it
        raise OSError(number, os.strerror(number))

    if lack == "no such function":
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    else:
        monkeypatch.setattr(os, "pidfd_open", fail, raising=False)
    child = start(POLITE)
    told(child)
    ended = process.stop([known(child.pid)], 10)
    assert ended == process.Ended((child.pid,), forced=False, survivors=())
    assert child.wait() == 7


@ROOT_ONLY
def test_a_process_of_another_user_is_a_survivor_and_not_waited_for(start: Start) -> None:
    child = start(SLEEPER)
    told(child)
    act = (
        "import os, sys, time\n"
        "from devservers.system import process\n"
        "target = process.identify(int(sys.argv[1]))\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "begun = time.monotonic()\n"
        "ended = process.stop([target], 30)\n"
        "print(ended.pids, ended.forced, ended.survivors, time.monotonic() - begun < 5)"
    )
    done = subprocess.run(
        [sys.executable, "-c", act, str(child.pid)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"() False ({child.pid},) True"
    assert child.poll() is None


def test_every_descriptor_that_a_stop_opens_is_closed(start: Start) -> None:
    child = start(POLITE)
    identity = known(told(child))
    before = len(list(Path("/dev/fd").iterdir()))
    process.stop([identity], 10)
    assert len(list(Path("/dev/fd").iterdir())) == before


REPORT = """
import fcntl, json, os, sys
flags = [fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND for fd in (1, 2)]
opened = []
for fd in range(256):
    try:
        os.fstat(fd)
    except OSError:
        continue
    opened.append(fd)
facts = {
    "stdin": os.path.samestat(os.fstat(0), os.stat("/dev/null")),
    "same": os.path.samestat(os.fstat(1), os.fstat(2)),
    "append": all(flags),
    "opened": opened,
    "pid": os.getpid(),
    "leads": os.getsid(0) == os.getpid(),
    "cwd": os.getcwd(),
    "env": dict(os.environ),
}
print(json.dumps(facts))
"""


def spawned(tmp_path: Path, code: str, env: dict[str, str] | None = None) -> int:
    argv = (sys.executable, "-I", "-S", "-c", code)
    with spawn.spawn(argv, tmp_path, env or {}, tmp_path / "log") as child:
        return child.wait()


def test_a_spawned_server_depends_on_nothing_of_its_callers(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)  # noqa: FBT003 - os has it so
    own_stdin = os.dup(0)
    os.dup2(reader, 0)  # a caller whose stdin is a pipe
    try:
        assert spawned(tmp_path, REPORT, {"ONLY": "this"}) == 0
    finally:
        os.dup2(own_stdin, 0)
        for fd in (own_stdin, reader, writer):
            os.close(fd)
    facts = json.loads((tmp_path / "log").read_text())
    assert facts["stdin"]
    assert facts["same"]
    assert facts["append"]
    assert facts["leads"]
    assert facts["opened"] == [0, 1, 2]
    assert facts["cwd"] == str(tmp_path.resolve())
    assert facts["env"].pop("LC_CTYPE", "") in {"", "C.UTF-8"}  # the interpreter's own doing
    assert facts["env"].pop("__CF_USER_TEXT_ENCODING", "") is not None  # the same on macOS
    assert facts["env"].pop("PWD") == facts["cwd"]  # the shell's
    assert facts["env"].pop(procfs.SESSION) == str(facts["pid"])
    assert facts["env"] == {"ONLY": "this"}


def test_what_a_spawned_server_says_is_added_to_the_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("before\n")
    spawned(tmp_path, "import os; os.write(1, b'out\\n'); os.write(2, b'err\\n')")
    assert (tmp_path / "log").read_text() == "before\nout\nerr\n"


def test_a_program_that_can_not_be_executed_raises(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        spawn.spawn((str(tmp_path / "missing"),), tmp_path, {}, tmp_path / "log")


def test_a_server_that_is_let_go_outlives_its_popen_without_a_warning(tmp_path: Path) -> None:
    code = "import time; time.sleep(30)"
    argv = (sys.executable, "-I", "-S", "-c", code)
    child = spawn.spawn(argv, tmp_path, {}, tmp_path / "log")
    identity = known(child.pid)
    try:
        spawn.let_go(child)
        del child
        gc.collect()  # a ResourceWarning would be an error here
        assert process.is_alive(identity)
    finally:
        os.kill(identity.pid, signal.SIGKILL)
        os.waitpid(identity.pid, 0)


def test_letting_go_of_a_child_that_has_ended_keeps_its_status(tmp_path: Path) -> None:
    argv = (sys.executable, "-I", "-S", "-c", "raise SystemExit(3)")
    with spawn.spawn(argv, tmp_path, {}, tmp_path / "log") as child:
        await_zombie(child.pid)
        spawn.let_go(child)
        assert child.returncode == 3
