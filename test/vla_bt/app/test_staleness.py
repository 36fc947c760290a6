"""Who moves on a stale action is found, also when the policy says it is ready; who stops as it should is not."""

from __future__ import annotations

from typing import Any

import pytest

from vla_bt.app.staleness import MARGIN_S, PATIENCE_S, Judge, RosJudge
from vla_bt.words import Twist

LIMIT_S = 0.35
PERIOD_S = 0.1


def snapshot(
    age_s: float | None, speed: float = 0.3, asked: float = 0.3, state: str = "ready", mode: str = "vla", source: str = "policy"
) -> dict[str, Any]:
    """One moment; ``speed`` is what the gate applied 20 ms before, ``asked`` what the tree asks for now."""
    return {
        "mode": mode,
        "source": source,
        "velocity": [asked, 0.0, 0.0],
        "policy": {"state": state} | ({} if age_s is None else {"answer_age_s": age_s}),
        "gate": {"applied": [speed, 0.0, 0.0], "source": source, "age_s": 0.02},
    }


def drive(*told: dict[str, Any] | None) -> Judge:
    """Hear moments, None for none, and five velocities after each."""
    judge, now_s, speed = RosJudge(LIMIT_S), 100.0, 0.3
    for moment in told:
        if moment is not None:
            judge.hear_snapshot(now_s, moment)
            speed = moment["gate"]["applied"][0]
        for number in range(1, 6):
            judge.hear_velocity(now_s + 0.19 * number * PERIOD_S, Twist(speed, 0.0, 0.0))
        now_s += PERIOD_S
    return judge.judge


def test_fresh_answers_are_followed() -> None:
    judge = drive(*[snapshot(0.15)] * 20)
    assert (judge.driven, judge.stale) == (20, 0)
    assert judge.oldest_s == pytest.approx(0.13)


def test_a_policy_that_stays_ready_and_answers_nothing_is_found() -> None:
    judge = drive(*[snapshot(0.1 * count) for count in range(10)])
    assert judge.driven == 10
    assert judge.stale == 5  # those at 0.5 s to 0.9 s, against LIMIT_S + MARGIN_S = 0.45 s


def test_a_tree_that_says_nothing_more_is_found_by_the_age_of_what_it_said() -> None:
    silent = round(2.0 / PERIOD_S)
    judge = drive(snapshot(0.05), *[None] * silent)
    assert judge.stale == pytest.approx(5 * (silent - PATIENCE_S / PERIOD_S), abs=10)
    assert judge.oldest_s > 1.5


def test_a_judge_that_was_held_up_himself_accuses_nobody() -> None:
    judge = RosJudge(LIMIT_S)
    judge.hear_snapshot(100.0, snapshot(0.05))
    judge.hear_velocity(100.02, Twist(0.3, 0.0, 0.0))
    for number in range(5):  # what waited for him, the snapshot behind it
        judge.hear_velocity(100.7 + 0.001 * number, Twist(0.3, 0.0, 0.0))
    judge.hear_snapshot(100.71, snapshot(0.1))
    assert (judge.judge.driven, judge.judge.stale) == (2, 0)


def test_a_tree_that_says_nothing_while_the_robot_stands_is_well() -> None:
    assert drive(snapshot(0.05, speed=0.0, asked=0.0), *[None] * 20).driven == 0


def test_a_policy_that_never_answered_moves_nobody() -> None:
    assert drive(*[snapshot(None)] * 3).stale == 3


def test_a_policy_that_is_gone_may_move_nobody_for_long() -> None:
    judge = drive(*[snapshot(0.05, state="restarting")] * 10)
    assert 5 <= judge.stale <= 7


@pytest.mark.parametrize(("mode", "source"), [("manual", "teleop"), ("hybrid", "takeover"), ("vla", "motion"), ("vla", "idle")])
def test_who_is_not_driven_by_the_policy_does_not_count(mode: str, source: str) -> None:
    assert drive(*[snapshot(5.0, mode=mode, source=source)] * 5).driven == 0


def test_rolling_to_a_stand_is_no_move_but_going_on_is() -> None:
    rolling = [snapshot(0.4 + 0.1 * count, speed=0.3 - 0.1 * count, asked=0.0) for count in range(4)]
    assert drive(snapshot(0.3), *rolling).stale == 0
    assert drive(*[snapshot(0.8, asked=0.0)] * 3).stale == 3
    assert drive(*[snapshot(0.8, speed=0.1 * count, asked=0.0) for count in range(1, 4)]).stale == 3


def test_the_limit_leaves_a_tick_and_no_more() -> None:
    assert drive(*[snapshot(LIMIT_S + MARGIN_S)] * 5).stale == 0
    assert drive(*[snapshot(LIMIT_S + MARGIN_S + 0.03)] * 5).stale == 5
