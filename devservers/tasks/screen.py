"""Screen: an answer that is asked for again and again, redrawn in place until ^C."""

import contextlib
import json
import os
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence

from devservers import console, terminal
from devservers.errors import DevServerError
from devservers.rendering import servers
from devservers.rendering.servers import Rendered

EVERY = 2.0  # seconds from one answer to the next
LOOK = 0.1  # seconds between two looks at the terminal's size
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # the other screen, without a cursor
BEGIN, END = "\x1b[?2026h", "\x1b[?2026l"  # drawn at once, where a terminal knows that
HOME, REST_OF_LINE, REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


def watch(ask: Callable[[], Rendered], *, as_json: bool) -> None:
    """Print what `ask` answers, every EVERY seconds until ^C.

    On a terminal it is redrawn in place, no larger than that is, and the last one is left when it
    ends. Elsewhere each comes after the one before; with `as_json` as one object a line.
    """
    with contextlib.suppress(KeyboardInterrupt):  # the usual way to end it
        if not as_json and sys.stdout is not None and sys.stdout.isatty():
            _redraw(ask)
            return
        for answer in _answers(ask):
            lines = "".join(f"{line}\n" for line in _lines(answer))
            console.put(f"{json.dumps(answer.data)}\n" if as_json else f"{lines}\n")
            time.sleep(EVERY)


def _redraw(ask: Callable[[], Rendered]) -> None:
    lines: list[str] = []
    try:
        console.put(ENTER)
        for answer in _answers(ask):
            lines = _lines(answer)
            until, drawn = time.monotonic() + EVERY, None
            while time.monotonic() < until:
                if drawn != (size := _size()):
                    drawn = size
                    console.put(_frame(lines, size))
                time.sleep(LOOK)
    finally:
        console.put(LEAVE + "".join(f"{line}\n" for line in lines))


def _answers(ask: Callable[[], Rendered]) -> Iterator[Rendered]:
    """Yield what is true, again and again; what can't be told for now is told as such."""
    while True:
        try:
            yield ask()
        except DevServerError as error:
            yield servers.failed(error)


def _lines(answer: Rendered) -> list[str]:
    warnings = (f"warning: {warning}" for warning in answer.warnings)
    return [terminal.line(text) for text in (*answer.lines, *warnings)]


def _size() -> tuple[int, int]:
    """Return columns and rows."""
    with contextlib.suppress(OSError, ValueError):
        columns, rows = os.get_terminal_size(sys.stdout.fileno())
        if columns and rows:
            return columns, rows
    return 80, 24


def _frame(lines: Sequence[str], size: tuple[int, int]) -> str:
    """Return what draws the lines over what is there: nothing is cleared first, or it flickers."""
    columns, rows = size
    if len(lines) > rows:
        shown = max(rows - 2, 0)
        left = len(lines) - shown - 1
        lines = [*lines[:shown], f"… {left} more lines", lines[-1]][-rows:]
    # Not in the last column: what erases the rest of a line that is full erases its last letter.
    drawn = (f"{console.linked(cut(line, columns - 1))}{REST_OF_LINE}" for line in lines)
    return BEGIN + HOME + "\n".join(drawn) + REST_OF_SCREEN + END


def cut(text: str, columns: int) -> str:
    """Return as much of a line as that many columns hold; some letters take two, some none."""
    if text.isascii():
        return text[:columns]
    used = 0
    for place, letter in enumerate(text):
        used += _width(letter)
        if used > columns:
            return text[:place]
    return text


def _width(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
