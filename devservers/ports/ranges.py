"""Ranges: a list of ports as people read it."""

from collections.abc import Iterable

from devservers.spec import port_of

LEAST = 3  # ports in a row that are a range; two are no shorter as one
DASH = "\N{EN DASH}"  # where a terminal can't show it, `streams` writes a hyphen


def shown(ports: Iterable[int]) -> str:
    """Return ports in their order, those in a row as a range: `5001-5005, 8288` with an en dash."""
    rows: list[list[int]] = []
    for port in ports:
        if rows and port == rows[-1][-1] + 1:
            rows[-1].append(port)
        else:
            rows.append([port])
    return ", ".join(map(_row, rows))


def _row(row: list[int]) -> str:
    if len(row) < LEAST:
        return ", ".join(map(str, row))
    return f"{row[0]}{DASH}{row[-1]}"


def urls_shown(urls: Iterable[str]) -> str:
    """Return URLs, those that differ in nothing but the port as one with all their ports.

    One that names no port stands as it is.
    """
    alike: dict[tuple[str, str], dict[int, None]] = {}
    for url in urls:
        port = port_of(url)
        before, colon, after = url.partition(f":{port}")
        alike.setdefault((before + colon[:1], after), {})[port if colon else 0] = None
    return ", ".join(
        f"{before}{shown(ports) if 0 not in ports else ''}{after}"
        for (before, after), ports in alike.items()
    )
