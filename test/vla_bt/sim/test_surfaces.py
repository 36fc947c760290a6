from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from vla_bt.sim import surfaces, textures
from vla_bt.sim.scenes import APART, HOUSE, SURFACES, WIDE, make_scene
from vla_bt.sim.world import SimWorld
from vla_bt.train.collect import scene_of

SIZES = (0.3, 0.4, 0.6)


def painted(kind: str, seed: int) -> dict[str, np.ndarray]:
    return {
        "floor": surfaces.floor(kind, seed),
        "wall": surfaces.wall(kind, seed),
        "painting": surfaces.painting(kind, seed),
        "cardboard": surfaces.cardboard(kind, seed, SIZES),
        "cup": surfaces.cup(kind, seed),
    }


def two_colours(image: np.ndarray) -> float:
    """Return how far apart the two colours of an image are; 0 where it has others, noise aside."""
    pixels = image[::4, ::4].reshape(-1, 3).astype(np.float32)
    criteria = (cv2.TERM_CRITERIA_MAX_ITER, 20, 0.0)
    left, _, centres = cv2.kmeans(pixels, 2, np.zeros((len(pixels), 1), np.int32), criteria, 5, cv2.KMEANS_PP_CENTERS)
    return float(np.linalg.norm(centres[0] - centres[1])) if np.sqrt(left / pixels.size) < 5.0 else 0.0


def repeats(image: np.ndarray) -> bool:
    """Tell whether its halves are alike, noise aside."""
    soft = cv2.GaussianBlur(image, (0, 0), 2.0).astype(float)
    return bool(np.abs(soft - np.roll(soft, image.shape[0] // 2, axis=0)).mean() < 5.0)


def striped(cup: np.ndarray) -> bool:
    """Tell whether what is outside on a cup runs from top to bottom."""
    outside = cup[125:].astype(int)
    return bool(np.ptp(outside, axis=1).max() > 0 and np.ptp(outside, axis=0).max() == 0)


def test_a_house_has_few_surfaces_and_they_are_the_plain_ones() -> None:
    for seed in (0, 5, 40_000):
        assert np.array_equal(surfaces.floor(HOUSE, seed), textures.floor(seed % textures.FLOORS))
        assert np.array_equal(surfaces.cup(HOUSE, seed), textures.cup(seed))
        assert np.array_equal(surfaces.cardboard(HOUSE, seed, SIZES), textures.cardboard(seed % 16, *SIZES))


@pytest.mark.parametrize("kind", [WIDE, APART])
def test_other_surfaces_depend_on_their_seed_alone(kind: str) -> None:
    first = {name: image.copy() for name, image in painted(kind, 3).items()}
    for seed in range(20, 30):  # out of every cache
        painted(kind, seed)
    again, other = painted(kind, 3), painted(kind, 4)
    for name, image in first.items():
        assert np.array_equal(image, again[name])
        assert not np.array_equal(image, other[name])


def test_what_is_kept_apart_is_not_painted_for_practice() -> None:
    floors = [surfaces.floor(APART, seed) for seed in range(20)]
    assert all(two_colours(floor) and repeats(floor) for floor in floors)
    assert all(striped(surfaces.cup(APART, seed)) for seed in range(20))
    assert not any(striped(surfaces.cup(WIDE, seed)) for seed in range(60))
    assert not any(two_colours(floor) > 60.0 and repeats(floor) for floor in (surfaces.floor(WIDE, seed) for seed in range(60)))


def test_practice_has_patterns_of_its_own() -> None:
    cups = [surfaces.cup(WIDE, seed)[125:].astype(int) for seed in range(60)]
    assert sum(np.ptp(cup, axis=0).max() > 0 and np.ptp(cup, axis=1).max() == 0 for cup in cups) > 3  # rings
    assert sum(two_colours(surfaces.floor(WIDE, seed)) > 60.0 for seed in range(60)) > 1


@pytest.mark.parametrize("kind", [WIDE, APART])
def test_floors_repeat_without_a_seam(kind: str) -> None:
    for seed in range(12):
        image = surfaces.floor(kind, seed).astype(float)
        for axis in (0, 1):
            steps = np.abs(np.diff(image, axis=axis)).mean(axis=(1 - axis, 2))
            seam = np.abs(np.take(image, 0, axis) - np.take(image, -1, axis)).mean()
            assert seam <= steps.max() * 1.2 + 0.5


def test_surfaces_change_the_picture_and_nothing_else() -> None:
    scenes = [make_scene("2box_vert_left", seed=7, surfaces=kind) for kind in SURFACES]
    assert all(dataclasses.replace(scene, surfaces=HOUSE) == scenes[0] for scene in scenes)
    pictures = []
    for scene in scenes:
        world = SimWorld(scene)
        pictures.append(world.render(160, 90).astype(int))
        world.close()
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(pictures[one] - pictures[other]).mean() > 10


def test_unknown_surfaces_are_refused_in_a_line() -> None:
    with pytest.raises(ValueError, match="unknown surfaces 'marble'; known: house, wide, apart"):
        make_scene("1box_vert_left", surfaces="marble")


def test_practice_draws_its_share_of_wide_rooms_and_never_what_is_kept_apart() -> None:
    drawn = [scene_of(1_000_000 + index, hard=False, wide_surfaces=0.5).surfaces for index in range(200)]
    assert set(drawn) == {HOUSE, WIDE}
    assert 70 <= drawn.count(WIDE) <= 130
    assert {scene_of(1_000_000 + index, False).surfaces for index in range(20)} == {HOUSE}
    assert {scene_of(1_000_000 + index, False, 1.0).surfaces for index in range(20)} == {WIDE}
