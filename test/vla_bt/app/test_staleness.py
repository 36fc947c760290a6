"""Who moves on a stale action is found, also when the policy says it is ready; who stops as it should is not."""

from __future__ import annotations

from typing import Any

import pytest

from vla_bt.app.staleness import TRANSPORT_S, Judge, VelocityJudge
from vla_bt.words import ZERO, Twist

LIMIT_S = 0.35
FORWARD = Twist(0.3, 0.0, 0.0)


def snapshot(
    age_s: float | None, state: str = "ready", mode: str = "vla", source: str = "policy", velocity: Twist = FORWARD
) -> dict[str, Any]:
    policy = {"state": state} | ({} if age_s is None else {"answer_age_s": age_s})
    return {"mode": mode, "source": source, "velocity": list(velocity), "policy": policy}


def drive(*moments: tuple[dict[str, Any] | None, Twist], count: int = 5, period_s: float = 0.1) -> Judge:
    """Hear ``count`` velocities after each snapshot."""
    judge, now_s = VelocityJudge(LIMIT_S), 100.0
    for told, velocity in moments:
        if told is not None:
            judge.hear_snapshot(now_s, told)
        for number in range(1, count + 1):
            judge.hear_velocity(now_s + number / count * period_s, velocity)
        now_s += period_s
    judge.hear_snapshot(now_s, moments[-1][0] or snapshot(9.0))
    return judge.judge


def test_fresh_answers_are_followed() -> None:
    judge = drive(*[(snapshot(0.05), FORWARD)] * 20)
    assert (judge.driven, judge.stale) == (100, 0)
    assert judge.oldest_s < 0.2


def test_a_policy_that_stays_ready_and_answers_nothing_is_found() -> None:
    judge = drive(*[(snapshot(0.1 * count), FORWARD) for count in range(10)])
    assert judge.driven == 50
    # Stale from LIMIT_S + TRANSPORT_S = 0.45 s on; the snapshots at 0.5 s to 0.9 s have five velocities each after them.
    assert 20 <= judge.stale <= 30


def test_a_tree_that_says_nothing_more_is_found_by_the_age_of_what_it_said() -> None:
    judge = drive((snapshot(0.05), FORWARD), *[(None, FORWARD)] * 19)
    assert judge.stale >= 50


def test_a_policy_that_never_answered_moves_nobody() -> None:
    assert drive(*[(snapshot(None), FORWARD)] * 3).stale == 15


def test_a_policy_that_is_gone_may_move_nobody_for_long() -> None:
    judge = drive(*[(snapshot(0.05, state="restarting"), FORWARD)] * 10)
    assert 30 <= judge.stale <= 35


@pytest.mark.parametrize(
    "told",
    [
        snapshot(5.0, mode="manual", source="teleop"),
        snapshot(5.0, mode="hybrid", source="takeover"),
        snapshot(5.0, source="motion"),
    ],
)
def test_who_is_not_driven_by_the_policy_does_not_count(told: dict[str, Any]) -> None:
    assert drive(*[(told, FORWARD)] * 5).driven == 0


def test_rolling_to_a_stand_is_no_move_but_going_on_is() -> None:
    rolling = [(snapshot(0.4 + 0.1 * count, velocity=ZERO), Twist(0.3 - 0.1 * count, 0.0, 0.0)) for count in range(3)]
    assert drive((snapshot(0.3), Twist(0.4, 0.0, 0.0)), *rolling, (snapshot(0.8, velocity=ZERO), ZERO), count=1).stale == 0
    assert drive(*[(snapshot(0.8, velocity=ZERO), FORWARD)] * 3, count=1).stale == 3
    faster = [(snapshot(0.5 + 0.1 * count, velocity=ZERO), Twist(0.1 + 0.1 * count, 0.0, 0.0)) for count in range(3)]
    assert drive(*faster, count=1).stale == 3


def test_an_answer_that_came_since_the_last_snapshot_acquits() -> None:
    waits = snapshot(3.0, velocity=ZERO)
    judge = drive((waits, ZERO), (waits, FORWARD), (snapshot(0.05), FORWARD))
    assert judge.stale == 0
    assert judge.driven == 10


def test_the_limit_leaves_room_for_the_way() -> None:
    assert drive(*[(snapshot(LIMIT_S - 0.01), FORWARD)] * 5).stale == 0
    assert drive(*[(snapshot(LIMIT_S + TRANSPORT_S + 0.01), FORWARD)] * 5).stale == 25
