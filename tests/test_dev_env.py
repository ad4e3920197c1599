"""dev.env and dev.exec: this worktree's ports and URLs as environment, the same everywhere."""

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devservers.worktrees import environment
from next_support import NextWorld, next_world
from support import until

AWKWARD = ["plain", "", "two words", "it's", 'a "quote"', "$HOME `id`", "back\\slash", "a\nb", "ü"]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[NextWorld]:
    with next_world(tmp_path, size=4) as made:
        made.behave()
        data = json.loads(made.config.read_text())
        data["servers"] = {
            "story-book": {"command": ["true"], "port": 6006},
            "worker": {"command": ["true"]},
        }
        made.config.write_text(json.dumps(data))
        yield made


def test_every_port_and_url_is_there_whatever_the_format(place: NextWorld) -> None:
    found = place.call("dev.env", cwd=place.a)["variables"]
    port = place.claim(place.a).strip()
    slot = place.pool.index(int(port))
    assert (found["PORT"], found["DEV_PORT"]) == (port, port)
    assert found["INNGEST_DEV"] == f"http://localhost:{place.port}"
    assert found["DEVSERVERS_SLOT"] == str(slot)
    assert found["STORY_BOOK_URL"] == f"http://localhost:{6006 + slot}"
    assert "WORKER_URL" not in found
    assert json.loads(place.run("dev.env", "--format=json", cwd=place.a).out) == found
    lines = place.run("dev.env", "--format=dotenv", cwd=place.a).out.splitlines()
    assert dict(line.split("=", 1) for line in lines) == found
    shell = place.run("dev.env", cwd=place.a).out
    asked = f"{shell}\nenv -0"
    done = subprocess.run(["/bin/sh", "-c", asked], env={}, capture_output=True, check=True)
    there = dict(one.split("=", 1) for one in done.stdout.decode().split("\0") if one)
    assert found.items() <= there.items()


@pytest.mark.parametrize("value", AWKWARD)
def test_any_value_is_quoted_so_that_it_comes_out_as_it_went_in(value: str) -> None:
    line = environment.FORMATS["shell"]({"X": value})
    done = subprocess.run(
        ["/bin/sh", "-c", f'{line}\nprintf %s "$X"'], capture_output=True, check=True, env={}
    )
    assert done.stdout.decode() == value
    assert shlex.split(line.removeprefix("export ")) == [f"X={value}"]
    assert json.loads(environment.FORMATS["json"]({"X": value})) == {"X": value}


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("http://localhost:1", "X=http://localhost:1"),
        ("two words", "X='two words'"),
        ("$HOME", "X='$HOME'"),
        ("it's $HOME", 'X="it\'s \\$HOME"'),
        ('it\'s\n"x"', 'X="it\'s\\n\\"x\\""'),
    ],
)
def test_a_line_of_a_dotenv_file_expands_nothing(value: str, line: str) -> None:
    assert environment.FORMATS["dotenv"]({"X": value}) == line


@pytest.mark.parametrize(
    ("name", "variable"),
    [("storybook", "STORYBOOK_URL"), ("e-mail", "E_MAIL_URL"), ("2fa", "_2FA_URL")],
)
def test_a_servers_name_becomes_one_that_shells_know(name: str, variable: str) -> None:
    assert environment.variable_of(name) == variable


def test_a_wrong_format_is_refused(place: NextWorld) -> None:
    error = place.refused("dev.env", "--format=yaml", code=1)
    assert "shell, dotenv, json" in error["message"]


def test_exec_hands_words_and_output_and_exit_status_on(place: NextWorld) -> None:
    script = "import os, sys; print(sys.argv[1:], os.environ['PORT']); sys.exit(7)"
    words = (sys.executable, "-c", script, "a  b", "--json", "$X", "")
    done = place.run("dev.exec", "--", *words, cwd=place.a, real=True)
    assert done.code == 7
    assert done.out == f"{['a  b', '--json', '$X', '']} {place.claim(place.a).strip()}\n"


def test_exec_becomes_the_command_so_that_signals_reach_it(place: NextWorld) -> None:
    script = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    child = place.start("dev.exec", "--", sys.executable, "-c", script, real=True)
    assert child.stdout
    assert int(child.stdout.readline()) == child.pid
    child.send_signal(signal.SIGTERM)
    assert child.wait(10) == -signal.SIGTERM


def test_exec_gives_the_command_the_signals_that_python_ignores(place: NextWorld) -> None:
    child = place.start("dev.exec", "--", "yes", real=True)
    assert child.stdout
    child.stdout.readline()
    child.stdout.close()
    until(lambda: child.poll() is not None)
    assert child.returncode == -signal.SIGPIPE


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--",), 1, "no command"),
        ((), 1, "no command"),
        (("--", "no-such-program"), 11, "no such program"),
        (("--", "/"), 11, "can't be run"),
    ],
)
def test_exec_says_what_it_can_not_run(
    place: NextWorld, words: tuple[str, ...], code: int, says: str
) -> None:
    done = place.run("dev.exec", "--json", *words, real=True)
    assert done.code == code
    assert says in done.error["message"]
