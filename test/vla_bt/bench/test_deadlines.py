"""Anything stale or dead ends in zero within the aim: by arithmetic on the settings, and by tree and gate in injected time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_bt.bench import deadlines
from vla_bt.bench.memory_world import MemoryPolicy, MemoryRobot
from vla_bt.bench.stop import CASES
from vla_bt.bench.tick import application, bench_settings
from vla_bt.control.gate import GateRule
from vla_bt.control.watch import CameraWatch, camera_causes
from vla_bt.policy.port import PolicyStatus
from vla_bt.port import FrameInfo, Request, Snapshot
from vla_bt.settings import GateSettings, TreeSettings, load
from vla_bt.sim.world import COMMAND_TIMEOUT_S
from vla_bt.words import Source, Twist

TREE, GATE = load(TreeSettings, "tree"), load(GateSettings, "gate")
T, G = TREE.tick_period_s, GATE.period_s
DRIVEN_BY_THE_BASE = ("gate-stop", "gate-kill")


@pytest.mark.parametrize("name", [name for name in CASES if name not in DRIVEN_BY_THE_BASE])
def test_the_shipped_settings_stop_within_the_aim(name: str) -> None:
    assert CASES[name].bound_s(TREE, GATE) <= deadlines.AIM_S
    assert CASES[name].aim_s(TREE, GATE) == deadlines.AIM_S


def test_teleop_odometry_scan_and_a_silent_gate_stop_within_the_aim_too() -> None:
    for timeout_s in (TREE.teleop_timeout_s, TREE.odometry_timeout_s, TREE.scan_timeout_s, TREE.gate_timeout_s):
        assert timeout_s + T + G <= deadlines.AIM_S


@pytest.mark.parametrize("name", DRIVEN_BY_THE_BASE)
def test_without_a_gate_the_base_stops_by_its_own_time_out(name: str) -> None:
    assert CASES[name].bound_s(TREE, GATE) == COMMAND_TIMEOUT_S == deadlines.BASE_TIMEOUT_S
    assert CASES[name].aim_s(TREE, GATE) == COMMAND_TIMEOUT_S + deadlines.BASE_REST_S


def zero_after(rule: GateRule, last_s: float, phase_s: float) -> float:
    """Step the gate at its period from ``phase_s`` after ``last_s`` until it holds zero; returns how long after ``last_s``."""
    now_s = last_s + phase_s
    while not rule.step(now_s).is_zero():
        now_s += G
    return now_s - last_s


def driving_gate(phase_s: float) -> tuple[GateRule, float]:
    """Return a gate that lets a request at full speed through, and the time of its last receipt."""
    rule, now_s, tick = GateRule(GATE), 100.0, 0
    while now_s < 102.0:
        tick += 1
        rule.receive(Request(Twist(0.5, 0.1, 0.3), Source.POLICY, valid_for_s=TREE.request_valid_for_s, tick=tick), now_s)
        received_s = now_s
        rule.step(now_s + phase_s)
        now_s += G
    assert rule.state.applied.speed > 0.4
    return rule, received_s


@given(st.floats(0.0, G))
def test_a_gate_that_hears_nothing_sends_zero_in_time(phase_s: float) -> None:
    rule, last_s = driving_gate(phase_s)
    assert zero_after(rule, last_s, phase_s) <= deadlines.tree_gone_s(TREE, GATE) + 1e-9


@given(st.floats(0.0, G))
def test_an_emergency_stop_is_zero_at_the_gates_next_word(phase_s: float) -> None:
    rule, last_s = driving_gate(phase_s)
    rule.emergency_stop(True, last_s + phase_s)
    assert rule.state.applied.is_zero()
    assert zero_after(rule, last_s, phase_s) <= deadlines.emergency_stop_s(TREE, GATE) + 1e-9


class AgeingRobot(MemoryRobot):
    """A robot whose camera can be lost or repeat itself, and whose frames arrive ``early_s`` before the tick that sees them."""

    def __init__(self, early_s: float) -> None:
        super().__init__(T)
        self.lost = self.frozen = False
        self._early_s = early_s
        self._last: Snapshot | None = None
        self.changed_s = 0.0

    def snapshot(self) -> Snapshot:
        snapshot = super().snapshot()
        assert snapshot.frame is not None
        if not self.lost:
            frame = replace(snapshot.frame, received_s=snapshot.frame.received_s - self._early_s)
            if self.frozen and self._last is not None and self._last.frame is not None:
                frame = replace(frame, signature=self._last.frame.signature)
            else:
                self.changed_s = frame.received_s
            self._last = replace(snapshot, frame=frame)
        assert self._last is not None
        return replace(snapshot, frame=self._last.frame)

    @property
    def last_frame_s(self) -> float:
        assert self._last is not None
        assert self._last.frame is not None
        return self._last.frame.received_s


class FailingPolicy(MemoryPolicy):
    """A policy that can fall silent or die."""

    silent = dead = False
    last_answer_s = 0.0

    def advance(self, now_s: float) -> None:
        if not self.silent:
            if self._handed is not None:
                self.last_answer_s = now_s
            super().advance(now_s)

    def status(self) -> PolicyStatus:
        status = super().status()
        return replace(status, state="dead", detail="killed by signal 9") if self.dead else status


def stop_time_s(
    break_it: Callable[[AgeingRobot, FailingPolicy], None],
    since_s: Callable[[AgeingRobot, FailingPolicy], float],
    early_s: float,
    ticks_before: int,
) -> float:
    """Let the real tree drive the gate's rule, break something; return how long after the last sign of life zero is applied."""
    robot, policy, rule = AgeingRobot(early_s), FailingPolicy(), GateRule(GATE)
    with application(robot, policy, bench_settings()) as (loop, _):
        robot.set_mode("vla")
        robot.give_goal("go to the cup")
        for count in range(ticks_before + 40):
            if count == ticks_before:
                break_it(robot, policy)
            robot.advance()
            policy.advance(robot.now())
            request = loop.tick()
            rule.receive(request, robot.now())
            for at_s in (robot.now() + G, robot.now() + 2 * G):  # a full period after the request: the gate's worst phase
                stands = rule.step(at_s).is_zero()
                if count >= ticks_before and stands:
                    return at_s - since_s(robot, policy)
            assert count >= ticks_before or count < 20 or not stands, "it did not drive before"
    raise AssertionError("it never stopped")


PHASES = [(early_s, 30 + extra) for early_s in (0.0, 0.03, 0.049) for extra in range(3)]


@pytest.mark.parametrize(("early_s", "ticks"), PHASES)
def test_a_lost_camera_stops_in_time(early_s: float, ticks: int) -> None:
    def lose(robot: AgeingRobot, _: FailingPolicy) -> None:
        robot.lost = True

    taken_s = stop_time_s(lose, lambda robot, _: robot.last_frame_s, early_s, ticks)
    assert taken_s <= deadlines.camera_gone_s(TREE, GATE) + 1e-6


@pytest.mark.parametrize(("early_s", "ticks"), PHASES)
def test_a_camera_that_repeats_itself_stops_in_time(early_s: float, ticks: int) -> None:
    def freeze(robot: AgeingRobot, _: FailingPolicy) -> None:
        robot.frozen = True

    taken_s = stop_time_s(freeze, lambda robot, _: robot.changed_s, early_s, ticks)
    lag_s = T  # this camera's frames only come at ticks
    assert taken_s <= deadlines.camera_frozen_s(TREE, GATE) + lag_s + 1e-6


def seen_frozen_s(speed: float, phase_s: float) -> float:
    """Return when a tick sees that the picture exposed at 0 s no longer changes, at ``speed`` [m/s]."""
    watch, motion = CameraWatch(), Twist(speed, 0.0, 0.0)
    for tick in range(1000):
        now_s = phase_s + tick * T
        count = math.floor(now_s * deadlines.CAMERA_RATE_HZ + 1e-9)
        exposed_s = count / deadlines.CAMERA_RATE_HZ
        watch, causes = camera_causes(watch, FrameInfo(1 + count, exposed_s, exposed_s, 4, 3, 7), now_s, motion, TREE)
        if "camera_frozen" in causes:
            return now_s
    raise AssertionError("never seen")


@pytest.mark.parametrize("phase_s", [0.0, 0.01, 0.025, 0.049])
def test_the_bound_of_a_frozen_picture_holds_from_the_stated_speed_on(phase_s: float) -> None:
    least = deadlines.camera_frozen_from_speed(TREE)
    assert least == pytest.approx(0.1)
    for speed in (1.001 * least, 2.0 * least, 0.5):
        assert seen_frozen_s(speed, phase_s) + G <= deadlines.camera_frozen_s(TREE, GATE) + 1e-6
    slow_s = seen_frozen_s(0.5 * least, phase_s)
    assert slow_s + G > deadlines.camera_frozen_s(TREE, GATE), "slower, it is the way that counts"
    assert slow_s <= 0.4 + 2 * T


@pytest.mark.parametrize(("early_s", "ticks"), PHASES[:3])
def test_a_policy_that_hangs_after_an_answer_stops_in_time(early_s: float, ticks: int) -> None:
    """Also when the next frame, and with it the next unanswered question, is yet to come."""

    def hang(_: AgeingRobot, policy: FailingPolicy) -> None:
        policy.silent = True

    taken_s = stop_time_s(hang, lambda _, policy: policy.last_answer_s, early_s, ticks)
    assert taken_s <= deadlines.worker_hangs_s(TREE, GATE) + 1e-6


def test_a_dead_policy_stops_at_the_next_tick() -> None:
    def die(_: AgeingRobot, policy: FailingPolicy) -> None:
        policy.dead = True

    taken_s = stop_time_s(die, lambda robot, _: robot.now() - T, 0.0, 30)  # it died right after the tick before
    assert taken_s <= deadlines.worker_dead_s(TREE, GATE) + 1e-6
