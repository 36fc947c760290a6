"""A mirror image is as true as what it mirrors: words, velocities, places and pictures swap sides together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_bt.episodes.mirror import mirror_columns, mirror_keys, mirror_pictures, mirror_words
from vla_bt.sim.scenes import SCENE_NAMES


@pytest.mark.parametrize(
    "words, mirrored",
    [
        ("go around the box on the left to the cup", "go around the box on the right to the cup"),
        ("Turn LEFT 90 degrees, then go rightwards", "Turn RIGHT 90 degrees, then go leftwards"),
        ("turn clockwise, then anticlockwise", "turn anticlockwise, then clockwise"),
        ("turn counter-clockwise", "turn clockwise"),
        ("stay on the left-hand side", "stay on the right-hand side"),
        ("keep to the righthand side", "keep to the lefthand side"),
        ("the bright box is leftover", "the bright box is leftover"),
        ("episode_20261122_120000_2box_hori_left", "episode_20261122_120000_2box_hori_right"),
        ("center", "center"),
        ("", ""),
    ],
)
def test_sides_in_words(words: str, mirrored: str) -> None:
    assert mirror_words(words) == mirrored


@given(
    st.lists(
        st.sampled_from(["left", "Right", "LEFT", "rightward", "leftwards", "clockwise", "anticlockwise", "the", "_", "box"])
    )
)
def test_twice_mirrored_words_are_as_before(words: list[str]) -> None:
    text = " ".join(words)
    assert mirror_words(mirror_words(text)) == text


def test_scenarios_become_each_other() -> None:
    assert {mirror_words(name) for name in SCENE_NAMES} == set(SCENE_NAMES)
    assert all(mirror_words(name) != name for name in SCENE_NAMES)


@given(st.text("wsadqezcrt ", max_size=20))
def test_keys(keys: str) -> None:
    from vla_bt.control.teleop_keys import DIRECTIONS

    mirrored = mirror_keys(keys)
    assert mirror_keys(mirrored) == keys
    for key, other in zip(keys, mirrored, strict=True):
        before, after = DIRECTIONS[key], DIRECTIONS[other]
        assert after == (before.linear_x, -before.linear_y, -before.angular_z)


@given(st.lists(st.tuples(*[st.floats(-3, 3, width=32)] * 3), min_size=1, max_size=6))
def test_velocities_and_poses(rows: list[tuple[float, float, float]]) -> None:
    twists = np.array(rows, np.float32)
    poses = np.concatenate([twists, twists], axis=1).astype(float)
    columns = {"actions": twists, "applied": twists, "odometry": poses, "goal_id": np.arange(len(rows))}
    mirrored = mirror_columns(columns)
    assert mirrored["actions"].dtype == np.float32
    assert np.array_equal(mirrored["actions"] * [1, -1, -1], twists)
    assert np.array_equal(mirrored["odometry"] * [1, -1, -1, 1, -1, -1], poses)
    assert np.array_equal(mirrored["goal_id"], columns["goal_id"])
    for name, again in mirror_columns(mirrored).items():
        assert np.array_equal(again, columns[name])


def test_pictures() -> None:
    images = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    mirrored = mirror_pictures(images)
    assert np.array_equal(mirrored[:, :, 0], images[:, :, 3])
    assert np.array_equal(mirror_pictures(mirrored), images)
