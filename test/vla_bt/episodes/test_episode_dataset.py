"""Files and views read alike, and what was recorded once is in one part of the split alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_bt.cli.main import main
from vla_bt.episodes.augment import find_sources, materialise, spread, standing_frames, write_books
from vla_bt.episodes.dataset import SPLITS, EpisodeDataset, group_of, split_of, views_of
from vla_bt.episodes.format import FRAMES, EpisodeError, EpisodeInfo, EpisodeWriter, FrameSample, load
from vla_bt.episodes.recipes import Recipe, draw_general
from vla_bt.episodes.views import change_attributes
from vla_bt.words import Twist

Make = Callable[..., FrameSample]
INFO = {"scenario": "1box_vert_left", "pattern": "core", "distance": "far", "position": "left"}


@pytest.fixture
def folder(tmp_path: Path, at_noon: Callable[[], datetime], make_sample: Make) -> Path:
    """Three complete demonstrations, the last one of two episodes, and an episode cut short."""

    def write(frames: int = FRAMES, **told: Any) -> None:
        writer = EpisodeWriter(tmp_path, at_noon(), EpisodeInfo(**{**INFO, **told}), 36, 64)
        for index in range(frames):
            writer.append(make_sample(index, 36, 64, action=Twist(0.3, 0.1, 0.0) if index < 12 else Twist(), applied=None))
        writer.finish()

    write(seed=1, demonstration_id="one")
    write(seed=2, demonstration_id="two", distance="close")
    write(demonstration_id="three")
    write(demonstration_id="three", demonstration_index=1)
    write(frames=5, demonstration_id="four")
    return tmp_path


def silent(done: int, of: int) -> None:
    assert 0 < done <= of


def test_files_and_views_read_alike(folder: Path) -> None:
    books = write_books(folder, find_sources(folder, silent), 8, 4, 0)
    episodes = EpisodeDataset.open(folder, books)
    assert len(episodes) == 4 + 8 + 4
    for index, item in enumerate(episodes):
        assert item.images.shape == (FRAMES, 36, 64, 3)
        assert item.images.dtype == np.uint8
        assert item.actions.shape == (FRAMES, 3)
        assert item.actions.dtype == np.float32
        assert item.known.all()
        assert item.goal.startswith("go around the box on the ")
        assert item.attributes == episodes.attributes(index)
        side = "left" if item.goal.endswith("left to the cup") else "right"
        assert item.attributes["scenario"] == f"1box_vert_{side}"
        assert np.sign(item.actions[1, 1]) == (1 if side == "left" else -1)
    assert [item.attributes["origin"] for item in episodes] == ["recorded"] * 4 + ["augmented"] * 12
    assert len({item.attributes["episode_name"] for item in episodes}) == len(episodes)


def test_frame_0_tells_what_was_commanded_and_old_files_do_not(folder: Path) -> None:
    item = EpisodeDataset.open(folder)[0]
    assert item.actions[0] == pytest.approx([0.3, 0.1, 0.0])
    assert item.columns["actions"][0].tolist() == [0.0, 0.0, 0.0]
    old = folder / "old"
    old.mkdir()
    with h5py.File(old / "episode_20250808_123136_1box_vert_left.h5", "w") as file:
        file["images"] = np.zeros((FRAMES, 8, 8, 3), np.uint8)
        file["actions"] = np.full((FRAMES, 3), 1.15, np.float32)
        file["action_event_types"] = np.array([b"episode_start"] + [b"start_action"] * (FRAMES - 1))
        file.attrs["num_frames"] = FRAMES
    item = EpisodeDataset.open(old)[0]
    assert item.known.tolist() == [False] + [True] * (FRAMES - 1)
    assert item.goal == ""


def test_pictures_are_shrunk_on_request(folder: Path) -> None:
    books = write_books(folder, find_sources(folder, silent), 4, 0, 0)
    episodes = EpisodeDataset.open(folder, books, size=(16, 9))
    assert {item.images.shape for item in episodes} == {(FRAMES, 9, 16, 3)}
    assert len(episodes.split("train")) + len(episodes.split("validation")) + len(episodes.split("test")) == len(episodes)


def test_a_materialised_view_is_the_view(folder: Path, tmp_path: Path) -> None:
    books = write_books(folder, find_sources(folder, silent), 6, 3, 4)
    episodes = EpisodeDataset.open(folder, books)
    views = episodes[4:]
    paths = materialise(views, tmp_path / "views", silent)
    assert len(paths) == 9
    sheet = np.asarray(cv2.imread(str(tmp_path / "views" / "views.jpg")))
    assert sheet.shape[1] > 3 * 2 * 320
    for index, path in enumerate(paths):
        file, view = load(path), views.episode(index)
        assert path.stem == view.attributes["episode_name"] == file.attributes["episode_name"]
        assert file.attributes["scenario"] in path.stem
        assert np.array_equal(file.images, view.images)
        assert set(file.columns) == set(view.columns)
        for name, values in view.columns.items():
            assert np.array_equal(file.columns[name], values, equal_nan=values.dtype.kind == "f"), name
        for name in ("origin", "source_episode", "source_sha256", "recipe", "distance", "position", "frame_period_s", "complete"):
            assert file.attributes[name] == view.attributes[name], name
        assert group_of(file.attributes) == views.group(index)
    before = [path.stat().st_mtime_ns for path in paths]
    assert materialise(views, tmp_path / "views", silent) == paths  # what is there stays
    assert [path.stat().st_mtime_ns for path in paths] == before
    assert find_sources(tmp_path / "views", silent) == []  # views of views are none


def test_views_are_counted_without_their_pictures(folder: Path) -> None:
    from vla_bt.episodes.stats import collect, figures

    books = write_books(folder, find_sources(folder, silent), 8, 4, 0)
    episodes = EpisodeDataset.open(folder, books)
    found = collect([], (content for views in views_of(list(books)) for content in views.contents()))
    assert found.episodes == 12
    assert found.frames == 12 * FRAMES
    for kind in ("scenario", "distance"):
        told = [episodes.attributes(index)[kind] for index in range(4, 16)]
        assert found.kinds[kind] == {word: told.count(word) for word in told}
    for index, content in enumerate(episodes.contents()):
        for name, values in episodes.episode(index).columns.items():
            if name != "image_crc32":
                assert np.array_equal(content.columns[name], values, equal_nan=values.dtype.kind == "f"), name
    assert figures(found)


def test_a_source_that_changed_is_refused(folder: Path) -> None:
    books = write_books(folder, find_sources(folder, silent), 4, 0, 0)
    episodes = EpisodeDataset.open(folder, books)
    name = episodes[4].attributes["source_episode"]
    with h5py.File(folder / f"{name}.h5", "r+") as file:
        file["images"][0, 0, 0] = 77
    again = EpisodeDataset.open(folder, books)
    with pytest.raises(EpisodeError, match="changed since recipes were drawn for it"):
        again.episode(4)
    (folder / f"{name}.h5").unlink()
    with pytest.raises(EpisodeError, match=f"no complete episode {name}.h5"):
        EpisodeDataset.open(folder, books)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(EpisodeError, match="no such folder"):
        EpisodeDataset.open(tmp_path / "none")


def test_views_are_drawn_of_the_good_files_and_a_bad_one_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.h5").write_bytes(b"")
    command = ["episodes", "augment", str(folder), "--general", "3", "--distance-aware", "2"]
    assert main(command) == 1
    said = capsys.readouterr()
    assert said.out.startswith("4 episodes, ")
    assert said.err == f"{folder}/bad.h5: is empty (0 bytes)\n"
    assert not (folder / "views").exists()  # nothing was to be written there
    (folder / "bad.h5").unlink()
    assert main(command) == 0


def test_standing_frames(folder: Path) -> None:
    episode = EpisodeDataset.open(folder).episode(0)
    assert standing_frames(episode.columns) == 6
    moving = {**episode.columns, "applied": np.full((FRAMES, 3), 0.1)}
    assert standing_frames(moving) == 0


def test_spread() -> None:
    assert spread(1202, 24) == sorted(set(spread(1202, 24)))
    assert len(spread(1202, 24)) == 24
    assert spread(3, 24) == [0, 1, 2]
    assert spread(5, 0) == []


# ------------------------------------------------------------------ the split

attributes = st.fixed_dictionaries(
    {
        "episode_name": st.text("abc", min_size=1, max_size=3),
        "scenario": st.sampled_from(["1box_vert_left", "1box_vert_right", "2box_hori_left", "free"]),
        "distance": st.sampled_from(["close", "far", ""]),
        "position": st.sampled_from(["left", "right", ""]),
        "pattern": st.sampled_from(["core", ""]),
        "seed": st.integers(-1, 3),
        "demonstration_id": st.text("xy", max_size=2),
    }
)
unit = st.floats(0.0, 1.0)
shares = st.builds(lambda first, rest: (first, (1 - first) * rest, (1 - first) * (1 - rest)), unit, unit)


@settings(deadline=None)
@given(st.lists(attributes, min_size=1, max_size=12), st.integers(0, 2**32), shares)
def test_no_source_and_no_relative_of_it_leaks_into_another_part(
    recorded: list[dict[str, Any]], seed: int, parts: tuple[float, float, float]
) -> None:
    """Views and views written as files follow their source; one demonstration and one world, whatever the side, stay together."""
    from vla_bt.episodes.recipes import Source

    sources = [Source(f"e{at}", f"{at:064x}", "far", 6) for at in range(len(recorded))]
    found: dict[int, set[str]] = {at: {split_of(group_of(told), parts)} for at, told in enumerate(recorded)}
    for at, recipe in draw_general(sources, 3 * len(recorded), seed).entries:
        written = change_attributes(recorded[at], recipe, "view", group_of(recorded[at]), "")
        found[at].add(split_of(group_of(written), parts))
        again = change_attributes(written, Recipe("general", mirror=True), "other", group_of(written), "")
        found[at].add(split_of(group_of(again), parts))
    assert all(len(where) == 1 for where in found.values())
    for at, one in enumerate(recorded):
        for other_at, other in enumerate(recorded):
            words = ("distance", "position", "pattern", "seed")
            same_world = one["seed"] >= 0 and all(one[word] == other[word] for word in words)
            same_world &= one["scenario"].split("_")[:2] == other["scenario"].split("_")[:2]
            same_run = one["seed"] < 0 and other["seed"] < 0 and one["demonstration_id"] == other["demonstration_id"] != ""
            if same_world or same_run:
                assert found[at] == found[other_at]


@settings(deadline=None)
@given(st.text(max_size=20), shares)
def test_a_group_falls_to_one_part(group: str, parts: tuple[float, float, float]) -> None:
    assert split_of(group, parts) in SPLITS
    assert split_of(group, (1.0, 0.0, 0.0)) == "train"
    assert split_of(group, (0.0, 0.0, 1.0)) == "test"


def test_parts_are_about_as_large_as_told() -> None:
    found = [split_of(f"world {number}") for number in range(4000)]
    assert [found.count(part) / 4000 for part in SPLITS] == pytest.approx([0.8, 0.1, 0.1], abs=0.02)
