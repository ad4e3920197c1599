"""dev.status --watch: redrawn in place on a terminal, printed anew elsewhere; URLs as links."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from terminals import Terminal

from devservers import terminal
from devservers.tasks import screen
from next_support import NextWorld, next_world
from support import heed_interrupts, until

ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[NextWorld]:
    with next_world(tmp_path, "lock", size=4) as made:
        made.leaves_server = True
        made.behave(enabled=False)
        yield made


@pytest.fixture
def seen() -> Iterator[Terminal]:
    made = Terminal(60, 5)
    yield made
    os.close(made.own)
    os.close(made.its)


def watch(place: NextWorld, seen: Terminal, **env: str) -> "subprocess.Popen[bytes]":
    words = ("dev.status", "--watch")
    return place.start(*words, env=env, stdout=seen.its, preexec_fn=heed_interrupts)  # type: ignore[return-value]


def test_a_terminal_is_drawn_over_again_and_again_and_no_more_than_it_holds(
    place: NextWorld, seen: Terminal
) -> None:
    child = watch(place, seen)
    until(lambda: len(seen.frames()) > 1)
    for frame in seen.frames():
        assert len(frame) == 5
        assert max(map(len, frame)) <= 60
        assert frame[-2] == "… 2 more lines"
        assert frame[-1].startswith("0 servers running")
    assert "\x1b[2J" not in seen.text  # what is cleared first flickers
    drawn = len(seen.frames())
    seen.resize(300, 40)
    until(lambda: len(seen.frames()) > drawn)
    assert str(place.a) in "\n".join(seen.frames()[-1])
    child.send_signal(signal.SIGINT)
    assert place.result(child).code == 0
    before, _, after = seen.read().partition(LEAVE)
    assert before.startswith(ENTER)
    assert after.split("\r\n")[-2].startswith("0 servers running")  # the last one stays
    assert str(place.a) in after


def test_a_terminal_is_given_back_by_whoever_is_told_to_end(
    place: NextWorld, seen: Terminal
) -> None:
    child = watch(place, seen)
    until(seen.frames)
    child.terminate()
    assert place.result(child).code == 143
    assert LEAVE in seen.read()


def test_what_changes_is_in_the_next_frame(place: NextWorld, seen: Terminal) -> None:
    seen.resize(300, 40)
    child = watch(place, seen)
    until(seen.frames)
    place.call("nextjs.ensure", cwd=place.a)
    until(lambda: any("running" in line and " a " in line for line in seen.frames()[-1]))
    place.config.write_text("{")
    until(lambda: "not valid JSON" in "\n".join(seen.frames()[-1]))
    place.behave(enabled=False)
    until(lambda: "1 server running" in "\n".join(seen.frames()[-1]))
    child.send_signal(signal.SIGINT)
    assert place.result(child).code == 0


def test_elsewhere_each_table_follows_the_one_before(place: NextWorld) -> None:
    child = place.start("dev.status", "--watch", stdout=subprocess.PIPE, preexec_fn=heed_interrupts)
    assert child.stdout
    out = ""
    while out.count("BRANCH") < 2:
        out += child.stdout.readline().decode()
    child.send_signal(signal.SIGINT)
    assert place.result(child).code == 0
    assert "\x1b" not in out
    assert "running: 0 MB, 0% of a processor\n\n   BRANCH" in out


def test_as_json_each_answer_is_a_line(place: NextWorld) -> None:
    child = place.start("dev.status", "--watch", "--json", stdout=subprocess.PIPE)
    lines = [json.loads(child.stdout.readline()) for _ in range(2)]  # type: ignore[union-attr]
    assert all(len(line["worktrees"]) == 3 for line in lines)
    child.stdout.close()  # type: ignore[union-attr]
    assert child.wait(10) == 0  # a reader that has gone is no error


def test_a_configuration_that_is_broken_from_the_start_is_an_error(place: NextWorld) -> None:
    place.config.write_text("{")
    assert place.refused("dev.status", "--watch", code=10)["code"] == "config-invalid"


@pytest.mark.parametrize(
    ("text", "columns", "left"),
    [
        ("abcdef", 3, "abc"),
        ("日本語", 4, "日本"),
        ("日本語", 5, "日本"),
        ("e\u0301a", 1, "e\u0301"),
    ],
)
def test_a_line_is_cut_by_the_room_that_it_takes(text: str, columns: int, left: str) -> None:
    assert screen.cut(text, columns) == left


@pytest.mark.parametrize(
    ("env", "known"),
    [
        ({"TERM_PROGRAM": "WezTerm"}, True),
        ({"VTE_VERSION": "7200"}, True),
        ({"VTE_VERSION": "4800"}, False),
        ({"TERM": "xterm-kitty"}, True),
        ({"TERM": "tmux-256color", "TERM_PROGRAM": "WezTerm"}, False),
        ({"TERM": "xterm-256color"}, False),
        ({}, False),
    ],
)
def test_a_terminal_that_knows_links_is_told_by_its_environment(
    env: dict[str, str],
    known: bool,  # noqa: FBT001
) -> None:
    assert terminal.knows_links(env) is known


def test_urls_are_links_on_a_terminal_that_knows_them_and_nowhere_else(
    place: NextWorld, seen: Terminal
) -> None:
    seen.resize(300, 40)
    url = place.call("nextjs.ensure", cwd=place.a)["url"]
    link = f"\x1b]8;;{url}\x1b\\{url}\x1b]8;;\x1b\\"
    for env in ({"TERM_PROGRAM": "WezTerm"}, {"TERM": "dumb"}):
        place.result(place.start("nextjs.status", cwd=place.a, env=env, stdout=seen.its))
    shown = seen.read()
    assert shown.count(link) == 1
    assert shown.count(url) == 3
    assert "\x1b" not in place.run("nextjs.status", cwd=place.a, env={"TERM_PROGRAM": "vscode"}).out
