"""The boundary: the one place that prints, and where errors become exit statuses."""

import io
import json
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from invoke.exceptions import Exit

from devservers import rendering
from devservers.errors import DevServerError, UsageError
from devservers.rendering import Rendered

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def answer(make: Callable[[], Rendered], *, as_json: bool, quiet: bool = False) -> None:
    """Print what `make` returns or raises, and leave with its exit status if that isn't 0.

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
    if rendered.exit_code:
        raise Exit(code=rendered.exit_code)


def say(text: str) -> None:
    """Tell people something on stderr, while a command goes on."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def seconds(flag: str, value: str) -> float:
    """Return a duration from the command line. Raises UsageError.

    Invoke would turn a wrong number into a traceback, so that flags are texts until here.
    """
    try:
        number = float(value)
    except ValueError:
        number = -1
    if not 0 <= number < 1e9:  # noqa: PLR2004 - thirty years; also catches nan
        raise UsageError(f"{flag} must be a number of seconds, 0 or more, not {value!r}.")
    return number


def whole(flag: str, value: str, most: int = 1 << 62) -> int:
    """Return a whole number from the command line. Raises UsageError."""
    if not (value.isascii() and value.isdigit() and len(value) < 20 and int(value) <= most):  # noqa: PLR2004 - 2**62 has 19 digits
        limit = f"from 0 to {most}" if most < 1 << 62 else "0 or more"
        raise UsageError(f"{flag} must be a whole number, {limit}, not {value!r}.")
    return int(value)


def port(flag: str, value: str) -> int:
    """Return a port number from the command line. Raises UsageError."""
    number = whole(flag, value, most=65535)
    if number == 0:
        raise UsageError(f"{flag} must be a port number from 1 to 65535, not 0.")
    return number


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
    raise Exit(code=0)
