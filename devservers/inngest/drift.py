"""Drift: what the running Inngest server watches against what a worktree's configuration asks for.

Missing URLs are added live, through the server's own API: a restart would lose the events and runs
that it holds in memory. What does need a restart is said, and left to the user.
"""

from collections.abc import Iterable

from devservers.inngest import api as inngest_api
from devservers.inngest.api import Api
from devservers.spec import Reconciled, port_of

_VALUED = ("--port", "-p", "--sdk-url", "-u")  # what the configuration's ports say already


def reconcile(
    wanted: tuple[str, ...], address: str, port: int, urls: tuple[str, ...], deadline: float
) -> Reconciled:
    """Make the server on `port` watch all of `wanted`; `urls` is what it is known to watch.

    What it has not taken by `deadline`, a monotonic instant, is said in a warning.
    """
    if not missing(wanted, urls):
        return Reconciled(urls)
    api = Api(port, address)
    listed = api.apps() or ()
    known = tuple(dict.fromkeys((*urls, *inngest_api.watched(api.dev(), listed))))
    lacking = missing(wanted, known)
    added = tuple(url for url in lacking if api.add_app(url, deadline))
    failed = [url for url in lacking if url not in added]
    warnings = () if not failed else (_not_added(failed),)
    # The wanted spelling of a URL is kept beside the server's own, so that the next call sees at
    # once that nothing is missing.
    now = tuple(dict.fromkeys((*known, *(url for url in wanted if url not in failed))))
    return Reconciled(now, added, warnings)


def missing(wanted: Iterable[str], urls: Iterable[str]) -> tuple[str, ...]:
    """Return those of `wanted` that none of `urls` means."""
    known = tuple(urls)
    plain = set(known)
    return tuple(
        url
        for url in wanted
        if url not in plain and not any(inngest_api.same_url(url, other) for other in known)
    )


def differing_arguments(wanted: tuple[str, ...], running: tuple[str, ...]) -> tuple[str, ...]:
    """Return a warning if the server runs with other arguments than `wanted`, ports and URLs apart.

    `wanted` begins with `dev`; `running` is a whole argv. Nothing is asked of anyone.
    """
    if "dev" not in running:
        return ()
    start = len(running) - running[::-1].index("dev") - 1
    asked, has = _settings(wanted[1:]), _settings(running[start + 1 :])
    if sorted(asked) == sorted(has):
        return ()
    return (
        f"It runs with {_shown(has)}; this worktree's configuration asks for {_shown(asked)}. "
        "`inv inngest.restart` would change that, and lose the events and runs that it holds.",
    )


def not_watched(urls: tuple[str, ...]) -> str:
    """Return the warning for URLs that the server does not watch."""
    ports = ", ".join(dict.fromkeys(str(port_of(url)) for url in urls))
    return (
        f"It does not watch {', '.join(urls)}: apps on {ports} are not found. "
        "`inv inngest.ensure` adds what is missing, without a restart."
    )


def _not_added(urls: list[str]) -> str:
    return (
        f"The running server could not be made to watch {', '.join(urls)}. "
        "`inv inngest.restart` would, and lose the events and runs that it holds."
    )


def _settings(words: tuple[str, ...]) -> list[str]:
    """Return the words as `--flag=value`, without ports and SDK URLs."""
    found: list[str] = []
    skip = False
    for word in words:
        flag = word.partition("=")[0]
        if skip or flag in _VALUED:
            skip = not skip and "=" not in word
        elif word.startswith("-") or not found:
            found.append(word)
        else:
            found[-1] += f"={word}"
    return found


def _shown(settings: list[str]) -> str:
    return f"`{' '.join(settings)}`" if settings else "no further arguments"
