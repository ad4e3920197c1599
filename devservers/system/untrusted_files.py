"""Files that somebody else may have put there: read with a limit, and followed link by link."""

import errno
import os
import stat

MOST_LINKS = 40  # as the kernel has it


def read(path: str, most: int) -> bytes:
    """Return the first `most` bytes of a file. Raises OSError, also for what is no plain file.

    A pipe would hold its reader up, and a device such as /dev/zero never ends.
    """
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(fd, "rb", buffering=0) as stream:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is not a file")
        parts = []
        while most > 0 and (part := stream.read(most)):
            parts.append(part)
            most -= len(part)
        return b"".join(parts)


def steps(path: str) -> list[str]:
    """Return each symbolic link that leads from `path` to its real file, and that file, in order.

    Folders that are links count. The folder of each is a real one; the last need not be there.
    """
    found: list[str] = []
    here, pending = "", [part for part in reversed(path.split("/")) if part]
    while pending:
        part = pending.pop()
        if part in (os.curdir, os.pardir):
            here = here.rpartition("/")[0] if part == os.pardir else here
            continue
        step = f"{here}/{part}"
        try:
            target = os.readlink(step)
        except OSError:  # no link, or nothing at all
            here = step
            continue
        found.append(step)
        if len(found) > MOST_LINKS:
            break
        here = "" if target.startswith("/") else here
        pending += [word for word in reversed(target.split("/")) if word]
    return [*found, here or "/"]
