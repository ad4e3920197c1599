"""Lines: what servers write, as people want to see it: whose it is, colours, JSON made readable."""

import json
import zlib

from devservers import terminal
from devservers.worktrees.logstream import Line, Source

NAME_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)  # none is red: that is for what is wrong
LEVEL_COLOURS = {"WARN": 33, "WARNING": 33, "ERROR": 31, "FATAL": 31, "PANIC": 31, "DEBUG": 2}
RESET = "\x1b[0m"


class Looks:
    """Turns lines into text for one reader: what one line leaves in force holds for the next."""

    def __init__(self, width: int, *, colours: bool, everywhere: bool, raw: bool) -> None:
        self._colours, self._everywhere, self._raw = colours, everywhere, raw
        self._filters: dict[Source, terminal.LogFilter] = {}
        self._width = width  # of the longest name, as far as is known

    def shown(self, line: Line) -> str | bytes:
        """Return a line with its name in front and its end; bytes where they are wanted raw."""
        name = terminal.cell(self._name(line.source))
        self._width = max(self._width, len(name))
        front = f"{name.ljust(self._width)} | "
        if self._colours:
            number = NAME_COLOURS[zlib.crc32(name.encode()) % len(NAME_COLOURS)]
            front = f"\x1b[{number}m{front}{RESET}"
        if self._raw:
            return front.encode() + line.data + b"\n"
        text = readable(line.data.decode("utf-8", "backslashreplace"), colours=self._colours)
        if not self._colours:
            text = terminal.without_colours(text)
        # A progress bar's last state; of what is before it nothing would be left, either.
        text = text.rstrip("\r").rpartition("\r")[2]
        safe = self._filters.setdefault(line.source, terminal.LogFilter())
        return f"{front}{safe.feed(text)}{safe.feed('', final=True)}\n"

    def _name(self, source: Source) -> str:
        if not self._everywhere or source.worktree is None:
            return source.server
        return f"{source.branch or source.worktree.rpartition('/')[2]} {source.server}"


def readable(text: str, *, colours: bool) -> str:
    """Return a line of JSON that a program logs for programs as a person wants it; others as is.

    That is `{"time": …, "level": …, "msg": …, …}`, as inngest-cli has it where it writes to no
    terminal: `18:04:05 INFO  app registered  app=flowt functions=3`.
    """
    if not (text.startswith("{") and text.endswith("}")):
        return text
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return text
    message = data.pop("msg", None) or data.pop("message", None)
    level, when = data.pop("level", None), data.pop("time", None) or data.pop("timestamp", None)
    if not isinstance(message, str) or not isinstance(level, str):
        return text
    shown = level.upper().ljust(5)
    if colours and (number := LEVEL_COLOURS.get(level.upper())):
        shown = f"\x1b[{number}m{shown}{RESET}"
    rest = " ".join(f"{key}={_value(value)}" for key, value in data.items())
    words = (_clock(when), shown, message, f" {rest}" if rest else "")
    return " ".join(filter(None, words))


def _clock(when: object) -> str:
    """Return the time of day in an instant, which may be of any form."""
    text = when if isinstance(when, str) else ""
    return text[11:19] if text[10:11] == "T" else text


def _value(value: object) -> str:
    if isinstance(value, str) and value and not any(letter.isspace() for letter in value):
        return value
    return json.dumps(value, ensure_ascii=False)


def as_json(line: Line) -> str:
    """Return a line as dev.logs --json prints it."""
    source = line.source
    return json.dumps(
        {
            "worktree": source.worktree,
            "branch": source.branch,
            "server": source.server,
            "line": line.data.decode("utf-8", "backslashreplace"),
        }
    )
