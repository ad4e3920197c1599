"""Streams: writing to whatever the caller left open, without an import to pay for."""

import os
import sys

TYPE_CHECKING = False  # typing alone costs as much as half of a warm call
if TYPE_CHECKING:
    from typing import NoReturn, TextIO

DASH, DOTS = "\N{EN DASH}", "\N{HORIZONTAL ELLIPSIS}"  # all that we write beyond ASCII ourselves


def tolerate_all() -> None:
    """Let stdout take any text: on an ASCII terminal, or of a path that is no UTF-8."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")


def write(stream: "TextIO | None", text: str) -> None:
    """Write to whatever is open; whoever closed it doesn't want it."""
    try:
        if stream is not None and text:
            stream.write(_spelt(text, stream.encoding))
            stream.flush()
    except (OSError, ValueError):
        silence(stream)


def _spelt(text: str, encoding: "str | None") -> str:
    """Return `text` as that encoding can have it: `5001-5005` and `...` instead of noise.

    Only between two digits and after a space: what others wrote rarely has them there.
    """
    if not text.isascii():
        try:
            f"{DASH}{DOTS}".encode(encoding or "utf-8")
        except (LookupError, UnicodeError):
            import re  # noqa: PLC0415 - on few terminals

            text = re.sub(rf"(?<=\d){DASH}(?=\d)", "-", text)
            text = re.sub(rf"(?<= ){DOTS}", "...", text)
    return text


def silence(stream: "TextIO | None") -> None:
    """Let what is still buffered vanish: the interpreter's last flush would fail, and say so."""
    try:
        if stream is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError):
        pass


def leave(code: int) -> "NoReturn":
    """End the process here: to take an interpreter apart takes as long as half of its start."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            silence(stream)
    os._exit(code)
