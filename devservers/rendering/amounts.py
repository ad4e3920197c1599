"""Amounts: bytes and seconds in as few characters as people need."""

_STEPS = ((60, "s"), (60, "min"), (24, "h"), (365, "d"))


def duration(seconds: float) -> str:
    """Return a duration in its largest unit: `45 s`, `12 min`, `3 h`, `2 d`, `4 y`."""
    count = int(max(seconds, 0))
    for step, unit in _STEPS:
        if count < step:
            return f"{count} {unit}"
        count //= step
    return f"{count} y"


def memory(size: int) -> str:
    """Return a number of bytes: `0 MB`, `812 MB`, `1.4 GB`."""
    megabytes = size / 1e6
    return f"{megabytes:.0f} MB" if megabytes < 999.5 else f"{megabytes / 1000:.1f} GB"  # noqa: PLR2004
