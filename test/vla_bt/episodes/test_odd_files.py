"""Files whose names are right and whose contents are not: every verb says one line or does without; none falls over."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from vla_bt.cli.main import main
from vla_bt.episodes.format import EpisodeInfo, EpisodeWriter, FrameSample, load
from vla_bt.episodes.schema import EpisodeError, trusted

ODD: list[tuple[str, Any]] = [
    ("num_frames", "many"),
    ("demonstration_index", 10**15),
    ("started", ""),
    ("applied_s", np.zeros(5)),
    ("commanded", np.full(18, -5)),
    ("decided_s", np.full(18, 1e300)),
    ("receipt_s", np.full(18, -1e12)),
    ("source", np.full(18, 10**18)),
    ("goal_text", np.zeros(18)),
    ("frames_dropped_before", np.full(18, -5)),
]


@pytest.fixture
def episode(tmp_path: Path, at_noon: Callable[[], datetime], make_sample: Callable[..., FrameSample]) -> Path:
    info = EpisodeInfo("1box_vert_left", 1.0, "core", "close", "left", seed=800_000, origin="simulated", demonstration_id="demo")
    writer = EpisodeWriter(tmp_path / "in", at_noon(), info, 24, 32)
    for index in range(18):
        writer.append(make_sample(index))
    return writer.finish()


def spoil(path: Path, name: str, value: Any) -> None:
    with h5py.File(path, "a") as file:
        if name in file:
            units = dict(file[name].attrs)
            del file[name]
            file[name] = value
            file[name].attrs.update(units)
        else:
            del file.attrs[name]
            file.attrs[name] = value


@pytest.mark.parametrize("name, value", ODD, ids=[f"{name}-{at}" for at, (name, _) in enumerate(ODD)])
def test_every_verb_survives_it(episode: Path, tmp_path: Path, name: str, value: Any, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(episode, name, value)
    folder, out = str(episode.parent), tmp_path / "out"
    for words in (
        ["ls", folder],
        ["show", str(episode)],
        ["check", folder],
        ["stats", folder],
        ["plan", folder],
        ["replay", str(episode)],
        ["augment", folder, "--general", "1", "--distance-aware", "0", "--materialise", "1", "--out", str(out / "views")],
        ["export", str(episode), "--to", "mcap", "--out", str(out / "mcap")],
    ):
        code = main(["episodes", *words])
        errors = capsys.readouterr().err
        assert code in (0, 1, 2), words
        assert code != 2 or len(errors.splitlines()) == 1, (words, errors)


def test_a_column_of_another_shape_or_range_is_refused_by_name(episode: Path) -> None:
    spoil(episode, "frames_dropped_before", np.full(18, -5))
    with pytest.raises(EpisodeError, match=r"not an episode: frames_dropped_before are \(18,\) int64, expected \(18,\) u4"):
        load(episode)


def test_an_attribute_of_another_kind_is_as_good_as_missing() -> None:
    told = {"seed": "abc", "complete": 1, "total_duration": 18, "frame_period_s": float("nan"), "scenario": "free", "own": [1]}
    assert trusted(told) == {"total_duration": 18, "scenario": "free", "own": [1]}
