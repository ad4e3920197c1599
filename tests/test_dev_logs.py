"""dev.logs: all servers in one stream, whole lines, safe for a terminal, followed as they come."""

import json
import os
import signal
import subprocess
import sys
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from terminals import Terminal

from devservers.rendering import lines as rendering
from devservers.worktrees import logstream
from devservers.worktrees.logfiles import Log, Source
from next_support import NextWorld, next_world
from support import heed_interrupts, until

FLOOD = """
import sys
log = open(sys.argv[1], "ab", 0)
while True:
    log.write(b"line " * 9 + b"\\n")
"""


class Place(NextWorld):
    """A repository with a declared server, whose logs are written by the test."""

    def log_of(self, name: str, folder: Path | None = None) -> Path:
        if name == "inngest":
            return self.log
        state = self.git_dir(folder or self.main) / "devservers"
        state.mkdir(exist_ok=True)
        return state / f"{name}.log"

    def logs(self, *words: str, **options: Any) -> list[str]:
        done = self.run("dev.logs", *words, **options)
        assert (done.code, done.err) == (0, ""), done
        return done.out.splitlines()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with next_world(tmp_path, size=4, make=Place) as made:
        assert isinstance(made, Place)
        made.leaves_server = True
        made.behave()
        data = json.loads(made.config.read_text())
        data["servers"] = {"worker": {"command": [sys.executable, "-c", "0"]}}
        made.config.write_text(json.dumps(data))
        yield made


class Following:
    """dev.logs --follow, and what it has printed."""

    def __init__(self, place: Place, *words: str, **options: Any) -> None:
        self.place = place
        self.file = place.folder / "-".join(("followed", *words))
        with self.file.open("wb") as out:
            self.child = place.start(
                *("dev.logs", "--follow", *words),
                stdout=out.fileno(),
                preexec_fn=heed_interrupts,
                **options,
            )

    def shows(self, *wanted: str) -> list[str]:
        """Wait until all of these lines are there; return all that are."""
        until(lambda: set(wanted) <= set(self.lines()))
        return self.lines()

    def lines(self) -> list[str]:
        return self.file.read_bytes().decode().splitlines()

    def end(self) -> int:
        self.child.send_signal(signal.SIGINT)
        return self.place.result(self.child).code


@pytest.fixture
def following(place: Place) -> Iterator[Callable[..., Following]]:
    started: list[Following] = []

    def start(*words: str, **options: Any) -> Following:
        started.append(Following(place, *words, **options))
        return started[-1]

    yield start
    for one in started:
        if one.child.poll() is None:
            assert one.end() == 0


def test_the_last_lines_of_each_server_are_named_and_in_columns(place: Place) -> None:
    place.log_of("inngest").write_text("".join(f"event {number}\n" for number in range(9)))
    place.log_of("nextjs").write_text("Ready\n GET / 200\n")
    place.log_of("nextjs", place.a).write_text("another worktree's\n")
    assert place.logs("--lines=2") == [
        "inngest | event 7",
        "inngest | event 8",
        "nextjs  | Ready",
        "nextjs  |  GET / 200",
    ]
    assert len(place.logs()) == 11
    assert place.logs("--lines=0") == []


def test_all_shows_every_worktrees_and_whose_they_are(place: Place) -> None:
    place.log_of("inngest").write_text("everyone's\n")
    for folder in (place.main, place.a, place.b):
        place.log_of("nextjs", folder).write_text(f"of {folder.name}\n")
    shown = place.logs("--all", cwd=place.a)
    assert [line.partition(" | ")[2] for line in shown] == ["everyone's", "of main", "of a", "of b"]
    assert [line.partition(" | ")[0].split() for line in shown] == [
        ["inngest"],
        ["main", "nextjs"],
        ["a", "nextjs"],
        ["b", "nextjs"],
    ]


def test_a_worktree_without_a_branch_and_a_branch_that_is_no_text_have_a_place_in_the_column(
    place: Place,
) -> None:
    place.git("checkout", "-q", "--detach", cwd=place.a)
    place.git("worktree", "move", place.a, place.folder / "long-folder-name", cwd=place.main)
    (place.git_dir(place.b) / "HEAD").write_bytes(b"ref: refs/heads/\xff\n")
    for folder in (place.folder / "long-folder-name", place.b):
        place.log_of("nextjs", folder).write_text("x\n")
    for words in ((), ("--raw",)):
        child = place.start("dev.logs", "--all", *words, stdout=subprocess.PIPE)
        out = child.communicate(timeout=20)[0].decode("utf-8", "backslashreplace")
        assert sorted(line.split() for line in out.splitlines()) == [
            [r"\udcff" if not words else r"\xff", "nextjs", "|", "x"],
            ["long-folder-name", "nextjs", "|", "x"],
        ]
    seen = Terminal(80, 24)
    assert place.result(place.start("dev.logs", "--all", stdout=seen.its)).code == 0
    assert "long-folder-name nextjs | \x1b[0mx" in seen.read()
    seen.close()


def test_as_json_each_line_is_an_object_with_the_bytes_as_text(place: Place) -> None:
    place.log_of("nextjs", place.a).write_bytes(b"\x1b[31mred\x1b[0m \x07 caf\xe9\x7f\r\n")
    place.log_of("inngest").write_text("one\n")
    shown = place.logs("--json", cwd=place.a)
    assert "\x7f" not in "".join(shown)
    found = [json.loads(line) for line in shown]
    assert found == [
        {"worktree": None, "branch": None, "server": "inngest", "line": "one"},
        {
            "worktree": str(place.a),
            "branch": "a",
            "server": "nextjs",
            "line": "\x1b[31mred\x1b[0m \x07 caf\\xe9\x7f",
        },
    ]


def test_follow_shows_what_is_written_also_across_a_rotation(
    place: Place, following: Callable[..., Following]
) -> None:
    log = place.log_of("nextjs")
    log.write_text("before\n")
    seen = following()
    seen.shows("nextjs  | before")
    with log.open("a") as stream:
        stream.write("rest of the old one\n")
    log.rename(log.with_suffix(".log.1"))
    log.write_text("in the new one\n")
    seen.shows("nextjs  | rest of the old one", "nextjs  | in the new one")
    assert seen.end() == 0
    assert len(seen.lines()) == 3


def test_follow_shows_servers_and_worktrees_that_come_later(
    place: Place, following: Callable[..., Following]
) -> None:
    seen = following("--all")
    place.log_of("worker").write_text("it begins\n")
    late = place.tree("late")
    place.log_of("nextjs", late).write_text("me too\n")
    data = json.loads(place.config.read_text())
    data["servers"]["other"] = {"command": ["true"]}
    place.config.write_text(json.dumps(data))
    place.log_of("other", place.a).write_text("declared meanwhile\n")
    wanted = (
        ("main worker", "it begins"),
        ("late nextjs", "me too"),
        ("a other", "declared meanwhile"),
    )
    until(lambda: all(f"{name.ljust(11)} | {text}" in seen.lines() for name, text in wanted))


def test_follow_goes_on_with_the_log_that_the_next_start_writes(
    place: Place, following: Callable[..., Following]
) -> None:
    place.call("inngest.ensure", "--stand-in")
    seen = following("--lines=1")
    until(seen.lines)
    place.call("inngest.stop")
    place.behave(logFile="another.log")
    place.call("inngest.ensure", "--stand-in")
    until(lambda: any("stand-in for" in line for line in seen.lines()[1:]))


def test_of_where_a_server_writes_from_now_on_no_older_run_is_shown(
    place: Place, following: Callable[..., Following]
) -> None:
    place.call("inngest.ensure", "--stand-in")
    seen = following("--lines=1")
    until(seen.lines)
    (place.main / "another.log").write_text("ancient\n" * 9)
    place.behave(logFile="another.log")
    place.call("inngest.restart", "--stand-in")
    until(lambda: any("stand-in for" in line for line in seen.lines()))
    assert "inngest | ancient" not in seen.lines()


def test_what_was_written_before_a_log_moved_is_shown_and_what_was_there_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logstream, "LOOK", 0)
    source = Source(None, None, "x")
    old, new = Log(source, tmp_path / "old"), Log(source, tmp_path / "new")
    old.path.write_text("old 1\n")
    new.path.write_text("of another run\n")
    moves = iter((old, new))

    def look() -> tuple[Log, ...]:
        log = next(moves, None)
        if log is new:
            old.path.write_text("old 1\nold 2\nold 3")  # since the last read
        elif log is None:
            new.path.write_text("of another run\nnew\n")
        return (log or new,)

    stream = logstream.follow((old,), 1, look, pytest.fail)
    found: list[bytes] = []
    until(lambda: found.extend(line.data for line in next(stream)) or b"new" in found)
    stream.close()  # type: ignore[attr-defined] # a ResourceWarning is an error here
    assert found == [b"old 1", b"old 2", b"old 3", b"new"]


def test_another_branch_is_another_name_and_nothing_is_shown_again(
    place: Place, following: Callable[..., Following]
) -> None:
    log = place.log_of("nextjs", place.a)
    log.write_text("before\n")
    seen = following("--all", "--json", "--lines=99999")
    until(seen.lines)
    place.git("checkout", "-q", "-b", "b2", cwd=place.a)

    def named_anew() -> bool:
        with log.open("a") as stream:
            stream.write("after\n")
        return '"branch": "b2", "server": "nextjs", "line": "after"' in seen.file.read_text()

    until(named_anew)
    assert [text_of(line) for line in seen.lines()].count("before") == 1


def test_the_log_of_a_worktree_that_is_removed_is_let_go(
    place: Place, following: Callable[..., Following]
) -> None:
    late = place.tree("late")
    log = place.log_of("nextjs", late)
    log.write_text("here\n")
    seen = following("--all", real=True)
    until(seen.lines)
    process = psutil.Process(seen.child.pid)
    assert str(log) in {file.path for file in process.open_files()}
    place.git("worktree", "remove", "--force", late, cwd=place.main)
    until(lambda: not any(".log" in path for path in open_paths(process)))
    place.log_of("worker").write_text("it goes on\n")
    until(lambda: any("it goes on" in line for line in seen.lines()))


def open_paths(process: psutil.Process) -> list[str]:
    """Return what a process has open; of what is deleted, too."""
    if not Path("/proc/self/fd").exists():
        return [file.path for file in process.open_files()]
    folder = Path(f"/proc/{process.pid}/fd")
    return [str(entry.readlink()) for entry in folder.iterdir() if entry.is_symlink()]


def test_who_writes_without_end_leaves_the_others_their_turn(
    place: Place, following: Callable[..., Following]
) -> None:
    flooded, calm = place.log_of("nextjs"), place.log_of("worker")
    flooded.write_text("")
    calm.write_text("")
    seen = following("--lines=0")
    code = (
        "import sys\nlog = open(sys.argv[1], 'ab', 0)\nwhile True: log.write(b'line ' * 9 + b'\\n')"
    )
    child = place.processes.popen([sys.executable, "-c", code, flooded], env=place.env())
    until(lambda: seen.file.stat().st_size > 100_000)
    with calm.open("a") as stream:
        stream.write("heard\n")
    try:
        until(lambda: b"worker  | heard\n" in seen.file.read_bytes())
    finally:
        child.kill()
        child.wait()


def test_a_log_that_can_not_be_read_hides_no_other(
    place: Place, following: Callable[..., Following]
) -> None:
    wrong = place.log_of("nextjs")
    wrong.symlink_to(wrong.name)  # in a circle
    place.log_of("worker").write_text("hello\n")
    done = place.run("dev.logs")
    assert (done.code, done.out) == (17, "worker  | hello\n")
    assert done.err.startswith(f"error: {wrong} can't be read: ")
    first, last = map(json.loads, place.run("dev.logs", "--json").out.splitlines())
    assert (first["line"], last["error"]["code"]) == ("hello", "state-unusable")
    with (place.folder / "said").open("wb") as said:
        seen = following(stderr=said.fileno())
        for number in range(3):  # the other is tried again each time
            with place.log_of("worker").open("a") as stream:
                stream.write(f"{number}\n")
            seen.shows(f"worker  | {number}")
        wrong.unlink()
        wrong.write_text("mended\n")
        seen.shows("nextjs  | mended")
    assert (place.folder / "said").read_text().count("can't be read") == 1


def test_what_is_no_file_is_no_log(place: Place) -> None:
    os.mkfifo(place.log_of("nextjs"))
    place.log_of("inngest").mkdir()
    place.log_of("worker").write_text("hello\n")
    assert place.logs() == ["worker  | hello"]


def test_lines_stay_whole_whoever_writes_between_their_halves(
    place: Place, following: Callable[..., Following]
) -> None:
    first, other = place.log_of("nextjs"), place.log_of("worker")
    first.write_text("")
    other.write_text("")
    seen = following()
    with first.open("ab", 0) as one, other.open("ab", 0) as two:
        for number in range(20):
            one.write(b"half of ")
            two.write(f"worker {number}\n".encode())
            one.write(f"a line {number}\n".encode())
    lines = seen.shows("nextjs  | half of a line 19", "worker  | worker 19")
    assert len(lines) == 40


def test_a_question_without_an_end_is_shown_after_a_moment(
    place: Place, following: Callable[..., Following]
) -> None:
    place.log_of("worker").write_text("Continue? [y/N] ")
    seen = following()
    seen.shows("worker  | Continue? [y/N] ")
    assert place.logs() == ["worker  | Continue? [y/N] "]


def test_what_follows_a_question_is_shown_and_its_end_alone_is_no_line(
    place: Place, following: Callable[..., Following]
) -> None:
    log = place.log_of("worker")
    log.write_text("")
    seen, objects = following(), following("--json")
    for piece, shown in (("Sure? ", "Sure? "), ("\n\nnext\n", "next")):
        with log.open("a") as stream:
            stream.write(piece)
        seen.shows(f"worker  | {shown}")
        until(lambda shown=shown: shown in map(text_of, objects.lines()))
    assert seen.lines() == ["worker  | Sure? ", "worker  | ", "worker  | next"]
    assert [*map(text_of, objects.lines())] == ["Sure? ", "", "next"]


def test_a_sequence_that_comes_in_two_pieces_commands_nothing(
    place: Place, following: Callable[..., Following]
) -> None:
    log = place.log_of("worker")
    log.write_text("\x1b]0;ti")
    seen = following()
    seen.shows("worker  | \\x1b]0;ti")
    for piece in ("tle\x07\x1b", "[2J\n"):
        count = len(seen.lines())
        with log.open("a") as stream:
            stream.write(piece)
        until(lambda count=count: len(seen.lines()) > count)
    assert seen.lines()[1:] == ["worker  | tle\\x07\\x1b", "worker  | [2J"]


def test_a_progress_bar_that_has_not_begun_is_no_line(place: Place) -> None:
    place.log_of("worker").write_text("done\n\r")
    assert place.logs() == ["worker  | done"]


def test_of_a_progress_bar_that_never_rests_a_state_is_shown_now_and_then(
    place: Place, following: Callable[..., Following]
) -> None:
    log = place.log_of("worker")
    log.write_text("")
    seen = following()
    with log.open("ab", 0) as bar:

        def goes_on() -> bool:
            bar.write(b"\r%d" % time.monotonic_ns())
            return len(seen.lines()) > 1

        until(goes_on)
    assert all(line.removeprefix("worker  | ").isdigit() for line in seen.lines())


def text_of(line: str) -> Any:
    return json.loads(line)["line"]


def test_a_line_without_end_takes_no_more_memory_than_a_short_one(place: Place) -> None:
    with place.log_of("nextjs").open("wb") as log:
        log.write(b"y" * 40_000_000)
    limited = 'ulimit -v 400000; exec "$@"'
    words = ["/bin/sh", "-c", limited, "sh", str(Path(sys.executable).with_name("inv")), "dev.logs"]
    child = place.processes.popen(
        words, cwd=place.main, env=place.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    done = place.result(child, timeout=60)
    assert (done.code, done.err) == (0, "")
    assert done.out.count("y") == 40_000_000
    assert max(map(len, done.out.splitlines())) <= logstream.LONGEST + 20


def test_no_letter_is_cut_where_a_long_line_is(place: Place) -> None:
    for shift in range(3):
        place.log_of("nextjs").write_text("a" * shift + "\u20ac" * 20_000 + "\n")
        rows = [line.removeprefix("nextjs  | ") for line in place.logs()]
        assert "".join(rows) == "a" * shift + "\u20ac" * 20_000
        assert len(rows) == 4


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"\x1b]0;title\x07rest", "\\x1b]0;title\\x07rest"),
        (b"\x1b[2J\x1b[Hclear", "\\x1b[2J\\x1b[Hclear"),
        (b"\xc2\x9b31mC1", "\\x9b31mC1"),
        (b"10%\r20%\rdone", "done"),
        (b"tab\tand bell\x07", "tab\tand bell\\x07"),
        (b"\x1b[32mgreen\x1b[0m", "green"),
        ("right\u202eleft".encode(), "right\\u202eleft"),
    ],
)
def test_no_control_sequence_reaches_the_terminal(place: Place, written: bytes, shown: str) -> None:
    place.log_of("nextjs").write_bytes(written + b"\r\n")
    assert place.logs() == [f"nextjs  | {shown}"]


def test_raw_leaves_every_byte_as_it_is(place: Place) -> None:
    written = b'\x1b[2Ja\r\n\x1b[31m\xff\n{"level":"INFO","msg":"m"}\nb\rc'
    place.log_of("nextjs").write_bytes(written)
    for task, front, end in (("dev.logs", b"nextjs  | ", b"\n"), ("nextjs.logs", b"", b"")):
        seen = Terminal(80, 24)
        tty.setraw(seen.its)
        child = place.start(task, "--raw", stdout=subprocess.PIPE)
        assert (
            child.communicate(timeout=20)[0]
            == b"\n".join(front + line for line in written.split(b"\n")) + end
        )
        assert place.result(place.start(task, "--raw", stdout=seen.its)).code == 0
        assert "\x1b[2Ja" in seen.read()
        seen.close()


def test_on_a_terminal_names_and_levels_and_a_servers_own_colours_are_shown(place: Place) -> None:
    place.log_of("inngest").write_text(
        '{"time":"2026-11-27T18:04:05Z","level":"ERROR","msg":"no"}\n'
    )
    place.log_of("nextjs").write_text("\x1b[32mgreen\nstill green\n\x1b[0mplain \x1b[2J\n")
    for env, coloured in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        seen = Terminal(80, 24)
        assert place.result(place.start("dev.logs", env=env, stdout=seen.its)).code == 0
        error, green, still, plain = seen.read().splitlines()
        seen.close()
        assert "\\x1b[2J" in plain
        if not coloured:
            assert green == "nextjs  | green"
            continue
        assert "\x1b[31mERROR\x1b[0m no" in error
        assert green.endswith("\x1b[32mgreen\x1b[0m")  # it doesn't leak into the next name
        assert still.endswith("\x1b[32mstill green\x1b[0m")
        assert green[: green.index("nextjs")] == still[: still.index("nextjs")] != ""


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (
            '{"time":"2026-11-27T18:04:05.9Z","level":"INFO","msg":"registered","app":"x","n":3}',
            "18:04:05 INFO  registered  app=x n=3",
        ),
        ('{"level":"warn","message":"a b","who":"x y"}', 'WARN  a b  who="x y"'),
        ('{"level":"INFO","time":{"a":1},"msg":"x"}', 'INFO  x  time={"a": 1}'),
        ('{"level":"INFO","time":1e400,"msg":"x"}', "INFO  x  time=Infinity"),
        ('{"level":"INFO"}', '{"level":"INFO"}'),
        ('{"a":1}', '{"a":1}'),
        ("{broken}", "{broken}"),
        ("[" * 5000, "[" * 5000),
        ('{"level":"INFO","msg":"' + "{" * 5000 + '"}', "INFO  " + "{" * 5000),
    ],
)
def test_lines_that_programs_write_for_programs_are_made_readable(line: str, shown: str) -> None:
    assert rendering.readable(line, colours=False) == shown


@pytest.mark.parametrize("time", ["1764266645000", "1764266645.25"])
def test_a_time_in_seconds_or_thousandths_is_a_time_of_day(place: Place, time: str) -> None:
    place.log_of("worker").write_text(f'{{"level":"info","time":{time},"msg":"x"}}\n')
    assert place.logs(env={"TZ": "UTC"}) == ["worker  | 18:04:05 INFO  x"]


def test_no_server_writes_in_anothers_name(place: Place) -> None:
    place.log_of("inngest").write_text('{"level":"INFO","msg":"a\\nnextjs  | forged\\r\\nb"}\n')
    assert place.logs() == ["inngest | INFO  a", "inngest | nextjs  | forged", "inngest | b"]


def test_a_servers_own_task_shows_people_its_log_the_same_way_and_leaves_programs_json(
    place: Place,
) -> None:
    written = '{"time":"2026-11-27T18:04:05Z","level":"ERROR","msg":"no"}\n'
    place.log_of("inngest").write_text(f"{written}\x1b[32mgreen\x1b[2J\n10%\r20%\r\nend")
    assert place.run("inngest.logs").out == f"{written}green\\x1b[2J\n20%\nend"
    seen = Terminal(80, 24)
    assert place.result(place.start("inngest.logs", stdout=seen.its)).code == 0
    assert seen.read().splitlines() == [
        "18:04:05 \x1b[31mERROR\x1b[0m no",
        "\x1b[32mgreen\\x1b[2J\x1b[0m",
        "\x1b[32m20%\x1b[0m",
        "\x1b[32mend\x1b[0m",
    ]
    seen.close()


def test_an_escape_in_a_line_of_json_is_as_safe_as_one_outside(place: Place) -> None:
    place.log_of("inngest").write_text('{"level":"INFO","msg":"\\u001b]0;title\\u0007"}\n')
    assert place.logs() == ["inngest | INFO  \\x1b]0;title\\x07"]


@pytest.mark.parametrize("words", [(), ("--follow",), ("--json",), ("--raw",)])
def test_a_reader_that_goes_away_is_no_error(place: Place, words: tuple[str, ...]) -> None:
    place.log_of("nextjs").write_text("line\n" * 50_000)
    child = place.start("dev.logs", "--lines=50000", *words, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read(10)
    child.stdout.close()
    assert child.wait(20) == 0
    assert child.stderr is not None
    assert child.stderr.read() == b""


def test_a_server_by_hand_writes_elsewhere_and_nothing_is_shown_of_it(place: Place) -> None:
    place.inngest_by_hand()
    place.ok("ensure")
    place.log_of("inngest").write_text("of another run\n")
    assert place.logs() == []


def test_a_wrong_number_of_lines_is_refused(place: Place) -> None:
    assert place.refused("dev.logs", "--lines=many", code=1)["code"] == "usage"


def test_following_many_logs_costs_little(
    place: Place, following: Callable[..., Following]
) -> None:
    for number in range(17):
        tree = place.tree(f"t{number}")
        for name in ("nextjs", "worker"):
            place.log_of(name, tree).write_text(f"{number}\n")
    seen = following("--all", real=True)
    until(lambda: len(seen.lines()) == 34)
    process = psutil.Process(seen.child.pid)
    before = process.cpu_times()
    time.sleep(4)  # what is measured
    after = process.cpu_times()
    assert after.user + after.system - before.user - before.system < 4 * 0.12
