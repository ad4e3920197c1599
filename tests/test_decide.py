"""The decision table: what is done about what was seen, a row a case."""

import pytest

from devservers.lifecycle.decide import Action, decide, stops_next
from devservers.lifecycle.verdict import Verdict, View

ROWS = [
    # verdict, does it answer, what ensure does
    (Verdict.RUNNING, True, Action.TAKE_OVER),
    (Verdict.UNRESPONSIVE, False, Action.WAIT),
    (Verdict.STARTING, False, Action.WAIT),
    (Verdict.CONFLICT, False, Action.REPLACE),
    (Verdict.STOPPED, False, Action.START),
    (Verdict.STALE, False, Action.START),
    (Verdict.ADOPTABLE, True, Action.TAKE_OVER),
    (Verdict.ADOPTABLE, False, Action.ADOPT_SILENT),
    (Verdict.ORPHAN, True, Action.TAKE_OVER),
    (Verdict.ORPHAN, False, Action.REPLACE),
    (Verdict.FOREIGN, False, Action.REFUSE),
]


def seen(verdict: Verdict, *, answers: bool = False) -> View:
    return View(verdict, 8288, None, answers=answers)


@pytest.mark.parametrize(("verdict", "answers", "action"), ROWS)
def test_ensure_does_what_the_row_says(verdict: Verdict, answers: object, action: Action) -> None:
    assert decide(seen(verdict, answers=bool(answers))) is action


def test_every_verdict_has_its_row() -> None:
    assert {verdict for verdict, _, _ in ROWS} == set(Verdict)


def test_force_reaches_a_foreign_listener_and_changes_nothing_else() -> None:
    for verdict, answers, action in ROWS:
        forced = Action.START if verdict is Verdict.FOREIGN else action
        assert decide(seen(verdict, answers=answers), force=True) is forced


def test_a_move_counts_only_while_our_server_does_not_serve_its_own_port() -> None:
    for verdict, answers, action in ROWS:
        moved = Action.REPLACE if verdict is Verdict.STARTING else action
        assert decide(seen(verdict, answers=answers), moved=True) is moved


def test_stop_goes_on_with_what_carries_the_mark_and_with_a_second_server_of_the_kind() -> None:
    for first in Verdict:
        for now in Verdict:
            goes_on = now is Verdict.ORPHAN or (
                now is Verdict.ADOPTABLE and first is not Verdict.CONFLICT
            )
            assert stops_next(seen(first), seen(now)) is goes_on
