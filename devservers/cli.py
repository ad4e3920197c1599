"""The console script `devservers`: the same words as `inv`, where there is no tasks.py.

What is plain needs no Invoke, which takes longer to import than most looks take. What was proved a
moment ago needs next to nothing.
"""

import gc
import os
import sys

from devservers import kinds, streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import NoReturn

STARTS = ("ensure", "start")
SIMPLE = ("--json", "--quiet")
INVOKE = "INVOKE_"  # how the variables begin that change what Invoke does
FEW = 100_000  # objects; they are made by imports, and stay


def main(words: "list[str] | None" = None) -> None:
    """Run the tasks named on the command line, or by `words`; leave with their exit status."""
    sys.excepthook = _say_safely
    if words is not None:
        sys.argv = ["devservers", *words]
    gc.set_threshold(FEW)
    words = sys.argv[1:]
    if sys.platform == "win32":
        _refuse(words)
    if any(name.startswith(INVOKE) for name in os.environ):
        _run_invoke()
        return
    try:
        _run_plain(words)
    except KeyboardInterrupt:
        from devservers import console  # noqa: PLC0415 - only here

        streams.leave(console.run(_interrupted, as_json="--json" in words))
    _run_invoke()


def _run_plain(words: list[str]) -> None:
    """Do what is asked without Invoke, and leave; return if that is for Invoke to understand."""
    name, _, word = (words or [""])[0].partition(".")
    flags = words[1:]
    if name in kinds.NAMES and word in STARTS and {*SIMPLE}.issuperset(flags):
        _ensure_warm(name, as_json="--json" in flags, quiet="--quiet" in flags)
    from devservers.tasks import plain  # noqa: PLC0415 - after what does without

    if (call := plain.call(words)) is not None:
        streams.leave(call.run())


def _refuse(words: list[str]) -> "NoReturn":
    """Say that it doesn't run here, whatever was asked, before anything is looked at."""
    from devservers import console, errors  # noqa: PLC0415 - only here

    streams.leave(console.run(errors.refuse_windows, as_json="--json" in words))


def _say_safely(
    kind: type[BaseException], error: BaseException, traceback: "TracebackType | None"
) -> None:
    from devservers import console  # noqa: PLC0415 - for a defect only

    console.excepthook(kind, error, traceback)


def _interrupted() -> "NoReturn":
    raise KeyboardInterrupt


def _ensure_warm(name: str, *, as_json: bool, quiet: bool) -> None:
    """Say what a warm ensure says, and leave; return if the task itself has to say it."""
    from devservers.githooks import warm_answer  # noqa: PLC0415 - only here

    try:
        folder = os.getcwd()  # noqa: PTH109 - pathlib costs as much as the rest
    except FileNotFoundError:
        return
    known = warm_answer.read(folder, name)
    if known is None:
        _prove(name, folder, as_json=as_json, quiet=quiet)
        return
    text = known[0] if as_json else "" if quiet else known[1]
    if text and not as_json and sys.stdout is not None and sys.stdout.isatty():
        from devservers import console  # noqa: PLC0415 - people wait longer than that for a terminal

        text = console.linked(text)
    streams.tolerate_all()
    streams.write(sys.stdout, text)
    streams.leave(0)


def _prove(name: str, folder: str, *, as_json: bool, quiet: bool) -> None:
    """Say it the whole way, once, so that the next call can say it at once."""
    from devservers import console  # noqa: PLC0415 - not for a warm call
    from devservers.errors import DevServerError  # noqa: PLC0415
    from devservers.githooks import proving  # noqa: PLC0415
    from devservers.lifecycle import status  # noqa: PLC0415
    from devservers.tasks import factory  # noqa: PLC0415

    try:
        found = proving.prove(name, folder)
    except DevServerError:
        return
    if found.record is None:
        return
    done = status.ensured(found.spec, "already-running", found.record)
    rendered = factory.ensured(found.kind, found.spec, done)
    code = console.run(lambda: rendered, as_json=as_json, quiet=quiet)
    if not rendered.warnings:
        texts = [console.text_of(rendered, as_json=form) for form in (True, False)]
        found.keep_answer(folder, texts)
    streams.leave(code)


def _run_invoke() -> None:
    from importlib import metadata  # noqa: PLC0415 - what plain words do without

    from invoke.program import Program  # noqa: PLC0415

    from devservers.tasks import ns  # noqa: PLC0415

    version = metadata.version("worktree-devservers")
    Program(name="devservers", binary="devservers", namespace=ns, version=version).run()
