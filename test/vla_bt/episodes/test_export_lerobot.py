"""The dataset has the layout that lerobot 0.4 writes itself; ``tools/check_lerobot_export.py`` loads one with that package."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import av
import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from vla_bt.cli.main import main
from vla_bt.episodes.export_lerobot import CAMERA, export_lerobot
from vla_bt.episodes.export_stats import ImageCounts, of_columns
from vla_bt.episodes.format import EpisodeInfo, EpisodeWriter, FrameSample, load
from vla_bt.episodes.schema import EpisodeError
from vla_bt.episodes.units import KEY_UNITS
from vla_bt.words import Twist

Make = Callable[..., FrameSample]
Clock = Callable[[], datetime]


@pytest.fixture
def write(tmp_path: Path, at_noon: Clock, make_sample: Make) -> Callable[..., Path]:
    """Make an episode; its frame n is of brightness 10 n."""

    def made(frames: int = 18, period_s: float = 1.05, height: int = 48, **changes: Any) -> Path:
        info = EpisodeInfo("1box_vert_left", frame_period_s=period_s)
        writer = EpisodeWriter(tmp_path / "runs", at_noon(), info, height, 64)
        for index in range(frames):
            image = np.full((height, 64, 3), 10 * index, np.uint8)
            writer.append(make_sample(index, image=image, decided_s=50 + period_s * index, **changes))
        return writer.finish()

    return made


def rows(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


def test_every_row_comes_back(write: Callable[..., Path], tmp_path: Path) -> None:
    paths = [write(), write(5, goal_text="turn left")]
    info = export_lerobot(paths, tmp_path / "out")
    data = rows(tmp_path / "out/data/chunk-000/file-000.parquet")
    assert (info["total_episodes"], info["total_frames"], len(data)) == (2, 23, 23)
    assert [row["index"] for row in data] == list(range(23))
    assert [row["episode_index"] for row in data] == [0] * 18 + [1] * 5
    assert [row["frame_index"] for row in data] == [*range(18), *range(5)]
    assert [row["timestamp"] for row in data[:3]] == pytest.approx([0.0, 1.05, 2.1])
    commanded = np.concatenate([load(path).columns["commanded"] for path in paths])
    assert [row["action"] for row in data] == pytest.approx(commanded)
    assert data[0]["action"] == pytest.approx([0.2, 0.0, -0.1])  # frame 0 too
    assert data[2]["observation.state"] == pytest.approx([2.0, 0.5, 0.1, 0.1, 0.0, 0.0])
    tasks = pq.read_table(tmp_path / "out/meta/tasks.parquet")
    assert tasks["__index_level_0__"].to_pylist() == ["go around the box on the left to the cup", "turn left"]
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["__index_level_0__"]
    assert [row["task_index"] for row in data] == [0] * 18 + [1] * 5


def test_the_times_that_were_stand_beside_the_grid(write: Callable[..., Path], tmp_path: Path) -> None:
    path, times = write(4), [50.0, 51.1, 52.1, 53.2]
    with h5py.File(path, "a") as file:
        file["decided_s"][:] = times
    export_lerobot([path], tmp_path / "out")
    data = rows(tmp_path / "out/data/chunk-000/file-000.parquet")
    assert [row["timestamp"] for row in data] == pytest.approx([0.0, 1.05, 2.1, 3.15])
    assert [row["recorded_s"] for row in data] == pytest.approx([0.0, 1.1, 2.1, 3.2], abs=1e-5)


def test_the_film_holds_all_frames_of_all_episodes_in_order(write: Callable[..., Path], tmp_path: Path) -> None:
    export_lerobot([write(), write(5)], tmp_path / "out")
    first, second = rows(tmp_path / "out/meta/episodes/chunk-000/file-000.parquet")
    assert (first[f"videos/{CAMERA}/from_timestamp"], second[f"videos/{CAMERA}/from_timestamp"]) == pytest.approx((0.0, 18.9))
    assert second[f"videos/{CAMERA}/to_timestamp"] == pytest.approx(24.15)
    with av.open(str(tmp_path / f"out/videos/{CAMERA}/chunk-000/file-000.mp4")) as film:
        (stream,) = film.streams.video
        assert stream.codec_context.name == "h264"
        frames = list(film.decode(stream))
    assert [frame.time for frame in frames] == pytest.approx([1.05 * index for index in range(23)], abs=1e-4)
    levels = [frame.to_ndarray(format="rgb24").mean() for frame in frames]
    assert levels == pytest.approx([10 * index for index in [*range(18), *range(5)]], abs=2.5)


def test_a_full_film_is_followed_by_another(write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vla_bt.episodes.export_lerobot.VIDEO_BYTES", -1)
    export_lerobot([write(3), write(4)], tmp_path / "out")
    _, second = rows(tmp_path / "out/meta/episodes/chunk-000/file-000.parquet")
    assert (second[f"videos/{CAMERA}/file_index"], second[f"videos/{CAMERA}/from_timestamp"]) == (1, 0.0)
    with av.open(str(tmp_path / f"out/videos/{CAMERA}/chunk-000/file-001.mp4")) as film:
        assert len(list(film.decode(video=0))) == 4


def test_the_description_names_every_column(write: Callable[..., Path], tmp_path: Path) -> None:
    info = export_lerobot([write(4)], tmp_path / "out")
    assert json.loads((tmp_path / "out/meta/info.json").read_text()) == info
    assert info["codebase_version"] == "v3.0"
    assert info["fps"] == pytest.approx(1 / 1.05)
    columns = set(pq.read_table(tmp_path / "out/data/chunk-000/file-000.parquet").column_names)
    assert columns == set(info["features"]) - {CAMERA}
    assert info["features"][CAMERA]["shape"] == [48, 64, 3]
    assert info["features"]["action"]["names"] == ["linear_x", "linear_y", "angular_z"]
    stats = json.loads((tmp_path / "out/meta/stats.json").read_text())
    assert set(stats) == set(info["features"])
    assert stats[CAMERA]["max"] == [[[pytest.approx(30 / 255)]]] * 3
    assert stats[CAMERA]["count"] == [4]


def test_whole_frame_rates_stay_whole(write: Callable[..., Path], tmp_path: Path) -> None:
    assert export_lerobot([write(4, period_s=0.1)], tmp_path / "out")["fps"] == 10


@pytest.mark.parametrize("period_s", [1e-300, 1e-9, 1e300])
def test_a_period_that_nobody_can_show_is_not_believed(write: Callable[..., Path], tmp_path: Path, period_s: float) -> None:
    path = write(4)
    with h5py.File(path, "r+") as file:
        file.attrs["frame_period_s"] = period_s
    assert export_lerobot([path], tmp_path / "out")["fps"] == pytest.approx(4 / 3.15)  # by its duration


def test_without_odometry_there_is_no_state(write: Callable[..., Path], tmp_path: Path) -> None:
    assert "observation.state" not in export_lerobot([write(3), write(3, odometry=None)], tmp_path / "out")["features"]


def test_key_presses_are_named_so(write: Callable[..., Path], tmp_path: Path) -> None:
    path = write(3)
    with h5py.File(path, "a") as file:
        file["actions"].attrs["units"] = KEY_UNITS
    assert export_lerobot([path], tmp_path / "out")["features"]["action"]["names"] == ["key_x", "key_y", "key_turn"]
    with pytest.raises(EpisodeError, match="actions in SI, the first file's are key direction; export them apart"):
        export_lerobot([path, write(3)], tmp_path / "mixed")


@pytest.mark.parametrize(
    "other, words",
    [
        ({"period_s": 0.5}, "frames are 0.5 s apart, the first file's 1.05 s"),
        ({"height": 32}, r"pictures of \(64, 32\), the first file's are \(64, 48\)"),
        ({"action": Twist(float("nan"), 0.0, 0.0)}, "an action is not finite"),
    ],
)
def test_what_a_dataset_has_one_of(write: Callable[..., Path], tmp_path: Path, other: dict[str, Any], words: str) -> None:
    with pytest.raises(EpisodeError, match=words):
        export_lerobot([write(3), write(3, **other)], tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]  # nothing half done


def test_the_verb_never_writes_into_a_folder_that_is_there(
    write: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["episodes", "export", str(write(3).parent), "--to", "lerobot", "--out", str(tmp_path / "out"), "--json"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["result"]["frames"] == 3
    assert main(command) == 2
    assert "is there already" in capsys.readouterr().err


def test_figures_of_pictures_and_columns() -> None:
    counts = ImageCounts()
    images = np.random.default_rng(1).integers(0, 256, (4, 64, 64, 3), np.uint8)
    counts.add(images)
    figures, seen = counts.figures(), images[:, ::4, ::4] / 255.0
    assert np.ravel(figures["mean"]) == pytest.approx(seen.mean(axis=(0, 1, 2)))
    assert np.ravel(figures["std"]) == pytest.approx(seen.std(axis=(0, 1, 2)))
    assert np.ravel(figures["q50"]) == pytest.approx(np.quantile(seen, 0.5, axis=(0, 1, 2)), abs=0.01)
    told = of_columns({"a": [np.array([0.0, 4.0]), np.array([2.0, 8.0])], "b": [3, 5]})
    assert told["a"]["mean"] == [1.0, 6.0]
    assert (told["b"]["min"], told["b"]["max"], told["b"]["count"]) == ([3], [5], [2])
