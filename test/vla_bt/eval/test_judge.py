"""The log of goals: when the last one closed, and what was claimed, however often its line is entered."""

from __future__ import annotations

from typing import Any

from vla_bt.eval.judge import GoalLog, Tick
from vla_bt.words import ZERO, Source


def at(time_s: float) -> Tick:
    return Tick(time_s, 0.0, 0.0, 0.0, ZERO, Source.POLICY, False)


def line(state: str, evidence: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"id": 1, "state": state, "text": "go to the cup", "reason": "", "evidence": evidence}


def test_a_goal_closed_when_its_line_first_said_so() -> None:
    log = GoalLog()
    assert log.enter(line("active"), at(1.0)) == []
    assert log.closed_s == 0.0
    assert log.enter(line("reached", ("policy stop signal",)), at(9.0)) == [(0, "policy stop signal")]
    for time_s in (9.05, 9.1, 45.0):  # as over ROS, where the newest line is looked at in each period
        assert log.enter(line("reached", ("policy stop signal",)), at(time_s)) == []
    assert log.closed_s == 9.0
    assert log.states == {1: "reached"}
    assert log.began[1].time_s == 1.0


def test_another_goal_that_ends_moves_the_end() -> None:
    log = GoalLog()
    log.enter(line("preempted"), at(2.0))
    log.enter({**line("reached"), "id": 2}, at(7.0))
    assert log.closed_s == 7.0
