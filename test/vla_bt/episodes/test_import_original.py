"""Old files come in whole, red stays red, and a key press is never taken for a velocity."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from vla_bt.cli.main import main
from vla_bt.episodes.check import check_file
from vla_bt.episodes.dataset import EpisodeDataset
from vla_bt.episodes.format import EpisodeError, load
from vla_bt.episodes.import_original import import_original
from vla_bt.episodes.units import KEYS, UNKNOWN

NAME = "episode_20250808_123136_1box_vert_left"
WOOD = (150, 105, 60)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "old" / f"{NAME}.h5"
    path.parent.mkdir()
    images = np.clip(np.array(WOOD) + np.random.default_rng(1).integers(-20, 20, (18, 24, 32, 1)), 0, 255)
    with h5py.File(path, "w") as file:
        file["images"] = images.astype(np.uint8)
        file["actions"] = np.array([[0, 0, 0]] + [[1.15, 0, 0], [0, -1.15, 0], [0, 0, 0]] * 5 + [[1.15, 1.15, 0]] * 2)
        file["action_event_types"] = ["episode_start"] + ["start_action"] * 17
        file.attrs.update(episode_name=NAME, scenario="1box_vert_left", action_chunk_size=8, num_frames=18, total_duration=18.87)
    return path


def edit(path: Path, **changes: Any) -> Path:
    with h5py.File(path, "a") as file:
        for name, value in changes.items():
            place = file if name in file else file.attrs
            if name in place:
                del place[name]
            if value is not None:
                place[name] = value
    return path


def stored(path: Path, name: str) -> Any:
    with h5py.File(path) as file:
        return file[name][:]


def test_everything_the_original_tells_is_kept(old: Path, tmp_path: Path) -> None:
    before = old.read_bytes()
    done = import_original(old, tmp_path / "new")
    assert old.read_bytes() == before
    assert done.path == tmp_path / "new" / f"{NAME}.h5"
    episode = load(done.path)
    assert np.array_equal(episode.images, stored(old, "images"))
    assert np.array_equal(episode.columns["actions"], stored(old, "actions").astype(np.float32))
    assert episode.columns["action_event_types"].tolist() == ["episode_start"] + ["start_action"] * 17
    told = episode.attributes
    assert (told["scenario"], told["num_frames"], told["total_duration"]) == ("1box_vert_left", 18, 18.87)
    assert (told["origin"], told["source_episode"]) == ("imported", NAME)
    assert told["source_sha256"] == hashlib.sha256(before).hexdigest()
    assert told["frame_period_s"] == pytest.approx(18.87 / 18, abs=1e-6)
    assert told["started"] == "2025-08-08T12:31:36"


def test_key_presses_stay_key_presses_and_are_marked(old: Path, tmp_path: Path) -> None:
    done = import_original(old, tmp_path / "new")
    assert (done.unit, load(done.path).action_unit) == (KEYS, KEYS)
    with h5py.File(done.path) as file:
        assert "no velocity" in file["actions"].attrs["units"]
        assert "m/s" not in file.attrs["units"]


def test_key_presses_are_not_learned_as_velocities(old: Path, tmp_path: Path) -> None:
    import_original(old, tmp_path / "new")
    dataset = EpisodeDataset.open(tmp_path / "new")
    with pytest.raises(EpisodeError, match="key presses, no velocities"):
        dataset[0]


def test_what_is_not_known_is_nan(old: Path, tmp_path: Path) -> None:
    columns = load(import_original(old, tmp_path / "new").path).columns
    assert np.isnan(columns["commanded"][0]).all()
    assert np.isfinite(columns["commanded"][1:]).all()
    for name in ("applied", "decided_s", "receipt_s", "odometry", "seen_odometry", "policy_latency_s"):
        assert np.isnan(columns[name]).all()


def test_an_imported_episode_passes_the_check(old: Path, tmp_path: Path) -> None:
    report = check_file(import_original(old, tmp_path / "new").path)
    assert [found for found in report.findings if found.severity != "note"] == []


def test_pictures_in_bgr_become_rgb(old: Path, tmp_path: Path) -> None:
    right = stored(old, "images")
    edit(old, images=right[..., ::-1])
    done = import_original(old, tmp_path / "new")
    assert (done.channel_order, done.by) == ("bgr", "colours")
    assert np.array_equal(load(done.path).images, right)


def test_grey_pictures_need_a_word(old: Path, tmp_path: Path) -> None:
    grey = np.repeat(stored(old, "images")[..., :1], 3, axis=3)
    grey[..., 2] += 1
    edit(old, images=grey)
    with pytest.raises(EpisodeError, match="say --channel-order rgb or bgr"):
        import_original(old, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    done = import_original(old, tmp_path / "new", "bgr")
    assert done.by == "told"
    assert np.array_equal(load(done.path).images, grey[..., ::-1])


def test_a_word_or_an_attribute_counts_more_than_the_colours(old: Path, tmp_path: Path) -> None:
    assert import_original(old, tmp_path / "a", "bgr").channel_order == "bgr"
    edit(old, colour_order="BGR")
    assert import_original(old, tmp_path / "b").by == "attribute"


def test_the_scenario_is_taken_from_the_name_where_nothing_else_tells(old: Path, tmp_path: Path) -> None:
    done = import_original(edit(old, scenario=None), tmp_path / "new")
    assert load(done.path).attributes["scenario"] == "1box_vert_left"
    assert done.notes == ("no attribute scenario; its name says 1box_vert_left",)


def test_later_originals_tell_pattern_and_distance(old: Path, tmp_path: Path) -> None:
    told = load(import_original(edit(old, pattern_type="variant", distance_level="far"), tmp_path / "new").path).attributes
    assert (told["pattern"], told["distance"]) == ("variant", "far")


def test_actions_of_another_unit_are_marked_unknown(old: Path, tmp_path: Path) -> None:
    done = import_original(edit(old, actions=np.full((18, 3), 0.37)), tmp_path / "new")
    assert (done.unit, load(done.path).action_unit) == (UNKNOWN, UNKNOWN)
    assert "the actions' unit is unknown" in done.notes


def test_nothing_is_written_over(old: Path, tmp_path: Path) -> None:
    import_original(old, tmp_path / "new")
    with pytest.raises(EpisodeError, match="is there already"):
        import_original(old, tmp_path / "new")


def test_an_episode_of_ours_is_not_imported(old: Path, tmp_path: Path) -> None:
    done = import_original(old, tmp_path / "new")
    with pytest.raises(EpisodeError, match="is an episode of this program already"):
        import_original(done.path, tmp_path / "newer")


def test_the_verb_imports_what_it_can(old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (old.parent / "broken.h5").write_bytes(b"nothing")
    out = tmp_path / "new"
    assert main(["episodes", "import", str(old.parent), "--out", str(out), "--json"]) == 1
    captured = capsys.readouterr()
    result = json.loads(captured.out)["result"]
    assert result["imported"][0]["action_unit"] == KEYS
    assert captured.err.rstrip().endswith("broken.h5: not a readable HDF5 file")
    assert [path.name for path in out.iterdir()] == [f"{NAME}.h5"]
    assert main(["episodes", "import", str(old.parent / "broken.h5"), "--out", str(out)]) == 2
