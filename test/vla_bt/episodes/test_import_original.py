"""Old files come in whole, red stays red, and a key press is never taken for a velocity."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from mcap.reader import make_reader

from vla_bt.cli.main import main
from vla_bt.episodes.augment import find_sources, materialise, write_books
from vla_bt.episodes.check import check_file
from vla_bt.episodes.dataset import EpisodeDataset
from vla_bt.episodes.export_lerobot import export_lerobot
from vla_bt.episodes.format import EpisodeError, load
from vla_bt.episodes.import_original import import_original
from vla_bt.episodes.schema import COLUMNS
from vla_bt.episodes.units import KEYS, UNKNOWN, action_unit

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


UNITS = {
    "keys": ({}, ["key_x", "key_y", "key_turn"], "key_direction"),
    "unknown": ({"actions": np.full((18, 3), 0.37)}, ["unknown_x", "unknown_y", "unknown_turn"], "action_of_unknown_unit"),
    "velocities": ({"actions": np.full((18, 3), 0.25)}, ["linear_x", "linear_y", "angular_z"], "commanded"),
}


def of_unit(old: Path, kind: str) -> Path:
    path = edit(old, **UNITS[kind][0])
    if kind == "velocities":
        with h5py.File(path, "a") as file:
            file["actions"].attrs["units"] = "m/s, m/s, rad/s"
    return path


@pytest.mark.parametrize("kind", UNITS)
def test_both_exports_take_what_was_imported_and_leave_out_what_nobody_knows(
    old: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = of_unit(old, kind)
    imported = import_original(path, tmp_path / "new").path
    for number, source in enumerate((imported, path)):  # an original file goes the same way
        out = tmp_path / f"lerobot{number}"
        assert main(["episodes", "export", str(source), "--to", "lerobot", "--out", str(out), "--json"]) == 0
        result = json.loads(capsys.readouterr().out)["result"]
        assert (result["frames"], result["frames_left_out"]) == (17, 1)
        info = json.loads((out / "meta/info.json").read_text())
        assert info["features"]["action"]["names"] == UNITS["unknown" if number and kind == "keys" else kind][1]
        assert "recorded_s" not in info["features"]
        rows = pq.read_table(out / "data/chunk-000/file-000.parquet").to_pylist()
        assert np.allclose([row["action"] for row in rows], stored(path, "actions")[1:])
        assert [row["frame_index"] for row in rows] == list(range(17))
    assert main(["episodes", "export", str(imported), "--to", "mcap", "--out", str(tmp_path / "mcap")]) == 0
    with (tmp_path / "mcap" / f"{NAME}.mcap").open("rb") as file:
        topics = [channel.topic for _, channel, _ in make_reader(file).iter_messages()]
    assert topics.count(f"/{UNITS[kind][2]}") == 17
    assert topics.count("/camera/image/compressed") == 18


def test_an_episode_of_frame_0_alone_has_nothing_to_export(old: Path, tmp_path: Path) -> None:
    edit(old, **{name: stored(old, name)[:1] for name in ("images", "actions", "action_event_types")}, num_frames=1)
    with pytest.raises(EpisodeError, match="holds frame 0 alone"):
        export_lerobot([import_original(old, tmp_path / "new").path], tmp_path / "out")


@pytest.mark.parametrize("kind", ["unknown", "velocities"])
def test_views_of_what_was_imported_keep_what_it_is(old: Path, tmp_path: Path, kind: str) -> None:
    new = tmp_path / "new"
    source = load(import_original(of_unit(old, kind), new).path)
    books = write_books(new, find_sources(new, lambda done, of: None), 4, 0, 3)
    views = EpisodeDataset.open(new, books)[1:]
    assert {action_unit(content) for content in views.contents()} == {source.action_unit}
    for index, path in enumerate(materialise(views, tmp_path / "views", lambda done, of: None)):
        assert views.episode(index).action_unit == load(path).action_unit == source.action_unit
        with h5py.File(path) as file, h5py.File(source.path) as first:
            for name in COLUMNS:
                assert dict(file[name].attrs) == dict(first[name].attrs), name
            for name in ("units", "total_duration", "started", "imported_from", "imported_sha256", "imported_channel_order"):
                assert file.attrs[name] == first.attrs[name], name
        assert [found for found in check_file(path).findings if found.severity == "error"] == []


def test_views_of_the_original_format_are_no_files(old: Path, tmp_path: Path) -> None:
    books = write_books(old.parent, find_sources(edit(old, actions=np.zeros((18, 3))).parent, lambda done, of: None), 1, 0, 3)
    with pytest.raises(EpisodeError, match="import' makes it an episode first"):
        materialise(EpisodeDataset.open(old.parent, books)[1:], tmp_path / "views", lambda done, of: None)


def test_a_file_without_date_or_duration_is_imported_and_says_so(old: Path, tmp_path: Path) -> None:
    undated = edit(old, total_duration=None).rename(old.with_name("close_core_1box_vert_left.h5"))
    done = import_original(edit(undated, episode_name=undated.stem), tmp_path / "new")
    report = check_file(done.path)
    told = [found.words for found in report.findings if found.code == "not-told"]
    assert {found.severity for found in report.findings} == {"note"}
    assert [word for word in ("recorded", "total_duration", "frame 0") if not any(word in words for words in told)] == []
    books = write_books(done.path.parent, find_sources(done.path.parent, lambda done, of: None), 0, 0, 3)
    assert books == {}


def test_event_types_nobody_knows_are_told_anew_and_said(old: Path, tmp_path: Path) -> None:
    done = import_original(edit(old, action_event_types=["episode_start"] + ["foo\x1b"] * 17), tmp_path / "new")
    assert done.notes == (r"17 event types are none of the format's ('foo\x1b'): told anew from frame and action",)
    assert load(done.path).columns["action_event_types"].tolist()[:4] == ["episode_start"] + ["start_action"] * 2 + [
        "stop_action"
    ]


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
