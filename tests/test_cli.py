"""The console script: the same words, output and exit status as `inv`, and warm without Invoke."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import no_proc
import psutil
import pytest

from devservers.tasks import plain
from hooking import brought_by_psutil
from support import DEVSERVERS, INV, Ran, World, accepts, heed_interrupts, until

WARM = pytest.mark.parametrize(
    "words",
    [
        ("inngest.ensure",),
        ("inngest.start",),
        ("inngest.ensure", "--json"),
        ("inngest.ensure", "--quiet"),
        ("inngest.start", "--quiet", "--json"),
    ],
)


def modules(world: World, *words: str) -> set[str]:
    """Return what the console script imports for these words."""
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; sys.argv = {['devservers', *words]!r}\n"
        f"{no_proc.PRELUDE}from devservers import cli, streams\n"
        "streams.leave = sys.exit\n"
        "try:\n    cli.main()\nexcept SystemExit as end:\n    assert end.code in (None, 0, 3)\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    done = world.run("-S", "-c", code, program=Path(sys.executable))
    assert done.code == 0, done
    return {name.partition(".")[0] for name in done.err.split()}


@WARM
def test_a_warm_ensure_says_the_same_as_inv_to_the_byte(
    running: World, words: tuple[str, ...]
) -> None:
    for folder in (running.a, running.main):
        for _ in range(3):  # the whole way, from what was kept then, and once more
            ours = running.run(*words, program=DEVSERVERS, cwd=folder)
            assert ours == running.run(*words, program=INV, cwd=folder)
            assert ours.code == 0


@WARM
def test_a_warm_ensure_does_without_invoke(running: World, words: tuple[str, ...]) -> None:
    assert not modules(running, *words) & (
        {"invoke", "psutil", "requests", "filelock"} - brought_by_psutil()
    )


def test_the_next_one_does_nearly_without_imports(running: World) -> None:
    running.ok("ensure", program=DEVSERVERS)
    loaded = modules(running, "inngest.ensure", "--json")
    slow = {"json", "typing", "re", "pathlib", "enum", "contextlib", "socket", "signal"}
    assert not loaded & (slow - brought_by_psutil())


@pytest.mark.parametrize("task", ["inngest.status", "nextjs.status", "ports.assign", "ports.list"])
def test_a_look_does_without_what_is_slow_to_import(running: World, task: str) -> None:
    (running.main / ".dev-port").write_text(f"{running.apps[0]}\n")
    slow = {"invoke", "requests", "filelock", "inspect", "subprocess", "asyncio", "http"}
    slow = {*slow, "psutil"} - brought_by_psutil()
    assert not modules(running, task) & slow
    assert not modules(running, task, "--json") & slow


def test_anything_else_goes_to_invoke(running: World) -> None:
    for words in (("inngest.ensure", "--timeout", "5"), ("inngest.status", "ports.list"), ("-l",)):
        assert "invoke" in modules(running, *words)


PLAIN = [
    "inngest.status",
    "inngest.status --json",
    "inngest",
    "inngest --json",
    "inngest.start --quiet",
    "inngest.ensure --timeout=5",
    "inngest.ensure --timeout=5s",
    "inngest.ensure --no-wait --quiet --json",
    "inngest.logs --lines=2",
    "inngest.logs --lines=x --json",
    "inngest.apps --json",
    "inngest.sync --port=1 --json",
    "nextjs.status",
    "nextjs.status --json",
    "nextjs.stop --json",
    "nextjs.logs",
    "ports.assign",
    "ports.assign --json",
    "ports.list",
    "ports",
    "ports.who --port=0",
    "ports.who --port=port",
    "hooks.status --json",
    "mail",
    "mail.status --json",
    "mail.stop",
]
ODD = [
    "inngest.ensure --timeout 5",
    "inngest.ensure --timeout",
    "inngest.ensure --timeout=",
    "inngest.ensure --timeout=-1",
    "inngest.ensure --json --json",
    "inngest.ensure --json=true",
    "inngest.ensure --no-json",
    "inngest.ensure --nonsense",
    "inngest.ensure --json nonsense",
    "inngest.",
    ".ensure",
    "inngest.nonsense",
    "nonsense.status",
    "inngest-ensure",
    "inngest.ensure ports.list --json",
    "--json inngest.ensure",
]


@pytest.mark.parametrize("line", [*PLAIN, *ODD])
def test_whatever_is_asked_the_answer_is_the_same_as_through_invoke(
    running: World, line: str
) -> None:
    settings = json.loads(running.config.read_text())
    settings["servers"] = {"mail": {"command": ["mail"], "port": running.apps[1] + 1}}
    settings["nextjs"] = {"ports": [running.apps[0]]}
    running.config.write_text(json.dumps(settings))
    (running.main / ".dev-port").write_text(f"{running.apps[0]}\n")
    for _ in range(4):  # what is true may have changed between the two: Inngest asks its apps
        ours, theirs = (
            _timeless(running.run(*line.split(), program=DEVSERVERS, env=env))
            for env in ({}, {"INVOKE_ANYTHING": ""})
        )
        if ours == theirs:
            break
    assert ours == theirs


def _timeless(done: Ran) -> Ran:
    text = re.sub(r'("uptimeSeconds": |, up )[0-9.]+', r"\1?", done.out)
    return done._replace(out=text)


def test_plain_words_are_those_that_are_listed_as_such(
    running: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"servers": {"mail": {"command": ["mail"]}}}
    running.config.write_text(json.dumps(settings))
    monkeypatch.chdir(running.main)
    for line in PLAIN + ODD:
        monkeypatch.setattr(sys, "argv", ["devservers", *line.split()])
        assert (plain.call(line.split()) is not None) is (line in PLAIN), line


def change_record(world: World) -> None:
    record = json.loads(world.record_file.read_text())
    world.record_file.write_text(json.dumps({**record, "branch": "elsewhere"}))


def change_configuration(world: World) -> None:
    settings = json.loads(world.config.read_text())
    settings["inngest"]["args"] = ["--persist"]
    world.config.write_text(json.dumps(settings))


def pin(world: World) -> None:
    key = str(world.main / ".git")
    file = world.pid_file.with_name(f"{world.pid_file.name}.pin")
    file.write_text(json.dumps({key: str(world.b)}))


def pin_what_goes(world: World) -> None:
    pin(world)
    world.ok("ensure", program=DEVSERVERS)
    assert world.ok("ensure", program=DEVSERVERS)["pinned"] == str(world.b)
    (world.b / ".git").unlink()


def leave_one_of_the_other_scope(world: World) -> None:
    other = world.main / ".git" / "devservers" / "inngest.pid"
    for file, its in ((world.pid_file, other), (world.record_file, Path(f"{other}.json"))):
        its.write_bytes(file.read_bytes())
        its.chmod(0o600)


@pytest.mark.parametrize(
    "change",
    [change_record, change_configuration, pin, pin_what_goes, leave_one_of_the_other_scope],
)
def test_what_was_said_before_is_not_said_of_what_has_changed(
    running: World, change: Callable[[World], None]
) -> None:
    before = [running.run("inngest.ensure", "--json", program=DEVSERVERS) for _ in range(2)]
    assert before[0] == before[1]
    change(running)
    for _ in range(2):
        ours = running.run("inngest.ensure", "--json", program=DEVSERVERS)
        assert ours == running.run("inngest.ensure", "--json", program=INV)
        assert (ours == before[0]) is (change is pin_what_goes)


def test_what_was_said_before_is_not_said_of_a_server_that_is_gone(running: World) -> None:
    for _ in range(2):
        running.ok("ensure", program=DEVSERVERS)
    psutil.Process(running.started["listenerPid"]).kill()
    until(lambda: not accepts(running.port))
    assert running.ok("ensure", program=DEVSERVERS)["action"] == "started"


def test_nor_under_another_configuration(running: World) -> None:
    other = running.folder / "other.json"
    other.write_text(running.config.read_text())
    named = {"DEVSERVERS_CONFIG": str(other)}
    for _ in range(2):
        running.ok("ensure", program=DEVSERVERS, env=named)
    change_configuration(running)
    for _ in range(2):
        assert running.ok("ensure", program=DEVSERVERS)["warnings"]
    assert not running.ok("ensure", program=DEVSERVERS, env=named)["warnings"]
    for _ in range(2):
        assert running.ok("ensure", program=DEVSERVERS)["warnings"]


def test_nor_in_another_folder(running: World) -> None:
    for _ in range(2):
        running.ok("ensure", program=DEVSERVERS)
    below = running.main / "below"
    below.mkdir()
    for folder in (below, running.a, running.b):
        ours = running.run("inngest.ensure", "--json", program=DEVSERVERS, cwd=folder)
        assert ours == running.run("inngest.ensure", "--json", program=INV, cwd=folder)


@pytest.mark.parametrize("port", [7, "x"])
def test_a_warning_is_the_same(running: World, port: object) -> None:
    running.behave(port=port)
    words = ("inngest.ensure", "--json")
    ours = running.run(*words, program=DEVSERVERS)
    assert ours == running.run(*words, program=INV)
    assert ("warning" in ours.err) is (ours.code == 0)


def test_a_disabled_server_is_the_same(running: World) -> None:
    running.configure(enabled=False)
    ours = running.run("inngest.ensure", "--json", program=DEVSERVERS)
    assert ours == running.run("inngest.ensure", "--json", program=INV)
    assert ours.json["action"] == "disabled"


@pytest.mark.usefixtures("real_inv")
def test_a_cold_ensure_starts_the_server(world: World) -> None:
    done = world.run("inngest.ensure", "--json", program=DEVSERVERS)
    assert (done.code, done.json["action"]) == (0, "started")
    world.ok("stop")


def test_a_server_that_does_not_answer_is_waited_for(running: World) -> None:
    process = psutil.Process(running.started["listenerPid"])
    process.suspend()
    try:
        child = running.start("inngest.ensure", "--json", program=DEVSERVERS)
        until(lambda: psutil.Process(child.pid).net_connections())
    finally:
        process.resume()
    assert running.result(child).json["action"] == "already-running"


def test_closed_pipes_and_interrupts_are_as_with_inv(running: World) -> None:
    command = f"'{DEVSERVERS}' inngest.ensure | true"
    done = running.run("-c", command, program=Path("/bin/sh"))
    assert (done.code, done.err) == (0, "")
    process = psutil.Process(running.started["listenerPid"])
    process.suspend()
    try:
        child = running.start("inngest.ensure", program=DEVSERVERS, preexec_fn=heed_interrupts)
        until(lambda: child.poll() is not None or psutil.Process(child.pid).net_connections())
        child.send_signal(signal.SIGINT)
        done = running.result(child)
    finally:
        process.resume()
    assert (done.code, "Traceback" in done.err) == (130, False), done


OWN_TASKS = """
from invoke.collection import Collection
from devservers import tasks
from devservers.tasks import dev, inngest, ns

assert ns["dev.status"] == dev["status"] == tasks.dev["status"]
assert ns["hooks.status"] and tasks.ports["list"] and inngest["logs"]
ns = Collection(ns.collections["inngest"], Collection("dev", inngest, up=dev["up"]))
"""


@pytest.mark.parametrize("task", ["inngest.status", "dev.inngest.status", "dev.inngest"])
def test_a_project_may_arrange_the_tasks_as_it_likes(running: World, task: str) -> None:
    (running.main / "tasks.py").write_text(OWN_TASKS)
    assert running.run(task, "--json").json["state"] == "running"


def test_the_module_is_the_same_program(running: World) -> None:
    words = ("-m", "devservers", "inngest.ensure", "--json")
    done = running.run(*words, program=Path(sys.executable))
    assert done == running.run("inngest.ensure", "--json", program=DEVSERVERS)


def test_words_it_does_not_know_are_a_usage_error(world: World) -> None:
    done = world.run("inngest.ensure", "--nonsense", program=DEVSERVERS)
    assert done.code == 1
    assert "nonsense" in done.err


def test_bash_completes_tasks_and_flags(world: World) -> None:
    script = (
        'source /dev/stdin <<< "$("$0" --print-completion-script=bash)"\n'
        "complete -p devservers\n"
        'COMP_WORDS=(devservers inngest.en); COMP_CWORD=1; COMP_LINE="devservers inngest.en"\n'
        "_complete_devservers devservers inngest.en devservers; echo ${COMPREPLY[@]}\n"
        "COMP_WORDS=(devservers inngest.ensure --); COMP_CWORD=2\n"
        "_complete_devservers devservers -- inngest.ensure; echo ${COMPREPLY[@]}\n"
    )
    env = {"PATH": f"{DEVSERVERS.parent}:/usr/bin:/bin"}
    done = subprocess.run(
        ["/bin/bash", "-c", script, DEVSERVERS],
        cwd=world.a, env=world.env(env), capture_output=True, text=True, check=True, timeout=20,
    )  # fmt: skip
    registered, task, flags = done.stdout.splitlines()
    assert registered.endswith("devservers")
    assert task == "inngest.ensure"
    assert {"--json", "--no-wait", "--stand-in"} <= set(flags.split())
