"""Checks: what a value of the configuration file may be, each check for one kind of value."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any


class NotAllowedError(Exception):
    """Carries what would be allowed, and the part of the value at fault if it isn't the whole."""


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and _is_usable(value)


def _is_usable(text: str) -> bool:
    """Return whether a file name, an argument or a URL can hold `text`.

    JSON can spell half a surrogate pair, which nothing outside Python can hold.
    """
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def flag(value: Any) -> bool:
    """Return true or false. Raises NotAllowedError."""
    if not isinstance(value, bool):
        raise NotAllowedError("it must be true or false")
    return value


def one_of(*words: str) -> Callable[[Any], str]:
    """Return the check of a text that is one of `words`."""
    allowed = " or ".join(f'"{word}"' for word in words)

    def check(value: Any) -> str:
        if value not in words:
            raise NotAllowedError(f"it must be {allowed}")
        return str(value)

    return check


def port(value: Any) -> int:
    """Return a port number. Raises NotAllowedError."""
    if not _is_int(value) or not 1 <= value <= 65535:  # noqa: PLR2004 - the range of TCP ports
        raise NotAllowedError("it must be a port number from 1 to 65535", value)
    return int(value)


def ports(value: Any) -> tuple[int, ...]:
    """Return a pool of ports. Raises NotAllowedError."""
    if not isinstance(value, list) or not value:
        raise NotAllowedError("it must be a list of at least one port number from 1 to 65535")
    found = tuple(port(item) for item in value)
    if len(set(found)) < len(found):
        twice = next(number for number in found if found.count(number) > 1)
        raise NotAllowedError(f"{twice} stands in it twice; each port is allowed once")
    return found


def size(value: Any) -> int:
    """Return a number of bytes. Raises NotAllowedError."""
    if not _is_int(value) or value < 0:
        raise NotAllowedError("it must be a whole number of bytes, 0 or more")
    return int(value)


UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION = "a duration such as 90s, 45m, 2h or 1d"


def duration(value: Any) -> float:
    """Return a duration such as `90s`, `45m` or `2h` in seconds. Raises NotAllowedError."""
    text = value if isinstance(value, str) else ""
    number, unit = text[:-1], text[-1:]
    usable = number.isascii() and number.isdecimal() and len(number) < 10 and int(number) > 0  # noqa: PLR2004 - enough for 30 years in seconds
    if not usable or unit not in UNITS:
        raise NotAllowedError(f"it must be {DURATION}")
    return float(int(number) * UNITS[unit])


def _text(value: Any) -> str:
    if not _is_text(value):
        raise NotAllowedError("it must be a text that is not empty")
    return str(value)


def path(value: Any) -> str:
    """Return a path. Raises NotAllowedError."""
    text = _text(value)
    try:
        Path(text).expanduser()
    except RuntimeError:
        raise NotAllowedError("it must be a path; nobody here has that home folder") from None
    return text


def _words(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise NotAllowedError("it must be a list of texts, one a word of the command line")
    if not all(map(_is_usable, value)):
        raise NotAllowedError("no word of a command line can hold NUL or half a surrogate pair")
    return tuple(value)


def command(value: Any) -> tuple[str, ...]:
    """Return an argv that begins with a program. Raises NotAllowedError."""
    words = _words(value)
    if not words or not words[0].strip():
        raise NotAllowedError("it must be a list of texts that begins with a program")
    return words


def without(owned: Mapping[str, str], section: str) -> Callable[[Any], tuple[str, ...]]:
    """Return the check of more arguments; `owned` are flags for which `section` has a key."""

    def args(value: Any) -> tuple[str, ...]:
        words = _words(value)
        for word in words:
            short = word[:2] if word[:1] == "-" and word[:2] != "--" else ""
            key = owned.get(short or word.partition("=")[0])
            if key:
                raise NotAllowedError(f"use {section}.{key} instead", word)
        return words

    return args


def url_path(value: Any) -> str:
    """Return the path of a URL. Raises NotAllowedError."""
    if not _is_text(value) or not value.startswith("/") or any(c.isspace() for c in value):
        raise NotAllowedError('it must be a path that begins with "/" and has no spaces')
    return str(value)


def host(value: Any) -> str:
    """Return a host name or an address. Raises NotAllowedError."""
    if not _is_text(value) or any(c.isspace() or c in "/[]" for c in value):
        raise NotAllowedError("it must be a host name or an IP address")
    return str(value)


def folder(value: Any) -> str:
    """Return the path of a folder inside the worktree. Raises NotAllowedError."""
    if not _is_text(value) or PurePath(value).is_absolute() or ".." in PurePath(value).parts:
        raise NotAllowedError("it must be a folder inside the worktree")
    return str(PurePath(value))


def file_name(value: Any) -> str:
    """Return the name of a file inside the worktree. Raises NotAllowedError."""
    if not _is_text(value) or PurePath(value).is_absolute() or ".." in PurePath(value).parts:
        raise NotAllowedError("it must be a file name inside the worktree")
    return str(value)


def shown(value: object) -> str:
    """Return a value as the file has it, short enough for a line of a message."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:  # nested just as deeply as could be read
        return "nested too deeply"
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - a line of a message
