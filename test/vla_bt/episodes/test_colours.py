"""Swapped red and blue are told apart in the simulator's rooms, whose floors, walls and boxes differ."""

from __future__ import annotations

import numpy as np
import pytest

from vla_bt.episodes.colours import SUSPICIOUS, swapped_share


def test_wood_is_warm_and_swapped_wood_is_cold() -> None:
    wood = np.full((2, 40, 60, 3), (150, 105, 60), np.uint8)
    assert swapped_share(wood) == 0.0
    assert swapped_share(wood[..., ::-1]) == 1.0


def test_grey_can_not_be_told() -> None:
    assert swapped_share(np.full((3, 40, 60, 3), 128, np.uint8)) is None
    assert swapped_share(np.zeros((3, 1, 1, 3), np.uint8)) is None


def test_the_sky_is_not_looked_at() -> None:
    view = np.full((1, 40, 60, 3), (150, 105, 60), np.uint8)
    view[:, :20] = (110, 170, 240)
    assert swapped_share(view) == 0.0


@pytest.mark.sim
def test_rooms_of_the_simulator() -> None:
    from vla_bt.sim.scenes import HARD, NOMINAL, SCENE_NAMES, make_scene
    from vla_bt.sim.world import SimWorld

    told = 0
    for seed in range(12):
        world = SimWorld(make_scene(SCENE_NAMES[seed % 8], seed=seed, variation=HARD if seed % 2 else NOMINAL))
        image = world.render(160, 90)[None]
        world.close()
        right, swapped = swapped_share(image), swapped_share(image[..., ::-1])
        assert right is None or right < SUSPICIOUS - 0.25
        assert swapped is None or swapped > SUSPICIOUS
        told += swapped is not None
    assert told >= 9
