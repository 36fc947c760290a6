"""Why the robot stood: the right answer for a planted stop of each cause, for the gate's own stops, and while it moves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vla_bt.app.drive import LockstepRun
from vla_bt.control.causes import CAUSES, Effect, load_causes
from vla_bt.memory.guard import BLIND_S
from vla_bt.port import Contact
from vla_bt.runlog.places import run_folders
from vla_bt.runlog.reader import RunLogError, open_run
from vla_bt.runlog.why import Answer, why
from vla_bt.settings import GateSettings, TreeSettings
from vla_bt.sim.scenes import make_scene
from vla_bt.words import Mode, Twist

SETTINGS = TreeSettings()
TABLE = load_causes()
LIMIT_S = 0.35
"""A stop is in the log this long after it was planted, at the latest [s]."""


class Trial:
    """A robot that drives in lockstep, with a log."""

    def __init__(self, folder: Path, settings: TreeSettings = SETTINGS, gate: GateSettings | None = None) -> None:
        self.folder = folder
        self.run = LockstepRun(make_scene("1box_vert_left"), "expert", settings, gate or GateSettings(), runs=folder)
        self.robot = self.run.robot

    def step(self, seconds: float, each: Callable[[], None] | None = None) -> None:
        """Let time pass."""
        for _ in range(round(seconds / SETTINGS.tick_period_s)):
            if each is not None:
                each()
            self.run.step()

    def drive(self, mode: str = "vla") -> None:
        """Make the robot move by its policy, or by hand."""
        self.robot.set_mode(mode)
        if mode == "manual":
            self.step(1.0, self.keys)
        else:
            self.robot.give_goal("go around the box on the left to the cup")
            self.step(1.5)
        assert self.run.robot.gate.state.applied.speed > 0.15, self.run.loop.words

    def keys(self) -> None:
        """Hold a key."""
        self.robot.press_teleop(Twist(0.2, 0.0, 0.0))

    def ask(self, *times: float) -> list[Answer]:
        """End the run and ask about moments of it."""
        self.run.close()
        (folder,) = run_folders(self.folder)
        reader = open_run(folder)
        return [why(reader, at_s) for at_s in times]


def lose(name: str) -> Callable[[Trial], None]:
    return lambda trial: setattr(trial.robot.faults, name, True)


def kill_policy(trial: Trial) -> None:
    status = trial.run.client.status()
    trial.run.client.status = lambda: replace(status, state="dead", detail="killed by signal 9")  # type: ignore[method-assign]


def silence_policy(trial: Trial) -> None:
    status, since_s = trial.run.client.status(), trial.robot.now() - 1.0
    trial.run.client.status = lambda: replace(status, awaited_since_s=since_s)  # type: ignore[method-assign]


def poison_policy(trial: Trial) -> None:
    poll = trial.run.client.poll

    def poisoned() -> Any:
        output = poll()
        return output and replace(output, step=replace(output.step, actions=output.step.actions * math.nan))

    trial.run.client.poll = poisoned  # type: ignore[method-assign]


def leave(available_mb: float) -> Callable[[Trial], None]:
    def plant(trial: Trial) -> None:
        reading = trial.run.memory.reading()
        assert reading is not None
        low = replace(reading, available_mb=available_mb)
        trial.run.memory.reading = lambda: low  # type: ignore[method-assign]

    return plant


def approach(trial: Trial) -> None:
    scan = trial.run.world.scan

    def near(now_s: float) -> Any:
        seen = scan(now_s)
        return replace(seen, ranges=seen.ranges * 0.0 + 0.25)

    trial.run.world.scan = near  # type: ignore[method-assign,assignment]


def set_battery(fraction: float) -> Callable[[Trial], None]:
    return lambda trial: setattr(trial.robot, "battery_fraction", fraction)


def stamp_oddly(trial: Trial) -> None:
    expose = trial.robot._expose

    def odd() -> None:
        expose()
        newest = trial.robot._exposures[trial.robot._sequence]
        shifted = replace(newest.info, stamp_s=newest.info.received_s - 50.0 * newest.info.sequence)
        trial.robot._exposures[trial.robot._sequence] = replace(newest, info=shifted)

    trial.robot._expose = odd  # type: ignore[method-assign]


def stall(trial: Trial) -> None:
    trial.robot.advance(0.2)
    trial.run.loop.tick(lateness_s=SETTINGS.tick_overrun_s + 0.01)


PLANTED: dict[str, Callable[[Trial], None]] = {
    "estop": lambda trial: trial.robot.emergency_stop(True),
    "gate_fault": lambda trial: trial.robot.gate.refuse("request refused: record of 3 bytes", trial.robot.now()),
    "gate_silent": lose("gate_dead"),
    "camera_stale": lose("camera_lost"),
    "camera_frozen": lose("camera_frozen"),
    "camera_stamp_odd": stamp_oddly,
    "policy_dead": kill_policy,
    "policy_not_finite": poison_policy,
    "policy_silent": silence_policy,
    "memory_critical": leave(SETTINGS.memory_critical_mb / 2),
    "memory_step": leave(SETTINGS.memory_int8_mb - 1.0),
    "memory_stale": lambda trial: setattr(trial.run.memory, "silence_s", lambda: BLIND_S + 1.0),
    "tick_overrun": stall,
    "battery_low": set_battery(0.05),
    "battery_stale": set_battery(math.nan),
    "odometry_stale": lose("odometry_lost"),
    "scan_stale": lose("scan_lost"),
    "obstacle": approach,
}
"""Cause -> how to bring it about while the policy drives. The others have tests of their own."""

OF_THEIR_OWN = {"teleop_lost", "goal_stale", "contact"}


def test_every_cause_of_the_table_is_planted() -> None:
    assert set(PLANTED) | OF_THEIR_OWN == set(CAUSES)


@pytest.mark.parametrize("cause", sorted(PLANTED))
def test_a_planted_stop_is_explained(tmp_path: Path, cause: str) -> None:
    trial = Trial(tmp_path)
    trial.drive()
    planted_s = trial.robot.now()
    PLANTED[cause](trial)
    asked_s = trial.robot.now() if cause == "tick_overrun" else planted_s + LIMIT_S
    trial.step(0.5)
    before, then = trial.ask(planted_s, asked_s)

    assert (before.held, before.by, before.leaf) == (False, "nothing", "Follow policy")
    assert before.headline.startswith("nothing held it: 'Follow policy' drove since ")
    named = {entry.name: entry for entry in then.causes}
    assert cause in named, then.in_words()
    assert planted_s < named[cause].since_s <= asked_s + 1e-6
    assert TABLE.causes[cause].words in named[cause].words
    effect = TABLE.causes[cause].effects[Mode.VLA]
    assert named[cause].effect == effect.value
    if effect is Effect.IGNORE:
        assert not then.held
        return
    assert then.held
    assert then.since_s is not None
    assert planted_s <= then.since_s <= asked_s + 1e-6
    assert "'Follow policy' drove until" in then.before, then.in_words()
    if effect is Effect.DIRECTION:
        assert (then.by, then.leaf) == ("direction", "Follow policy")
    else:
        assert then.leaf == "Protective stop"
        assert then.path == ["vla_bt", "Drive", "Protective stop"]
        assert then.by == ("gate" if cause == "estop" else "leaf")
    assert TABLE.causes[cause].words in then.headline
    assert "go around the box on the left to the cup" in then.goal


def test_lost_teleop_is_explained(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    trial.drive("manual")
    silent_s = trial.robot.now()
    trial.step(0.5)
    before, then = trial.ask(silent_s, silent_s + LIMIT_S)
    assert (before.held, before.leaf) == (False, "Follow teleop")
    assert before.driver.startswith("teleop")
    assert (then.held, then.by, then.leaf) == (True, "leaf", "Protective stop")
    assert [cause.name for cause in then.causes] == ["teleop_lost"]
    assert "teleop was lost" in then.headline
    assert then.goal == "none was told"
    assert then.then == "mode manual: the robot waits for the keys"


@pytest.mark.parametrize(
    ("cause", "then"),
    [
        ("camera_stale", "mode manual: the robot waits for the keys"),
        ("odometry_stale", "mode manual: the robot waits for the keys"),
        ("gate_silent", "mode manual: the robot waits for the keys, once the cause is over"),
        ("obstacle", "mode manual: the robot waits for the keys; not in the blocked direction until its cause is over"),
    ],
)
def test_in_manual_only_what_stops_the_keys_is_waited_for(tmp_path: Path, cause: str, then: str) -> None:
    trial = Trial(tmp_path)
    trial.step(0.5)
    PLANTED[cause](trial)
    trial.step(1.0)
    (answer,) = trial.ask(1.4)
    assert cause in {entry.name for entry in answer.causes}
    assert answer.held
    assert answer.then == then, answer.in_words()
    if cause in ("camera_stale", "odometry_stale"):  # and so it is: the keys drive
        trial = Trial(tmp_path / "driven")
        PLANTED[cause](trial)
        trial.step(1.0)
        trial.drive("manual")
        trial.run.close()


def test_an_expired_goal_is_explained(tmp_path: Path) -> None:
    trial = Trial(tmp_path, replace(SETTINGS, goal_timeout_s=2.0))
    trial.drive()
    trial.step(1.0)
    (then,) = trial.ask(2.4)
    assert (then.held, then.by, then.leaf) == (True, "leaf", "Protective stop")
    assert "the goal has expired" in then.headline
    assert "expired since 2.1" in then.goal
    assert "not reached within 2 s" in then.goal
    assert then.then == "needs a person: no goal is open"


def test_contact_in_the_way_is_explained(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    trial.drive("manual")
    touched_s = trial.robot.now()

    def push_on() -> None:
        trial.robot._contact = Contact(1.0, 0.0, trial.robot.now())
        trial.keys()

    trial.step(0.5, push_on)
    (then,) = trial.ask(touched_s + LIMIT_S)
    assert (then.held, then.by, then.leaf) == (True, "direction", "Follow teleop")
    assert "the robot touches something" in then.headline
    assert "0.20 m/s" in then.headline


def test_a_silent_tree_is_explained_by_the_gates_time_out(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    trial.drive()
    hung_s = trial.robot.now()
    trial.robot.advance(1.2)
    trial.run.loop.tick(lateness_s=1.15)
    trial.step(0.2)
    alive, then, after = trial.ask(hung_s + 0.05, hung_s + 0.7, hung_s + 1.2)
    assert not alive.held
    assert (then.held, then.by) == (True, "gate")
    assert then.since_s == pytest.approx(hung_s + SETTINGS.request_valid_for_s, abs=0.02)
    assert "time-out" in then.headline
    assert "(the gate afterwards: no request in time)" in then.headline
    assert then.notes == [f"no tick from {hung_s:.2f} to {hung_s + 1.2:.2f} s"]
    assert [cause.name for cause in after.causes] == ["tick_overrun"]
    assert "no request in time" in after.gate
    assert "the tree was held up for 1.1 s" in after.goal or "the tree was held up for 1.2 s" in after.goal


def test_a_silence_of_any_length_is_explained_from_its_beginning(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    trial.drive()
    hung_s = trial.robot.now()
    trial.robot.advance(70.0)
    trial.run.loop.tick(lateness_s=69.95)
    trial.step(0.2)
    alive, *then = trial.ask(hung_s + 0.05, *(hung_s + after_s for after_s in (0.5, 5.0, 31.0, 69.0)))
    assert not alive.held
    for answer in then:
        assert (answer.held, answer.by) == (True, "gate"), answer.in_words()
        assert answer.since_s == pytest.approx(hung_s + SETTINGS.request_valid_for_s, abs=0.02)
        assert answer.notes == [f"no tick from {hung_s:.2f} to {hung_s + 70.0:.2f} s"]


def test_a_gate_that_hears_no_request_in_time_is_named(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    trial.drive()
    send = trial.robot.send
    trial.robot.send = lambda request: None  # type: ignore[method-assign]
    lost_s = trial.robot.now()
    trial.step(0.6)
    trial.robot.send = send  # type: ignore[method-assign]
    (then,) = trial.ask(lost_s + 0.5)
    assert (then.held, then.by, then.leaf) == (True, "gate", "Follow policy")
    assert "no request in time" in then.headline
    assert then.since_s == pytest.approx(lost_s + 0.2, abs=0.1)


def test_a_latched_emergency_stop_is_named_long_after_it_was_released(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    trial.drive()
    pressed_s = trial.robot.now()
    trial.robot.emergency_stop(True)
    trial.step(0.2)
    trial.robot.emergency_stop(False)
    trial.step(25.0)
    (then,) = trial.ask(pressed_s + 24.0)
    assert (then.held, then.by, then.leaf) == (True, "gate", "Protective stop")
    assert then.since_s == pytest.approx(pressed_s, abs=0.06)
    assert "waiting for a reset" in then.gate
    assert "preempted" in then.goal
    assert "the emergency stop" in then.goal
    assert then.then.startswith("needs a person: release and reset the emergency stop")


def test_the_gates_limits_are_named(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "slow", gate=GateSettings(max_linear_x=0.1, max_linear_y=0.1))
    trial.step(1.0, trial.keys)
    (slow,) = trial.ask(0.9)
    assert (slow.held, slow.by) == (False, "nothing")
    assert "limited what was asked (0.20 m/s): applied 0.10 m/s; limits 0.1 m/s" in slow.gate
    trial = Trial(tmp_path / "none", gate=GateSettings(max_linear_x=0.0))
    trial.step(1.0, trial.keys)
    (none,) = trial.ask(0.9)
    assert (none.held, none.by) == (True, "gate")
    assert "the gate's limits held the robot" in none.headline


def test_without_a_cause_the_leaf_that_asked_to_stand_is_named(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    trial.step(0.5)
    trial.robot.set_mode("vla")
    trial.step(0.5)
    idle, vla = trial.ask(0.3, 0.9)
    assert (idle.held, idle.leaf, idle.path[-2:]) == (True, "Idle", ["Drive", "Idle"])
    assert idle.then == "mode manual: the robot waits for the keys"
    assert vla.then == "needs a person: no goal is open"


def test_a_moment_outside_the_run_is_refused_in_one_line(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    trial.step(0.5)
    with pytest.raises(RunLogError, match=r"9 s is not in it; the log goes from 0\.00 to 0\.50 s"):
        trial.ask(9.0)
