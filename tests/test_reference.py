"""docs/reference.md names what there is: nothing is missing, nothing is one too many."""

import ast
import copy
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from invoke.parser import Argument

import devservers
from devservers import config, console, errors, hook, kinds
from devservers.config import Config
from devservers.declared.settings import CHECKS, WORDS
from devservers.errors import DevServerError
from devservers.lifecycle import failures
from devservers.rendering import hooks as rendering_hooks
from devservers.rendering import ports as rendering_ports
from devservers.rendering import servers
from devservers.spec import MARKER
from devservers.system import procfs
from devservers.tasks import ns
from hooking import run_hook
from installing import ROOT
from next_support import NextWorld, next_world
from support import DEVSERVERS, until

SOURCES = sorted((ROOT / "devservers").rglob("*.py"))
TEXT = (ROOT / "docs" / "reference.md").read_text()
SERVERS = kinds.NAMES
Row = dict[str, str]


# The document


def section(title: str, text: str = TEXT) -> str:
    """Return what stands below that heading, up to the next one of its level or of one above."""
    (head,) = re.findall(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    rest = re.split(rf"^{head} {re.escape(title)}$", text, maxsplit=1, flags=re.MULTILINE)[1]
    return re.split(rf"^#{{1,{len(head)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def tables(text: str) -> list[list[Row]]:
    """Return the tables of a text; a row is a dict by the titles of its columns."""
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        titles, _, *rows = [
            [cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()
        ]
        found.append([dict(zip(titles, row, strict=True)) for row in rows])
    return found


def table(title: str, *columns: str) -> list[Row]:
    """Return the one table below a heading that has exactly these columns."""
    (found,) = [rows for rows in tables(section(title)) if tuple(rows[0]) == columns]
    return found


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def only(cell: str) -> str:
    (word,) = quoted(cell)
    return word


def each_once(values: list[Any]) -> list[Any]:
    assert len(set(values)) == len(values), "twice: " + str(sorted(map(str, values)))
    return values


def each_server(task: str) -> list[str]:
    """Return a task's name for each server that NAME stands for, if it stands there."""
    return [task.replace("NAME", name) for name in SERVERS] if "NAME" in task else [task]


# Tasks and flags


def test_every_task_is_there_with_its_other_names() -> None:
    found: dict[str, set[str]] = {}
    for row in table("Tasks", "task", "also", "does"):
        others = quoted(row["also"])
        for name, task in zip(SERVERS, each_server(only(row["task"])), strict=False):
            assert task not in found, f"{task} stands there twice"
            found[task] = {other.replace("NAME", name) for other in others}
        assert row["does"]
    assert found == {name: set(others) for name, others in ns.task_names.items()}


def test_name_stands_for_the_servers_that_have_a_collection_with_an_ensure() -> None:
    named = [only(row["NAME"]) for row in table("Tasks", "NAME", "server", "for")]
    assert named == list(SERVERS)
    assert {task.partition(".")[0] for task in ns.task_names if task.endswith(".ensure")} == {
        *SERVERS
    }


def arguments(task: str) -> list[Argument]:
    """Return a task's flags. Invoke takes the help out of a task that is asked: it is a copy."""
    return copy.deepcopy(ns[task]).get_arguments()


def flag_of(argument: Argument) -> tuple[str, str, str]:
    """Return a flag as the table has it: its name, its default and its help."""
    off = argument.default is True
    name = f"--{'no-' if off else ''}{argument.names[0].rstrip('_')}"
    default = "off" if argument.kind is bool else f"`{argument.default}`"
    return name, default if argument.default != "" else "none", argument.help


def test_every_flag_is_there_with_its_default_and_its_help() -> None:
    rows = table("Flags", "task", "flag", "default", "help")
    each_once([(row["task"], row["flag"]) for row in rows])
    found: dict[str, dict[str, tuple[str, str, str]]] = {}
    # What is said of one task holds before what is said of a server's, and that before the rest.
    for row in sorted(
        rows, key=lambda row: (row["task"] != "every task", "NAME" not in row["task"])
    ):
        whole = row["task"] == "every task"
        for task in ns.task_names if whole else each_server(only(row["task"])):
            flag = only(row["flag"])
            found.setdefault(task, {})[flag] = (flag, row["default"], row["help"])
    there = {
        name: {flag_of(one)[0]: flag_of(one) for one in arguments(name)} for name in ns.task_names
    }
    assert found == there


# Exit statuses


def details() -> dict[str, list[str]]:
    """Return what each error is given besides its sentence and hint, by the name of its class."""
    found: dict[str, list[str]] = {}
    for file in SOURCES:
        for call in ast.walk(ast.parse(file.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
                (given,) = [one.value for one in call.keywords if one.arg == "details"] or [None]
                keys = given.keys if isinstance(given, ast.Dict) else []
                words = [key.value for key in keys if isinstance(key, ast.Constant)]
                found.setdefault(call.func.id, []).extend(map(str, words))
    return found


def test_every_exit_status_is_there_with_its_code_and_what_its_error_has_besides() -> None:
    kinds = [DevServerError, *DevServerError.__subclasses__()]
    given = details()
    there = {(kind.exit_code, kind.code, frozenset(given.get(kind.__name__, ()))) for kind in kinds}
    there |= {(status, "interrupted", frozenset()) for status in (console.INTERRUPTED, 143)}
    there |= {(status, "", frozenset()) for status in (0, 1, *servers.STATUS_EXIT.values(), 3)}
    assert (console.TERMINATED, servers.NOT_RUNNING) == (143, 3)
    rows = table("Exit status", "status", "error code", "besides in `error`", "meaning")
    codes = [
        (
            int(row["status"]),
            "".join(quoted(row["error code"])),
            frozenset(quoted(row["besides in `error`"])),
        )
        for row in rows
    ]
    assert set(each_once(codes)) == there
    assert all(row["meaning"] for row in rows)


def test_no_error_is_given_what_the_test_above_can_not_see() -> None:
    known = {kind.__name__ for kind in [DevServerError, *DevServerError.__subclasses__()]}
    assert known == {
        name for name, value in vars(errors).items() if isinstance(value, type) and "Error" in name
    }
    for file in SOURCES:
        for call in ast.walk(ast.parse(file.read_text())):
            for one in getattr(call, "keywords", ()):
                if isinstance(call, ast.Call) and one.arg == "details":
                    seen = isinstance(one.value, ast.Dict) or file.name == "status.py"
                    assert seen, f"{file}:{call.lineno}"


# JSON: the examples


def json_sections() -> Iterator[tuple[str, str]]:
    for part in re.split(r"^### ", section("JSON"), flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        if "```json" in body:
            yield title, body


def example_in(body: str) -> Any:
    return json.loads(body.partition("```json\n")[2].partition("```")[0])


def shapes() -> dict[str, Any]:
    """Return the example of each heading's tasks, those with `besides` added to what is common."""
    found: dict[str, Any] = {}
    for title, body in sorted(json_sections(), key=lambda part: part[0].endswith("besides")):
        example = example_in(body)
        for words in quoted(title) or [title]:
            for name in each_server(words):
                if title.endswith("besides"):
                    found[name] = {**found[name], **example}
                else:
                    assert name not in found, f"{name} has two examples"
                    found[name] = example
    return found


SHAPES = shapes()


def is_reference(example: object) -> bool:
    return isinstance(example, str) and referred(example) != []


def referred(example: str) -> list[Any]:
    """Return the examples that one names: `as inngest.status and a server's usage`."""
    names = example.removeprefix("as ").split(" and ")
    return [SHAPES[name] for name in names if name in SHAPES]


def differences(example: Any, value: Any, at: str = "") -> Iterator[str]:
    """Say in what a printed value differs from an example: keys, and kinds of values."""
    if is_reference(example):
        example = {key: value for one in referred(example) for key, value in one.items()}
    if value is None:
        return
    if kind(example) != kind(value):
        yield f"{at}: {value!r}, not as {example!r}"
    elif isinstance(example, dict):
        if example.keys() != value.keys():
            yield f"{at}: {sorted(example.keys() ^ value.keys())}"
        for key in example.keys() & value.keys():
            yield from differences(example[key], value[key], f"{at}.{key}")
    elif isinstance(example, list) and example:
        for item in value:
            yield from differences(example[0], item, f"{at}[]")
    elif isinstance(example, list):
        yield from (f"{at}[]: {item}" for item in value if isinstance(item, dict))


def kind(value: object) -> type:
    return float if type(value) is int else type(value)


def paths(example: Any, at: str = "") -> Iterator[str]:
    """Return the keys of an example, each with those that it lies in."""
    if isinstance(example, dict):
        for key, value in example.items():
            yield f"{at}{key}"
            yield from paths(value, f"{at}{key}.")
    elif isinstance(example, list) and example and isinstance(example[0], dict):
        yield from paths(example[0], f"{at.removesuffix('.')}[].")


@pytest.mark.parametrize(
    ("title", "body"), list(json_sections()), ids=lambda part: part.partition("\n")[0]
)
def test_each_key_of_an_example_has_its_row(title: str, body: str) -> None:
    example = example_in(body)
    (rows,) = [rows for rows in tables(body) if tuple(rows[0]) == ("key", "meaning")]
    assert [only(row["key"]) for row in rows] == list(paths(example)), title
    assert all(row["meaning"] for row in rows), title


def meaning(title: str, key: str) -> str:
    body = dict(json_sections())[title]
    rows = {only(row["key"]): row for table in tables(body) for row in table if "key" in row}
    return rows[key]["meaning"]


def test_the_values_of_a_key_are_those_that_there_are() -> None:
    hooks = "`hooks.install`, `hooks.uninstall`, `hooks.status`"
    values = {
        ("`NAME.ensure`, `NAME.restart`", "action"): {*servers._DONE, "--no-wait", "disabled"},
        ("`ports.assign`", "method"): {*rendering_ports._HOW},
        (hooks, "hooks[].state"): {*rendering_hooks._STATES},
    }
    assert values == {where: set(quoted(meaning(*where))) for where in values}
    rows = table("`NAME.status`", "state", "exit status", "meaning")
    states = {only(row["state"]): int(row["exit status"]) for row in rows}
    each_once([row["state"] for row in rows])
    assert states == {
        state: servers.STATUS_EXIT.get(state, servers.NOT_RUNNING)
        for state in {*servers._STATES, "disabled"}
    }


# JSON: what the tasks really print


@pytest.fixture
def place(tmp_path: Path) -> Iterator[NextWorld]:
    with next_world(tmp_path, "fork", "lock", "title", "app=flowt") as world:
        world.leaves_server = True  # where an assertion fails, that is what to say
        yield world


class Asked:
    """Runs tasks, and holds what they print against the examples."""

    GROUPS: ClassVar[dict[str, set[str]]] = {
        "inngest": {
            *("ensure", "stop", "restart", "status", "logs", "apps", "runs", "sync", "doctor"),
        },
        "nextjs": {"ensure", "errors", "stop", "restart", "status", "logs", "run"},
        "ports": {"assign", "list", "who"},
        "dev": {"up", "down", "board", "env", "exec", "logs", "status", "prune", "use"},
        "agents": {"check", "install", "show", "status", "uninstall"},
        "hooks": {"install", "uninstall", "status", "trust"},
    }

    def __init__(self, world: NextWorld) -> None:
        self.world = world
        self.ran: set[str] = set()

    def __call__(
        self, task: str, *words: str, example: str | None = None, codes: tuple[int, ...] = (0,)
    ) -> Any:
        done = self.world.run(task, "--json", *words, cwd=self.world.a, timeout=60)
        assert done.code in codes, done
        found = list(differences(SHAPES[example or task], done.json))
        assert found == [], (task, words, found)
        self.ran.add(task)
        return done.json

    def assert_all_of(self, *groups: str) -> None:
        assert self.ran >= {f"{group}.{task}" for group in groups for task in self.GROUPS[group]}


@pytest.fixture
def ask(place: NextWorld) -> Asked:
    return Asked(place)


def test_every_task_is_run_by_one_of_these_tests() -> None:
    ran = {f"{group}.{task}" for group, tasks in Asked.GROUPS.items() for task in tasks}
    assert ran == set(ns.task_names)


def test_the_inngest_tasks_print_what_their_examples_have(ask: Asked, place: NextWorld) -> None:
    ask("inngest.status", codes=(3,))
    ask("inngest.logs")
    assert ask("inngest.ensure")["action"] == "started"
    assert ask("inngest.ensure")["action"] == "already-running"
    place.app(place.pool[0], cwd=place.a)
    ask("inngest.sync")  # the server may have asked the app first
    assert ask("inngest.apps")["apps"][0]["state"] == "served"
    assert ask("inngest.runs")["runs"] == []
    assert ask("inngest.status")["served"] is True
    assert ask("inngest.logs")["exists"]
    assert ask("inngest.restart")["pidsKilled"]
    place.behave(host="127.0.0.1")
    doctor = ask("inngest.doctor", codes=(0, 1))
    assert ask("inngest.stop")["action"] == "stopped"
    names = {re.sub(r"^port-\d+$", "port-N", check["name"]) for check in doctor["checks"]}
    rows = table("`inngest.doctor`", "check", "asks")
    assert names == set(each_once([only(row["check"]) for row in rows]))
    ask.assert_all_of("inngest")


def test_the_tasks_of_a_worktree_print_what_their_examples_have(
    ask: Asked, place: NextWorld
) -> None:
    port = ask("ports.assign")["port"]
    ask("nextjs.status", codes=(3,))
    ask("nextjs.ensure")
    ask("nextjs.status")
    ask("nextjs.logs")
    assert ask("nextjs.errors")["state"] == "unknown"
    (holder,) = ask("ports.who", f"--port={port}")["holders"]
    assert holder["worktree"] == str(place.a)
    assert any(row["listening"] for row in ask("ports.list")["ports"])
    ask("nextjs.restart")
    ask("nextjs.stop")
    place.configure(nextjs={"command": ["true"]})
    ask("nextjs.run")
    ask.assert_all_of("nextjs", "ports")


def test_the_tasks_for_all_print_what_their_examples_have(ask: Asked, place: NextWorld) -> None:
    place.log.write_text("one line\n")
    assert ask("dev.logs", "--lines=1")["line"] == "one line"
    assert ask("dev.up")["app"]["state"] == "served"
    assert ask("dev.env")["variables"]["PORT"] == place.claim(place.a).strip()
    assert ask("dev.board")["action"] == "started"
    place.call("board.stop")
    assert ask("dev.use")["pinned"] == str(place.a)
    assert place.run("dev.exec", "--", "true", cwd=place.a, real=True).code == 0
    ask.ran.add("dev.exec")
    assert ask("dev.status")["worktrees"][1]["nextjs"]["running"]
    ask("dev.down")
    place.call("nextjs.ensure", cwd=place.b)
    done = ask("dev.down", "--all", example="dev.down --all")
    assert done["inngest"]["users"]
    shutil.rmtree(place.b)
    assert ask("dev.prune", "--dry-run")["pruned"]
    assert ask("dev.prune")["pruned"]
    ask.assert_all_of("dev")


def test_the_tasks_for_agents_print_what_their_examples_have(ask: Asked) -> None:
    assert ask("agents.check", codes=(1,))["ok"] is False
    assert ask("agents.install")["files"]
    assert ask("agents.check")["ok"] is True
    ask("agents.status")
    assert "dev.up --json" in ask("agents.show")["text"]
    ask("agents.uninstall")
    ask.assert_all_of("agents")


def test_the_hooks_tasks_print_what_their_examples_have(ask: Asked) -> None:
    assert ask("hooks.status")["trusted"] is False
    assert ask("hooks.install")["action"] == "installed"
    assert ask("hooks.trust")["trusts"]
    assert ask("hooks.uninstall")["action"] == "uninstalled"
    ask.assert_all_of("hooks")


def test_holders_and_failures_are_as_in_their_examples(ask: Asked, place: NextWorld) -> None:
    place.listener()
    assert ask("inngest.status", codes=(3,))["holders"]
    assert ask("inngest.stop")["holders"]
    failed = place.run("inngest.ensure", "--json", cwd=place.a)
    besides = {"port", "holders"}  # see the exit statuses
    assert failed.error.keys() == SHAPES["a failure"]["error"].keys() | besides
    assert failed.json.keys() == SHAPES["a failure"].keys()
    assert list(differences(["a holder"], failed.error["holders"])) == []
    assert list(differences("a process left", failures.stray(os.getpid()))) == []


def test_what_is_said_where_inngest_is_disabled(place: NextWorld) -> None:
    place.behave(enabled=False)
    rows = table("Where `inngest.enabled` is false", "task", "keys")
    for row in rows:
        answer = place.call(only(row["task"]), cwd=place.a)
        assert (answer["action"], list(answer)) == ("disabled", quoted(row["keys"])), row
    others = {"inngest.status", "inngest.doctor"}  # said there
    inngest = {f"inngest.{task}" for task in Asked.GROUPS["inngest"]}
    assert set(each_once([only(row["task"]) for row in rows])) == inngest - others


# Configuration, environment, files


def test_every_key_of_the_configuration_is_there_with_its_default() -> None:
    rows = table("Configuration", "key", "default", "meaning")
    found = {
        only(row["key"]): None if row["default"] == "none" else json.loads(only(row["default"]))
        for row in rows
    }
    each_once([row["key"] for row in rows])
    there = {key: Config().value(key) for key in config.key_names()}
    assert found == json.loads(json.dumps(there))


def test_every_key_of_a_declared_server_is_there() -> None:
    text = (ROOT / "docs" / "declared-servers.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \|$", text, re.MULTILINE)
    assert rows == list(CHECKS)
    placeholders = set(re.findall(r"`\{(\w+)\}`", text))
    assert placeholders == set(WORDS)


# Whose values are names of some.
CONSTANTS = {"VARIABLES", "ADDRESSES", "ORIGINS", "INSTALL_ENV", "ENVIRONMENT"}


def variables() -> set[str]:
    """Return what the sources read from an environment by name, and what they keep in constants."""
    found = {MARKER, procfs.SESSION}
    found.add("PYTHONDONTWRITEBYTECODE")  # Python's own, and the hook's
    for file in SOURCES:
        if file.name == "standin.py":  # it reads what the original reads
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            found |= set(_asked_for(node))
            if isinstance(node, ast.Assign) and CONSTANTS & {ast.unparse(node.targets[0])}:
                found |= set(ast.literal_eval(node.value))
            if file.name == "doctor.py" and isinstance(node, ast.Constant):
                found |= set(re.findall(r"^[A-Z]+_[A-Z_]+$", str(node.value)))
    return found


def _asked_for(node: ast.AST) -> Iterator[str]:
    of: ast.AST | None = None
    word: ast.AST | None = None
    if isinstance(node, ast.Subscript):
        of, word = node.value, node.slice
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
        of = node.func.value if node.func.attr in {"get", "pop"} else None
        word = node.args[0]
    name = getattr(of, "attr", getattr(of, "id", ""))
    if name in {"env", "environ", "own"} and isinstance(word, ast.Constant):
        yield str(word.value)


def test_every_variable_of_the_environment_is_there() -> None:
    rows = table("Environment variables", "variable", "read or set", "meaning")
    found = each_once([only(row["variable"]) for row in rows])
    assert variables() <= set(found)
    text = "\n".join(file.read_text() for file in SOURCES)
    assert [name for name in found if not re.search(rf"\b{name}\b", text)] == []


def written(world: NextWorld) -> set[str]:
    """Return the files that a world has, under the names of the table."""
    common = world.main / ".git"
    places = {common, *(common / "worktrees").iterdir()}
    names = {str(world.pid_file): "inngest.pidFile", str(world.log): "inngest.logFile"}
    names |= {str(tree / ".dev-port"): "worktree.portCacheFile" for tree in (world.main, world.a)}
    names |= {str(common / "devservers" / one): f"COMMON/devservers/{one}" for one in _SHARED}
    names |= {
        str(folder / "devservers" / f"{kind}.{one}"): f"GIT/devservers/NAME.{one}"
        for folder in places
        for kind in SERVERS
        for one in ("answer", "receipt", "said", "used")
    }
    names |= {
        str(folder / "devservers" / f"{kind}.{one}"): f"GIT/devservers/NAME.{one}"
        for folder in places
        for kind in (*SERVERS, "board", "door")
        for one in ("pid", "log")
    }
    names |= {str(common / "hooks" / event): f"HOOKS/{event}" for event in _EVENTS}
    found = {
        *world.pid_file.parent.iterdir(),
        *world.main.glob("*.log*"),
        *world.main.glob(".dev-port"),
        *world.a.glob(".dev-port"),
        *(common / "hooks").iterdir(),
        *(file for folder in places for file in (folder / "devservers").glob("*")),
    }
    return {_named(str(file), names) for file in found}


_SHARED = ("board.html", "board.token", "idle", "idle.log", "in-use", "ports.lock", "trusted")
_EVENTS = ("post-checkout", "post-merge")
_ENDS = (".json", ".lock", ".pin", ".1", ".before-devservers")


def _named(file: str, names: dict[str, str]) -> str:
    if file in names:
        return names[file]
    (end,) = [one for one in _ENDS if file.endswith(one)] or [""]
    return f"{names.get(file.removesuffix(end), file)} + {end}"


def test_every_file_that_is_written_is_there(place: NextWorld) -> None:
    hooks = place.main / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    (hooks / "post-checkout").write_text("#!/usr/bin/env python3\n")
    place.call("hooks.install")
    holder = place.listener()
    run_hook(place, "ensure", cwd=place.a)
    holder.kill()
    holder.wait()
    place.configure(nextjs={"idle": "1h"}, command=place.fake(), logMaxBytes=1)
    place.log.write_text("what was there before\n")
    for _ in range(2):
        run_hook(place, "--wait", "--nextjs", "ensure", cwd=place.a)
    free = next(port for port in place.pool if port != int(place.claim(place.a)))
    place.app(free, cwd=place.b)
    place.call("inngest.sync", f"--port={free}")
    place.run("inngest.ensure", program=DEVSERVERS)
    until(lambda: (place.main / ".git/devservers/idle.log").exists() and not place.sweeps())
    place.call("dev.board", "--open", env=place.env({"BROWSER": "true"}))
    place.call("board.restart")
    place.call("dev.use")
    found = written(place)
    place.call("board.stop")
    place.call("dev.down", "--all", cwd=place.a)
    rows = table("Files", "file", "holds")
    assert found == set(each_once([row["file"].replace("`", "") for row in rows]))


# Hooks and Python


def test_every_word_of_the_entry_for_hooks_is_there() -> None:
    rows = table("The entry for hooks", "word", "followed by", "meaning")
    found = {
        only(row["word"]): tuple(map(int, re.findall(r"\d+", row["followed by"]))) for row in rows
    }
    options: dict[str, tuple[int, ...]] = dict.fromkeys(hook.OPTIONS - {hook.DETACHED}, ())
    assert found == {**hook.EVENTS, **options}
    each_once([row["word"] for row in rows])


def test_every_hook_for_pre_commit_is_there() -> None:
    yaml = pytest.importorskip("yaml")
    entries = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    rows = [
        (only(row["id"]), only(row["runs"])) for row in table("The entry for hooks", "id", "runs")
    ]
    assert rows == [(entry["id"], entry["entry"]) for entry in entries]


def test_every_public_name_is_there() -> None:
    rows = table("From Python", "name", "is")
    assert set(each_once([only(row["name"]) for row in rows])) == set(devservers.__all__)


# The other documents


LINK = re.compile(r"\]\((?!https?:)([^)#]*)(#[^)]*)?\)")


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("document", documents(), ids=lambda file: file.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    for target, anchor in LINK.findall(document.read_text()):
        file = (document.parent / target).resolve() if target else document
        assert file.exists(), target
        if anchor:
            assert anchor in set(map(anchor_of, headings(file))), anchor


def headings(file: Path) -> list[str]:
    return re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)


def anchor_of(heading: str) -> str:
    """Return what GitHub calls a heading in a link."""
    return "#" + re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", documents(), ids=lambda file: file.name)
def test_a_document_names_no_task_that_there_is_not(document: Path) -> None:
    known = {*ns.task_names, *(other for names in ns.task_names.values() for other in names)}
    known |= {"bench", "torture"}  # this repository's own
    known |= {f"storybook.{task.partition('.')[2]}" for task in known}  # declared, as an example
    for task in re.findall(r"`(?:inv|devservers) ([a-z][\w.]*)", document.read_text()):
        assert task in known, task


@pytest.mark.parametrize("document", documents(), ids=lambda file: file.name)
def test_a_document_names_no_file_of_the_code_and_nothing_in_one_that_there_is_not(
    document: Path,
) -> None:
    text = document.read_text()
    for name in re.findall(r"`([\w/]+/\w+\.py)`", text):
        assert (ROOT / name).exists() or (ROOT / "devservers" / name).exists(), name
    for word, name in re.findall(r"`(\w+)` in `([\w/]+\.py)`", text):
        source = (ROOT / "devservers" / name).read_text()
        assert re.search(rf"\b{word}\b", source), f"{word} in {name}"
