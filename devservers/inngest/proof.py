"""Proof: an app is the one that is served, by the server's own list, and stays so."""

import time
from collections.abc import Sequence

from devservers.errors import NotSyncedError
from devservers.inngest import endpoint
from devservers.inngest.api import Api, ServedApp, same_url
from devservers.spec import port_of
from devservers.system import polling

PROOF_TIMEOUT = 3.0  # seconds until the server lists what has registered
AGAIN = 1.0  # seconds, where it was waited for already
# Seconds for which it must stay so: a question to another app that was under way may still come
# back. Apps that take long to register are watched for twice as long as this one took.
STEADY, LONGEST_STEADY = 0.3, 3.0
TRIES = 5


def make_served(api: Api, url: str, deadline: float, rivals: Sequence[str] = ()) -> ServedApp:
    """Have an app registered as the one that is served, and see that it stays so.

    What the server was asking at the same time may take its place once more: so it is tried again.
    Such a question may hang for as long as one of the `rivals`, the endpoints of other apps,
    compiles: each is asked, too, and answers no sooner. Raises NotSyncedError.
    """
    patience = STEADY
    seen = False
    for number in range(TRIES):
        if not row_of(api, url):
            begun = time.monotonic()
            endpoint.register(port_of(url), url, api.port, deadline)
            took = time.monotonic() - begun
            patience = max(patience, min(2 * took, LONGEST_STEADY))
            until = min(deadline, time.monotonic() + (PROOF_TIMEOUT if number == 0 else AGAIN))
            if not polling.wait(lambda: row_of(api, url), until, what=str):
                if number > 0 and not seen:  # it registers elsewhere
                    break
                continue
        seen = True
        endpoint.probe_all(rivals)
        steady = min(deadline, time.monotonic() + patience)
        polling.wait(lambda: None if row_of(api, url) else True, steady, what=str)
        if (row := row_of(api, url)) is not None:
            return row
    raise NotSyncedError(f"{url} says that it has registered, but the server doesn't list it.")


def row_of(api: Api, url: str) -> ServedApp | None:
    """Return the row of the app at `url`, if that is served."""
    return next((row for row in served(api) if same_url(row.url, url)), None)


def served(api: Api) -> tuple[ServedApp, ...]:
    """Return the apps that the server runs events in."""
    return tuple(row for row in api.apps() or () if row.served)
