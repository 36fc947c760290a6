from __future__ import annotations

import numpy as np
import pytest

from vla_bt.train.data import Sequence
from vla_bt.train.metrics import baselines, compare

SCALE = np.array([0.5, 0.5, 1.0])


def sequence(actions: np.ndarray, side: str) -> Sequence:
    count = len(actions)
    zeros = np.zeros((count, 10), np.float32)
    frames = np.zeros((count, 1, 1, 3), np.uint8)
    twist = np.full((count, 3), 0.25, np.float32)
    return Sequence(frames, zeros[:, 0] + 0.1, twist, actions.astype(np.float32), zeros[:, 0], zeros, zeros, side, 1)


def test_errors_are_in_units_of_the_declared_range() -> None:
    wanted = [np.zeros((4, 8, 3))]
    guess = [np.broadcast_to(SCALE * 0.12, (4, 8, 3)).copy()]
    guess[0][0] = 0.0
    row = compare(guess, wanted, SCALE)
    assert row["mae"] == pytest.approx(0.09)
    assert row["mae_without_first"] == pytest.approx(0.12)
    assert row["mae_raw"] == pytest.approx(0.09 * 2 / 3)
    assert row["within"] == {"0.3": 1.0, "0.2": 1.0, "0.15": 1.0, "0.1": 0.25}
    assert row["r2"] == {"linear_x": None, "linear_y": None, "angular_z": None}  # labels that don't vary explain nothing


def test_labels_beyond_the_range_count_as_its_end() -> None:
    row = compare([np.ones((2, 8, 3)) * SCALE], [np.ones((2, 8, 3)) * 9.0], SCALE)
    assert row["mae"] == 0.0


def test_a_perfect_guess_explains_everything() -> None:
    wanted = [np.random.default_rng(0).uniform(-0.5, 0.5, (20, 8, 3))]
    row = compare(wanted, wanted, SCALE)
    assert row["mae"] == 0.0
    assert row["r2"]["angular_z"] == pytest.approx(1.0)
    assert row["correlation"]["linear_y"] == pytest.approx(1.0)


def test_baselines_know_the_goal_or_the_last_velocity_and_no_picture() -> None:
    left, right = np.full((5, 8, 3), 0.2), np.full((15, 8, 3), -0.4)
    train = [sequence(left, "left"), sequence(right, "right")]
    test = [sequence(np.zeros((3, 8, 3)), "left"), sequence(np.zeros((2, 8, 3)), "right")]
    found = baselines(train, test)
    assert [guess.shape for guess in found["goal_mean"]] == [(3, 8, 3), (2, 8, 3)]
    assert found["goal_mean"][0].mean() == pytest.approx(0.2)
    assert found["goal_mean"][1].mean() == pytest.approx(-0.4)
    assert found["constant_median"][0].mean() == pytest.approx(-0.4)
    assert found["hold_last"][1].mean() == pytest.approx(0.25)
