"""The boundary: where what a task answers becomes an exit status, and its flags become values."""

from collections.abc import Callable

from invoke.exceptions import Exit

from devservers import console
from devservers.errors import UsageError
from devservers.rendering.servers import Rendered
from devservers.tasks import bytecode


def answer(make: Callable[[], Rendered], *, as_json: bool, quiet: bool = False) -> None:
    """Print what `make` returns or raises, and leave with its exit status if that isn't 0.

    See `printing.answer`.
    """
    with bytecode.kept():
        status = console.answer(make, as_json=as_json, quiet=quiet)
    if status:
        raise Exit(code=status)


def seconds(flag: str, value: str) -> float:
    """Return a duration from the command line. Raises UsageError.

    Invoke would turn a wrong number into a traceback, so that flags are texts until here.
    """
    try:
        number = float(value)
    except ValueError:
        number = -1
    if not 0 <= number < 1e9:  # noqa: PLR2004 - thirty years; also catches nan
        raise UsageError(f"{flag} must be a number of seconds, 0 or more, not {value!r}.")
    return number


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
