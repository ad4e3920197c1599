"""Printing: the one place that writes to the terminal, for tasks and for what has no Invoke."""

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable

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
    except BrokenPipeError:  # logs, into a pager that was left
        _close_stdout()
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


def say(text: str) -> None:
    """Tell people something on stderr, while a command goes on; a closed stderr is no reason to
    stop.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def _print(rendered: Rendered, *, as_json: bool) -> None:
    """Print to whatever of stdout and stderr is open; whoever closed one does not want it."""
    failed = rendered.data.get("action") == "error"
    lines = (json.dumps(rendered.data),) if as_json else rendered.lines
    if failed and not as_json:
        say("\n".join(lines))
    elif sys.stdout is not None and lines:
        try:
            sys.stdout.write("".join(f"{line}\n" for line in lines))
            sys.stdout.flush()
        except OSError:
            _close_stdout()
    for warning in rendered.warnings:
        say(f"warning: {warning}")


def _close_stdout() -> None:
    """Let what is still buffered for a reader who has gone vanish silently."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
