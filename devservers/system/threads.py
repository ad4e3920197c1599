"""Threads: questions asked side by side, none of which holds up an exit.

Not concurrent.futures: its workers are waited for when the interpreter ends, whatever signal ends
it. These are not, and whoever waits for an answer here can be interrupted.
"""

import queue
import threading
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")


class Question(Generic[T]):
    """Something that is being found out in a thread of its own."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._done: queue.SimpleQueue[tuple[list[T], BaseException | None]] = queue.SimpleQueue()
        try:
            threading.Thread(target=self._run, daemon=True).start()
        except RuntimeError:  # the system gives no more threads: one after the other, then
            self._run()

    def answer(self) -> T:
        """Wait for what was found, and return it, or raise what was raised. Call it once."""
        found, error = self._done.get()
        if error is not None:
            raise error
        return found[0]

    def _run(self) -> None:
        try:
            self._done.put(([self._ask()], None))
        except BaseException as error:  # noqa: BLE001 - handed to who waits
            self._done.put(([], error))


def each(ask: Callable[[U], T], items: Iterable[U], at_once: int) -> list[T]:
    """Return what `ask` says of each item, in their order, with so many asked at a time."""
    turns = threading.BoundedSemaphore(at_once)

    def in_turn(item: U) -> T:
        with turns:
            return ask(item)

    questions = [Question(lambda item=item: in_turn(item)) for item in items]  # type: ignore[misc]
    return [question.answer() for question in questions]
