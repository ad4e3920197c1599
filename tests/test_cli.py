"""The console script: the same words, output and exit status as `inv`, and warm without Invoke."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from support import DEVSERVERS, INV, World, heed_interrupts, until

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
        "from devservers.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
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
        ours = running.run(*words, program=DEVSERVERS, cwd=folder)
        assert ours == running.run(*words, program=INV, cwd=folder)
        assert ours.code == 0


@WARM
def test_a_warm_ensure_does_without_invoke(running: World, words: tuple[str, ...]) -> None:
    assert not modules(running, *words) & {"invoke", "psutil", "requests", "filelock"}


def test_anything_else_goes_to_invoke(running: World) -> None:
    for words in (("inngest.ensure", "--timeout=5"), ("inngest.status",), ("--list",)):
        assert "invoke" in modules(running, *words)


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
        until(lambda: psutil.Process(child.pid).cpu_times().user > 0)
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
