"""What is recorded beside a person's driving: each picture at most once, and none that a dead camera left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vla_bt.app.drive import LockstepRun
from vla_bt.episodes.format import FrameSample
from vla_bt.episodes.recorder import EpisodeRecorder
from vla_bt.settings import GateSettings, TreeSettings
from vla_bt.sim.scenes import make_scene
from vla_bt.words import Mode, Source, Twist

PERIOD_S = 0.1  # as often as this camera's frames
SETTINGS = replace(TreeSettings(), record_from_start=True, frame_period_s=PERIOD_S)


class Offered(EpisodeRecorder):
    """Keeps what the tick hands over."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, PERIOD_S)
        self.samples: list[FrameSample] = []

    def offer(self, sample: FrameSample) -> bool:
        self.samples.append(sample)
        return super().offer(sample)


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Offered]:
    made = Offered(tmp_path)
    yield made
    assert made.close()


@pytest.fixture
def run(recorder: Offered) -> Iterator[LockstepRun]:
    made = LockstepRun(make_scene("1box_vert_left"), "expert", SETTINGS, GateSettings(), recorder=recorder)
    small = np.zeros((24, 32, 3), np.uint8)

    def copy_frame(sequence: int) -> NDArray[np.uint8] | None:
        return small if sequence in made.robot._exposures else None  # nothing looks at the pixels

    made.resources.robot.copy_frame = copy_frame
    yield made
    made.close()


def drive_by_hand(run: LockstepRun, seconds: float) -> None:
    for _ in range(round(seconds / SETTINGS.tick_period_s)):
        run.robot.press_teleop(Twist(0.0, 0.0, 0.3))
        run.step()


@pytest.mark.parametrize("mode", ["manual", "hybrid"])
def test_a_dead_camera_is_not_recorded_beside_fresh_velocities(run: LockstepRun, recorder: Offered, mode: str) -> None:
    run.robot.set_mode(mode)
    drive_by_hand(run, 1.0)
    before = len(recorder.samples)
    assert before >= 8
    run.robot.faults.camera_lost = True
    drive_by_hand(run, 2.0)
    assert run.path[-1].source in (Source.TELEOP, Source.TAKEOVER)  # the person goes on driving
    assert len(recorder.samples) <= before + 1  # at most the last picture, if it was not recorded yet
    run.robot.faults.camera_lost = False
    drive_by_hand(run, 1.0)
    assert len(recorder.samples) >= before + 8
    for sample in recorder.samples:
        assert sample.decided_s - sample.receipt_s <= SETTINGS.camera_timeout_s


def test_no_picture_is_recorded_twice_in_a_row(run: LockstepRun, recorder: Offered) -> None:
    run.robot._camera_period_s = 0.15  # slower than frames are due
    drive_by_hand(run, 2.0)
    sequences = [sample.frame_sequence for sample in recorder.samples]
    assert len(sequences) >= 12
    assert len(set(sequences)) == len(sequences)


def test_a_camera_bridge_that_counts_from_one_again_is_recorded(run: LockstepRun, recorder: Offered) -> None:
    drive_by_hand(run, 1.0)
    run.robot._sequence = 0
    run.robot._exposures.clear()
    again_s = run.robot.now()
    drive_by_hand(run, 1.0)
    later = [sample for sample in recorder.samples if sample.receipt_s > again_s]
    assert [sample.frame_sequence for sample in later][:3] == [1, 2, 3]
    assert len(later) >= 8


def test_each_frame_holds_what_was_known_at_its_decision(run: LockstepRun, recorder: Offered) -> None:
    run.robot.set_mode("hybrid")
    run.robot.give_goal("go to the cup")
    for _ in range(60):
        run.step()
    run.robot.set_mode("manual")
    drive_by_hand(run, 0.5)
    by_policy = [sample for sample in recorder.samples if sample.source is Source.POLICY]
    assert len(by_policy) >= 15
    assert {sample.goal_text for sample in by_policy} == {"go to the cup"}
    assert all(sample.policy_latency_s is not None for sample in by_policy if not sample.action.is_zero())
    assert {sample.mode for sample in by_policy} == {Mode.HYBRID}
    assert {sample.mode for sample in recorder.samples[-3:]} == {Mode.MANUAL}
    for sample in recorder.samples:
        assert sample.receipt_s <= sample.decided_s <= sample.commanded_s
        assert sample.odometry is not None
        assert sample.odometry.received_s == pytest.approx(sample.decided_s)
        assert sample.applied_s >= sample.commanded_s


def test_a_policy_slower_than_the_cameras_ring_is_recorded(run: LockstepRun, recorder: Offered) -> None:
    run.client._latency_s = 0.6  # the ring holds 0.4 s
    run.robot.set_mode("vla")
    run.robot.give_goal("go to the cup")
    for _ in range(140):
        run.step()
    by_policy = [sample for sample in recorder.samples if sample.source is Source.POLICY and sample.frame_sequence]
    late = [sample for sample in by_policy if sample.decided_s - sample.receipt_s > 0.55]
    assert len(late) >= 3
    driven = [sample.frame_sequence for sample in late if not sample.action.is_zero()]  # a claim stands on one answer for several
    assert len(set(driven)) == len(driven) > 0


@pytest.fixture
def on_occasion(tmp_path: Path) -> Iterator[Callable[[str], LockstepRun]]:
    """Make a run that records by itself on an occasion, without pictures worth the name."""
    made: list[LockstepRun] = []

    def make(when: str) -> LockstepRun:
        settings = replace(SETTINGS, record_from_start=False, record_when=when)
        scene = make_scene("1box_vert_left")
        made.append(LockstepRun(scene, "expert", settings, GateSettings(), recorder=EpisodeRecorder(tmp_path, PERIOD_S)))
        made[0].resources.robot.copy_frame = lambda sequence: np.zeros((24, 32, 3), np.uint8)
        return made[0]

    yield make
    for run in made:
        run.close()
        assert run.recorder is not None
        assert run.recorder.close()


def demonstration(run: LockstepRun, steps: int) -> str:
    for _ in range(steps):
        run.step()
    assert run.recorder is not None
    return run.recorder.status().demonstration


def test_recording_by_goal(on_occasion: Callable[[str], LockstepRun]) -> None:
    run = on_occasion("goal")
    run.robot.set_mode("vla")
    assert demonstration(run, 5) == ""
    run.robot.give_goal("go to the cup")
    first = demonstration(run, 10)
    assert first
    run.robot.give_goal("go around the box on the left to the cup")
    second = demonstration(run, 10)
    assert second not in ("", first), "another goal is another demonstration"
    run.robot.set_mode("manual")
    assert demonstration(run, 3) == ""


def test_recording_by_mode_and_by_request(on_occasion: Callable[[str], LockstepRun]) -> None:
    run = on_occasion("hybrid")
    assert demonstration(run, 3) == ""
    run.robot.set_mode("hybrid")
    first = demonstration(run, 3)
    assert first
    run.robot.record(False)
    assert demonstration(run, 3) == "", "who spoke last counts"
    run.robot.record(True)
    second = demonstration(run, 3)
    run.robot.record(True)
    third = demonstration(run, 3)
    assert len({"", first, second, third}) == 4, "each request begins another recording"
    run.robot.set_mode("manual")
    assert demonstration(run, 3) == ""
