"""Printing: the one place that writes to the terminal, for tasks and for what has no Invoke."""

import contextlib
import io
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import TextIO

from devservers import rendering
from devservers.errors import DevServerError
from devservers.rendering import Rendered

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
TERMINATED = 143  # 128 + SIGTERM


def answer(make: Callable[[], Rendered], *, as_json: bool, quiet: bool = False) -> int:
    """Print what `make` returns or raises, and return the exit status it asks for.

    With `as_json` stdout carries one JSON object, whatever happens, and everything for people goes
    to stderr. With `quiet` nothing is printed where nothing had to be done.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # an ASCII terminal, a path that is no UTF-8
        sys.stdout.reconfigure(errors="backslashreplace")
    # A caller that is told to end undoes what it has begun, as after ^C. One that is killed, or
    # whose terminal goes, leaves that to the next call.
    with contextlib.suppress(ValueError):  # not the main thread: whoever has it decides
        signal.signal(signal.SIGTERM, _terminate)
    try:
        rendered = make()
    except DevServerError as error:
        rendered = rendering.failed(error)
    except KeyboardInterrupt:
        interrupted = {"code": "interrupted", "message": "Interrupted.", "hint": None}
        data = {"action": "error", "error": interrupted}
        rendered = Rendered(data, ("Interrupted.",), exit_code=INTERRUPTED)
    except BrokenPipeError:  # logs, into a pager that was left
        _silence(sys.stdout)
        return 0
    except Exception as error:  # a defect of ours: JSON callers get their object all the same
        if not as_json:
            raise
        sys.excepthook(*sys.exc_info())
        text = f"{type(error).__name__}: {error}"
        data = {"action": "error", "error": {"code": "internal", "message": text, "hint": None}}
        rendered = Rendered(data, exit_code=1)
    action = rendered.data.get("action")
    idle = action == "disabled" or (action == "already-running" and not rendered.data.get("added"))
    if as_json or not (quiet and idle):
        _print(rendered, as_json=as_json)
    return rendered.exit_code


def _terminate(_signal: int, _frame: object) -> None:
    raise SystemExit(TERMINATED)


def say(text: str) -> None:
    """Tell people something on stderr, while a command goes on; one that is closed ends nothing."""
    _write(sys.stderr, f"{text}\n")


def _print(rendered: Rendered, *, as_json: bool) -> None:
    failed = rendered.data.get("action") == "error"
    lines = (json.dumps(rendered.data),) if as_json else rendered.lines
    stream = sys.stderr if failed and not as_json else sys.stdout
    _write(stream, "".join(f"{line}\n" for line in lines))
    for warning in rendered.warnings:
        say(f"warning: {warning}")


def _write(stream: TextIO | None, text: str) -> None:
    """Write to whatever is open; whoever closed it doesn't want it."""
    try:
        if stream is not None and text:
            stream.write(text)
            stream.flush()
    except (OSError, ValueError):
        _silence(stream)


def _silence(stream: TextIO | None) -> None:
    """Let what is still buffered vanish: the interpreter's last flush would fail, and say so."""
    with contextlib.suppress(OSError, ValueError):
        if stream is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
