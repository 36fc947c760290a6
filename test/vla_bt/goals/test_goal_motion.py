"""A measured motion ends where it was told to, or says why not."""

from __future__ import annotations

import dataclasses
import math
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_bt.goals.ledger import Evidence
from vla_bt.goals.motion import MotionOutcome, MotionState, MotionTracker
from vla_bt.goals.plan import Motion, MotionGoal
from vla_bt.port import Odometry
from vla_bt.settings import GateSettings, TreeSettings
from vla_bt.words import ZERO, Twist

TICK_S = 0.05
GATE = GateSettings()
MEASURED = TreeSettings()
BLIND = TreeSettings(required_inputs=["camera"])


class Base:
    """A base that follows the gate with a first-order lag, and odometry that arrives late."""

    def __init__(self, yaw: float = 0.0, lag_s: float = 0.1, delay_s: float = 0.1, slip: Twist = ZERO) -> None:
        self.x, self.y, self.yaw = 3.0, -2.0, yaw
        self.now_s = 100.0
        self.applied, self.velocity, self.slip = ZERO, ZERO, slip
        self._lag_s = lag_s
        self._seen: deque[Odometry] = deque(maxlen=1 + round(delay_s / GATE.period_s))
        self._seen.append(self.truth())

    def truth(self) -> Odometry:
        return Odometry(self.x, self.y, math.remainder(self.yaw, math.tau), self.velocity, self.now_s)

    def odometry(self) -> Odometry:
        return self._seen[0]

    def run(self, twist: Twist, duration_s: float) -> None:
        for _ in range(round(duration_s / GATE.period_s)):
            self._gate(twist)

    def _gate(self, twist: Twist) -> None:
        dt = GATE.period_s
        steps = (GATE.max_linear_acceleration * dt, GATE.max_linear_acceleration * dt, GATE.max_angular_acceleration * dt)
        self.applied = Twist(
            *(old + max(-step, min(step, new - old)) for old, new, step in zip(self.applied, twist, steps, strict=True))
        )
        share = 1.0 - math.exp(-dt / self._lag_s)
        self.velocity = Twist(*(v + share * (a - v) for v, a in zip(self.velocity, self.applied, strict=True)))
        vx, vy, wz = (v + self.velocity.speed * s for v, s in zip(self.velocity, self.slip, strict=True))
        self.x += (vx * math.cos(self.yaw) - vy * math.sin(self.yaw)) * dt
        self.y += (vx * math.sin(self.yaw) + vy * math.cos(self.yaw)) * dt
        self.yaw += wz * dt
        self.now_s += dt
        self._seen.append(self.truth())


def drive(base: Base, tracker: MotionTracker, blind: bool = False, limit_s: float = 200.0) -> MotionOutcome:
    """Tick the tracker at 20 Hz until it ends; every proposal must respect the settings' speeds."""
    outcome = tracker.update(base.now_s, None if blind else base.odometry(), base.applied)
    end_s = base.now_s + limit_s
    while outcome.state is MotionState.RUNNING and base.now_s < end_s:
        assert abs(outcome.twist.angular_z) <= MEASURED.motion_angular + 1e-9
        assert outcome.twist.speed <= math.hypot(MEASURED.motion_linear, 0.1) + 1e-9
        base.run(outcome.twist, TICK_S)
        outcome = tracker.update(base.now_s, None if blind else base.odometry(), base.applied)
    base.run(outcome.twist, 1.0)
    return outcome


def end_error(base: Base, goal: MotionGoal, yaw: float) -> tuple[float, float]:
    """Return (distance [m], angle [rad]) of the base from where the motion should have ended."""
    if goal.motion.is_turn:
        want_x, want_y = 3.0, -2.0
        want_yaw = yaw + (goal.amount if goal.motion is Motion.TURN_LEFT else -goal.amount)
    else:
        heading = yaw + {"forward": 0.0, "back": math.pi, "left": math.pi / 2, "right": -math.pi / 2}[goal.motion.value]
        want_x, want_y, want_yaw = 3.0 + goal.amount * math.cos(heading), -2.0 + goal.amount * math.sin(heading), yaw
    return math.hypot(base.x - want_x, base.y - want_y), abs(base.yaw - want_yaw)


@pytest.mark.parametrize("motion", list(Motion))
@pytest.mark.parametrize("delay_s", [0.0, 0.1])
def test_ends_within_five_centimetres_and_three_degrees(motion: Motion, delay_s: float) -> None:
    for amount in (math.radians(5), math.pi / 2, math.tau) if motion.is_turn else (0.05, 0.5, 2.0):
        base, goal = Base(yaw=3.0, delay_s=delay_s), MotionGoal(motion, amount)
        outcome = drive(base, MotionTracker(goal, MEASURED, GATE))
        assert outcome.state is MotionState.REACHED, outcome.words
        assert outcome.evidence is Evidence.ODOMETRY
        assert outcome.twist.is_zero()
        distance, angle = end_error(base, goal, 3.0)
        assert distance <= 0.05
        assert angle <= math.radians(3)


@settings(max_examples=40, deadline=None)
@given(
    motion=st.sampled_from(list(Motion)),
    amount=st.floats(0.05, 3.0),
    yaw=st.floats(-math.pi, math.pi),
    lag_s=st.floats(0.02, 0.15),
    delay_s=st.floats(0.0, 0.1),
)
def test_any_motion_ends_where_told(motion: Motion, amount: float, yaw: float, lag_s: float, delay_s: float) -> None:
    base, goal = Base(yaw, lag_s, delay_s), MotionGoal(motion, amount)
    outcome = drive(base, MotionTracker(goal, MEASURED, GATE))
    distance, angle = end_error(base, goal, yaw)
    assert outcome.state is MotionState.REACHED
    assert distance <= 0.05
    assert angle <= math.radians(3)


def test_holds_heading_and_line_against_slip() -> None:
    base, goal = Base(yaw=1.0, slip=Twist(0.0, 0.15, 0.3)), MotionGoal(Motion.FORWARD, 2.0)
    outcome = drive(base, MotionTracker(goal, MEASURED, GATE))
    distance, angle = end_error(base, goal, 1.0)
    assert outcome.state is MotionState.REACHED
    assert distance < 0.05
    assert angle < math.radians(3)


def test_slows_down_before_the_end() -> None:
    tracker = MotionTracker(MotionGoal(Motion.FORWARD, 1.0), MEASURED, GATE)
    far = tracker.update(0.0, Odometry(0.0, 0.0, 0.0, ZERO, 0.0), ZERO)
    near = tracker.update(3.0, Odometry(0.93, 0.0, 0.0, ZERO, 3.0), ZERO)
    assert far.twist.linear_x == MEASURED.motion_linear
    assert 0.0 < near.twist.linear_x < 0.6 * MEASURED.motion_linear


def test_without_odometry_it_is_timed_by_what_the_gate_applied_and_says_so() -> None:
    for goal in (MotionGoal(Motion.FORWARD, 1.0), MotionGoal(Motion.TURN_RIGHT, math.pi / 2)):
        base = Base(yaw=0.5)
        outcome = drive(base, MotionTracker(goal, BLIND, GATE), blind=True)
        assert outcome.state is MotionState.REACHED
        assert outcome.evidence is Evidence.TIMED
        assert "timed (no odometry)" in outcome.words
        distance, angle = end_error(base, goal, 0.5)
        assert distance <= 0.05
        assert angle <= math.radians(3)


def test_timed_motion_makes_no_progress_while_the_gate_holds_the_robot() -> None:
    tracker = MotionTracker(MotionGoal(Motion.FORWARD, 0.5), BLIND, GATE)
    outcomes = [tracker.update(tick * TICK_S, None, ZERO) for tick in range(100)]
    assert outcomes[30].remaining == 0.5
    assert outcomes[-1].state is MotionState.FAILED
    assert "no progress" in outcomes[-1].words


def test_odometry_lost_midway_stops_and_fails_and_never_switches_to_time() -> None:
    base, tracker = Base(), MotionTracker(MotionGoal(Motion.FORWARD, 1.0), MEASURED, GATE)
    for _ in range(20):
        base.run(tracker.update(base.now_s, base.odometry(), base.applied).twist, TICK_S)
    lost = tracker.update(base.now_s, None, base.applied)
    assert lost.state is MotionState.FAILED
    assert lost.twist.is_zero()
    assert "odometry was lost" in lost.words
    again = tracker.update(base.now_s + TICK_S, base.odometry(), base.applied)
    assert again == lost or (again.state is MotionState.FAILED and again.words == lost.words)


def test_a_robot_with_odometry_does_not_start_without_it() -> None:
    outcome = MotionTracker(MotionGoal(Motion.FORWARD, 1.0), MEASURED, GATE).update(0.0, None, ZERO)
    assert (outcome.state, outcome.words) == (MotionState.FAILED, "no odometry to measure it by")


@pytest.mark.parametrize(
    "odometry, words",
    [
        (Odometry(2.0, 0.0, 0.0, ZERO, 1.0), "jumped by 2.00 m"),
        (Odometry(0.0, 0.0, 2.0, ZERO, 1.0), "jumped by 115 degrees"),
        (Odometry(math.nan, 0.0, 0.0, ZERO, 1.0), "not finite"),
        (Odometry(0.0, 0.31, 0.0, ZERO, 1.0), "off its line"),
    ],
)
def test_odometry_that_cannot_be_true_fails_the_motion(odometry: Odometry, words: str) -> None:
    tracker = MotionTracker(MotionGoal(Motion.FORWARD, 5.0), MEASURED, GATE)
    tracker.update(1.0, Odometry(0.0, 0.0, 0.0, ZERO, 1.0), ZERO)
    outcome = tracker.update(1.05, odometry, ZERO)
    assert outcome.state is MotionState.FAILED
    assert words in outcome.words
    assert outcome.twist.is_zero()


def test_a_blocked_robot_fails_after_three_seconds() -> None:
    tracker, still = MotionTracker(MotionGoal(Motion.BACK, 1.0), MEASURED, GATE), Odometry(0.0, 0.0, 0.0, ZERO, 0.0)
    states = [tracker.update(tick * TICK_S, still, ZERO).state for tick in range(70)]
    assert states.index(MotionState.FAILED) * TICK_S == pytest.approx(3.0, abs=0.11)


def test_a_pause_with_odometry_goes_on_and_without_it_fails() -> None:
    still = Odometry(0.0, 0.0, 0.0, ZERO, 0.0)
    measured = MotionTracker(MotionGoal(Motion.FORWARD, 1.0), MEASURED, GATE)
    blind = MotionTracker(MotionGoal(Motion.FORWARD, 1.0), BLIND, GATE)
    for tracker in (measured, blind):
        tracker.update(0.0, still, ZERO)
    assert measured.update(10.0, still, ZERO).state is MotionState.RUNNING
    assert "interrupted for 10.0 s" in blind.update(10.0, still, ZERO).words


def test_a_robot_that_cannot_move_sideways_says_so() -> None:
    fixed = dataclasses.replace(GATE, max_linear_y=0.0)
    outcome = MotionTracker(MotionGoal(Motion.LEFT, 1.0), MEASURED, fixed).update(0.0, Odometry(0, 0, 0, ZERO, 0.0), ZERO)
    assert outcome.state is MotionState.FAILED
    assert "speed limit for 'left' is 0" in outcome.words
