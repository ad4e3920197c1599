"""What the running Inngest dev server says over HTTP: what it is, its apps, and adding one."""

import time
from itertools import islice
from typing import Any, NamedTuple

from devservers.spec import Recognised, port_of
from devservers.system import http_status, localhost_http
from devservers.system.identity import Socket

TIMEOUT = 0.5  # seconds for one question; it answers from memory, in a few milliseconds
RECOGNISE_TIMEOUT = 1.5  # seconds; a server under load that is taken for a stranger is refused
LEAST_TIMEOUT = 0.25  # seconds
SURE_TIMEOUT = 3.0  # seconds; where no answer would pass for nobody being served
ADD_TIMEOUT = 5.0  # seconds; it asks the app before it answers
# What says that it is an Inngest dev server may be anything. No more is taken than a record holds.
MOST_URLS = 500
LONGEST_URL = 300  # letters
LONGEST_WORDS = 300  # letters of a version, an app's id, an error


class Dev(NamedTuple):
    """What `GET /dev` answers. Only an Inngest dev server answers so."""

    version: str
    urls: tuple[str, ...]
    stand_in: bool


class ServedApp(NamedTuple):
    """A row of the server's own list of apps."""

    url: str
    app_id: str | None
    """None until it has registered."""
    connected: bool
    functions: int
    error: str | None
    id: str = ""
    """The server's own, which stays when another worktree's app takes the place of this one."""

    @property
    def served(self) -> bool:
        """Whether events run its functions."""
        return self.app_id is not None and self.connected and self.error is None


class Api(NamedTuple):
    """The HTTP interface of the Inngest dev server on a port."""

    port: int
    address: str = ""
    """What its socket is bound to; empty where that isn't known."""
    timeout: float = TIMEOUT
    ours: bool = False
    """Who listens is proved, and a few bytes are all that it is asked for."""

    def dev(self) -> Dev | None:
        """Return what the server is; None if no Inngest dev server answers."""
        data = self._ask("GET", "/dev", self.timeout)
        version, options = _fields(data, "version", "startOpts")
        (urls,) = _fields(options, "urls")
        if not (isinstance(version, str) and isinstance(options, dict)):
            return None
        if not (urls is None or isinstance(urls, list)):
            return None
        usable = tuple(url for url in urls or () if _is_usable(url))
        (stand_in,) = _fields(data, "standIn")
        return Dev(version[:LONGEST_WORDS], usable[:MOST_URLS], stand_in is True)

    def until(self, deadline: float) -> "Api":
        """Return it with the time that a busy server may need, until a monotonic instant."""
        left = max(deadline - time.monotonic(), LEAST_TIMEOUT)
        return self._replace(timeout=min(SURE_TIMEOUT, left))

    def apps(self) -> tuple[ServedApp, ...] | None:
        """Return the server's own list of apps; None if it gives none."""
        query = "{apps{id externalID name url connected error functionCount}}"
        rows = self._query(query, "apps", self.timeout)
        if not isinstance(rows, list):
            return None
        usable = (row for row in rows if isinstance(row, dict) and _is_usable(row.get("url")))
        return tuple(map(_app, islice(usable, MOST_URLS)))

    def add_app(self, url: str, deadline: float) -> bool:
        """Make the running server watch `url`, too; return whether it does so now.

        It is not waited for beyond `deadline`, a monotonic instant.

        Where nothing listens at `url` yet, the answer is an error, and the URL is watched all the
        same: the list of apps tells. Where it registers, the list may tell no more: another
        worktree's app of the same id that is polled just then has the row. Asking twice changes
        nothing.
        """
        quoted = url.replace("\\", "\\\\").replace('"', '\\"')
        mutation = f'mutation{{createApp(input:{{url:"{quoted}"}}){{id url}}}}'
        patience = min(ADD_TIMEOUT, deadline - time.monotonic())
        if patience <= 0:
            return False
        if isinstance(self._query(mutation, "createApp", patience), dict):
            return True
        return any(same_url(app.url, url) for app in self.apps() or ())

    def query(self, query: str, field: str, **variables: object) -> object:
        """Return what the server answers to a query of one field; None if it answers none."""
        return self._query(query, field, self.timeout, variables)

    def _query(
        self, query: str, field: str, timeout: float, variables: dict[str, object] | None = None
    ) -> object:
        asked = {"query": query, **({"variables": variables} if variables else {})}
        data = self._ask("POST", "/v0/gql", timeout, asked)
        (answer,) = _fields(data, "data")
        (value,) = _fields(answer, field)
        return value

    def _ask(self, method: str, path: str, timeout: float, data: object = None) -> object:
        known = self.address != ""
        addresses = http_status.reachable(self.address) if known else localhost_http.LOOPBACKS
        if self.ours and not any(map(http_status.is_name, addresses)):
            answer = localhost_http.ask_ours(
                method, self.port, path, timeout=timeout, data=data, addresses=addresses
            )
            return answer.json() if answer else None
        try:
            return localhost_http.ask(
                method, self.port, path, timeout=timeout, data=data, addresses=addresses
            ).json()
        except localhost_http.NoAnswerError:
            return None


def recognise(socket: Socket) -> Recognised | None:
    """Return what an Inngest dev server on that very socket watches; None for anything else."""
    api = Api(socket.port, socket.address, RECOGNISE_TIMEOUT)
    found = api.dev()
    if found is None:
        return None
    return Recognised(watched(found, api.apps() or ()), found.stand_in)


def watched(found: Dev | None, listed: tuple[ServedApp, ...]) -> tuple[str, ...]:
    """Return every URL that the server watches: told at its start, added, or registered."""
    return tuple(dict.fromkeys((*(found.urls if found else ()), *(app.url for app in listed))))


def same_url(one: str, other: str) -> bool:
    """Return whether two URLs on this machine mean the same endpoint: port and path decide."""
    return (port_of(one), path_of(one)) == (port_of(other), path_of(other))


def path_of(url: str) -> str:
    """Return the path of a URL, `/` where it has none, without query and final slash."""
    path = url.partition("://")[2].partition("/")[2].partition("?")[0].rstrip("/")
    return f"/{path}"


def _app(row: dict[str, Any]) -> ServedApp:
    count = row.get("functionCount")
    return ServedApp(
        url=row["url"],
        app_id=_words(row.get("externalID")),
        connected=row.get("connected") is True,
        functions=count if type(count) is int else 0,
        error=_words(row.get("error")),
        id=_words(row.get("id")) or "",
    )


def _fields(data: object, *names: str) -> tuple[Any, ...]:
    """Return these fields of what should be an object; None for each that isn't there."""
    return tuple(data.get(name) if isinstance(data, dict) else None for name in names)


def _words(value: object) -> str | None:
    return str(value)[:LONGEST_WORDS] if value else None


def _is_usable(url: object) -> bool:
    """Return whether that is a URL which can be kept in the record, shown and asked."""
    usable = isinstance(url, str) and len(url) <= LONGEST_URL and url.isprintable()
    return usable and "://" in str(url) and port_of(str(url)) > 0
