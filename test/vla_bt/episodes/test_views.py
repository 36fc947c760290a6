"""What a recipe does to the pictures it does to everything else in the episode, and the view says so."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vla_bt.episodes.format import FRAMES, Episode, FrameSample
from vla_bt.episodes.recipes import HORIZON, Recipe
from vla_bt.episodes.schema import row_of
from vla_bt.episodes.views import change_pictures, make_view
from vla_bt.words import Twist

NAME = "episode_20261122_120000_1box_vert_left"


@pytest.fixture
def episode(make_sample: Callable[..., FrameSample]) -> Episode:
    samples = [make_sample(index, action=Twist(0.3, 0.1, -0.2) if index < 12 else Twist()) for index in range(FRAMES)]
    samples = [replace(sample, subgoal_text=sample.goal_text) for sample in samples]
    rows = [row_of(sample, index, index) for index, sample in enumerate(samples)]
    columns = {
        name: np.array([row[name] for row in rows], dtype=object if isinstance(rows[0][name], str) else None) for name in rows[0]
    }
    attributes = {"episode_name": NAME, "scenario": "1box_vert_left", "distance": "far", "position": "right", "pattern": "core"}
    images = np.stack([sample.image for sample in samples])
    return Episode(Path("source.h5"), {**attributes, "key_pattern": "w q r", "seed": 4}, columns, images)


def view(episode: Episode, **changes: object) -> Episode:
    return make_view(episode, Recipe("general", **changes), "view", "group", "ab" * 32)  # type: ignore[arg-type]


def test_the_plainest_recipe_changes_provenance_alone(episode: Episode) -> None:
    made = view(episode)
    assert np.array_equal(made.images, episode.images)
    for name, values in episode.columns.items():
        if name != "image_crc32":
            assert np.array_equal(made.columns[name], values, equal_nan=values.dtype.kind == "f"), name
    assert made.attributes["origin"] == "augmented"
    assert made.attributes["source_episode"] == NAME
    assert made.attributes["source_sha256"] == "ab" * 32
    assert json.loads(made.attributes["recipe"]) == {"kind": "general", "group": "group"}
    assert made.attributes["scenario"] == "1box_vert_left"


def test_a_mirror_image_is_mirrored_in_everything(episode: Episode) -> None:
    made = view(episode, mirror=True)
    assert np.array_equal(made.images, episode.images[:, :, ::-1])
    assert made.columns["commanded"][3] == pytest.approx([0.3, -0.1, 0.2])
    assert made.columns["actions"][0].tolist() == [0.0, 0.0, 0.0]
    assert made.columns["odometry"][2] == pytest.approx([2.0, -0.5, -0.1, 0.1, 0.0, 0.0])
    for name in ("goal_text", "subgoal_text"):
        assert set(made.columns[name]) == {"go around the box on the right to the cup"}, name
    told = made.attributes
    assert (told["scenario"], told["position"], told["key_pattern"]) == ("1box_vert_right", "left", "w e t")
    assert episode.columns["commanded"][3] == pytest.approx([0.3, 0.1, -0.2])  # the source is as it was


def test_frames_left_out_take_their_commands_with_them(episode: Episode) -> None:
    frames = (0, 1, 2, 4, 5, 6, *range(8, FRAMES), 17, 17)
    made = view(episode, frames=frames)
    assert made.images[:, 0, 0, 0].tolist() == list(frames)
    assert made.columns["odometry"][:, 0].tolist() == [float(index) for index in frames]
    assert made.columns["frame_sequence"].tolist() == list(range(100, 118))
    assert np.allclose(np.diff(made.columns["decided_s"]), 1.0)
    age_s = made.columns["decided_s"] - made.columns["receipt_s"]
    assert np.allclose(age_s, 0.01)
    assert (np.diff(made.columns["exposure_s"]) > 0).all()


def test_checksums_are_of_the_view(episode: Episode) -> None:
    made = view(episode, brightness=0.8)
    assert made.columns["image_crc32"].tolist() == [zlib.crc32(image.tobytes()) for image in made.images]


def test_a_distance_view_gets_the_label_of_its_scale(episode: Episode) -> None:
    made = make_view(episode, Recipe("distance", scale=1.23, down=HORIZON, distance="medium"), "view", "group", "ab" * 32)
    assert made.attributes["distance"] == "medium"
    assert episode.attributes["distance"] == "far"


def stripes(height: int = 72, width: int = 128) -> NDArray[np.uint8]:
    ramp = np.linspace(0, 250, width)[None, :, None] * np.ones((height, 1, 3))
    return ramp.astype(np.uint8)[None]


def test_scaling_keeps_the_point_it_scales_about() -> None:
    """A row of dots at the horizon stays where it is; one below moves away from it by the scale."""
    image = np.zeros((1, 100, 200, 3), np.uint8)
    horizon = round(HORIZON * 100)
    image[0, horizon - 1 : horizon + 1, 99:101] = 255
    image[0, 59:61, 99:101] = 255
    made = change_pictures(image, Recipe("distance", scale=1.5, down=HORIZON, distance="close"))
    rows = np.flatnonzero(made[0, :, 100, 0] > 100)
    near, far = rows[rows < 45].mean() + 0.5, rows[rows > 45].mean() + 0.5
    assert near == pytest.approx(horizon, abs=0.5)
    assert far == pytest.approx(horizon + 1.5 * (60 - horizon), abs=0.7)


def test_brightness_and_colour_scale_pixels() -> None:
    image = np.full((1, 4, 4, 3), 100, np.uint8)
    made = change_pictures(image, Recipe("general", brightness=0.5, colour=(1.0, 1.1, 0.9)))
    assert made[0, 0, 0].tolist() == [50, 55, 45]
    assert change_pictures(image, Recipe("general", brightness=9.0)).max() == 255


def test_noise_is_seeded_new_in_each_frame_and_as_strong_as_told() -> None:
    image = np.full((2, 60, 1280, 3), 128, np.uint8)
    made = change_pictures(image, Recipe("general", noise=6.0, seed=5))
    assert np.array_equal(made, change_pictures(image, Recipe("general", noise=6.0, seed=5)))
    assert not np.array_equal(made, change_pictures(image, Recipe("general", noise=6.0, seed=6)))
    assert not np.array_equal(made[0], made[1])
    assert made.astype(float).std() == pytest.approx(6.0, rel=0.05)


def test_blur_softens_an_edge() -> None:
    image = np.zeros((1, 20, 1000, 3), np.uint8)
    image[:, :, 500:] = 200
    made = change_pictures(image, Recipe("general", blur=2.0))
    steps = np.diff(made[0, 10, :, 0].astype(int))
    assert steps.max() < 60
    assert made[0, 10, 0, 0] == 0
    assert made[0, 10, -1, 0] == 200


def test_small_and_large_views_look_alike() -> None:
    """Shrunk first and then changed is nearly what is changed first and then shrunk, but for the grain."""
    import cv2

    recipe = Recipe("general", mirror=True, scale=1.05, across=0.2, brightness=0.8, blur=1.0)
    large = stripes(288, 512)
    shrunk = cv2.resize(change_pictures(large, recipe)[0], (128, 72), interpolation=cv2.INTER_AREA)
    small = change_pictures(cv2.resize(large[0], (128, 72), interpolation=cv2.INTER_AREA)[None], recipe)[0]
    assert np.abs(shrunk.astype(int) - small)[:, 2:-2].max() <= 3
