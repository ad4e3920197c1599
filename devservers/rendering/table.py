"""Tables: rows of values as aligned lines of text."""

from collections.abc import Sequence

from devservers import terminal


def table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> tuple[str, ...]:
    """Return a line of titles and one a row; columns are as wide as they need, None is a dash."""
    texts = [list(titles), *([_shown(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(titles))]
    return tuple(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in texts
    )


def _shown(value: object) -> str:
    return "-" if value is None else terminal.cell(str(value))
