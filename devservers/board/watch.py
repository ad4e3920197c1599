"""Watch: what the board shows, asked for all who look at it together, and memory over an hour."""

import json
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from devservers import config, terminal, worktree
from devservers.errors import DevServerError
from devservers.rendering import overview as rendering
from devservers.rendering import servers
from devservers.system import logs
from devservers.worktrees import overview

LIVE = 2.0  # seconds from one look to the next while somebody looks
QUIET = 60.0  # the same while nobody does: for the graphs alone
SAMPLE = 10.0  # seconds from one point of a graph to the next, at least
HOUR = 3600.0
POINTS = round(HOUR / SAMPLE)
LINES = 8  # of a log
LONGEST = 500  # characters of one


class Watch:
    """Looks in a thread of its own; whoever waits is told of each answer."""

    def __init__(self, folder: Path, gone: Callable[[], None]) -> None:
        self._folder, self._gone = folder, gone  # when the folder isn't there any more
        self._news = threading.Condition()
        self._look = threading.Event()
        self._memory = overview.Memory.empty()
        self._graphs: dict[str, deque[tuple[float, int]]] = {}
        self._sampled = 0.0
        self._number = self._graphed = 0
        self._answer = self._with_graphs = b""
        self._readers = 0
        self._failure = ""

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

    def after(self, number: int, patience: float) -> tuple[int, bytes]:
        """Wait for an answer that is newer than `number`, for so many seconds; return the last.

        It has the graphs where they are newer, too: they are most of it, and change rarely.
        """
        with self._news:
            self._news.wait_for(lambda: self._number > number, patience)
            return self._number, self._with_graphs if self._graphed > number else self._answer

    def _run(self) -> None:
        while self._folder.is_dir():  # a repository that was removed needs no board
            self._look.clear()
            answer, graphs = self._asked()
            text = json.dumps(answer).encode()
            whole = json.dumps({**answer, "graphs": graphs}).encode() if graphs else text
            with self._news:
                self._number += 1
                self._answer, self._with_graphs = text, whole
                if self._sampled == answer["at"]:
                    self._graphed = self._number
                self._news.notify_all()
                pause = LIVE if self._readers else QUIET
            self._look.wait(pause)
            time.sleep(0.05)  # of many who press at once, all are answered by one look
        self._gone()

    def _asked(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what is true now, and the graphs; what keeps us from knowing is said instead."""
        try:
            return self._ask()
        except DevServerError as error:
            found = servers.failed(error)
        except Exception as error:  # noqa: BLE001 - or the page would show for ever what was true
            found = servers.defect(error)
            text = traceback.format_exc()
            if text != self._failure:  # once: it comes again with each look
                self._failure = text
                traceback.print_exc()
        return {**found.data, "at": time.time()}, {}

    def _ask(self) -> tuple[dict[str, Any], dict[str, Any]]:
        here = worktree.find()
        found = overview.overview(config.load(here.root, here.main), here, self._memory)
        now = time.time()
        self._sample(found, now)
        answer = {
            **rendering.overview(found).data,
            "titles": {name: kind.short for name, kind in found.kinds.items()},
            "logs": {row.worktree: _tails(row) for row in found.rows} if self._readers else {},
            "at": now,
            "main": here.main.name,
        }
        return answer, {tree: list(points) for tree, points in self._graphs.items()}

    def _sample(self, found: overview.Overview, now: float) -> None:
        if 0 <= now - self._sampled < SAMPLE:
            return
        self._sampled = now
        for gone in self._graphs.keys() - {row.worktree for row in found.rows}:
            del self._graphs[gone]
        for row in found.rows:
            points = self._graphs.setdefault(row.worktree, deque(maxlen=POINTS))
            while points and not 0 <= now - points[0][0] <= HOUR:
                points.popleft()
            memory = sum(usage.memory or 0 for usage in row.usage.values())
            points.append((round(now), memory))


def _tails(row: overview.Row) -> dict[str, list[str]]:
    """Return the last lines of each server that runs, or ended by itself, as plain text."""
    return {
        name: [
            terminal.line(terminal.without_colours(line))[:LONGEST]
            for line in logs.last_lines(Path(its.log_file), LINES)
        ]
        for name, its in row.servers.items()
        if its.log_file and (its.running or its.state == "stale")
    }
