"""A hand-over has no velocity jump; a person's stop does not wait for it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_bt.control.handover import Handover, hand_over
from vla_bt.words import ZERO, Twist

TICK_S = 0.05
HANDOVER_S = 0.4
AHEAD, BACK = Twist(0.4, 0.0, 0.0), Twist(-0.4, 0.0, 0.2)

speeds = st.floats(-2.0, 2.0)
twists = st.builds(Twist, speeds, speeds, speeds)
Inputs = list[tuple[Twist | None, Twist, float]]
ticks = st.lists(st.tuples(st.one_of(st.none(), twists), twists, st.floats(0.001, 0.3)), min_size=1, max_size=30)


def distance(one: Twist, other: Twist) -> float:
    return math.dist(one, other)


def test_the_person_takes_over_gradually_and_gives_back_gradually() -> None:
    state, twist = hand_over(Handover(AHEAD, 0.0), TICK_S, None, AHEAD, HANDOVER_S)
    assert twist == AHEAD
    now_s, seen = TICK_S, []
    for _ in range(10):
        now_s += TICK_S
        state, twist = hand_over(state, now_s, BACK, AHEAD, HANDOVER_S)
        seen.append(twist.linear_x)
    assert seen == sorted(seen, reverse=True)
    assert seen[0] == pytest.approx(0.4 - 0.8 * TICK_S / HANDOVER_S)
    assert seen[7] == pytest.approx(-0.4)
    state, twist = hand_over(state, now_s + TICK_S, None, AHEAD, HANDOVER_S)
    assert twist.linear_x == pytest.approx(-0.4 + 0.8 * TICK_S / HANDOVER_S)


def test_a_persons_zero_stops_at_once_and_the_policy_returns_gradually() -> None:
    state, _ = hand_over(Handover(AHEAD, 0.0), TICK_S, None, AHEAD, HANDOVER_S)
    state, twist = hand_over(state, 2 * TICK_S, ZERO, AHEAD, HANDOVER_S)
    assert twist == ZERO
    state, twist = hand_over(state, 3 * TICK_S, None, AHEAD, HANDOVER_S)
    assert 0.0 < twist.linear_x <= 0.4 * TICK_S / HANDOVER_S + 1e-9


def test_without_a_policy_the_velocity_fades_to_zero() -> None:
    state, twist = hand_over(Handover(AHEAD, 0.0, True), TICK_S, None, None, HANDOVER_S)
    assert 0.0 < twist.linear_x < 0.4
    for tick in range(2, 10):
        state, twist = hand_over(state, tick * TICK_S, None, None, HANDOVER_S)
    assert twist == ZERO


def test_no_duration_switches_at_once() -> None:
    _, twist = hand_over(Handover(AHEAD, 0.0, False), TICK_S, BACK, AHEAD, 0.0)
    assert twist == BACK


@given(twists, ticks, st.floats(0.05, 2.0))
def test_no_step_is_larger_than_the_blending_allows(first: Twist, inputs: Inputs, handover_s: float) -> None:
    state, now_s = Handover(first, 0.0), 0.0
    asked_before = first
    for person, policy, elapsed_s in inputs:
        now_s += elapsed_s
        before = state
        state, twist = hand_over(state, now_s, person, policy, handover_s)
        asked = policy if person is None else person
        share = min(1.0, elapsed_s / handover_s)
        if person == ZERO:
            assert twist == ZERO
        elif state.person is not before.person:
            assert distance(twist, before.velocity) <= share * distance(asked, before.velocity) + 1e-9
        else:
            allowed = share * distance(asked, state.start) + distance(asked, asked_before)
            assert distance(twist, before.velocity) <= allowed + 1e-9
        # never beyond the segment from where the hand-over began to what is asked
        assert distance(state.start, twist) + distance(twist, asked) <= distance(state.start, asked) + 1e-9 or twist == asked
        assert twist.speed <= max(state.start.speed, asked.speed) + 1e-9
        asked_before = asked


@given(twists, twists, st.booleans(), st.floats(0.05, 2.0))
def test_a_hand_over_is_complete_after_its_duration(first: Twist, asked: Twist, person: bool, handover_s: float) -> None:
    state = Handover(first, 0.0)
    state, _ = hand_over(state, 0.0, asked if person else None, asked, handover_s)
    _, twist = hand_over(state, handover_s + 1e-9, asked if person else None, asked, handover_s)
    assert twist == asked
