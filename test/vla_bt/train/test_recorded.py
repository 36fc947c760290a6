"""18-frame files and views of them become drives to learn from."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vla_bt.episodes.augment import find_sources, write_books
from vla_bt.episodes.dataset import EpisodeDataset, Item
from vla_bt.episodes.format import FRAMES, EpisodeInfo, EpisodeWriter, FrameSample
from vla_bt.policy.config import load_preset
from vla_bt.port import Odometry
from vla_bt.settings import SettingsError
from vla_bt.train.data import draw_lessons, load_sequences, windows
from vla_bt.train.learner import Learner
from vla_bt.train.recorded import drive_of, write_shards
from vla_bt.train.settings import TrainSettings
from vla_bt.train.trainer import Trainer
from vla_bt.words import Mode, Source, Twist

GOAL = "go around the box on the left to the cup"
SIZE = (128, 72)


def write(folder: Path, seed: int, scenario: str = "1box_vert_left") -> None:
    """One demonstration: a frame before the goal, eleven of driving, six at the cup."""
    noon = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)
    info = EpisodeInfo(scenario, 1.0, "core", "far", "left", seed=seed, demonstration_id=f"d{seed}")
    writer = EpisodeWriter(folder, noon, info, 72, 128)
    for index in range(FRAMES):
        moves = 0 < index < 12
        writer.append(
            FrameSample(
                image=np.full((72, 128, 3), 10 * index, np.uint8),
                action=Twist(0.3, 0.1, -0.2) if moves else Twist(),
                applied=None,
                source=Source.POLICY,
                mode=Mode.VLA,
                frame_sequence=index,
                exposure_s=100.0 + index,
                receipt_s=float(index),
                decided_s=float(index),
                goal_text=GOAL if moves else "",
                goal_id=1,
                odometry=Odometry(0.0, 0.0, 0.0, Twist(0.25, 0.0, 0.0), float(index)),
                policy_latency_s=None,
                weights_hash="",
            )
        )
    writer.finish()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five demonstrations, one of them of nothing that can be learned here."""
    runs = tmp_path / "runs"
    for seed in range(4):
        write(runs, seed)
    write(runs, 9, "free")
    return runs


def item(folder: Path, **changes: Any) -> Item:
    first = next(one for one in EpisodeDataset.open(folder) if one.attributes["scenario"] == "1box_vert_left")
    return replace(first, **changes)


def test_frames_count_from_the_goal_on_and_the_stand_at_the_end_is_the_arrival(folder: Path) -> None:
    drive = drive_of(item(folder))
    assert drive is not None
    assert (drive["side"], drive["boxes"]) == ("left", 1)
    assert drive["frames"][:, 0, 0, 0].tolist() == [10 * index for index in range(1, FRAMES)]
    assert drive["stop"].tolist() == [0.0] * 11 + [1.0] * 6
    assert drive["elapsed"].tolist() == [0.0] + [1.0] * 16
    assert np.allclose(drive["twist"], [0.25, 0.0, 0.0])
    assert np.allclose(drive["actions"][:11], [0.3, 0.1, -0.2])
    assert not drive["actions"][11:].any()
    assert not drive["known"].any()


def test_an_original_file_without_goal_or_odometry_is_learned_from_but_for_its_first_command(folder: Path) -> None:
    own = item(folder)
    known = np.ones(FRAMES, bool)
    known[0] = False
    drive = drive_of(replace(own, known=known, columns={"actions": own.columns["actions"]}))
    assert drive is not None
    assert len(drive["stop"]) == FRAMES - 1
    assert np.allclose(drive["twist"][1], [0.3, 0.1, -0.2])  # what was commanded on the frame before


@pytest.mark.parametrize("scenario", ["free", "somewhere_left", ""])
def test_where_no_side_is_told_there_is_nothing_to_learn(folder: Path, scenario: str) -> None:
    own = item(folder)
    assert drive_of(replace(own, attributes={**own.attributes, "scenario": scenario})) is None


def test_files_and_views_of_the_training_split_alone_are_learned_from(folder: Path, tmp_path: Path) -> None:
    books = write_books(folder, find_sources(folder, lambda done, of: None), 20, 4, 0)
    paths = [folder, *sorted(folder.glob("*.recipes.json"))]
    told: list[tuple[int, int]] = []
    shards = write_shards(paths, tmp_path / "shards", SIZE, lambda done, of: told.append((done, of)))
    kept = EpisodeDataset.open(folder, books).split("train")
    useful = [kept.attributes(index)["scenario"].endswith(("left", "right")) for index in range(len(kept))]
    sequences = load_sequences(shards)
    assert len(sequences) == sum(useful) > 4
    assert told[-1] == (len(kept), len(kept))
    assert {sequence.side for sequence in sequences} == {"left", "right"}  # mirrored views, too
    before = [path.stat().st_mtime_ns for path in shards]
    assert write_shards(paths, tmp_path / "shards", SIZE) == shards
    assert [path.stat().st_mtime_ns for path in shards] == before

    settings = TrainSettings(window=8, batch=4)
    learner, rng = Learner(load_preset("small-cnn"), settings), np.random.default_rng(0)
    losses = [
        learner.learn(batch, 2e-3)
        for _ in range(6)
        for group in draw_lessons(sequences, settings, rng)
        for batch in windows(group, 8, None)
    ]
    assert all(np.isfinite(list(loss.values())).all() for loss in losses)
    assert losses[-1]["action"] < losses[0]["action"]
    assert {loss["remembered"] for loss in losses} == {0.0}


def test_a_folder_without_episodes_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nothing: no such folder"):
        write_shards([tmp_path / "nothing"], tmp_path / "shards", SIZE)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError, match=r"empty: no complete episode of the training split"):
        write_shards([tmp_path / "empty"], tmp_path / "shards", SIZE)
    with pytest.raises(SettingsError, match=r"no\.recipes\.json"):
        write_shards([tmp_path / "no.recipes.json"], tmp_path / "shards", SIZE)


@pytest.mark.sim
@pytest.mark.slow
def test_a_run_learns_from_files(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vla_bt.train.trainer._VALIDATION_WORLDS", 1)
    settings = TrainSettings(jobs=1, epochs=1, dagger_rounds=0, trials=0, window=8)
    told: list[str] = []
    figures = Trainer(settings, tmp_path / "run", told.append, episodes=[folder]).run()
    assert 0 < figures["drives"] <= 4
    assert (tmp_path / "run" / "best" / "model.safetensors").exists()
    card = (tmp_path / "run" / "best" / "card.md").read_text()
    assert f"First {figures['drives']} drives of recorded episodes (`{folder}`)." in card
    assert "driven by the expert" not in card
    assert any((tmp_path / "run" / "tensorboard").glob("events.*"))
    with pytest.raises(SettingsError, match="other settings"):
        Trainer(settings, tmp_path / "run", told.append)
