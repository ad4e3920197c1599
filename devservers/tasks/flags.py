"""Flags: where the words of a command line become values.

Invoke would turn a wrong number into a traceback, so that flags are texts until here.
"""

from devservers import config_checks
from devservers.errors import UsageError


def seconds(flag: str, value: str) -> float:
    """Return a duration from the command line. Raises UsageError."""
    try:
        number = float(value)
    except ValueError:
        number = -1
    if not 0 <= number < 1e9:  # noqa: PLR2004 - thirty years; also catches nan
        raise UsageError(f"{flag} must be a number of seconds, 0 or more, not {value!r}.")
    return number


def duration(flag: str, value: str) -> float:
    """Return a duration with a unit, in seconds. Raises UsageError."""
    try:
        return config_checks.duration(value)
    except config_checks.NotAllowedError:
        text = f"{flag} must be {config_checks.DURATION}, not {value!r}."
        raise UsageError(text) from None


def whole(flag: str, value: str, most: int = 1 << 62) -> int:
    """Return a whole number from the command line. Raises UsageError."""
    if not (value.isascii() and value.isdigit() and len(value) < 20 and int(value) <= most):  # noqa: PLR2004 - 2**62 has 19 digits
        limit = f"from 0 to {most}" if most < 1 << 62 else "0 or more"
        raise UsageError(f"{flag} must be a whole number, {limit}, not {value!r}.")
    return int(value)


def port(flag: str, value: str) -> int:
    """Return a port number from the command line. Raises UsageError."""
    number = whole(flag, value, most=65535)
    if number == 0:
        raise UsageError(f"{flag} must be a port number from 1 to 65535, not 0.")
    return number
