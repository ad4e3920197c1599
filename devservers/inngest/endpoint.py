"""Endpoint: what an app's Inngest endpoint says, and asking it to register with the server."""

import math
import time
from collections.abc import Iterable
from typing import NamedTuple

from devservers.errors import NotSyncedError
from devservers.inngest.api import path_of
from devservers.spec import port_of
from devservers.system import localhost_http, sockets, threads

PROBE_TIMEOUT = 2.0  # seconds for one endpoint; a first compile takes longer, and is said
PROBES_AT_ONCE = 32
LONGEST_WORDS = 300  # letters of what an app says is wrong
LEAST_PATIENCE = 0.25  # seconds
REGISTER_TIMEOUT = 30.0  # seconds; the first request to a route makes Next.js compile it


class Endpoint(NamedTuple):
    """What an app's endpoint says; `error` is None if it is an Inngest endpoint in order."""

    found: bool
    functions: int | None
    error: str | None


def probe_all(urls: Iterable[str]) -> list[Endpoint]:
    """Ask every endpoint side by side: dead ones cost one PROBE_TIMEOUT, not one each.

    More of them than are asked at once share two.
    """
    deadline = time.monotonic() + 2 * PROBE_TIMEOUT

    def ask(url: str) -> Endpoint:
        return _probe(url, min(PROBE_TIMEOUT, deadline - time.monotonic()))

    return threads.each(ask, urls, PROBES_AT_ONCE)


def register(port: int, url: str, server: int, deadline: float = math.inf) -> None:
    """Do what the poll of the server (on port `server`) does: ask `url` to register itself.

    It is not waited for beyond `deadline`, a monotonic instant. Raises NotSyncedError with the
    reason.
    """
    patience = max(min(REGISTER_TIMEOUT, deadline - time.monotonic()), LEAST_PATIENCE)
    if not sockets.is_open(port):
        raise NotSyncedError(
            f"Nothing listens on port {port}.", hint="Start this worktree's server first."
        )
    path = path_of(url)
    try:
        answer = localhost_http.ask("PUT", port, path, timeout=patience)
    except localhost_http.NoAnswerError as error:
        raise NotSyncedError(f"{url} can't register: {error}.", hint=_LOG_HINT) from error
    problem = _problem(answer)
    if problem is None and answer.status < 300:  # noqa: PLR2004 - a success
        return
    if not _is_endpoint(answer):
        raise NotSyncedError(
            f"{url} is no Inngest endpoint (HTTP {answer.status}).",
            hint="Serve Inngest there, or set inngest.path to where it is served.",
        )
    raise NotSyncedError(
        f"{url} could not register: {problem or f'HTTP {answer.status}'}.",
        hint=f"Its SDK may point to another Inngest: start the app with "
        f"INNGEST_DEV=http://localhost:{server}. {_LOG_HINT}",
    )


_LOG_HINT = "Its own log says more: `inv nextjs.logs`."


def _probe(url: str, timeout: float) -> Endpoint:
    if timeout <= 0:
        return Endpoint(found=False, functions=None, error="too many others hang: it was not asked")
    try:
        answer = localhost_http.ask("GET", port_of(url), path_of(url), timeout=timeout)
    except localhost_http.NoAnswerError as silence:
        return Endpoint(found=False, functions=None, error=str(silence))
    if not _is_endpoint(answer):
        failed = answer.status >= 500  # noqa: PLR2004 - the server's own failure
        error = f"HTTP {answer.status}, without an Inngest answer" if failed else None
        return Endpoint(found=False, functions=None, error=error)
    body = answer.json()
    count = body.get("function_count") if isinstance(body, dict) else None
    return Endpoint(True, count if type(count) is int else None, _problem(answer))  # noqa: FBT003


def _is_endpoint(answer: localhost_http.Answer) -> bool:
    # In cloud mode the SDK leaves out the first of these (inngest-js 4.24).
    return "x-inngest-sdk" in answer.headers or "x-inngest-sdk-handled" in answer.headers


def _problem(answer: localhost_http.Answer) -> str | None:
    if answer.status < 400:  # noqa: PLR2004 - an error
        return None
    body = answer.json()
    said = body.get("message") or body.get("code") if isinstance(body, dict) else None
    said = said[:LONGEST_WORDS] if isinstance(said, str) else None
    if said == "internal_server_error" and "x-inngest-sdk" not in answer.headers:
        return "its SDK is in cloud mode; set INNGEST_DEV where it is started"
    return f"HTTP {answer.status}: {said}" if said else f"HTTP {answer.status}"
