"""Log files: the last lines of one of any size, following it, rotating it before a start."""

import codecs
import math
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

BLOCK = 64 * 1024  # bytes read at once: what memory a tail needs, whatever the file and its lines
FOLLOW_POLL = 0.1  # seconds


def tail(path: Path, lines: int, *, start: int = 0) -> Iterator[str]:
    r"""Yield the text of the last `lines` lines of `path`, in pieces of at most BLOCK bytes.

    Nothing before byte `start` is shown. Bytes that are no UTF-8 are shown as `\xNN`. Memory does
    not grow with the file, the number of lines or their length. It ends where the file ended when
    it was opened. Raises OSError.
    """
    with open(path, "rb") as stream:  # one form for all reads here
        end = stream.seek(0, os.SEEK_END)  # what comes meanwhile is too late
        begin = stream.seek(_tail_offset(stream, lines, start, end))
        decoder = _decoder()
        yield from _decoded(stream, decoder, end - begin)
        yield decoder.decode(b"", final=True)


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


def follow(path: Path, lines: int, *, ended: Callable[[], bool] = lambda: False) -> Iterator[str]:
    """Yield the last `lines` lines, then whatever is appended, until `ended` says so.

    A file that is replaced (rotated) or truncated is read on from the new beginning, after the
    rest of the old one. A file that isn't there yet is waited for.
    """
    stream: BinaryIO | None = None
    decoder = _decoder()
    try:
        while True:
            over = ended()
            if stream is None:
                stream = _open(path)
                if stream is not None:
                    stream.seek(_tail_offset(stream, lines, 0, stream.seek(0, os.SEEK_END)))
                    lines = 1 << 62  # of a file that comes later everything is new
            if stream is not None:
                replaced = _is_replaced(stream, path)  # asked first: then the rest is complete
                yield from _decoded(stream, decoder)
                truncated = os.fstat(stream.fileno()).st_size < stream.tell()
                if replaced or truncated or over:
                    yield decoder.decode(b"", final=True)
                if replaced:
                    stream.close()
                    stream = None
                    continue
                if truncated:
                    stream.seek(0)
                    continue
            if over:
                return
            time.sleep(FOLLOW_POLL)
    finally:
        if stream is not None:
            stream.close()


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


def _open(path: Path) -> BinaryIO | None:
    try:
        return open(path, "rb")  # closed by follow
    except FileNotFoundError:
        return None


def _is_replaced(stream: BinaryIO, path: Path) -> bool:
    try:
        now = path.stat()
    except FileNotFoundError:
        return False  # between two steps of a rotation
    mine = os.fstat(stream.fileno())
    return (now.st_dev, now.st_ino) != (mine.st_dev, mine.st_ino)
