"""Whatever others bring along, nothing of it reaches a terminal as a command, or forges a line."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from terminals import Terminal

from devservers.rendering.table import table
from devservers.terminal import LogFilter, block, cell, line
from hooking import run_hook
from support import INV, World, accepts, git, until

EVIL = "\x1b]0;OWNED\x07\x9b2J\u202e\x7f\r"  # a title, clear the screen, write backwards
FORGED = "\nforged line"
WILD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
SGR = re.compile(r"\x1b\[[0-9;:]*m")


class Shown(NamedTuple):
    """A command that has to show something evil."""

    words: tuple[str, ...]
    cwd: Path | None = None
    code: int = 0


def on_terminal(
    world: World, *words: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run `inv` with stdout and stderr on a terminal; return its status and what was printed."""
    ours, its = pty.openpty()
    child = world.start(*words, cwd=cwd, env=env, stdout=its, stderr=its)
    os.close(its)
    found = b""
    try:
        while piece := os.read(ours, 65536):
            found += piece
    except OSError:  # how Linux says that the other side was closed
        pass
    finally:
        os.close(ours)
    return child.wait(20), found.decode().replace("\r\n", "\n")  # the terminal's own line ends


def assert_tame(text: str) -> None:
    assert not WILD.findall(text), text
    assert not [one for one in text.splitlines() if one.strip().startswith("forged")], text


def a_configuration_key(world: World) -> Shown:
    world.config.write_text(json.dumps({"inngest": {f"x{EVIL}{FORGED}": 1}}))
    return Shown(("inngest.status",), code=10)


def a_configuration_value(world: World) -> Shown:
    world.configure(port=EVIL + FORGED)
    return Shown(("inngest.ensure",), code=10)


def a_missing_program(world: World) -> Shown:
    world.configure(command=[f"{EVIL}{FORGED}"])
    return Shown(("inngest.ensure",), code=11)


def an_app(world: World) -> Shown:
    world.leaves_server = True
    world.app(world.apps[0], cwd=world.main, app_id=EVIL + FORGED)
    world.ok("ensure")
    world.ok("sync", f"--port={world.apps[0]}")
    return Shown(("inngest.apps",))


def a_synced_app(world: World) -> Shown:
    return an_app(world)._replace(words=("inngest.sync", f"--port={world.apps[0]}"))


def a_branch(world: World) -> Shown:
    git("checkout", "-q", "-b", "OWNED\u202e\u009b2J", cwd=world.a)
    return Shown(("dev.status",))


def a_worktree(world: World) -> Shown:
    evil = world.folder / f"w{EVIL}{FORGED}"
    git("worktree", "add", "-q", "-b", "evil", evil, cwd=world.main)
    return Shown(("dev.status",), evil)


def a_worktree_that_started_the_server(world: World) -> Shown:
    world.leaves_server = True
    cwd = a_worktree(world).cwd
    world.ok("ensure", cwd=cwd)
    return Shown(("inngest.ensure",))


def a_log_file(world: World) -> Shown:
    world.behave(logFile=f"log{EVIL}{FORGED}")
    return Shown(("inngest.logs",))


def a_holder(world: World) -> Shown:
    cwd = world.folder / f"cwd{EVIL}{FORGED}"
    cwd.mkdir()
    words = [sys.executable, "-I", "-S", "-c", HOLDER, str(world.port), EVIL + FORGED]
    child = world.processes.popen(words, cwd=cwd, env=world.env())
    until(lambda: accepts(world.port))
    assert child.poll() is None
    return Shown(("ports.who", f"--port={world.port}"))


def a_holder_that_is_in_the_way(world: World) -> Shown:
    a_holder(world)
    return Shown(("inngest.ensure",), code=12)


def a_holder_in_a_status(world: World) -> Shown:
    a_holder(world)
    return Shown(("inngest.status",), code=3)


def last_words(world: World) -> Shown:
    world.behave(f"say=\x1b[1;31m{EVIL}\x1b[0m", "exit=1")
    return Shown(("inngest.ensure",), code=13)


def a_folder_of_hooks(world: World) -> Shown:
    folder = world.folder / f"hooks{EVIL}{FORGED}"
    folder.mkdir()
    git("config", "core.hooksPath", folder, cwd=world.main)
    (world.bin / "git").symlink_to("/usr/bin/git")
    return Shown(("hooks.status",))


def what_doctor_was_told(world: World) -> Shown:
    world.configure(command=[sys.executable, "-c", f"print({EVIL!r})"])
    return Shown(("inngest.doctor",), code=1)


def a_defect(world: World) -> Shown:
    tasks = (
        "from invoke import Collection, task\n"
        "from devservers import console\n"
        f"def make(): raise RuntimeError({EVIL!r})\n"
        "@task\n"
        "def broken(_): raise SystemExit(console.run(make, as_json=False))\n"
        "ns = Collection(broken)\n"
    )
    (world.main / "tasks.py").write_text(tasks)
    return Shown(("broken",), code=1)


SOURCES = [
    *(a_configuration_key, a_configuration_value, a_missing_program, an_app, a_synced_app),
    *(a_branch, a_worktree, a_worktree_that_started_the_server, a_log_file, a_holder),
    *(a_holder_that_is_in_the_way, a_holder_in_a_status, last_words, a_folder_of_hooks),
    *(what_doctor_was_told, a_defect),
]


@pytest.mark.parametrize("arrange", SOURCES, ids=lambda arrange: arrange.__name__)
def test_it_is_shown_and_does_nothing(world: World, arrange: Callable[[World], Shown]) -> None:
    words, cwd, code = arrange(world)
    done = world.run(*words, cwd=cwd)
    status, text = on_terminal(world, *words, cwd=cwd)
    assert (done.code, status) == (code, code), (done, text)
    for shown in (done.out + done.err, text):
        assert "OWNED" in shown
        assert_tame(shown)


def test_a_servers_last_words_are_quoted_without_their_colours(world: World) -> None:
    world.behave("say=\x1b[1;31mred\x1b[0m and \x1b[2Kmore", "exit=1")
    assert "  | red and \\x1b[2Kmore\n" in world.run("inngest.ensure").err
    error = world.fails("ensure", code=13)
    assert error["lastLines"][-1] == "\x1b[1;31mred\x1b[0m and \x1b[2Kmore"


def test_json_holds_every_character_and_no_control_sequence(world: World) -> None:
    evil = world.folder / f"w{EVIL}{FORGED}"
    git("worktree", "add", "-q", "-b", "evil", evil, cwd=world.main)
    done = world.run("ports.list", "--json", cwd=evil)
    assert done.code == 0, done
    assert_tame(done.out)
    world.config.write_text(json.dumps({"inngest": {EVIL: 1}}))
    done = world.run("inngest.ensure", "--json")
    assert EVIL in done.error["message"]
    assert_tame(done.out)


def test_the_hooks_one_line_commands_nothing(world: World) -> None:
    world.config.write_text(json.dumps({"inngest": {f"x{EVIL}{FORGED}": 1}}))
    done = run_hook(world)
    assert "OWNED" in done.err
    assert_tame(done.err)


# Logs


def test_a_log_may_have_colours_on_a_terminal_and_nothing_else(world: World) -> None:
    evil = EVIL.removesuffix("\r")
    world.log.write_bytes(b"\x1b[1;38:5:1mred\x1b[0m\r\n" + f"{evil}\ttab\n".encode())
    done = world.run("inngest.logs")
    assert (done.code, done.err) == (0, "")
    red, shown = done.out.splitlines()
    assert red == "red"
    assert shown == r"\x1b]0;OWNED\x07\x9b2J\u202e\x7f" + "\ttab"
    assert on_terminal(world, "inngest.logs") == (0, f"\x1b[1;38:5:1mred\x1b[0m\n{shown}\n")
    assert on_terminal(world, "inngest.logs", env={"NO_COLOR": "1"}) == (0, done.out)


@pytest.mark.parametrize("words", [(), ("--follow",)])
def test_a_log_leaves_no_colour_behind(world: World, words: tuple[str, ...]) -> None:
    world.log.write_text("\x1b[31mred\nstill ")
    seen = Terminal(80, 24)
    child = world.start("inngest.logs", *words, stdout=seen.its)
    until(lambda: "still" in seen.read())
    if words:
        child.kill()
    assert child.wait(20) in {0, -signal.SIGKILL}
    assert seen.read() == "\x1b[31mred\x1b[0m\r\n\x1b[31mstill \x1b[0m"
    seen.close()


def test_follow_sees_through_a_sequence_that_comes_in_pieces(world: World) -> None:
    world.log.write_text("")
    child = world.start("inngest.logs", "--follow", start_new_session=True)
    assert child.stdout
    pieces = ["a\x1b", "[3", "1m b \x1b[", "2J c\r", "\nd\r", "e\x1b\n"]
    marks = [b"a", b"", b" b ", b" c", b"d", b"e"]
    seen = b""
    os.set_blocking(child.stdout.fileno(), False)

    def shows(mark: bytes) -> bool:
        nonlocal seen
        seen += (child.stdout.read() if child.stdout else None) or b""
        return mark in seen

    for piece, mark in zip(pieces, marks, strict=True):
        with world.log.open("a") as log:
            log.write(piece)
        until(lambda mark=mark: shows(mark))
    os.killpg(child.pid, signal.SIGTERM)
    assert child.wait(20) == 143
    text = SGR.sub("", seen.decode() + child.stdout.read().decode())
    assert text == "a b \\x1b[2J c\nd\ne\\x1b\n"  # e is written over d


@given(st.lists(st.text("\x1b[0;:1mJ]\r\nx\x9b\u202e\x07\t\0", max_size=12), max_size=8))
def test_however_a_log_is_cut_no_control_sequence_comes_through(pieces: list[str]) -> None:
    shown = _shown(pieces)
    assert not WILD.findall(SGR.sub("", shown))
    assert SGR.sub("", shown) == SGR.sub("", _shown(["".join(pieces)]))


@given(st.text(st.characters(blacklist_categories=("Cs",))))
def test_any_text_is_made_safe_and_can_be_told_again(text: str) -> None:
    assert not WILD.findall(block(text))
    assert "\n" not in line(text)
    assert "\t" not in cell(text)
    _titles, row = table(("A", "B"), [(text, "b")])
    assert not WILD.findall(row)
    if not WILD.search(text):
        assert block(text) == text


def test_a_sequence_that_never_ends_is_not_held_back() -> None:
    shown = LogFilter()
    assert shown.feed("\x1b[" + "1;" * 10) == ""
    assert shown.feed("1;" * 100).startswith("\\x1b[1;1;")


def _shown(pieces: list[str]) -> str:
    shown = LogFilter()
    return "".join(map(shown.feed, pieces)) + shown.feed("", final=True)


HOLDER = """
import socket, sys
try:
    open("/proc/self/comm", "w").write("OWNED\\x1b\\nz")
except OSError:
    pass
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhello")
"""


# Streams that take nothing


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
@pytest.mark.parametrize("follow", [(), ("--follow",)])
def test_a_stdout_that_takes_nothing_is_named_and_the_log_is_not(
    world: World, redirection: str, follow: tuple[str, ...]
) -> None:
    world.log.write_text("line\n" * 9000)
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", str(INV), "inngest.logs", *follow],
        cwd=world.main, env=world.env(), capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    assert done.returncode == 1, done
    assert done.stderr.startswith("error: Nothing can be written to standard output: "), done
    assert "Traceback" not in done.stderr
    assert str(world.log) not in done.stderr
