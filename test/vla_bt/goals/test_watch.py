"""A person's own goal is found among the lines of the status topic, also when lines are lost."""

from __future__ import annotations

from vla_bt.goals.ledger import Evidence, GoalLedger, State
from vla_bt.goals.watch import GoalWatch


def lines(ledger: GoalLedger) -> list[str]:
    return [event.to_json() for event in ledger.take_events()]


def test_follows_its_own_goal_to_the_end() -> None:
    ledger, watch = GoalLedger(60.0), GoalWatch("go forward 1 m, then turn right")
    assert watch.hear(ledger.latest.to_json()) == ""
    watch.sending()
    ledger.submit("go forward 1 m, then turn right", 0.0)
    ledger.activate(0.0)
    ledger.advance(1.0, Evidence.ODOMETRY)
    ledger.advance(2.0, Evidence.ODOMETRY)
    assert [watch.hear(line) for line in lines(ledger)] == [
        "goal 1 accepted",
        "goal 1: step 1 of 2: move forward 1 m",
        "goal 1: step 2 of 2: turn right 90 deg (no angle told: 90 deg)",
        "goal 1 reached, judged by: odometry, odometry",
    ]
    assert watch.closed
    assert watch.state is State.REACHED


def test_an_older_goal_with_the_same_words_is_not_mistaken_for_it() -> None:
    ledger, watch = GoalLedger(60.0), GoalWatch("go to the cup")
    ledger.submit("go to the cup", 0.0)
    ledger.activate(0.0)
    for line in lines(ledger):
        watch.hear(line)
    watch.sending()
    ledger.advance(1.0, Evidence.POLICY)
    assert [watch.hear(line) for line in lines(ledger)] == [""]
    ledger.submit("go to the cup", 2.0)
    assert [watch.hear(line) for line in lines(ledger)] == ["goal 2 accepted"]


def test_a_rejection_and_its_reason_are_shown() -> None:
    ledger, watch = GoalLedger(60.0), GoalWatch("x" * 9000)
    watch.sending()
    ledger.submit("x" * 9000, 0.0)
    (words,) = [watch.hear(line) for line in lines(ledger)]
    assert words == "goal 1 rejected: too long: 9000 characters; at most 500"
    assert watch.closed


def test_another_goal_ends_it_even_when_its_own_last_line_was_lost() -> None:
    ledger, watch = GoalLedger(60.0), GoalWatch("go to the cup")
    watch.sending()
    ledger.submit("go to the cup", 0.0)
    ledger.submit("stop", 1.0)
    heard = lines(ledger)
    assert [watch.hear(line) for line in (heard[0], heard[2])] == ["goal 1 accepted", "goal 1 preempted: replaced by goal 2"]


def test_lines_that_are_no_status_are_passed_over() -> None:
    watch = GoalWatch("go to the cup")
    watch.sending()
    for line in ("", "{}", "[]", "null", '{"id": "x", "state": "active", "text": ""}', '{"id": 1, "state": "odd", "text": ""}'):
        assert watch.hear(line) == ""
    assert watch.id == 0
