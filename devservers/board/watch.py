"""Watch: what the board shows, asked for all who look at it together, and memory over an hour."""

import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from devservers import config, terminal, worktree
from devservers.errors import DevServerError
from devservers.rendering import overview as rendering
from devservers.rendering import servers
from devservers.system import logs
from devservers.worktrees import overview

LIVE = 2.0  # seconds from one look to the next while somebody looks
QUIET = 60.0  # the same while nobody does: for the graph alone
SAMPLE = 30.0  # seconds from one point of a graph to the next
POINTS = 120  # an hour
LINES = 8  # of a log


class Watch:
    """Looks in a thread of its own; whoever waits is told of each answer."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._look = threading.Event()
        self._memory = overview.Memory.empty()
        self._graphs: dict[str, deque[int]] = {}
        self._sampled = 0.0
        self._number = 0
        self._answer: dict[str, Any] = {}
        self._readers = 0

    def start(self) -> None:
        """Begin to look, for as long as the process lives."""
        threading.Thread(target=self._run, daemon=True).start()

    def reading(self, change: int) -> None:
        """Count who looks; the first one is answered at once."""
        with self._news:
            self._readers += change
        self._look.set()

    def soon(self) -> None:
        """Look now: something was done."""
        self._look.set()

    def after(self, number: int, patience: float) -> tuple[int, dict[str, Any]]:
        """Wait for an answer that is newer than `number`, for so many seconds; return the last."""
        with self._news:
            self._news.wait_for(lambda: self._number > number, patience)
            return self._number, self._answer

    def _run(self) -> None:
        while True:
            self._look.clear()
            answer = self._ask()
            with self._news:
                self._number, self._answer = self._number + 1, answer
                self._news.notify_all()
                pause = LIVE if self._readers else QUIET
            self._look.wait(pause)
            time.sleep(0.05)  # of many who press at once, all are answered by one look

    def _ask(self) -> dict[str, Any]:
        try:
            here = worktree.find()
            found = overview.overview(config.load(here.root, here.main), here, self._memory)
        except DevServerError as error:
            return {**servers.failed(error).data, "at": time.time()}
        answer = dict(rendering.overview(found).data)
        self._sample(found)
        graphs = {tree: list(points) for tree, points in self._graphs.items()}
        tails = {row.worktree: _tails(row) for row in found.rows} if self._readers else {}
        return {
            **answer,
            "graphs": graphs,
            "logs": tails,
            "at": time.time(),
            "main": here.main.name,
        }

    def _sample(self, found: overview.Overview) -> None:
        if time.monotonic() - self._sampled < SAMPLE:
            return
        self._sampled = time.monotonic()
        trees = {row.worktree for row in found.rows}
        for gone in self._graphs.keys() - trees:
            del self._graphs[gone]
        for row in found.rows:
            memory = sum(usage.memory or 0 for usage in row.usage.values())
            self._graphs.setdefault(row.worktree, deque(maxlen=POINTS)).append(memory)


def _tails(row: overview.Row) -> dict[str, list[str]]:
    """Return the last lines of each server that runs, as plain text."""
    return {
        name: [
            terminal.line(terminal.without_colours(line))[:500]
            for line in logs.last_lines(Path(its.log_file), LINES)
        ]
        for name, its in row.servers.items()
        if its.running and its.log_file
    }
