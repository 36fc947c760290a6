"""The gate's promises as numbers: limits, accelerations, silence, latch, faults."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_bt.control.gate import GateRule, GateState, limited, slewed, step
from vla_bt.port import Request
from vla_bt.settings import GateSettings
from vla_bt.words import ZERO, Source, Twist

SETTINGS = GateSettings()
PERIOD_S = SETTINGS.period_s
FAST = Twist(0.5, 0.0, 0.0)


def ask(twist: Twist = FAST, tick: int = 1, source: Source = Source.POLICY, valid_for_s: float = 0.15) -> Request:
    return Request(twist, source, valid_for_s=valid_for_s, tick=tick)


def driven(rule: GateRule, seconds: float = 1.0, twist: Twist = FAST) -> float:
    """Drive with a fresh request each period until ``seconds``; return the time."""
    now_s = 0.0
    for tick in range(1, round(seconds / PERIOD_S) + 1):
        now_s = tick * PERIOD_S
        rule.receive(ask(twist, tick), now_s)
        rule.step(now_s)
    return now_s


def test_a_request_is_reached_by_the_acceleration_limit_and_left_by_it() -> None:
    rule = GateRule(SETTINGS)
    speeds = []
    for tick in range(1, 100):
        rule.receive(ask(FAST if tick < 50 else ZERO, tick), tick * PERIOD_S)
        speeds.append(rule.step(tick * PERIOD_S).linear_x)
    rise = SETTINGS.max_linear_acceleration * PERIOD_S
    assert speeds[0] == pytest.approx(rise)
    assert speeds[40] == 0.5
    assert speeds[49] == pytest.approx(0.5 - rise)
    assert speeds[-1] == 0.0


def test_silence_stops_at_the_time_to_live_without_a_ramp() -> None:
    rule = GateRule(SETTINGS)
    last_s = driven(rule)
    assert rule.step(last_s + 0.149).linear_x == 0.5
    assert rule.step(last_s + 0.151) == ZERO
    assert rule.status(last_s + 0.151).source is Source.IDLE
    assert rule.status(last_s + 0.151).fault == ""


def test_a_long_time_to_live_is_capped() -> None:
    rule = GateRule(SETTINGS)
    last_s = driven(rule)
    rule.receive(ask(tick=1000, valid_for_s=60.0), last_s + 0.01)
    assert rule.step(last_s + 0.2).linear_x == 0.5
    assert rule.step(last_s + 0.011 + SETTINGS.max_valid_for_s) == ZERO


@pytest.mark.parametrize("valid_for_s", [0.0, -1.0])
def test_a_request_without_time_to_live_never_moves(valid_for_s: float) -> None:
    rule = GateRule(SETTINGS)
    rule.receive(ask(valid_for_s=valid_for_s), 0.0)
    assert rule.step(0.0) == ZERO


def test_what_waited_on_its_way_is_as_old_as_it_is() -> None:
    rule = GateRule(SETTINGS)
    last_s = driven(rule)
    rule.receive(ask(tick=1000), last_s + 0.1, sent_s=last_s)
    assert rule.step(last_s + 0.149).linear_x == 0.5
    assert rule.step(last_s + 0.151) == ZERO  # from when it was sent, not from its receipt

    rule.receive(ask(tick=1001), last_s + 0.3, sent_s=last_s + 0.1)
    assert rule.step(last_s + 0.3) == ZERO
    assert rule.status(last_s + 0.3).words == "a request came 0.20 s after it was sent"
    rule.receive(ask(tick=1002), last_s + 0.32, sent_s=last_s + 99.0)  # from the future: received now
    assert rule.step(last_s + 0.32).linear_x > 0.0
    assert rule.step(last_s + 0.32 + 0.151) == ZERO


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.01, 0.25))
def test_no_request_moves_the_robot_longer_after_it_was_sent_than_it_may(
    under_way_s: float, later_s: float, valid_for_s: float
) -> None:
    rule = GateRule(SETTINGS)
    rule.receive(ask(valid_for_s=valid_for_s), under_way_s, sent_s=0.0)
    moved = rule.step(under_way_s + later_s)
    if under_way_s + later_s >= min(valid_for_s, SETTINGS.max_valid_for_s):
        assert moved == ZERO


@pytest.mark.parametrize("source", [Source.SAFETY, Source.IDLE])
def test_a_request_to_stop_stops_however_late_it_comes(source: Source) -> None:
    rule = GateRule(SETTINGS)
    last_s = driven(rule)
    rule.receive(Request(ZERO, source, valid_for_s=0.15, tick=1000), last_s + 0.01, sent_s=last_s - 5.0)
    assert rule.step(last_s + 0.02) == ZERO


def test_the_safety_branch_stops_at_once_whatever_its_velocity() -> None:
    rule = GateRule(SETTINGS)
    last_s = driven(rule)
    rule.receive(ask(FAST, 1000, Source.SAFETY), last_s + 0.01)
    assert rule.step(last_s + 0.01) == ZERO
    assert rule.status(last_s + 0.01).source is Source.SAFETY


def test_an_emergency_stop_latches_until_a_reset_and_a_fresh_request() -> None:
    rule = GateRule(SETTINGS)
    now_s = driven(rule)
    rule.emergency_stop(True, now_s)
    assert rule.status(now_s).applied == ZERO  # before any step
    assert rule.status(now_s).latched
    assert not rule.reset(now_s)  # still pressed
    rule.receive(ask(tick=1000), now_s)
    assert rule.step(now_s + 0.02) == ZERO
    rule.emergency_stop(False, now_s + 0.03)
    assert rule.step(now_s + 0.04) == ZERO  # released, still latched
    rule.receive(ask(tick=1001), now_s + 0.05)
    assert rule.reset(now_s + 0.05)
    assert rule.step(now_s + 0.06) == ZERO  # what came before the reset is forgotten
    rule.receive(ask(tick=1002), now_s + 0.07)
    assert rule.step(now_s + 0.08) == ZERO  # and so is what was decided before the stop, however late it arrives
    knowing = replace(ask(tick=1003), stops=rule.status(now_s).stops)
    rule.receive(knowing, now_s + 0.09)
    assert rule.step(now_s + 0.10).linear_x == pytest.approx(SETTINGS.max_linear_acceleration * PERIOD_S)


def test_a_reset_without_a_latch_changes_nothing() -> None:
    rule = GateRule(SETTINGS)
    now_s = driven(rule)
    assert rule.reset(now_s + 0.01)
    assert rule.step(now_s + 0.02).linear_x == 0.5


NOT_FINITE = [
    ask(Twist(math.nan, 0.0, 0.0)),
    ask(Twist(0.0, 0.0, -math.inf)),
    ask(valid_for_s=math.nan),
    ask(valid_for_s=math.inf),
]


@pytest.mark.parametrize("request_", NOT_FINITE)
def test_a_request_that_is_not_finite_stops_and_is_a_fault_for_a_while(request_: Request) -> None:
    rule = GateRule(SETTINGS)
    now_s = driven(rule)
    rule.receive(replace(request_, tick=1000), now_s)
    assert rule.step(now_s) == ZERO
    assert "not finite" in rule.status(now_s).fault
    fault_over_s = now_s + SETTINGS.fault_hold_s
    while now_s + PERIOD_S < fault_over_s:
        now_s += PERIOD_S
        rule.receive(ask(tick=2000 + round(now_s / PERIOD_S)), now_s)
        assert rule.step(now_s) == ZERO
    rule.receive(ask(tick=9000), fault_over_s)
    assert rule.step(fault_over_s).linear_x > 0.0
    assert rule.status(fault_over_s).fault == ""


def test_a_message_that_is_no_request_stops_and_is_a_fault() -> None:
    rule = GateRule(SETTINGS)
    now_s = driven(rule)
    rule.refuse("record of 3 bytes is too short", now_s)
    assert rule.step(now_s) == ZERO
    assert rule.status(now_s).fault == "record of 3 bytes is too short"


@pytest.mark.parametrize("event", ["step", "receive", "press", "reset"])
@pytest.mark.parametrize("bad_s", [0.5, math.nan, math.inf, -math.inf])
def test_a_clock_that_goes_back_or_is_no_number_stops(event: str, bad_s: float) -> None:
    rule = GateRule(SETTINGS)
    now_s = driven(rule)
    call: dict[str, Any] = {
        "step": lambda: rule.step(bad_s),
        "receive": lambda: rule.receive(ask(tick=1000), bad_s),
        "press": lambda: rule.emergency_stop(False, bad_s),
        "reset": lambda: rule.reset(bad_s),
    }
    call[event]()
    after_s = bad_s if bad_s == 0.5 else now_s
    assert rule.step(after_s) == ZERO
    assert "clock" in rule.status(after_s).fault


def test_a_gate_that_was_held_up_trusts_nothing_it_reads_then() -> None:
    rule = GateRule(SETTINGS)
    now_s = driven(rule) + 5.0
    rule.receive(ask(tick=1000), now_s)
    assert rule.step(now_s) == ZERO
    assert "held up for 5.00 s" in rule.state.words
    rule.receive(ask(tick=1001), now_s + PERIOD_S)
    assert rule.step(now_s + PERIOD_S).linear_x > 0.0


def test_a_late_or_replayed_request_neither_counts_nor_prolongs() -> None:
    rule = GateRule(SETTINGS)
    now_s = driven(rule)  # ends with tick 50
    for tick, later_s in ((50, 0.05), (49, 0.1), (3, 0.149)):
        rule.receive(ask(Twist(-0.5, 0.0, 0.0), tick), now_s + later_s)
        assert rule.step(now_s + later_s).linear_x == 0.5
    assert rule.step(now_s + 0.151) == ZERO


def test_a_late_stop_is_obeyed_all_the_same() -> None:
    rule = GateRule(SETTINGS)
    now_s = driven(rule)
    rule.receive(ask(ZERO, 3, Source.SAFETY), now_s)
    assert rule.step(now_s) == ZERO
    rule.receive(ask(FAST, 4), now_s)  # older than what was seen, though newer than the late stop
    assert rule.step(now_s + 0.01) == ZERO


def test_a_restarted_tree_is_obeyed_after_the_silence() -> None:
    rule = GateRule(SETTINGS)
    now_s = driven(rule) + 0.16
    rule.step(now_s)
    rule.receive(ask(tick=1), now_s + 0.01)
    assert rule.step(now_s + 0.01).linear_x > 0.0


def test_an_axis_with_no_speed_is_dropped_and_the_rest_kept() -> None:
    differential = replace(SETTINGS, max_linear_y=0.0)
    assert limited(Twist(0.3, 0.4, 0.1), differential) == Twist(0.3, 0.0, 0.1)
    assert limited(Twist(0.3, 0.4, 0.1), replace(SETTINGS, max_linear_x=0.0, max_linear_y=0.0)) == Twist(0.0, 0.0, 0.1)


def test_the_step_is_a_pure_function() -> None:
    state = GateState()
    assert step(state, SETTINGS, 1.0) == step(state, SETTINGS, 1.0)
    assert state == GateState()


# Properties: any twist, any events, any times.
numbers = st.floats(width=64)
finite = st.floats(-1e308, 1e308)
twists = st.builds(Twist, finite, finite, finite)
small = st.floats(-3.0, 3.0)
settings = st.builds(
    GateSettings,
    max_linear_x=st.floats(0.01, 3.0),
    max_linear_y=st.floats(0.01, 3.0),
    max_angular_z=st.floats(0.0, 6.0),
    max_linear_acceleration=st.floats(0.05, 20.0),
    max_angular_acceleration=st.floats(0.05, 50.0),
    max_valid_for_s=st.floats(0.02, 0.25),
)
requests = st.builds(
    Request,
    st.builds(Twist, st.one_of(small, numbers), small, st.one_of(small, numbers)),
    st.sampled_from(list(Source)),
    valid_for_s=st.one_of(st.floats(0.0, 0.4), numbers),
    tick=st.integers(0, 200),
)
events = st.lists(
    st.tuples(
        st.floats(0.0, 0.1),
        st.one_of(requests, requests, st.sampled_from(["press", "release", "reset", "garbage", "nothing", "back"])),
    ),
    max_size=60,
)


def happen(rule: GateRule, event: object, now_s: float) -> float:
    if isinstance(event, Request):
        rule.receive(event, now_s)
    elif event == "press":
        rule.emergency_stop(True, now_s)
    elif event == "release":
        rule.emergency_stop(False, now_s)
    elif event == "reset":
        rule.reset(now_s)
    elif event == "garbage":
        rule.refuse("garbage", now_s)
    elif event == "back":
        return now_s - 0.3
    return now_s


@given(twists, settings)
def test_limits_hold_and_keep_the_direction(twist: Twist, limits: GateSettings) -> None:
    let = limited(twist, limits)
    assert abs(let.linear_x) <= limits.max_linear_x * (1 + 1e-9)
    assert abs(let.linear_y) <= limits.max_linear_y * (1 + 1e-9)
    assert let.speed <= max(limits.max_linear_x, limits.max_linear_y) * (1 + 1e-9)
    assert abs(let.angular_z) <= limits.max_angular_z
    assert let.speed <= twist.speed * (1 + 1e-9)
    if 0.0 < twist.speed < 1e100:
        along = (let.linear_x * twist.linear_x / twist.speed) + (let.linear_y * twist.linear_y / twist.speed)
        assert along == pytest.approx(let.speed, rel=1e-9, abs=1e-12)


@given(st.builds(Twist, small, small, small), st.builds(Twist, small, small, small), settings, st.floats(0.0, 0.2))
def test_slewing_ends_on_the_segment_and_within_the_acceleration(
    before: Twist, wanted: Twist, limits: GateSettings, elapsed_s: float
) -> None:
    after = slewed(before, wanted, limits, elapsed_s)
    moved = math.hypot(after.linear_x - before.linear_x, after.linear_y - before.linear_y)
    left = math.hypot(wanted.linear_x - after.linear_x, wanted.linear_y - after.linear_y)
    whole = math.hypot(wanted.linear_x - before.linear_x, wanted.linear_y - before.linear_y)
    assert moved <= limits.max_linear_acceleration * elapsed_s + 1e-9
    assert moved + left == pytest.approx(whole, abs=1e-9)
    assert abs(after.angular_z - before.angular_z) <= limits.max_angular_acceleration * elapsed_s + 1e-9


@given(events, settings)
def test_whatever_happens_the_limits_and_the_latch_hold(happenings: list[tuple[float, object]], limits: GateSettings) -> None:
    rule = GateRule(limits)
    now_s, before, before_s = 0.0, rule.step(0.0), 0.0
    for wait_s, event in happenings:
        now_s = happen(rule, event, now_s + wait_s)
        twist = rule.step(now_s)
        assert twist.is_finite()
        assert abs(twist.linear_x) <= limits.max_linear_x * (1 + 1e-9)
        assert abs(twist.linear_y) <= limits.max_linear_y * (1 + 1e-9)
        assert abs(twist.angular_z) <= limits.max_angular_z
        if not twist.is_zero():
            elapsed_s = now_s - before_s
            change = math.hypot(twist.linear_x - before.linear_x, twist.linear_y - before.linear_y)
            assert change <= limits.max_linear_acceleration * elapsed_s + 1e-9
            assert abs(twist.angular_z - before.angular_z) <= limits.max_angular_acceleration * elapsed_s + 1e-9
        if rule.state.latched or rule.status(now_s).fault:
            assert twist.is_zero()
        assert rule.status(now_s).applied == twist
        before, before_s = twist, now_s


@given(events, settings, st.floats(0.0, 0.02))
def test_silence_is_zero_within_the_cap_and_a_period(
    happenings: list[tuple[float, object]], limits: GateSettings, phase_s: float
) -> None:
    rule = GateRule(limits)
    now_s = 0.0
    for wait_s, event in happenings:
        now_s = happen(rule, event, now_s + wait_s)
        rule.step(now_s)
    deadline_s = now_s + limits.max_valid_for_s + limits.period_s + 1e-9
    now_s += phase_s
    while now_s < deadline_s:
        twist = rule.step(now_s)
        zero_at_s, now_s = now_s, now_s + limits.period_s
    assert twist.is_zero()
    assert zero_at_s <= deadline_s


@given(events)
def test_latched_means_zero_until_a_reset_whatever_is_sent(happenings: list[tuple[float, object]]) -> None:
    rule = GateRule(SETTINGS)
    rule.emergency_stop(True, 0.0)
    now_s = 0.0
    for wait_s, event in happenings:
        if event == "reset":
            continue
        now_s = happen(rule, event, now_s + wait_s)
        assert rule.step(now_s) == ZERO
        assert rule.status(now_s).latched


@given(requests, st.floats(0.0, 0.01))
def test_a_reset_never_resumes_what_was_asked_before_it(request_: Request, later_s: float) -> None:
    rule = GateRule(SETTINGS)
    rule.receive(request_, 0.0)
    rule.emergency_stop(True, 0.0)
    rule.receive(request_, 0.0)
    rule.emergency_stop(False, 0.0)
    rule.receive(request_, 0.0)
    assert rule.reset(later_s)
    assert rule.step(later_s) == ZERO
