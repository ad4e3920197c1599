"""Holding a server's lock, and saying who else does."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from devservers.lifecycle import failures, state
from devservers.lifecycle.launch import Notify
from devservers.spec import ServerSpec
from devservers.system import polling

LOCK_TIMEOUT = 60.0  # seconds that stop waits; a start may hold the lock for as long as it waits


def awaited(spec: ServerSpec, *, blocked: bool) -> str:
    """Return what is being waited for; `blocked`: the lock first, of whoever is named."""
    who = failures.lock_holder(spec.files.pid) if blocked else None
    by = f", which another call (pid {who.process.pid}) is starting or stopping" if who else ""
    return f"the {spec.title}{spec.where}{by}"


def lock(spec: ServerSpec, timeout: float) -> AbstractContextManager[bool]:
    """Return `state.lock` of the server's files, in a folder that is made if it is ours to make."""
    if spec.files.owned:
        with suppress(OSError):  # the lock says what is wrong
            spec.files.pid.parent.mkdir(parents=True, exist_ok=True)
    return state.lock(spec.files.pid, timeout)


@contextmanager
def locked(spec: ServerSpec, timeout: float, notify: Notify | None = None) -> Iterator[None]:
    """Hold the server's lock; `notify` is told if that takes long.

    Raises LockTimeoutError after `timeout` seconds.
    """
    silent = min(timeout, polling.FIRST_NOTE)
    with lock(spec, silent) as held:
        if held:
            yield
            return
    if notify:
        notify(f"Waiting for {awaited(spec, blocked=True)}, up to {timeout:g} s …")
    with lock(spec, timeout - silent) as held:
        if not held:
            raise failures.lock_timeout(spec.files.pid, timeout)
        yield
