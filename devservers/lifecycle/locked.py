"""Holding a server's lock, and saying who else does."""

from collections.abc import Iterator
from contextlib import contextmanager

from devservers.lifecycle import failures, state
from devservers.lifecycle.launch import Notify
from devservers.spec import ServerSpec
from devservers.system import polling

LOCK_TIMEOUT = 60.0  # seconds that stop waits; a start may hold the lock for as long as it waits


def awaited(spec: ServerSpec, *, blocked: bool) -> str:
    """Return what is being waited for; `blocked`: the lock first, of whoever is named."""
    who = failures.lock_holder(spec) if blocked else None
    by = f", which another call (pid {who.process.pid}) is starting or stopping" if who else ""
    return f"the {spec.title} on port {spec.port}{by}"


@contextmanager
def locked(spec: ServerSpec, timeout: float, notify: Notify | None = None) -> Iterator[None]:
    """Hold the server's lock; `notify` is told if that takes long.

    Raises LockTimeoutError after `timeout` seconds.
    """
    silent = min(timeout, polling.FIRST_NOTE)
    with state.lock(spec.pid_file, silent) as held:
        if held:
            yield
            return
    if notify:
        notify(f"Waiting for {awaited(spec, blocked=True)}, up to {timeout:g} s …")
    with state.lock(spec.pid_file, timeout - silent) as held:
        if not held:
            raise failures.lock_timeout(spec, timeout)
        yield
