"""By psutil: what is asked of single processes where there is no /proc.

A warm hook asks here, too. To import psutil is most of what that costs: nothing else is imported.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    import psutil

CLOCK_TOLERANCE = 1.0  # seconds; psutil's create_time follows clock changes (psutil #2526, #2541)


def start_of(process: "psutil.Process") -> str | None:
    """Return when a process began, in seconds since the epoch; None for a zombie.

    With its pid that is its identity. Raises psutil.Error.
    """
    import psutil  # noqa: PLC0415 - where there is /proc it isn't needed

    if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
        return None
    return f"{process.create_time():.3f}"


def is_same_start(one: str, other: str) -> bool:
    """Return whether two starts of a process of one pid are the same, however the clock was set."""
    if one == other:
        return True
    try:
        return abs(float(one) - float(other)) <= CLOCK_TOLERANCE
    except ValueError:
        return False


def lives(pid: int, started: str) -> bool:
    """Return whether that very process is there still."""
    import psutil  # noqa: PLC0415 - as above

    try:
        found = start_of(psutil.Process(pid))
    except (psutil.Error, OSError, ValueError):  # ValueError: no pid can be such a number
        return False
    return found is not None and is_same_start(found, started)


def listens(pid: int, fd: int, address: str, port: int) -> bool:
    """Return whether `pid` listens there, with that descriptor: a socket has no other name here."""
    import psutil  # noqa: PLC0415 - as above

    family = "tcp6" if ":" in address else "tcp4"  # half the work
    try:
        rows = psutil.Process(pid).net_connections(family)
    except (psutil.Error, OSError, ValueError):
        return False
    return any(
        row.status == psutil.CONN_LISTEN and row.fd == fd and row.laddr == (address, port)
        for row in rows
    )
