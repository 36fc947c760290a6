"""A recorded run decides in the replay as it did then; where it would not, the replay says when and what."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from vla_bt.app.collect import demonstrate
from vla_bt.app.drive import LockstepRun
from vla_bt.app.lockstep import LockstepRobot
from vla_bt.app.replay import Comparison, policy_behind, replay, ticks_of
from vla_bt.cli.main import main
from vla_bt.episodes.check import check_file
from vla_bt.episodes.format import load
from vla_bt.episodes.moments import linked_episodes, moments_of
from vla_bt.episodes.plan import Cell
from vla_bt.episodes.recipes import digest_of
from vla_bt.episodes.recorder import EpisodeRecorder
from vla_bt.policy.names import shipped
from vla_bt.settings import GateSettings, TreeSettings
from vla_bt.sim.scenes import make_scene
from vla_bt.words import Source, Twist

CELL = Cell("2box_vert_right", "variant", "close", "left")
SETTINGS = replace(TreeSettings(), frame_period_s=0.3)


@pytest.fixture(scope="module", autouse=True)
def small_pictures() -> Iterator[None]:
    def copy_frame(robot: LockstepRobot, sequence: int) -> NDArray[np.uint8] | None:
        return np.full((9, 16, 3), sequence % 251, np.uint8) if sequence in robot._exposures else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LockstepRobot, "copy_frame", copy_frame)
        yield


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One demonstration of the expert, in linked episodes."""
    folder = tmp_path_factory.mktemp("recorded")
    staging = folder / "staging"
    staging.mkdir()
    made = demonstrate(CELL, 7, "expert", folder, staging, SETTINGS, GateSettings())
    assert not made.failure
    return [folder / name for name in made.episodes]


@pytest.fixture
def copied(recorded: list[Path], tmp_path: Path) -> list[Path]:
    return [Path(shutil.copy(path, tmp_path)) for path in recorded]


def by_hand(folder: Path, mode: str, goal: str, policy: str = "expert", person: bool = True) -> list[Path]:
    """Record a run with a person in it: half a second by hand, half a second without, in turn."""
    recorder = EpisodeRecorder(folder, 0.3)
    run = LockstepRun(make_scene(*CELL[:1]), policy, SETTINGS, GateSettings(), recorder=recorder)
    try:
        run.robot.set_mode(mode)
        run.robot.record(True)
        run.step()
        run.robot.give_goal(goal)
        while len(list(folder.glob("*.h5"))) < 1 and run.robot.now() < 30.0:
            at_s = run.robot.now()
            if person and int(at_s / 1.5) % 2 == 0:
                run.robot.press_teleop(Twist(0.2, 0.05, 0.3))
            run.step()
    finally:
        run.close()
        recorder.close()
    return sorted(folder.glob("*.h5"))[:1]


def decisions_of(paths: list[Path], policy: str) -> list[Comparison]:
    return replay([load(path) for path in paths], policy, TreeSettings())[1]


@pytest.mark.parametrize("policy", ["recorded", "expert"])
def test_an_unchanged_run_is_identical(recorded: list[Path], policy: str) -> None:
    outcome, decisions = replay([load(path) for path in recorded], policy, TreeSettings())
    result = outcome["result"]
    assert result["decisions"] == 18 * len(recorded) >= 36
    assert result["identical"] == result["decisions"]
    assert result["differences"] == []
    assert result["sources"]["recorded"] == result["sources"]["replayed"]
    assert result["sources"]["recorded"]["policy"] > 20  # most of it really was driven
    assert [one.moment.sequence for one in decisions] == list(range(1, len(decisions) + 1))
    assert replay([load(path) for path in recorded], policy, TreeSettings())[0]["result"] == result


def test_any_episode_leads_to_the_whole_demonstration(recorded: list[Path]) -> None:
    for path in recorded:
        assert linked_episodes(path) == recorded


def test_a_changed_decision_is_shown_where_it_is(copied: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File(copied[0], "r+") as file:
        file["commanded"][5] = file["commanded"][5] + np.array([0.1, 0.0, 0.0], np.float32)
    assert main(["episodes", "replay", str(copied[1]), "--policy", "expert", "--json"]) == 1
    result = json.loads(capsys.readouterr().out)["result"]
    assert result["identical"] == result["decisions"] - 1
    (one,) = result["differences"]
    assert (one["episode"], one["frame"]) == (0, 5)
    assert one["difference"] == pytest.approx(0.1, abs=1e-5)
    assert one["replayed"]["source"] == "policy"
    assert "following the policy" in one["replayed"]["words"]
    assert result["files"] == [str(path) for path in copied]
    assert main(["episodes", "replay", str(copied[0]), "--policy", "expert"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(" 0  5") and "differs by 0.1000" in line for line in lines)
    assert f"{result['identical']} of {result['decisions']} decisions identical, policy expert" in lines


@pytest.mark.parametrize("policy", ["recorded", "expert"])
def test_a_file_that_was_changed_is_named_though_the_tree_repeats_what_it_says(
    copied: list[Path], policy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["episodes", "replay", str(copied[0]), "--policy", policy]) == 0
    lines = capsys.readouterr().out.splitlines()
    fed = [line for line in lines if "fed to the tree and not recomputed: '--policy expert' recomputes them" in line]
    assert len(fed) == (policy == "recorded")
    with h5py.File(copied[0], "r+") as file:  # another decision, in both columns that tell it
        file["commanded"][3] = file["actions"][3] = np.array([0.11, 0.02, 0.0], np.float32)
    assert main(["episodes", "replay", str(copied[0]), "--policy", policy, "--json"]) == 1
    result = json.loads(capsys.readouterr().out)["result"]
    assert result["changed"] == [str(copied[0])]
    assert (result["fed_from_record"] > 20) == (policy == "recorded")
    assert result["decisions"] - result["identical"] == (policy == "expert")
    assert main(["episodes", "replay", str(copied[0]), "--policy", policy]) == 1
    assert f"{copied[0]}: was changed after it was recorded" in capsys.readouterr().out
    assert "content-changed" in {found.code for found in check_file(copied[0]).findings}


def test_the_policy_behind_a_record_is_known_by_its_weights(recorded: list[Path]) -> None:
    episode = load(recorded[0])
    weights = shipped("small-cnn")
    assert weights is not None
    told = {"": "expert", "ab12": "", digest_of(weights / "model.safetensors"): "small-cnn"}
    for hashed, name in told.items():
        columns = {**episode.columns, "weights_hash": np.full(18, hashed, object)}
        assert policy_behind([replace(episode, columns=columns)]) == name


def test_a_different_source_is_a_difference(copied: list[Path]) -> None:
    with h5py.File(copied[0], "r+") as file:
        file["source"][4] = int(Source.SAFETY)
        file["commanded"][4] = 0.0
    different = [one for one in decisions_of(copied, "expert") if not one.is_same]
    assert [(one.moment.frame, one.moment.source, one.request.source) for one in different] == [(4, Source.SAFETY, Source.POLICY)]


@pytest.mark.parametrize("mode, source", [("manual", Source.TELEOP), ("hybrid", Source.TAKEOVER)])
def test_a_persons_driving_is_replayed(tmp_path: Path, mode: str, source: Source) -> None:
    decisions = decisions_of(by_hand(tmp_path, mode, make_scene(*CELL[:1]).goal), "recorded")
    assert len(decisions) == 18
    assert sum(one.moment.source is source for one in decisions) >= 6
    assert all(one.request.source is one.moment.source for one in decisions)
    if mode == "manual":
        assert all(one.is_same for one in decisions)
    else:  # in the first 0.4 s of a change of hands the velocity depends on ticks that no frame was recorded of
        ramps = [one for one in decisions if not one.is_same]
        assert len(ramps) <= 8
        assert all(one.is_same for one in decisions if one.moment.source is Source.TAKEOVER and one not in ramps)


def test_measured_motions_are_replayed(tmp_path: Path) -> None:
    decisions = decisions_of(by_hand(tmp_path, "vla", "go forward 0.6 m, then turn left", person=False), "recorded")
    assert {one.moment.goal for one in decisions if one.moment.goal} == {"move forward 0.6 m", "turn left 90 deg"}
    motions = [one for one in decisions if one.moment.source is Source.MOTION]
    assert len(motions) >= 10
    assert all(one.request.source is Source.MOTION for one in motions)


def test_the_tree_ticks_when_the_picture_came_and_when_it_decided(recorded: list[Path]) -> None:
    for moment in moments_of([load(path) for path in recorded]):
        times = ticks_of(moment, 0.05)
        assert times == sorted(set(times))
        assert times[0] <= moment.receipt_s
        assert times[-1] == moment.decided_s
        assert len(times) >= 2
        assert max(np.diff(times)) <= 0.05 + 1e-9


def test_what_can_not_be_replayed_is_one_line(copied: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: str) -> str:
        assert main(["episodes", "replay", *arguments]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        return lines[0]

    assert "policy ./none: no such folder" in said(str(copied[0]), "--policy", "./none")
    assert "No such file" in said(str(tmp_path / "none.h5"))
    old = tmp_path / "old"
    old.mkdir()
    with h5py.File(old / "old.h5", "w") as file:
        file["images"] = np.zeros((18, 8, 8, 3), np.uint8)
        file["actions"] = np.zeros((18, 3), np.float32)
        file["action_event_types"] = np.array([b"episode_start"] * 18)
    assert "lacks source, so it can't be replayed" in said(str(old / "old.h5"))
    with h5py.File(copied[0], "r+") as file:
        file.attrs["origin"] = "recorded"
    assert "policy expert drives by simulator truth" in said(str(copied[0]), "--policy", "expert")
    copied[0].unlink()
    assert "lacks its episode 0" in said(str(copied[1]))
