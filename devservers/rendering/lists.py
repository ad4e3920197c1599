"""Lists: what people read of many entries."""

from collections.abc import Sequence

MOST = 20


def cut(entries: Sequence[str]) -> tuple[str, ...]:
    """Return the first entries, and how many more there are: a screen holds no three hundred."""
    more = len(entries) - MOST
    if more <= 0:
        return tuple(entries)
    return (*entries[:MOST], f"  … and {more} more: `--json` has all")
