"""Access: who may read the board and press its buttons: whoever has the token, from this machine.

A page elsewhere can make a browser send requests here, under any name that it leads to this machine
(DNS rebinding). It can't send our header, and its names are in `Host` and `Origin`.
"""

import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from devservers.errors import StateUnusableError
from devservers.system import files, untrusted_files

BYTES = 24  # of chance in a token
LARGEST = 256  # bytes of its file
SCHEME = "Bearer "


def token_file(shared: Path) -> Path:
    """Return where the token of a repository is kept, in its own folder `shared`."""
    return shared / "board.token"


def made(file: Path) -> str:
    """Return the token, made now if there is none. Raises StateUnusableError.

    It is kept, so that an address that was opened once stays good. Call it under the board's lock.
    """
    if not os.path.lexists(file):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            files.replace(file, f"{secrets.token_urlsafe(BYTES)}\n")
        except OSError as error:
            raise _unusable(file, f"can't be written: {error.strerror}") from error
    return known(file)


def known(file: Path) -> str:
    """Return the token. Raises StateUnusableError, also where there is none."""
    try:
        info = file.lstat()
        problem = files.fault(info) or ("can be read by others" if info.st_mode & 0o077 else None)
        text = "" if problem else untrusted_files.read(str(file), LARGEST).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        text, problem = "", f"can't be used: {getattr(error, 'strerror', None) or error}"
    if problem or len(text) < BYTES:
        raise _unusable(file, problem or "is none")
    return text


def _unusable(file: Path, problem: str) -> StateUnusableError:
    return StateUnusableError(
        f"The board's token {file} {problem}.",
        hint=f"Remove it: `rm {file}`. `inv dev.board` makes another.",
        details={"file": str(file)},
    )


def refusal(
    headers: Mapping[str, str], port: int, token: str | None, *, open_to_all: bool
) -> int | None:
    """Return the status that a request is refused with, None if it is not.

    With `open_to_all`, for what says nothing of anybody (the page itself), only the names count.
    """
    names = {f"{host}:{port}" for host in ("127.0.0.1", "localhost", "[::1]")}
    host, origin = headers.get("Host", ""), headers.get("Origin")
    if host.lower() not in names or (origin is not None and origin.lower() != f"http://{host}"):
        return 403
    if open_to_all:
        return None
    given = headers.get("Authorization", "")
    if token is None or not given.startswith(SCHEME):
        return 401
    said = given.removeprefix(SCHEME).encode("utf-8", "replace")
    return None if hmac.compare_digest(said, token.encode()) else 401
