"""Every path that loses an input ends in zero velocity: the whole tree in lockstep, deadlines in simulated time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from vla_bt.app.drive import LockstepRun
from vla_bt.app.loop import TickError
from vla_bt.control.gate import GateRule
from vla_bt.memory.monitor import MemoryReading
from vla_bt.policy.port import PolicyStatus
from vla_bt.settings import GateSettings, TreeSettings
from vla_bt.sim.scenes import make_scene
from vla_bt.words import ZERO, Mode, Source, Twist

DEADLINE_S = 0.3
SETTINGS = TreeSettings()


@pytest.fixture
def run() -> Iterator[LockstepRun]:
    made = LockstepRun(make_scene("1box_vert_left"), "expert", SETTINGS, GateSettings())
    yield made
    made.close()


def start_driving(run: LockstepRun, mode: str = "vla") -> None:
    """Give a goal and wait until the robot moves."""
    run.robot.set_mode(mode)
    run.robot.give_goal("go around the box on the left to the cup")
    until(run, lambda: applied(run).speed > 0.2, 3.0)


def applied(run: LockstepRun) -> Twist:
    return run.robot.gate.state.applied


def until(run: LockstepRun, condition: Callable[[], bool], limit_s: float) -> float:
    """Step until the condition holds; returns how long that took, or fails."""
    start_s = run.robot.now()
    while not condition():
        assert run.robot.now() - start_s < limit_s, f"not within {limit_s} s: {run.loop.words}"
        run.step()
    return run.robot.now() - start_s


def stops(run: LockstepRun) -> bool:
    return applied(run) == ZERO


def lose_camera(run: LockstepRun) -> None:
    run.robot.faults.camera_lost = True


def lose_odometry(run: LockstepRun) -> None:
    run.robot.faults.odometry_lost = True


def kill_policy(run: LockstepRun) -> None:
    status = run.client.status()
    run.client.status = lambda: replace(status, state="dead", detail="killed by signal 9")  # type: ignore[method-assign]


def drain_battery(run: LockstepRun) -> None:
    run.robot.battery_fraction = 0.05


def exhaust_memory(run: LockstepRun) -> None:
    reading = run.memory.reading()
    assert isinstance(reading, MemoryReading)
    low = replace(reading, available_mb=100.0)
    run.memory.reading = lambda: low  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lose_camera, "the camera is silent"),
        (lose_odometry, "odometry is silent"),
        (kill_policy, "the policy is not running (dead: killed by signal 9)"),
        (drain_battery, "the battery is low"),
        (exhaust_memory, "memory is almost used up"),
    ],
)
@pytest.mark.parametrize("mode", ["vla", "hybrid"])
def test_autonomy_stops_in_time_and_teleop_still_drives(
    run: LockstepRun, fault: Callable[[LockstepRun], None], words: str, mode: str
) -> None:
    start_driving(run, mode)
    fault(run)
    assert until(run, lambda: stops(run), 1.0) <= DEADLINE_S + 1e-9
    assert words in run.loop.words
    run.robot.set_mode("hybrid")

    def driven() -> bool:
        run.robot.press_teleop(Twist(-0.2, 0.0, 0.0))
        return applied(run).linear_x < -0.1

    until(run, driven, 1.5)


def test_a_frozen_picture_stops_autonomy_until_it_changes(run: LockstepRun) -> None:
    start_driving(run)
    run.robot.faults.camera_frozen = True
    took = until(run, lambda: stops(run), 3.0)
    assert took <= SETTINGS.camera_frozen_frames * 0.1 + 2 * SETTINGS.tick_period_s + 1e-9  # ten frames a second here
    assert "frozen" in run.loop.words
    for _ in range(20):
        run.step()
    assert stops(run)
    run.robot.faults.camera_frozen = False
    run.world.push(60.0, 60.0)  # somebody moves the robot, so the picture changes
    until(run, lambda: not stops(run), 3.0)


def test_a_robot_that_does_not_move_is_no_frozen_camera(run: LockstepRun) -> None:
    start_driving(run)
    run.world.command = lambda twist: None  # type: ignore[method-assign]  # the base no longer obeys: it stops by its own time-out
    for _ in range(60):
        run.step()
    assert not stops(run), run.loop.words
    assert "frozen" not in run.loop.words


def test_lost_scan_stops_autonomy(run: LockstepRun) -> None:
    start_driving(run)
    run.robot.faults.scan_lost = True
    assert until(run, lambda: stops(run), 1.0) <= DEADLINE_S + 1e-9


def test_emergency_stop_is_immediate_latched_and_closes_the_goal(run: LockstepRun) -> None:
    start_driving(run)
    run.robot.emergency_stop(True)
    assert stops(run)
    run.robot.emergency_stop(False)
    for _ in range(20):
        run.step()
        assert stops(run)
    assert '"preempted"' in run.robot.goal_lines[-1]
    assert run.robot.reset_emergency_stop()
    for _ in range(40):
        run.step()
        assert stops(run)
    run.robot.give_goal("go to the cup")
    until(run, lambda: applied(run).speed > 0.1, 2.0)


def test_a_stop_that_came_and_went_between_two_ticks_still_closes_the_goal(run: LockstepRun) -> None:
    start_driving(run)
    run.robot.advance(0.02)
    run.robot.emergency_stop(True)
    run.robot.advance(0.02)
    run.robot.emergency_stop(False)
    assert run.robot.reset_emergency_stop()
    for _ in range(40):
        run.step()
        assert stops(run)
    assert "the emergency stop" in run.robot.goal_lines[-1]


def test_another_gate_closes_the_goal(run: LockstepRun) -> None:
    start_driving(run)
    run.robot.gate = GateRule(GateSettings(), stops=77)
    for _ in range(40):
        run.step()
    assert stops(run)
    assert "another gate has started" in run.robot.goal_lines[-1]


def test_a_long_stall_of_the_tree_closes_the_goal(run: LockstepRun) -> None:
    start_driving(run)
    run.robot.advance(0.5)
    run.loop.tick(lateness_s=3.2)
    for _ in range(40):
        run.step()
        assert stops(run)
    assert "the tree was held up for 3.2 s" in run.robot.goal_lines[-1]


def test_a_motion_knows_the_gates_own_limits() -> None:
    slow = LockstepRun(make_scene("1box_vert_left"), "expert", SETTINGS, GateSettings(max_linear_acceleration=0.1))
    try:
        slow.robot.set_mode("vla")
        slow.robot.give_goal("go back 0.5 m")
        until(slow, lambda: bool(slow.robot.goal_lines) and '"reached"' in slow.robot.goal_lines[-1], 20.0)
        assert slow.world.odometry(0.0).x == pytest.approx(-0.5, abs=0.05)
    finally:
        slow.close()


def test_lost_teleop_in_manual_stops_everything(run: LockstepRun) -> None:
    def driven() -> bool:
        run.robot.press_teleop(Twist(0.3, 0.0, 0.0))
        return applied(run).linear_x > 0.2

    until(run, driven, 2.0)
    assert until(run, lambda: stops(run), 1.0) <= DEADLINE_S + 1e-9
    assert "teleop was lost" in run.loop.words


def test_a_dead_gate_is_caught_by_the_base_itself(run: LockstepRun) -> None:
    start_driving(run)
    run.robot.faults.gate_dead = True
    until(run, lambda: run.world.truth().twist.speed < 0.01, 0.5 + 0.6)
    assert "the gate is silent" in run.loop.words


def test_a_late_tick_stops_autonomy_for_that_tick(run: LockstepRun) -> None:
    start_driving(run)
    run.robot.advance(0.2)
    request = run.loop.tick(lateness_s=SETTINGS.tick_overrun_s + 0.01)
    assert (request.twist, request.source) == (ZERO, Source.SAFETY)
    run.robot.advance(0.05)
    assert run.loop.tick().source is Source.POLICY


def test_a_tree_that_hangs_is_stopped_by_the_gate(run: LockstepRun) -> None:
    start_driving(run)
    run.robot.advance(DEADLINE_S)
    assert stops(run)


def test_an_exception_in_a_leaf_sends_zero_first(run: LockstepRun) -> None:
    start_driving(run)

    def broken() -> PolicyStatus:
        raise RuntimeError("planted")

    run.client.status = broken  # type: ignore[method-assign]
    with pytest.raises(TickError, match="planted"):
        run.step()
    run.robot.advance(0.05)
    assert stops(run)


def test_a_policy_that_is_not_finite_is_refused(run: LockstepRun) -> None:
    start_driving(run)
    poll = run.client.poll

    def poisoned() -> object:
        output = poll()
        if output is None:
            return None
        return replace(output, step=replace(output.step, actions=output.step.actions * float("nan")))

    run.client.poll = poisoned  # type: ignore[method-assign,assignment]
    assert until(run, lambda: stops(run), 1.0) <= DEADLINE_S + 1e-9
    assert "not finite" in run.loop.words


def test_stop_always_works_and_mode_manual_closes_the_goal(run: LockstepRun) -> None:
    start_driving(run)
    run.robot.give_goal("STOP!")
    until(run, lambda: stops(run), 1.0)
    start_driving(run)
    run.robot.set_mode("manual")
    until(run, lambda: stops(run), 1.0)
    assert "mode manual" in run.robot.goal_lines[-1]
    run.robot.set_mode("vla")
    for _ in range(20):
        run.step()
    assert stops(run)


def test_taking_over_and_handing_back_is_smooth(run: LockstepRun) -> None:
    start_driving(run, "hybrid")
    sources, changes = [], []
    before = applied(run)
    for tick in range(80):
        if tick < 30:
            run.robot.press_teleop(Twist(0.0, -0.3, 0.0))
        run.step()
        now = applied(run)
        changes.append(max(abs(now.linear_x - before.linear_x), abs(now.linear_y - before.linear_y)))
        before = now
        sources.append(run.path[-1].source)
    assert Source.TAKEOVER in sources[:5]
    assert sources[-1] is Source.POLICY
    acceleration = GateSettings().max_linear_acceleration
    assert max(changes) <= acceleration * (SETTINGS.tick_period_s + GateSettings().period_s) + 1e-9


def test_the_camera_and_cmd_vel_only_robot_reaches_the_cup() -> None:
    from vla_bt.app.drive import drive, succeeded
    from vla_bt.app.lockstep import without

    bare = LockstepRun(make_scene("1box_vert_left"), "expert", without(SETTINGS, "odometry", "scan", "battery"), GateSettings())
    try:
        outcome = drive(bare, bare.scene.goal)
    finally:
        bare.close()
    assert succeeded(outcome["result"]), outcome["result"]
    assert outcome["result"]["inputs"] == ["camera"]


def test_an_unknown_mode_changes_nothing(run: LockstepRun) -> None:
    run.robot.set_mode("warp")
    run.step()
    assert Mode.MANUAL.value in run.robot.mode_line
