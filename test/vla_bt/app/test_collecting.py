"""A plan is driven once, what is kept is complete and true, and an interrupted collection goes on."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vla_bt.app import collect as collecting
from vla_bt.app.collect import STAGING, CollectionError, Made, collect
from vla_bt.app.lockstep import LockstepRobot
from vla_bt.cli.main import main
from vla_bt.episodes.format import FRAMES, EpisodeWriter, load
from vla_bt.episodes.moments import linked_episodes
from vla_bt.episodes.plan import Cell, Plan, count_progress
from vla_bt.episodes.recorder import EpisodeRecorder
from vla_bt.settings import GateSettings, SettingsError, TreeSettings
from vla_bt.words import Source

NEAR = Cell("1box_vert_left", "core", "close", "left")
FAR = Cell("2box_hori_right", "variant", "far", "center")
SETTINGS = TreeSettings()


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here looks at the pixels, but each picture has its own."""

    def copy_frame(robot: LockstepRobot, sequence: int) -> NDArray[np.uint8] | None:
        return np.full((9, 16, 3), sequence % 251, np.uint8) if sequence in robot._exposures else None

    monkeypatch.setattr(LockstepRobot, "copy_frame", copy_frame)


def collected(plan: Plan, folder: Path, settings: TreeSettings = SETTINGS) -> list[Made]:
    return collect(plan, "expert", folder, settings, GateSettings(), lambda made, there: None)


def told(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    return [(path.name, load(path).attributes) for path in sorted(folder.glob("*.h5"))]


def test_what_is_missing_is_driven_and_recorded_whole(tmp_path: Path) -> None:
    plan = Plan("two", "", {NEAR: 1, FAR: 1})
    made = collected(plan, tmp_path)
    assert [(one.cell, one.failure, len(one.episodes)) for one in made] == [(NEAR, "", 1), (FAR, "", 1)]
    assert count_progress(told(tmp_path)).done(plan) == 2
    assert not (tmp_path / STAGING).exists()
    episode = load(tmp_path / made[0].episodes[0])
    attributes, columns = episode.attributes, episode.columns
    assert attributes["scenario"] in made[0].episodes[0]
    assert (attributes["origin"], attributes["seed"], attributes["frames_dropped"]) == ("simulated", made[0].seed, 0)
    assert attributes["complete"] is True
    assert columns["commanded"][0].tolist() == [0.0, 0.0, 0.0]  # the first frame shows the robot standing, with no goal yet
    assert columns["goal_text"].tolist()[:2] == ["", "go around the box on the left to the cup"]
    assert columns["source"][1] == Source.POLICY
    assert columns["commanded"][-1].tolist() == [0.0, 0.0, 0.0]  # and the last one too, at the cup
    assert np.allclose(np.diff(columns["decided_s"]), 1.05, atol=SETTINGS.tick_period_s + 1e-6)
    assert (columns["exposure_s"] <= columns["decided_s"]).all()
    assert made[0].goal_s < attributes["total_duration"]


def test_a_second_call_goes_on_where_the_first_one_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noon = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)  # all within one second: names are told apart all the same
    monkeypatch.setattr(collecting, "EpisodeRecorder", partial(EpisodeRecorder, now=lambda: noon))
    collected(Plan("one", "", {NEAR: 1}), tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.h5")}
    assert collected(Plan("one", "", {NEAR: 1}), tmp_path) == []
    more = collected(Plan("two", "", {NEAR: 2}), tmp_path)
    assert [one.cell for one in more] == [NEAR]
    seeds = {attributes["seed"] for _, attributes in told(tmp_path)}
    assert len(seeds) == 2  # another scene of the same kind
    assert all((tmp_path / name).stat().st_mtime_ns == at for name, at in before.items())


def test_a_drive_longer_than_an_episode_becomes_linked_episodes(tmp_path: Path) -> None:
    made = collected(Plan("one", "", {NEAR: 1}), tmp_path, replace(SETTINGS, frame_period_s=0.3))
    assert len(made[0].episodes) >= 2
    paths = linked_episodes(tmp_path / made[0].episodes[-1])
    assert [path.name for path in paths] == list(made[0].episodes)
    assert {load(path).frames for path in paths} == {FRAMES}
    progress = count_progress(told(tmp_path))
    assert (progress.there, progress.episodes) == ({NEAR: 1}, len(paths))


def test_a_drive_that_failed_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "ATTEMPTS", 2)
    monkeypatch.setattr(collecting, "succeeded", lambda result: False)
    made = collected(Plan("one", "", {NEAR: 1}), tmp_path)
    assert len(made) == 2
    assert len({one.seed for one in made}) == 2
    assert all(one.failure and not one.episodes for one in made)
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_killed_collection_go(tmp_path: Path) -> None:
    staging = tmp_path / STAGING
    staging.mkdir()
    (staging / "episode_20261122_120000_free.h5.part").write_bytes(b"half")
    assert len(collected(Plan("one", "", {NEAR: 1}), tmp_path)) == 1
    assert [path.suffix for path in tmp_path.iterdir()] == [".h5"]


def test_a_kill_between_two_moves_leaves_no_half_of_a_demonstration(tmp_path: Path) -> None:
    settings, plan = replace(SETTINGS, frame_period_s=0.3), Plan("one", "", {NEAR: 1})
    (made,) = collected(plan, tmp_path, settings)
    staging = tmp_path / STAGING
    staging.mkdir()
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.h5")}
    assert len(before) >= 2
    last = tmp_path / made.episodes[-1]
    last.rename(staging / last.name)  # the others were moved before the kill
    (staging / made.episodes[0]).write_bytes(b"half")
    assert collected(plan, tmp_path, settings) == []
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_two_collections_into_one_folder_do_not_mix(tmp_path: Path) -> None:
    with collecting._staging(tmp_path), pytest.raises(CollectionError, match="somebody else collects into this folder"):
        collected(Plan("one", "", {NEAR: 1}), tmp_path)


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: EpisodeWriter, *arguments: Any, **more: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(EpisodeWriter, "append", full)
    with pytest.raises(CollectionError, match="No space left on device"):
        collected(Plan("one", "", {NEAR: 1}), tmp_path)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = tmp_path / "mine.yaml"
    plan.write_text("targets: {1box_vert_left: {core: {close: [1, 0, 0]}}}\n")
    out = tmp_path / "out"
    arguments = ["episodes", "collect", "--plan", str(plan), "--out", str(out), "--json"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)["result"]
    assert (result["wanted"], result["there"], len(result["made"])) == (1, 1, 1)
    assert "1/1  1box_vert_left core close left" in printed.err
    assert main(["episodes", "plan", str(out), "--plan", str(plan)]) == 0
    assert "mine: 1 of 1 demonstrations there" in capsys.readouterr().out
    assert main(["episodes", "plan", str(out), "--plan", str(plan), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["result"]["cells"] == [{**NEAR._asdict(), "wanted": 1, "there": 1}]


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--plan", "none"], ["--policy", "nobody"]):
        assert main(["episodes", "collect", "--out", str(tmp_path / "out"), *arguments]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "out").exists()
    with pytest.raises(SettingsError, match="wants nothing"):
        collecting.check_plan(Plan("empty", "", {}), "expert")
