"""Log stream: several logs as one stream of lines."""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from devservers.errors import StateUnusableError
from devservers.system import logs
from devservers.worktrees.logfiles import Log, Look, Source

POLL = 0.1  # seconds
LOOK = 1.0  # seconds until it is looked for servers and worktrees that have come
PATIENCE = 25  # times as long as a look takes, where there are very many: 4 % of a processor
SILENCE = 0.5  # seconds after which a line without an end is shown: it may be a question
PROGRESS = 2.0  # seconds between two states of a line that is written over and over
LONGEST = 16 * 1024  # bytes of a line that are shown as one
TURN = 16  # blocks of one log until the others have their turn


class Line(NamedTuple):
    """One line of a log, or a piece of one, without its end."""

    source: Source
    data: bytes
    begins: bool = True
    """It is no continuation of the piece before."""
    ends: bool = True
    """What comes next begins a line."""

    @property
    def is_only_an_end(self) -> bool:
        """It adds nothing to what was shown of this line already."""
        return self.ends and not self.begins and not self.data.removesuffix(b"\r")


class _Splitter:
    """Makes lines of what comes in pieces; one that is too long is cut."""

    def __init__(self) -> None:
        self._rest = b""
        self._open = False
        self._came = self._begun = 0.0

    def feed(self, source: Source, block: bytes) -> Iterator[Line]:
        """Yield each line that is complete, and what is too long to wait for its end."""
        *lines, rest = (self._rest + block).split(b"\n")
        self._came = time.monotonic()
        if lines or not self._rest:
            self._begun = self._came
        for line in lines:
            yield from self._cut(source, line, ends=True)
        self._rest = rest
        if len(rest) >= LONGEST:
            self._rest = b""
            yield from self._cut(source, rest, ends=False)

    def waiting(self, source: Source) -> Iterator[Line]:
        """Yield what is to be seen by now, although its line goes on."""
        now = time.monotonic()
        if self._rest and now - self._came >= SILENCE:
            yield from self.end(source)
        elif now - self._begun >= PROGRESS and (at := self._rest.rfind(b"\r") + 1):
            shown, self._rest = self._rest[:at], self._rest[at:]
            self._begun = now
            yield self._line(source, shown, ends=False)

    def end(self, source: Source) -> Iterator[Line]:
        """Yield what has come without an end."""
        if self._rest:
            yield self._line(source, self._rest, ends=False)
            self._rest = b""

    def _cut(self, source: Source, line: bytes, *, ends: bool) -> Iterator[Line]:
        while len(line) > LONGEST:
            at = LONGEST
            while at > LONGEST - 3 and line[at] & 0xC0 == 0x80:  # noqa: PLR2004 - inside a character
                at -= 1
            yield self._line(source, line[:at], ends=False)
            line = line[at:]
        if ends:
            yield self._line(source, line, ends=True)
        else:
            self._rest = line

    def _line(self, source: Source, data: bytes, *, ends: bool) -> Line:
        begins, self._open = not self._open, not ends
        return Line(source, data, begins, ends)


class _Reader:
    """A log that is being followed."""

    def __init__(self, log: Log, lines: int, start: int = 0) -> None:
        self.log = log
        self.fault: str | None = None
        self._file = logs.Follower(log.path, lines, start)
        self._splitter = _Splitter()

    def read(self) -> tuple[list[Line], bool]:
        """Return what has come, and whether there may be more. Raises OSError."""
        source, found, blocks = self.log.source, list[Line](), 0
        for block in itertools.islice(self._file.read(), TURN):
            blocks += 1
            found += self._splitter.feed(source, block) if block else self._splitter.end(source)
        found += self._splitter.waiting(source)
        return found, blocks == TURN

    def end(self) -> Iterator[list[Line]]:
        """Yield what has come since, and let the file go."""
        try:
            more = True
            while more:
                found, more = self.read()
                yield found
            yield list(self._splitter.end(self.log.source))
        except OSError:  # what can't be read is said where it is followed
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Let the file go."""
        self._file.close()


def last(found: tuple[Log, ...], lines: int) -> Iterator[list[Line]]:
    """Yield the last `lines` lines of each log, one log after the other.

    Raises StateUnusableError at the end, if one couldn't be read.
    """
    faults = []
    for source, path, *_ in found:
        splitter = _Splitter()
        try:
            for block in logs.blocks(path, lines):
                yield list(splitter.feed(source, block))
        except FileNotFoundError:
            continue
        except OSError as error:
            faults.append(_fault(path, error))
        yield list(splitter.end(source))
    if faults:
        raise StateUnusableError(" ".join(faults))


def follow(
    found: tuple[Log, ...], lines: int, look: Look, warn: Callable[[str], None]
) -> Iterator[list[Line]]:
    """Yield what `last` does, then each line as it is written, for ever.

    Logs that `look` finds later join in. One that is rotated or replaced is read on; of one that
    can't be read `warn` is told, once.
    """
    readers = {log.source.key: _Reader(log, lines) for log in found}
    began, due = time.time(), time.monotonic() + LOOK
    try:
        while True:
            if (now := time.monotonic()) >= due:
                yield from _join(readers, look(), lines, began)
                due = time.monotonic() + max(LOOK, PATIENCE * (time.monotonic() - now))
            busy = False
            for reader in readers.values():
                come, more = _read(reader, warn)
                busy |= more
                if come:
                    yield come
            if not busy:
                time.sleep(POLL)
    finally:
        for reader in readers.values():
            reader.close()


def _read(reader: _Reader, warn: Callable[[str], None]) -> tuple[list[Line], bool]:
    try:
        come = reader.read()
    except OSError as error:
        fault = _fault(reader.log.path, error)
        if fault != reader.fault:
            warn(f"warning: {fault}")
        reader.fault = fault
        return [], False
    return come


def _join(
    readers: dict[tuple[str | None, str], _Reader],
    found: tuple[Log, ...] | None,
    lines: int,
    began: float,
) -> Iterator[list[Line]]:
    """Let logs that have come join, and those go whose server and file are gone."""
    if found is None:
        return
    now = {log.source.key: log for log in found}
    for key in readers.keys() - now.keys():
        if logs.size(readers[key].log.path) is None:
            yield from readers.pop(key).end()
    for key, log in now.items():
        known = readers.get(key)
        if known and known.log.path == log.path:
            known.log = log  # another branch, perhaps
            continue
        if known:
            yield from known.end()
        if log.started_at >= began:
            readers[key] = _Reader(log, logs.ALL, log.offset)
        else:  # what is there is no news; of where a known server will write next, nothing is
            readers[key] = _Reader(log, 0 if known else lines)


def _fault(path: object, error: OSError) -> str:
    return f"{path} can't be read: {error.strerror or error}."
