"""The counts are right and the baselines are what their definitions say, worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest

from vla_bt.cli.main import main
from vla_bt.episodes.format import EpisodeInfo, EpisodeWriter, FrameSample
from vla_bt.episodes.stats import action_figures, collect, figures
from vla_bt.episodes.units import KEY_UNITS, KEYS, SI

Make = Callable[..., FrameSample]
Clock = Callable[[], datetime]


@pytest.fixture
def write(tmp_path: Path, at_noon: Clock, make_sample: Make) -> Callable[..., Path]:
    def made(**info: Any) -> Path:
        writer = EpisodeWriter(tmp_path / "runs", at_noon(), EpisodeInfo(**{"scenario": "1box_vert_left", **info}), 24, 32)
        for index in range(18):
            writer.append(make_sample(index))
        return writer.finish()

    return made


def test_kinds_and_their_balance(write: Callable[..., Path]) -> None:
    paths = [write(distance="far"), write(distance="far"), write(distance="close"), write(scenario="2box_hori_right")]
    result = figures(collect(paths))
    assert (result["episodes"], result["frames"], result["duration_s"]) == (4, 72, 68.0)
    assert result["kinds"]["scenario"] == {"1box_vert_left": 3, "2box_hori_right": 1}
    assert result["kinds"]["distance"] == {"close": 1, "far": 2, "not told": 1}
    assert result["kinds"]["source"] == {"policy": 72}
    assert result["balance"]["scenario"] == pytest.approx(0.811, abs=1e-3)
    assert result["balance"]["source"] == 0.0
    assert sum(cell["episodes"] for cell in result["cells"]) == 4
    assert result["events"] == {"episode_start": 4, "start_action": 52, "stop_action": 16}


def test_baselines_by_hand() -> None:
    forward, stand, left = [0.4, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.3]
    told = action_figures(SI, [np.array([stand, forward, forward, left]), np.array([stand, forward, forward, forward])])
    assert told["directions"] == {"forward": 5, "stand": 2, "turn left": 1}
    baselines = told["baselines"]
    # median: forward; off by 0.4 twice while standing and by 0.4 + 0.3 once, over 24 numbers
    assert baselines["constant"]["mae"] == pytest.approx((0.4 + 0.4 + 0.7) / 24)
    assert baselines["constant"]["without_first"] == pytest.approx(0.7 / 18)
    # each change of action costs its size once
    assert baselines["hold_last"]["mae"] == pytest.approx((0.4 + 0.7 + 0.4) / 24)
    assert baselines["hold_last"]["without_first"] == pytest.approx((0.4 + 0.7 + 0.4) / 18)
    assert baselines["majority_key"]["mae"] == pytest.approx((0.4 + 0.4 + 0.7) / 24)
    assert told["axes"]["linear_x"]["still"] == pytest.approx(3 / 8)
    assert sum(told["axes"]["angular_z"]["histogram"]["counts"]) == 8


def test_unknown_actions_are_left_out() -> None:
    told = action_figures(KEYS, [np.array([[np.nan] * 3, [1.15, 0.0, 0.0], [1.15, -1.15, 0.0]])])
    assert (told["frames"], told["known"]) == (3, 2)
    assert told["directions"] == {"forward": 1, "forward right": 1}
    assert action_figures(SI, [np.full((4, 3), np.nan)])["known"] == 0


def test_units_are_never_mixed(write: Callable[..., Path]) -> None:
    first, second = write(), write()
    with h5py.File(second, "a") as file:
        file["actions"].attrs["units"] = KEY_UNITS
    assert {unit: told["frames"] for unit, told in figures(collect([first, second]))["actions"].items()} == {SI: 18, KEYS: 18}


def test_the_verb_draws_and_tells(write: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(scenario="a $x_1$ \x1b[2J").parent
    assert main(["episodes", "stats", str(folder), "--plots", str(tmp_path / "plots"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    assert [Path(path).name for path in result["plots"]] == ["kinds.png", "actions.png"]
    for path in result["plots"]:
        picture = cv2.imread(path)
        assert picture is not None
        assert picture.std() > 10
    assert main(["episodes", "stats", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "MAE of hold last" in out
    assert "\x1b" not in out
    (folder / "z.h5").write_bytes(b"")
    assert main(["episodes", "stats", str(folder)]) == 1
    said = capsys.readouterr()
    assert said.err.endswith("z.h5: is empty (0 bytes)\n")
    assert "MAE of hold last" in said.out
