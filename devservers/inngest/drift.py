"""Drift: what the running Inngest server watches against what a worktree's configuration asks for.

Missing URLs are added live, through the server's own API: a restart would lose the events and runs
that it holds in memory. What does need a restart is said, and left to the user.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from devservers.inngest import api as inngest_api
from devservers.inngest.api import Api
from devservers.ports import ranges
from devservers.spec import Reconciled, Restore, Restored, ports_of

OWN_FLAGS = ("--no-discovery", "--config")  # added to every start, see hermetic.py
OTHER_PORTS = (
    "--connect-gateway-port",
    "--connect-gateway-grpc-port",
    "--connect-executor-grpc-port",
)
_BARE = ("--no-discovery",)
_VALUED = ("--port", "-p", "--sdk-url", "-u")  # what the configuration's ports say already


class Reconciler(NamedTuple):
    """Brings a running server in line with what a worktree's configuration asks for."""

    wanted: tuple[str, ...]
    """The URLs to watch."""
    address: str
    """Of the server; empty: loopback."""
    remember: Callable[[int | None, float], Restore]

    def reconcile(self, port: int, urls: tuple[str, ...], deadline: float) -> Reconciled:
        """Make the server on `port` watch all that is wanted; `urls` is what it is known to watch.

        What it has not taken by `deadline`, a monotonic instant, is said in a warning. Who is
        served before is served afterwards.
        """
        if not missing(self.wanted, urls):
            return Reconciled(urls)
        api = Api(port, self.address).until(deadline)
        listed = api.apps() or ()
        known = tuple(
            dict.fromkeys((*urls, *inngest_api.watched(api.until(deadline).dev(), listed)))
        )
        lacking = missing(self.wanted, known)
        restore = self.remember(port, deadline) if lacking else None
        added = tuple(url for url in lacking if api.add_app(url, deadline))
        failed = [url for url in lacking if url not in added]
        restored = restore(port, deadline) if restore and added else Restored()
        warnings = () if not failed else (_not_added(failed),)
        # The wanted spelling of a URL is kept beside the server's own, so that the next call sees
        # at once that nothing is missing.
        asked = (url for url in self.wanted if url not in failed)
        now = tuple(dict.fromkeys((*known, *asked)))
        return Reconciled(now, added, (*warnings, *restored.warnings), restored.facts)


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
    own = {*OWN_FLAGS, *OTHER_PORTS} - {word.partition("=")[0] for word in wanted}
    asked, has = _settings(wanted[1:], own), _settings(running[start + 1 :], own)
    if sorted(asked) == sorted(has):
        return ()
    return (
        f"It runs with {_shown(has)}; this worktree's configuration asks for {_shown(asked)}. "
        "`inv inngest.restart` would change that, and lose the events and runs that it holds.",
    )


def not_watched(urls: tuple[str, ...]) -> str:
    """Return the warning for URLs that the server does not watch."""
    ports = ranges.shown(ports_of(urls))
    return (
        f"It does not watch {ranges.urls_shown(urls)}: apps on {ports} are not found. "
        "`inv inngest.ensure` adds what is missing, without a restart."
    )


def _not_added(urls: list[str]) -> str:
    return (
        f"The running server could not be made to watch {ranges.urls_shown(urls)}. "
        "`inv inngest.restart` would, and lose the events and runs that it holds."
    )


def _settings(words: tuple[str, ...], own: set[str]) -> list[str]:
    """Return the words as `--flag=value`, without ports, SDK URLs and what `own` we add."""
    found: list[str] = []
    skip = False
    for word in words:
        flag = word.partition("=")[0]
        if skip or flag in _VALUED or flag in own:
            skip = not skip and "=" not in word and flag not in _BARE
        elif word.startswith("-") or not found:
            found.append(word)
        else:
            found[-1] += f"={word}"
    return found


def _shown(settings: list[str]) -> str:
    return f"`{' '.join(settings)}`" if settings else "no further arguments"
