"""Printing: the one place that writes to the terminal, for tasks and for what has no Invoke."""

import io
import json
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from devservers import rendering
from devservers.errors import DevServerError
from devservers.rendering import Rendered

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def answer(make: Callable[[], Rendered], *, as_json: bool, quiet: bool = False) -> int:
    """Print what `make` returns or raises, and return the exit status it asks for.

    With `as_json` stdout carries one JSON object, whatever happens, and everything for people goes
    to stderr. With `quiet` nothing is printed where nothing had to be done.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # an ASCII terminal, a path that is no UTF-8
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        rendered = make()
    except DevServerError as error:
        rendered = rendering.failed(error)
    except KeyboardInterrupt:
        interrupted = {"code": "interrupted", "message": "Interrupted.", "hint": None}
        data = {"action": "error", "error": interrupted}
        rendered = Rendered(data, ("Interrupted.",), exit_code=INTERRUPTED)
    except BrokenPipeError:
        _leave_closed_pipe()
    except Exception as error:  # a defect of ours: JSON callers get their object all the same
        if not as_json:
            raise
        sys.excepthook(*sys.exc_info())
        text = f"{type(error).__name__}: {error}"
        data = {"action": "error", "error": {"code": "internal", "message": text, "hint": None}}
        rendered = Rendered(data, exit_code=1)
    idle = rendered.data.get("action") == "already-running" and not rendered.data.get("added")
    if as_json or not (quiet and idle):
        _print(rendered, as_json=as_json)
    return rendered.exit_code


def say(text: str) -> None:
    """Tell people something on stderr, while a command goes on."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _print(rendered: Rendered, *, as_json: bool) -> None:
    failed = rendered.data.get("action") == "error"
    try:
        if as_json:
            sys.stdout.write(json.dumps(rendered.data) + "\n")
        for line in rendered.lines if not as_json else ():
            (sys.stderr if failed else sys.stdout).write(f"{line}\n")
        sys.stdout.flush()
        for warning in rendered.warnings:
            sys.stderr.write(f"warning: {warning}\n")
    except BrokenPipeError:
        _leave_closed_pipe()


def _leave_closed_pipe() -> NoReturn:
    """Leave silently where the reader has gone; the interpreter's last flush stays silent too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(0)
