"""Lockstep runs: reproducible bit for bit, judged by the truth, one policy step for each frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vla_bt.app.drive import LockstepRun, drive, succeeded
from vla_bt.cli.main import main
from vla_bt.episodes.format import load
from vla_bt.episodes.recorder import EpisodeRecorder
from vla_bt.settings import GateSettings, TreeSettings
from vla_bt.sim.scenes import make_scene


def driven(
    seed: int, goal: str | None = None, policy: str = "expert", limit_s: float = 40.0, scene: str = "2box_hori_right"
) -> Any:
    run = LockstepRun(make_scene(scene, seed=seed), policy, TreeSettings(), GateSettings(), seed=seed)
    try:
        return drive(run, goal or run.scene.goal, time_limit_s=limit_s)["result"]
    finally:
        run.close()


def test_the_same_seed_gives_the_same_result_and_another_does_not() -> None:
    first, second, other = driven(7), driven(7), driven(8)
    assert first == second
    assert succeeded(first)
    assert first["frames_rendered"] > 5
    assert first["digest"] != other["digest"]


def test_the_network_takes_one_step_for_each_frame_and_is_reproducible() -> None:
    first, second = (driven(3, policy="hybrid", limit_s=4.0) for _ in range(2))
    assert first == second
    assert first["policy"]["label"] == "untrained"
    assert first["frames_handed"] == first["policy_steps"] > 20
    assert not succeeded(first)


def test_told_the_other_side_the_expert_passes_there() -> None:
    result = driven(5, "go around the boxes on the left to the cup")
    assert result["sides_passed"] == ["left", "left"]
    assert succeeded(result)


@pytest.mark.parametrize(
    ("goal", "x", "y"), [("go forward 0.5 m", 0.5, 0.0), ("first move left 0.4 m then go back 0.3 m", -0.3, 0.4)]
)
def test_measured_motions_end_where_they_should(goal: str, x: float, y: float) -> None:
    run = LockstepRun(make_scene("1box_vert_left"), "expert", TreeSettings(), GateSettings())
    try:
        result = drive(run, goal)["result"]
        odometry = run.world.odometry(0.0)
    finally:
        run.close()
    assert succeeded(result)
    assert result["goal_events"][-1]["evidence"] == ["odometry"] * result["goal_events"][-1]["of"]
    assert odometry.x == pytest.approx(x, abs=0.05)
    assert odometry.y == pytest.approx(y, abs=0.05)


def test_a_rejected_goal_does_not_move_the_robot() -> None:
    result = driven(1, "asdf qwer")
    assert result["goal_state"] == "rejected"
    assert result["path_length_m"] == 0.0
    assert not succeeded(result)


def test_a_run_is_recorded_with_the_picture_of_each_decision(tmp_path: Path) -> None:
    settings = replace(TreeSettings(), record_from_start=True, frame_period_s=0.25)
    recorder = EpisodeRecorder(tmp_path, settings.frame_period_s, scenario="1box_vert_left")
    run = LockstepRun(make_scene("1box_vert_left"), "expert", settings, GateSettings(), recorder=recorder)
    try:
        assert succeeded(drive(run, run.scene.goal)["result"])
    finally:
        run.close()
        assert recorder.close()
    whole = sorted(path for path in tmp_path.glob("*.h5") if "partial" not in path.name)
    assert whole
    episode = load(whole[0])
    assert episode.frames == 18
    assert episode.columns["action_event_types"][0] == "episode_start"
    assert not episode.columns["actions"][0].any()
    gaps = episode.columns["decided_s"][1:] - episode.columns["decided_s"][:-1]
    assert gaps == pytest.approx(0.25, abs=0.051)
    assert (episode.columns["receipt_s"] <= episode.columns["decided_s"]).all(), "the picture is not taken after the decision"
    assert set(episode.columns["goal_text"][-5:]) == {run.scene.goal}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scene", "bogus"], "unknown scene 'bogus'; known: 1box_vert_left"),
        (["--policy", "nope"], "unknown policy 'nope'"),
        (["--time-limit", "-3"], "--time-limit is -3; expected"),
        (["--params-file", "/nonexistent.yaml"], "/nonexistent.yaml: No such file"),
        (["--world", "ros", "--goal", "go to the cup"], "--goal is for --world lockstep alone; give it with: vla-bt goal TEXT"),
        (["--world", "ros", "--seed", "0"], "--seed is for --world lockstep alone"),
        (["--world", "ros", "--scene", "1box_vert_left"], "--scene is for --world lockstep alone"),
        (["--world", "ros", "--without", "scan"], "--without is for --world lockstep alone"),
        (["--world", "ros", "--time-limit", "5"], "--time-limit is for --world lockstep alone"),
        (["--world", "ros", "--json"], "--json is for --world lockstep alone"),
    ],
)
def test_a_users_mistake_is_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
