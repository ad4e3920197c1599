"""What `ensure` and `stop` do about what was seen: pure, a row of the decision table a case."""

import enum

from devservers.lifecycle.verdict import Verdict, View


class Action(enum.Enum):
    """What `ensure` does next, under the lock."""

    TAKE_OVER = "it runs: record it as it is, and bring it in line with the declaration"
    WAIT = "it is ours, and may come up: leave it alone, and look again later"
    ADOPT_SILENT = "it is adoptable and doesn't answer: record it, and wait for it like any other"
    REPLACE = "end ours, which will never serve its port, and look again"
    START = "start one"
    REFUSE = "name who holds the port"


def decide(view: View, *, force: bool = False, moved: bool = False) -> Action:
    """Return what `ensure` does about `view`.

    `force`: a foreign listener may be terminated. `moved`: our server, which doesn't serve its
    port yet, is known to serve another one instead.
    """
    verdict = view.verdict
    if verdict is Verdict.STARTING and moved:
        return Action.REPLACE
    if verdict is Verdict.ORPHAN and view.port is None and view.answers:
        return Action.ADOPT_SILENT
    if verdict in (Verdict.ADOPTABLE, Verdict.ORPHAN) and view.answers:
        return Action.TAKE_OVER
    if verdict is Verdict.FOREIGN and force:
        return Action.START
    return _ROWS[verdict]


_ROWS = {
    Verdict.RUNNING: Action.TAKE_OVER,
    Verdict.UNRESPONSIVE: Action.WAIT,
    Verdict.STARTING: Action.WAIT,
    Verdict.CONFLICT: Action.REPLACE,
    Verdict.STOPPED: Action.START,
    Verdict.STALE: Action.START,
    Verdict.ADOPTABLE: Action.ADOPT_SILENT,
    Verdict.ORPHAN: Action.REPLACE,
    Verdict.FOREIGN: Action.REFUSE,
}


def stops_next(first: View, now: View) -> bool:
    """Return whether `stop`, which saw `first`, also ends what it sees after that: `now`.

    What took the port of a server of ours that had moved away is reported, not ended; only what
    carries our mark is ended all the same.
    """
    if now.verdict is Verdict.ADOPTABLE:
        return first.verdict is not Verdict.CONFLICT
    return now.verdict is Verdict.ORPHAN
