"""Endpoint: what an app's Inngest endpoint says, and asking it to register with the server."""

import math
import time
from collections.abc import Iterable
from typing import NamedTuple

from devservers import listeners
from devservers.errors import NotSyncedError
from devservers.inngest import environment
from devservers.inngest.api import path_of
from devservers.spec import port_of
from devservers.system import localhost_http, sockets, threads

PROBE_TIMEOUT = 2.0  # seconds for one endpoint; a first compile takes longer, and is said
PROBES_AT_ONCE = 32
LONGEST_WORDS = 300  # letters of what an app says is wrong
LEAST_PATIENCE = 0.25  # seconds
REGISTER_TIMEOUT = 30.0  # seconds; the first request to a route makes Next.js compile it
# What the server says of an SDK that it refuses: in its list of apps, and to the app, which passes
# it on (pkg/deploy/deploy.go of inngest/inngest, since 1.19.1).
DENIALS = ("sdk_version_denied", "App sync was blocked")
DENIED = "versions 3.22.0 to 3.53.1"
REFUSED = "the Inngest server refuses its SDK"
UPDATE = "Update the inngest package of that app to 3.54.0 or later, and start the app again."


class Endpoint(NamedTuple):
    """What an app's endpoint says; `error` is None if it is an Inngest endpoint in order."""

    found: bool
    functions: int | None
    error: str | None
    sdk: str | None = None
    """Its name and version, as the endpoint gives them."""


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
    if denied := denial(problem, sdk_of(answer)):
        raise NotSyncedError(f"{url} could not register: {denied}.", hint=UPDATE)
    ours = f"http://localhost:{server}"
    holder = listeners.listeners_by_port().get(port)
    lead = environment.astray(holder.pid, ours, sdk_of(answer)) if holder else None
    why = f"Its SDK points to another Inngest, {lead.said}" if lead else None
    start = environment.remedy(lead, ours) if lead else f"INNGEST_DEV={ours}"
    raise NotSyncedError(
        f"{url} could not register: {problem or f'HTTP {answer.status}'}.",
        hint=f"{why or 'Its SDK may point to another Inngest'}: start the app with {start}. "
        f"{_LOG_HINT}",
    )


def denial(said: str | None, sdk: str | None) -> str | None:
    """Return what to say of an SDK that the server refuses; None where `said` is something else."""
    if said is None or not any(words in said for words in DENIALS):
        return None
    which = sdk.replace(":v", " ") if sdk else "inngest"
    return f"{REFUSED}, {which}: {DENIED} have a known vulnerability"


def sdk_of(answer: localhost_http.Answer) -> str | None:
    """Return the name and version of the SDK that answered."""
    return (answer.headers.get("x-inngest-sdk") or "")[:LONGEST_WORDS] or None


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
    functions = count if type(count) is int else None
    return Endpoint(True, functions, _problem(answer), sdk_of(answer))  # noqa: FBT003


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
