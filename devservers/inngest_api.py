"""What the running Inngest dev server says over HTTP: what it is, its apps, and adding one."""

from typing import Any, NamedTuple

from devservers import loopback
from devservers.spec import Recognised, port_of

TIMEOUT = 0.5  # seconds for one question; it answers from memory, in a few milliseconds
ADD_TIMEOUT = 5.0  # seconds; it asks the app before it answers


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

    @property
    def served(self) -> bool:
        """Whether events run its functions."""
        return self.app_id is not None and self.connected and self.error is None


def dev(port: int) -> Dev | None:
    """Return what the Inngest dev server on `port` is; None if none listens there."""
    try:
        data = loopback.ask("GET", port, "/dev", timeout=TIMEOUT).json()
    except loopback.NoAnswerError:
        return None
    options = data.get("startOpts") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(options, dict) or "version" not in data:
        return None
    urls = options.get("urls") or ()
    return Dev(
        str(data["version"]),
        tuple(url for url in urls if isinstance(url, str)),
        data.get("standIn") is True,
    )


def recognise(port: int, _pid: int | None) -> Recognised | None:
    """Return what an Inngest dev server on `port` watches; None if that is something else."""
    found = dev(port)
    if found is None:
        return None
    return Recognised(watched(found, apps(port) or ()), found.stand_in)


def apps(port: int) -> tuple[ServedApp, ...] | None:
    """Return the server's own list of apps; None if it gives none."""
    query = "{apps{id externalID name url connected error functionCount}}"
    rows = _graphql(port, query, "apps", TIMEOUT)
    if not isinstance(rows, list):
        return None
    return tuple(_app(row) for row in rows if isinstance(row, dict) and row.get("url"))


def add_app(port: int, url: str) -> bool:
    """Make the running server watch `url`, too; return whether it does so now.

    Where nothing listens at `url` yet, the answer is an error, and the URL is watched all the
    same: the list of apps tells. Asking twice changes nothing.
    """
    # json.dumps would do for GraphQL strings as well; a URL of ours needs no more than this.
    quoted = url.replace("\\", "\\\\").replace('"', '\\"')
    mutation = f'mutation{{createApp(input:{{url:"{quoted}"}}){{id url}}}}'
    _graphql(port, mutation, "createApp", ADD_TIMEOUT)
    return any(same_url(app.url, url) for app in apps(port) or ())


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


def _graphql(port: int, query: str, field: str, timeout: float) -> object:
    try:
        data = loopback.ask("POST", port, "/v0/gql", timeout=timeout, data={"query": query}).json()
    except loopback.NoAnswerError:
        return None
    answer = data.get("data") if isinstance(data, dict) else None
    return answer.get(field) if isinstance(answer, dict) else None


def _app(row: dict[str, Any]) -> ServedApp:
    count = row.get("functionCount")
    return ServedApp(
        url=str(row["url"]),
        app_id=str(row["externalID"]) if row.get("externalID") else None,
        connected=row.get("connected") is True,
        functions=count if isinstance(count, int) else 0,
        error=str(row["error"]) if row.get("error") else None,
    )
