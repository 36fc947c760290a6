"""Each cause appears at its deadline, not before, and only for inputs this robot has."""

import math
from dataclasses import replace

import numpy as np
import pytest

from vla_bt.control import watch
from vla_bt.control.causes import CAUSES
from vla_bt.control.obstacles import NOTHING, blocked
from vla_bt.policy.port import PolicyOutput, PolicyStatus, PolicyStep
from vla_bt.port import Battery, Contact, FrameInfo, GateStatus, Odometry, Scan, TeleopInput
from vla_bt.settings import TreeSettings
from vla_bt.words import ZERO, Source, Twist

# The numbers the expectations below are computed from; the shipped ones may be tuned without touching this file.
SETTINGS = TreeSettings(
    tick_overrun_s=0.15,
    camera_timeout_s=0.25,
    camera_frozen_frames=3,
    camera_frozen_m=0.02,
    teleop_timeout_s=0.35,
    odometry_timeout_s=0.3,
    scan_timeout_s=0.5,
    battery_timeout_s=15.0,
    gate_timeout_s=0.2,
    battery_low=0.15,
    goal_timeout_s=120.0,
    policy_output_timeout_s=0.25,
    required_inputs=["camera", "odometry", "scan", "battery"],
)
DRIVEN = Twist(0.3, 0.0, 0.0)
BARE = replace(SETTINGS, required_inputs=[])
PERIOD_S = 1.0 / 15.0
NONE: dict[str, str] = {}


def frame(sequence: int = 1, received_s: float = 0.0, stamp_s: float | None = None, signature: int = 7) -> FrameInfo:
    return FrameInfo(sequence, received_s if stamp_s is None else stamp_s, received_s, 1280, 720, signature)


def seen(frames: list[FrameInfo], moving: bool, settings: TreeSettings = SETTINGS) -> tuple[watch.CameraWatch, dict[str, str]]:
    state, causes = watch.CameraWatch(), NONE
    for item in frames:
        state, causes = watch.camera_causes(state, item, item.received_s, DRIVEN if moving else ZERO, settings)
    return state, causes


def stream(seconds: float, frozen: bool) -> list[FrameInfo]:
    return [frame(i, i * PERIOD_S, signature=7 if frozen else i) for i in range(1, round(seconds / PERIOD_S) + 1)]


def test_a_camera_is_stale_after_its_time_out() -> None:
    state, causes = seen([frame()], moving=True)
    assert causes == NONE
    limit_s = SETTINGS.camera_timeout_s
    assert watch.camera_causes(state, frame(), limit_s, DRIVEN, SETTINGS)[1] == NONE
    assert watch.camera_causes(state, frame(), limit_s + 0.01, DRIVEN, SETTINGS)[1] == {"camera_stale": "last frame 0.26 s ago"}
    assert watch.camera_causes(state, None, 0.0, DRIVEN, SETTINGS)[1] == {"camera_stale": "no frame yet"}


def test_a_frozen_picture_counts_only_while_moving() -> None:
    assert seen(stream(5.0, frozen=True), moving=False)[1] == NONE
    assert seen(stream(5.0, frozen=False), moving=True)[1] == NONE
    repeats = SETTINGS.camera_frozen_frames
    assert seen(stream(5.0, frozen=True)[:repeats], moving=True)[1] == NONE
    assert "camera_frozen" in seen(stream(5.0, frozen=True)[: repeats + 1], moving=True)[1]


def test_a_robot_that_has_hardly_begun_to_move_is_not_suspected() -> None:
    creep = Twist(0.01, 0.0, 0.0)
    state, causes = watch.CameraWatch(), NONE
    for item in stream(1.9, frozen=True):
        state, causes = watch.camera_causes(state, item, item.received_s, creep, SETTINGS)
        assert causes == NONE
    turn = Twist(0.0, 0.0, 0.5)
    for item in stream(1.0, frozen=True):
        later = replace(item, sequence=item.sequence + 100, received_s=item.received_s + 1.9, stamp_s=item.stamp_s + 1.9)
        state, causes = watch.camera_causes(state, later, later.received_s, turn, SETTINGS)
    assert "camera_frozen" in causes


def test_short_moves_under_one_picture_add_up() -> None:
    state, causes = watch.CameraWatch(), NONE
    for item in stream(5.0, frozen=True):
        state, causes = watch.camera_causes(state, item, item.received_s, DRIVEN if item.sequence % 10 < 4 else ZERO, SETTINGS)
    assert "camera_frozen" in causes


def test_a_frozen_camera_stays_frozen_at_rest_until_the_picture_changes() -> None:
    state, causes = seen(stream(2.0, frozen=True), moving=True)
    for later in range(100):
        still = frame(31 + later, 2.0 + later * PERIOD_S)
        state, causes = watch.camera_causes(state, still, still.received_s, ZERO, SETTINGS)
        assert "camera_frozen" in causes
    alive = frame(200, 10.0, signature=8)
    assert watch.camera_causes(state, alive, 10.0, ZERO, SETTINGS)[1] == NONE


def test_a_silent_camera_is_stale_not_frozen() -> None:
    state, _ = seen([frame()], moving=True)
    for tick in range(100):
        state, causes = watch.camera_causes(state, frame(), tick * 0.05, DRIVEN, SETTINGS)
    assert list(causes) == ["camera_stale"]


def test_without_a_signature_nothing_is_called_frozen() -> None:
    frames = [replace(item, signature=0) for item in stream(5.0, frozen=True)]
    assert seen(frames, moving=True)[1] == NONE


@pytest.mark.parametrize(
    ("stamps", "words"),
    [
        ((1e9, 1e9 + 0.07), None),  # another clock, same pace
        ((5.0, 5.9), "jumps 0.83 s into the future"),
        ((5.0, 4.0), "jumps 1.07 s into the past"),
        ((5.0, 5.0), "does not advance"),
        ((5.0, math.nan), "not a time"),
        ((math.nan, 5.0), None),
    ],
)
def test_an_odd_stamp_is_named_and_changes_nothing_else(stamps: tuple[float, float], words: str | None) -> None:
    frames = [frame(i + 1, i * PERIOD_S, stamp, signature=i + 1) for i, stamp in enumerate(stamps)]
    state, causes = seen(frames, moving=True)
    assert causes == ({} if words is None else {"camera_stamp_odd": words})
    _, again = watch.camera_causes(state, frames[-1], PERIOD_S + 0.05, DRIVEN, SETTINGS)
    assert again == causes  # as long as it is the newest frame


def test_a_camera_that_is_not_required_raises_nothing() -> None:
    assert watch.camera_causes(watch.CameraWatch(), None, 9.0, DRIVEN, BARE)[1] == NONE


def status(latched: bool = False, fault: str = "") -> GateStatus:
    return GateStatus(latched, fault, ZERO, Source.IDLE, 1.0)


def test_gate() -> None:
    limit_s = 1.0 + SETTINGS.gate_timeout_s
    assert watch.gate_causes(status(), limit_s, SETTINGS) == NONE
    assert watch.gate_causes(None, 1.0, SETTINGS) == {"gate_silent": "no report yet"}
    assert watch.gate_causes(status(), limit_s + 0.05, SETTINGS) == {"gate_silent": "last report 0.25 s ago"}
    assert watch.gate_causes(status(True, "it is broken"), 1.0, BARE) == {"estop": "", "gate_fault": "it is broken"}
    assert set(watch.gate_causes(status(latched=True), 9.0, SETTINGS)) == {"estop", "gate_silent"}


def test_teleop_is_lost_only_while_driving() -> None:
    driving, standing = TeleopInput(Twist(0.1), 1.0), TeleopInput(ZERO, 1.0)
    limit_s = 1.0 + SETTINGS.teleop_timeout_s
    assert watch.teleop_causes(None, 9.0, SETTINGS) == NONE
    assert watch.teleop_causes(standing, 9.0, SETTINGS) == NONE
    assert watch.teleop_causes(driving, limit_s - 0.01, SETTINGS) == NONE
    assert watch.teleop_causes(driving, limit_s + 0.02, SETTINGS) == {"teleop_lost": "last velocity 0.37 s ago"}


def policy(state: str, detail: str = "") -> PolicyStatus:
    return PolicyStatus(state, detail, None, 0, 0, 0, 0.0)


def output(value: float = 0.1, stop: float = 0.0) -> PolicyOutput:
    return PolicyOutput(PolicyStep(np.full((8, 3), value, np.float32), 0.2, stop), 1, 1, 0.0, 0.0)


def test_policy() -> None:
    limit_s = SETTINGS.policy_output_timeout_s
    assert watch.policy_causes(policy("ready"), output(), None, 99.0, SETTINGS) == NONE
    assert watch.policy_causes(policy("ready"), None, 0.0, limit_s, SETTINGS) == NONE
    assert watch.policy_causes(policy("ready"), None, 0.0, limit_s + 0.05, SETTINGS) == {"policy_silent": "no answer for 0.30 s"}
    assert watch.policy_causes(policy("dead", "killed by signal 9"), None, 0.0, 9.0, SETTINGS) == {
        "policy_dead": "dead: killed by signal 9"
    }
    assert watch.policy_causes(policy("starting"), None, None, 9.0, SETTINGS) == {"policy_dead": "starting"}


@pytest.mark.parametrize("bad", [output(math.nan), output(math.inf), output(0.1, math.nan)])
def test_a_policy_that_is_not_finite(bad: PolicyOutput) -> None:
    assert watch.policy_causes(policy("ready"), bad, None, 0.0, SETTINGS) == {"policy_not_finite": ""}


def test_memory_goal_and_tick() -> None:
    assert watch.memory_causes(False, 499.0, "") == NONE
    assert watch.memory_causes(True, 499.0, "") == {"memory_critical": "499 MB available"}
    assert watch.memory_causes(False, 899.0, "the policy becomes int8") == {"memory_step": "the policy becomes int8"}
    assert watch.memory_causes(False, 9e9, "", "no sample for 12 s") == {"memory_stale": "no sample for 12 s"}
    assert watch.goal_causes(False, SETTINGS) == NONE
    assert watch.goal_causes(True, SETTINGS) == {"goal_stale": "not reached within 120 s"}
    assert watch.tick_causes(SETTINGS.tick_overrun_s, SETTINGS) == NONE
    assert watch.tick_causes(0.31, SETTINGS) == {"tick_overrun": "0.31 s late"}


def test_battery() -> None:
    limit_s = SETTINGS.battery_timeout_s
    assert watch.battery_causes(Battery(SETTINGS.battery_low, 0.0), limit_s, SETTINGS) == NONE
    assert watch.battery_causes(Battery(0.14, 0.0), 1.0, SETTINGS) == {"battery_low": "14%"}
    assert watch.battery_causes(Battery(0.9, 0.0), limit_s + 1.0, SETTINGS) == {"battery_stale": "last state 16 s ago"}
    for unknown in (None, Battery(math.nan, 0.0)):
        assert watch.battery_causes(unknown, 0.0, SETTINGS) == {"battery_stale": "no charge known"}
    for any_state in (None, Battery(0.0, 0.0)):
        assert watch.battery_causes(any_state, 99.0, BARE) == NONE


def test_odometry() -> None:
    good = Odometry(0.0, 0.0, 0.0, ZERO, 0.0)
    limit_s = SETTINGS.odometry_timeout_s
    assert watch.odometry_causes(good, limit_s, SETTINGS) == NONE
    assert watch.odometry_causes(good, limit_s + 0.1, SETTINGS) == {"odometry_stale": "last 0.40 s ago"}
    assert watch.odometry_causes(None, 0.0, SETTINGS) == {"odometry_stale": "none yet"}
    for bad in (replace(good, yaw=math.nan), replace(good, twist=Twist(math.inf))):
        assert watch.odometry_causes(bad, 0.0, SETTINGS) == {"odometry_stale": "not finite"}
        assert watch.odometry_causes(bad, 99.0, BARE) == NONE


def test_scan() -> None:
    good = Scan(np.ones(360, np.float32), 0.0, 0.1, 0.0)
    limit_s = SETTINGS.scan_timeout_s
    assert watch.scan_causes(good, limit_s, SETTINGS) == NONE
    assert watch.scan_causes(good, limit_s + 0.1, SETTINGS) == {"scan_stale": "last 0.60 s ago"}
    assert watch.scan_causes(None, 0.0, SETTINGS) == {"scan_stale": "none yet"}
    assert watch.scan_causes(replace(good, ranges=np.zeros(0, np.float32)), 0.0, SETTINGS) == {"scan_stale": "holds no ranges"}
    assert watch.scan_causes(None, 0.0, BARE) == NONE


def test_directions() -> None:
    near = Scan(np.full(4, 0.25, np.float32), 0.0, 0.1, 0.0)
    assert watch.direction_causes(NOTHING) == NONE
    assert watch.direction_causes(blocked(near, Contact(0.0, 1.0, 0.0), 0.2, 0.12)) == {
        "obstacle": "0.05 m ahead",
        "contact": "left",
    }


def test_every_cause_has_a_function_that_names_it() -> None:
    camera = watch.CameraWatch(frame(), repeats=9, driven_m=9.0)
    named = {
        *watch.camera_causes(camera, frame(2, 0.0, 9.0), 9.0, ZERO, SETTINGS)[1],
        *watch.gate_causes(status(True, "x"), 9.0, SETTINGS),
        *watch.teleop_causes(TeleopInput(Twist(0.1), 0.0), 9.0, SETTINGS),
        *watch.policy_causes(policy("dead"), output(math.nan), None, 9.0, SETTINGS),
        *watch.policy_causes(policy("ready"), None, 0.0, 9.0, SETTINGS),
        *watch.memory_causes(True, 0.0, "shrink", "no sample"),
        *watch.goal_causes(True, SETTINGS),
        *watch.tick_causes(9.0, SETTINGS),
        *watch.battery_causes(Battery(0.0, 0.0), 0.0, SETTINGS),
        *watch.battery_causes(None, 0.0, SETTINGS),
        *watch.odometry_causes(None, 0.0, SETTINGS),
        *watch.scan_causes(None, 0.0, SETTINGS),
        *watch.direction_causes(blocked(Scan(np.full(1, 0.1, np.float32), 0.0, 0.1, 0.0), Contact(1.0, 0.0, 0.0), 0.2, 0.1)),
    }
    assert named == set(CAUSES)
