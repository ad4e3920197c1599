"""Console: the one place that writes to the terminal, for tasks and for what has no Invoke.

Everything for people passes `terminal` on its way: whatever somebody's branch, path or program
brings along, a line stays one line and commands nothing.
"""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable

from devservers import streams, terminal
from devservers.errors import DevServerError, UsageError
from devservers.rendering import lists, servers
from devservers.rendering.servers import Rendered

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
TERMINATED = 143  # 128 + SIGTERM
# A script's background ignores ^C.
_HEEDED = [signal.SIGTERM]
if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    _HEEDED.append(signal.SIGINT)
UNDO_LIMIT = 30  # seconds; undoing a start takes some 7 at most


class TerminatedError(SystemExit):
    """What SIGTERM becomes, as ^C becomes KeyboardInterrupt."""


def run(make: Callable[[], Rendered | None], *, as_json: bool, quiet: bool = False) -> int:
    """Print what `make` returns or raises, and return the exit status it asks for.

    It returns None where it has printed everything itself.

    With `as_json` stdout carries one JSON object, whatever happens, and everything for people goes
    to stderr. With `quiet` nothing is printed where nothing had to be done.
    """
    streams.tolerate_all()
    with contextlib.suppress(ValueError):  # not the main thread: whoever has it decides
        _undo_when_told_to_end()
    try:
        rendered = make()
    except DevServerError as error:
        rendered = servers.failed(error)
    except KeyboardInterrupt:
        rendered = servers.interrupted("Interrupted.", INTERRUPTED)
    except TerminatedError:
        rendered = servers.interrupted("Terminated.", TERMINATED)
    except BrokenPipeError:  # logs, into a pager that was left
        streams.silence(sys.stdout)
        return 0
    except Exception as error:  # noqa: BLE001 - a defect of ours, whose object JSON callers get, too
        excepthook(type(error), error, error.__traceback__)
        rendered = servers.defect(error)
    if rendered is None:
        return 0
    if as_json or not (quiet and rendered.idle):
        _print(rendered, as_json=as_json)
    return rendered.exit_code


def linked(text: str) -> str:
    """Return safe text for stdout, its URLs as links where that is a terminal that knows them."""
    known = sys.stdout is not None and sys.stdout.isatty() and terminal.knows_links(os.environ)
    return terminal.linked(text) if known else text


def is_terminal() -> bool:
    """Return whether people read what is written to stdout."""
    return sys.stdout is not None and sys.stdout.isatty()


def has_colours() -> bool:
    """Return whether stdout is a terminal whose user wants colours (no-color.org)."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and is_terminal()


def say(text: str) -> None:
    """Tell people something on stderr, while a command goes on; one that is closed ends nothing."""
    streams.write(sys.stderr, _lines((text,)))


def put(text: str | bytes) -> None:
    """Write what was asked for, as it is, to stdout: a part of a log, already made safe.

    Raises UsageError where it can't be written, BrokenPipeError where its reader has gone.
    """
    problem = "it was closed"
    try:
        if sys.stdout is not None:
            if isinstance(text, bytes):
                sys.stdout.buffer.write(text)
            else:
                sys.stdout.write(text)
            sys.stdout.flush()
            return
    except BrokenPipeError:
        raise
    except OSError as error:
        streams.silence(sys.stdout)
        problem = str(error.strerror)
    raise UsageError(
        f"Nothing can be written to standard output: {problem}.",
        hint="Send it elsewhere. With --json on a stdout that works, it says where the log is.",
    )


def excepthook(_kind: type[BaseException], error: BaseException, _traceback: object) -> None:
    """Print the traceback of a defect, as the interpreter does it, in text that is safe to show."""
    import traceback  # noqa: PLC0415 - for a defect only

    streams.write(sys.stderr, terminal.block("".join(traceback.format_exception(error))))


def _undo_when_told_to_end() -> None:
    """Let ^C and SIGTERM undo what has been begun, once: more of them don't interrupt the undoing.

    A caller that is killed, or whose terminal goes, leaves that to the next call.
    """

    def end(number: int, _frame: object) -> None:
        # To the very end of the process: the interpreter takes handlers back before, but not this.
        for other in _HEEDED:
            signal.signal(other, signal.SIG_IGN)
        _end_in(UNDO_LIMIT)
        raise KeyboardInterrupt if number == signal.SIGINT else TerminatedError(TERMINATED)

    for number in _HEEDED:
        signal.signal(number, end)
    _end_in(0)  # another task of this process was told to end, and that was all there was to do


def _end_in(seconds: int) -> None:
    """Let the system end the process then, whatever holds it up, a full pipe for one; 0: never."""
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)


def text_of(rendered: Rendered, *, as_json: bool) -> str:
    """Return what is printed of it instead of its warnings, safe to show."""
    if as_json:  # DEL is the one control character that it leaves as it is
        data = json.dumps(rendered.data).replace("\x7f", "\\u007f")
        return f"{data}\n"
    return _lines(rendered.lines)


def _print(rendered: Rendered, *, as_json: bool) -> None:
    text = text_of(rendered, as_json=as_json)
    if as_json:
        streams.write(sys.stdout, text)
    elif rendered.is_failure:
        streams.write(sys.stderr, text)
    else:
        streams.write(sys.stdout, linked(text))
    for text in lists.cut([f"warning: {warning}" for warning in rendered.warnings]):
        say(text)


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{terminal.line(line)}\n" for line in lines)
