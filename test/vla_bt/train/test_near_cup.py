"""Drives that begin near the cup: where they may begin, and that they teach the last metre."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from vla_bt.camera.lens import Picture
from vla_bt.sim.route import distance_to_box
from vla_bt.sim.scenes import HARD, SCENE_NAMES, Box, make_scene
from vla_bt.sim.truth import BoxTruth
from vla_bt.train.collect import Job, drives_of
from vla_bt.train.near_cup import NEAR_M, near_cup


@pytest.mark.parametrize("name", SCENE_NAMES)
def test_a_start_is_free_near_the_cup_and_looks_at_it(name: str) -> None:
    moved = 0
    for seed in range(25):
        scene = make_scene(name, seed=seed, variation=HARD)
        near = near_cup(scene, np.random.default_rng(seed))
        assert replace(near, start=scene.start) == scene
        if near is scene:
            continue
        moved += 1
        start, cup, room = near.start, near.cup, near.room
        assert NEAR_M[0] <= math.hypot(cup.x - start.x, cup.y - start.y) <= NEAR_M[1]
        aside = math.atan2(cup.y - start.y, cup.x - start.x) - start.yaw
        assert abs(math.remainder(aside, 2 * math.pi)) <= 0.5 + 1e-9
        assert room.x_min + 0.3 < start.x < room.x_max - 0.3
        assert room.y_min + 0.3 < start.y < room.y_max - 0.3
        for box in near.boxes:
            outline = BoxTruth(box.x, box.y, box.half_x, box.half_y, box.yaw)
            assert distance_to_box(outline, start.x, start.y)[0] >= 0.35
    assert moved >= 20


def test_a_cup_with_no_room_around_it_leaves_the_start_as_it_is() -> None:
    scene = make_scene("1box_vert_left", seed=1)
    box = Box(scene.cup.x, scene.cup.y, 2.0, 2.0, 0.3, 0.0, 0)
    full = replace(scene, boxes=(box,))
    assert near_cup(full, np.random.default_rng(0)) is full


@pytest.mark.sim
def test_a_job_that_begins_near_the_cup_is_short_and_comes_to_it() -> None:
    picture = Picture(32, 18)
    far, near = ([drive for *_, drive in drives_of(Job(1_000_000, False, "", picture, 0.0, 0.0, share))] for share in (0.0, 1.0))
    assert len(far) == 2
    assert len(near) == 1  # no side is told where there is none to pass
    assert len(near[0].stop) < min(len(drive.stop) for drive in far)
    assert math.hypot(*near[0].auxiliary[0, :2]) <= NEAR_M[1] < min(math.hypot(*drive.auxiliary[0, :2]) for drive in far)
    assert near[0].stop[-1] > 0.5
