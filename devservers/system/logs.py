"""Log files: the last lines of one of any size, following it, rotating it before a start."""

import codecs
import errno
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

BLOCK = 64 * 1024  # bytes read at once: what memory a tail needs, whatever the file and its lines
ALL = 1 << 62  # lines


def tail(path: Path, lines: int, *, start: int = 0) -> Iterator[str]:
    r"""Yield the text of the last `lines` lines of `path`, in pieces of at most BLOCK bytes.

    Nothing before byte `start` is shown. Bytes that are no UTF-8 are shown as `\xNN`. Memory does
    not grow with the file, the number of lines or their length. It ends where the file ended when
    it was opened. Raises OSError.
    """
    decoder = _decoder()
    for block in blocks(path, lines, start=start):
        yield decoder.decode(block)
    yield decoder.decode(b"", final=True)


def blocks(path: Path, lines: int, *, start: int = 0) -> Iterator[bytes]:
    """Yield what `tail` does, as the bytes that they are. Raises OSError."""
    with _open(path) as stream:
        end = stream.seek(0, os.SEEK_END)  # what comes meanwhile is too late
        left = end - stream.seek(_tail_offset(stream, lines, start, end))
        while block := stream.read(min(BLOCK, left)):
            left -= len(block)
            yield block


def last_lines(path: Path, lines: int, *, start: int = 0, most: int = 16 * 1024) -> list[str]:
    """Return the last `lines` lines after byte `start`, of the last `most` bytes, [] on errors."""
    length = size(path)
    if length is None:
        return []
    try:
        start = max(start, length - most)
        # splitlines knows more ends than \n, such as the \r of a progress bar.
        found = "".join(tail(path, lines, start=start)).splitlines()
        return found[max(len(found) - lines, 0) :]
    except OSError:
        return []


def lines_since(path: Path, start: int, most: int) -> Iterator[str]:
    """Yield each line after byte `start`, of `most` bytes; the last may be incomplete.

    Of a line longer than BLOCK the beginning: to put it together would take the square of its
    length. Raises OSError.
    """
    rest = ""
    with open(path, "rb") as stream:
        stream.seek(start)
        for text in _decoded(stream, _decoder(), most):
            *lines, rest = (rest + text).splitlines() or [""]
            yield from lines
            rest = rest[:BLOCK]
            if text.endswith(("\n", "\r")):
                yield rest
                rest = ""
    yield rest


class Follower:
    """A log that is read as it grows, in bytes: from its last lines on.

    A file that is replaced (rotated) or truncated is read on from the new beginning, after the
    rest of the old one. One that isn't there yet may come: then all of it is new.
    """

    def __init__(self, path: Path, lines: int, start: int = 0) -> None:
        self._path, self._lines, self._from = path, lines, start
        self._stream: BinaryIO | None = None

    def read(self) -> Iterator[bytes]:
        """Yield what has been written since, in blocks; b"" where a file ends for good.

        Whoever stops before the end gets the rest by another `read`. Raises OSError.
        """
        while True:
            stream = self._stream = self._stream or self._start()
            if stream is None:
                return
            replaced = _is_replaced(stream, self._path)  # asked first: then the rest is complete
            while block := stream.read(BLOCK):
                yield block
            if replaced:
                self.close()
            elif os.fstat(stream.fileno()).st_size < stream.tell():
                stream.seek(0)
            else:
                return
            yield b""

    def close(self) -> None:
        """Let the file go."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _start(self) -> BinaryIO | None:
        lines, start = self._lines, self._from
        try:
            stream = _open(self._path)
        except FileNotFoundError:
            stream = None
        self._lines, self._from = ALL, 0  # of a file that comes later everything is new
        if stream is not None:
            end = stream.seek(0, os.SEEK_END)
            stream.seek(_tail_offset(stream, lines, start, end))
        return stream


def prepare(path: Path, most: int) -> int:
    """Make ready for a server to append to `path`; return how many bytes it has already.

    Its folder is made, and it is rotated if it is larger than `most` bytes (0: never). Raises
    OSError, also for what is no file of our own; /dev/null is one.
    """
    from devservers.system import files  # noqa: PLC0415 - what a warm call does without

    path.parent.mkdir(parents=True, exist_ok=True)
    with open(files.append(path), "ab"):  # before it is rotated: what isn't ours isn't moved either
        pass
    rotate(path, most)
    with open(files.append(path), "ab") as log:
        return log.seek(0, os.SEEK_END)


def rotate(path: Path, most: int) -> None:
    """Move `path` to `path.1` if it is larger than `most` bytes (0: never). Raises OSError.

    Only for a log that no server has open: a writer would follow its file to the new name.
    """
    try:
        too_large = most > 0 and path.stat().st_size > most
    except FileNotFoundError:
        return
    if too_large:
        path.replace(path.with_name(path.name + ".1"))


def is_full(path: Path) -> bool:
    """Return whether the disk that `path` lies on has no room left for it."""
    try:
        disk = os.statvfs(path)
    except (OSError, AttributeError):  # Windows has none
        return False
    return disk.f_blocks > 0 and disk.f_bavail == 0


def size(path: Path) -> int | None:
    """Return the size in bytes, None if there is no such file (a device or a pipe is none)."""
    try:
        info = path.stat()
    except OSError:
        return None
    return info.st_size if stat.S_ISREG(info.st_mode) else None


def _tail_offset(stream: BinaryIO, lines: int, start: int, end: int) -> int:
    if lines <= 0:
        return end
    position, missing = end, lines
    while position > start:
        begin = max(start, position - BLOCK)
        stream.seek(begin)
        block = stream.read(position - begin)
        if position == end and block.endswith(b"\n"):
            missing += 1  # the newline that ends the last line begins none
        found = block.count(b"\n")
        if found >= missing:
            at = len(block)
            for _ in range(missing):
                at = block.rindex(b"\n", 0, at)
            return begin + at + 1
        missing -= found
        position = begin
    return min(start, end)


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")("backslashreplace")


def _decoded(
    stream: BinaryIO, decoder: codecs.IncrementalDecoder, most: float = math.inf
) -> Iterator[str]:
    while block := stream.read(int(min(BLOCK, most))):
        most -= len(block)
        yield decoder.decode(block)


def _open(path: Path) -> BinaryIO:
    """Open a log to read. Raises OSError: FileNotFoundError also for what is no plain file.

    A pipe would hold its reader up, and a device such as /dev/zero never ends.
    """
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileNotFoundError(errno.ENOENT, "it is not a file", str(path))
    return open(fd, "rb")


def _is_replaced(stream: BinaryIO, path: Path) -> bool:
    try:
        now = path.stat()
    except FileNotFoundError:
        return False  # between two steps of a rotation
    mine = os.fstat(stream.fileno())
    return (now.st_dev, now.st_ino) != (mine.st_dev, mine.st_ino)
