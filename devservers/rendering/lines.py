"""Lines: what servers write, as people want to see it: whose it is, colours, JSON made readable."""

import json
import time
import zlib
from collections.abc import Iterable

from devservers import terminal
from devservers.worktrees.logfiles import Source
from devservers.worktrees.logstream import Line

NAME_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)  # none is red: that is for what is wrong
LEVEL_COLOURS = {"WARN": 33, "WARNING": 33, "ERROR": 31, "FATAL": 31, "PANIC": 31, "DEBUG": 2}
RESET = "\x1b[0m"
MILLISECONDS = 1e11  # a time beyond is in these: in seconds that would be the year 5138


class Named:
    """Lines of several servers, each with its server's name in front.

    What one leaves in force holds for the next of that server.
    """

    def __init__(
        self, sources: Iterable[Source], *, colours: bool, everywhere: bool, raw: bool
    ) -> None:
        self._colours, self._everywhere, self._raw = colours, everywhere, raw
        self._filters: dict[tuple[str | None, str], terminal.LogFilter] = {}
        # Of the longest name; one that comes later may be longer.
        self._width = max((len(self._name(source)) for source in sources), default=0)

    def shown(self, lines: Iterable[Line]) -> str | bytes:
        """Return lines as they are printed: bytes where they are wanted raw."""
        wanted = [line for line in lines if not line.is_only_an_end]
        if self._raw:
            return b"".join(_bytes(self._front(line)) + line.data + b"\n" for line in wanted)
        return "".join(map(self._shown, wanted))

    def rest(self) -> str:
        """Return what is printed at the end."""
        return ""

    def _shown(self, line: Line) -> str:
        front = self._front(line)
        if self._colours:
            number = NAME_COLOURS[zlib.crc32(_bytes(self._name(line.source))) % len(NAME_COLOURS)]
            front = f"\x1b[{number}m{front}{RESET}"
        safe = self._filters.get(line.source.key)
        if safe is None:
            safe = self._filters[line.source.key] = terminal.LogFilter(colours=self._colours)
        rows = _rows(line, colours=self._colours)
        if not line.ends and rows == [""]:
            return ""  # the beginning of a progress bar
        return "".join(f"{front}{safe.feed(row, final=True)}\n" for row in rows)

    def _front(self, line: Line) -> str:
        name = self._name(line.source)
        self._width = max(self._width, len(name))
        return f"{name.ljust(self._width)} | "

    def _name(self, source: Source) -> str:
        if not self._everywhere or source.worktree is None:
            return terminal.cell(source.server)
        tree = source.branch or source.worktree.rpartition("/")[2]
        return terminal.cell(f"{tree} {source.server}")


class Plain:
    """Lines of one server: what goes on later is put together again.

    JSON stays JSON unless it is `for_people`: whoever reads a pipe may parse it.
    """

    def __init__(self, *, colours: bool, raw: bool, for_people: bool) -> None:
        self._colours, self._raw, self._for_people = colours, raw, for_people
        self._safe = terminal.LogFilter(colours=colours)
        self._over = False  # what comes next in this line replaces what was shown of it

    def shown(self, lines: Iterable[Line]) -> str | bytes:
        """Return lines as they are printed: bytes where they are wanted raw."""
        if self._raw:
            return b"".join(line.data + b"\n" * line.ends for line in lines)
        return "".join(map(self._shown, lines))

    def rest(self) -> str:
        """Return what is printed at the end."""
        return self._safe.feed("", final=True)

    def _shown(self, line: Line) -> str:
        rows = _rows(line, colours=self._colours, for_people=self._for_people)
        is_over = self._over or b"\r" in line.data.removesuffix(b"\r")
        before = self.rest() + "\n" if is_over and not line.begins and rows != [""] else ""
        if line.ends or rows != [""]:
            self._over = not line.ends and line.data.endswith(b"\r")
        shown = "\n".join(self._safe.feed(row, final=line.ends) for row in rows)
        return before + shown + "\n" * line.ends


class Objects:
    """Lines as objects, one a line: as `dev.logs --json` prints them."""

    def shown(self, lines: Iterable[Line]) -> str:
        """Return lines as they are printed."""
        return "".join(_as_json(line) for line in lines if not line.is_only_an_end)

    def rest(self) -> str:
        """Return what is printed at the end."""
        return ""


def _bytes(name: str) -> bytes:
    """Return a name as it was read: of a branch, it may be no text."""
    return name.encode("utf-8", "surrogateescape")


def _rows(line: Line, *, colours: bool, for_people: bool = True) -> list[str]:
    """Return a line as text: of each row the last state, where it was written over and over."""
    text = line.data.decode("utf-8", "backslashreplace")
    if line.begins and line.ends and for_people:
        text = readable(text.removesuffix("\r"), colours=colours)
    return [row.rstrip("\r").rpartition("\r")[2] for row in text.split("\n")]


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
    message, level = data.pop("msg", None) or data.pop("message", None), data.pop("level", None)
    if not isinstance(message, str) or not isinstance(level, str):
        return text
    when = next((name for name in ("time", "timestamp") if name in data), "")
    clock = _clock(data.get(when))
    if clock:
        del data[when]
    shown = level.upper().ljust(5)
    if colours and (number := LEVEL_COLOURS.get(level.upper())):
        shown = f"\x1b[{number}m{shown}{RESET}"
    rest = " ".join(f"{key}={_value(value)}" for key, value in data.items())
    words = (clock, shown, message, f" {rest}" if rest else "")
    return " ".join(filter(None, words))


def _clock(when: object) -> str:
    """Return the time of day in an instant, which may be of any form; empty where it is of none."""
    if isinstance(when, str):
        return when[11:19] if when[10:11] == "T" else when
    if isinstance(when, bool) or not isinstance(when, int | float):
        return ""
    try:
        return time.strftime("%H:%M:%S", time.localtime(when / (1e3 if when > MILLISECONDS else 1)))
    except (OverflowError, ValueError, OSError):
        return ""


def _value(value: object) -> str:
    if isinstance(value, str) and value and not any(letter.isspace() for letter in value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _as_json(line: Line) -> str:
    source = line.source
    data = {
        "worktree": source.worktree,
        "branch": source.branch,
        "server": source.server,
        "line": line.data.removesuffix(b"\r").decode("utf-8", "backslashreplace"),
    }
    return json.dumps(data) + "\n"
