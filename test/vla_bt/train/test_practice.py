from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from vla_bt.camera.lens import Picture
from vla_bt.policy.port import PolicyStep
from vla_bt.sim.scenes import make_scene
from vla_bt.sim.world import SimWorld
from vla_bt.train.collect import ARRAYS, Job, collect_shard, drives_of, scene_of
from vla_bt.train.data import load_sequences
from vla_bt.train.practice import AUXILIARY, CHUNK, Drive, NoisyExpert, Practice, hide_cup, practise
from vla_bt.words import Twist

pytestmark = pytest.mark.sim

PICTURE = Picture(32, 18)


def as_told(frame: NDArray[np.uint8], time_s: float, measured: Twist, label: PolicyStep) -> PolicyStep:
    return label


def silent(frame: NDArray[np.uint8], time_s: float, measured: Twist, label: PolicyStep) -> PolicyStep:
    return replace(label, stop_probability=0.0)


def drive(side: str, seed: int = 3, hidden: bool = False) -> Drive:
    scene = make_scene("1box_vert_left", seed=seed)
    world = SimWorld(hide_cup(scene) if hidden else scene)
    plan = Practice(side, cup_hidden=hidden)
    done = practise(world, plan, as_told, PICTURE, (scene.cup.x, scene.cup.y))
    world.close()
    return done


def test_the_expert_reaches_the_cup_on_the_told_side_and_the_labels_say_how() -> None:
    for side, sign in (("left", 1), ("right", -1)):
        done = drive(side)
        assert done.ok
        count = len(done.stop)
        assert done.frames.shape == (count, PICTURE.height, PICTURE.width, 3)
        assert done.actions.shape == (count, CHUNK, 3)
        assert done.auxiliary.shape == done.known.shape == (count, AUXILIARY)
        assert done.stop[0] == 0.0
        assert done.stop[-1] > 0.5
        assert math.hypot(*done.auxiliary[-1, :2]) == pytest.approx(done.cup_distance_m, abs=0.01)
        assert sign * done.actions[:10, :, 2].mean() > 0.0  # it turns to the told side first
        assert done.known[0].tolist() == [1.0] * 6 + [0.0] * 4  # the cup, two corners of one box, no second box


def test_without_a_cup_nothing_is_claimed_and_its_place_is_unknown() -> None:
    done = drive("left", hidden=True)
    assert done.stop.max() == 0.0
    assert not done.reached
    assert not done.known[:, :2].any()
    assert np.abs(done.actions[5]).max() > 0.1  # it looks where the cup would be


def test_looking_for_a_cup_that_is_not_there_goes_on_where_it_would_be() -> None:
    scene = make_scene("1box_vert_left", seed=3)
    cup = (scene.cup.x, scene.cup.y)
    lengths = []
    for ends_there in (True, False):
        world = SimWorld(hide_cup(scene))
        plan = Practice("left", limit_s=15.0, cup_hidden=True, ends_there=ends_there)
        lengths.append(len(practise(world, plan, silent, PICTURE, cup).stop))
        world.close()
    assert lengths[0] < lengths[1] == 150


def test_a_job_may_hide_the_cup_of_every_world() -> None:
    sides = [
        bool(done.known[:, :2].any()) for share in (0.0, 1.0) for *_, done in drives_of(Job(1_000_000, False, "", PICTURE, share))
    ]
    assert sides == [True, True, False, False]


def test_another_side_told_on_the_way_begins_a_drive_where_the_first_was_broken_off() -> None:
    seed = next(seed for seed in range(1_000_000, 1_000_100) if scene_of(seed, False).name.startswith("1box"))
    plain, changed = (
        [found[::2] for found in drives_of(Job(seed, False, "", PICTURE, 0.0, changes=share))] for share in (0.0, 1.0)
    )
    assert [side for side, _ in plain] == ["left", "right"]
    assert [side for side, _ in changed] == ["right", "left", "left", "right"]
    for (_, broken_off), (side, done) in (changed[:2], changed[2:]):
        assert len(done.stop) > 10
        assert done.elapsed[0] == 0.0
        moved = np.abs(done.auxiliary[0, :2] - broken_off.auxiliary[-1, :2]).max()
        assert moved < 0.2, "it goes on from there"
        assert np.abs(done.auxiliary[0, :2] - plain[0][1].auxiliary[0, :2]).max() > 0.2, "which is not the start"
        assert done.side_as_told, f"and passes on the {side}"


def test_in_the_dark_the_label_is_to_stand_and_claim_nothing() -> None:
    scene = make_scene("1box_vert_left", seed=3)
    plans = [Practice("left"), Practice("left", darkness=(2.0, 3.0, 0.05))]
    drives = []
    for plan in plans:
        world = SimWorld(scene)
        drives.append(practise(world, plan, as_told, PICTURE, (scene.cup.x, scene.cup.y)))
        world.close()
    light, dark = drives
    span = slice(20, 50)  # a frame every 0.1 s
    assert dark.frames[span].max() <= 13 < dark.frames[19].max()
    assert dark.frames[50].max() > 13
    assert not dark.actions[span].any()
    assert not dark.stop[span].any()
    assert dark.known[30, :2].all(), "where the cup is stays to be remembered"
    assert np.abs(dark.twist[30]).max() < 0.02 < np.abs(light.twist[30]).max(), "it stands"
    assert dark.ok
    assert len(dark.stop) > len(light.stop)


def test_darkness_is_drawn_for_its_share_of_drives() -> None:
    brightest = [
        min(frame.max() for *_, done in drives_of(Job(1_000_000, False, "", PICTURE, darkness=share)) for frame in done.frames)
        for share in (0.0, 1.0)
    ]
    assert brightest[1] < 40 < brightest[0]


def test_noise_moves_the_robot_but_not_the_labels() -> None:
    noisy = NoisyExpert(np.random.default_rng(0), rate_hz=1e9)
    label = PolicyStep(np.full((CHUNK, 3), 0.3, np.float32), 0.1, 1.0)
    first = noisy(np.zeros((1, 1, 3), np.uint8), 4.0, Twist(), label)
    assert (first.actions == label.actions).all(), "nothing has passed yet, whenever the drive began"
    step = noisy(np.zeros((1, 1, 3), np.uint8), 5.0, Twist(), label)
    assert np.abs(step.actions - label.actions).max() > 0.01
    assert np.ptp(step.actions - label.actions, axis=0).max() < 1e-6
    assert step.stop_probability == 0.0
    assert (label.actions == np.float32(0.3)).all()


def test_a_shard_is_the_same_each_time_and_holds_both_sides(tmp_path) -> None:  # type: ignore[no-untyped-def]
    seed = next(seed for seed in range(1_000_000, 1_000_100) if scene_of(seed, False).name.startswith("1box"))
    job = Job(seed, False, "", PICTURE)
    paths = [collect_shard([job], tmp_path / name) for name in ("a.npz", "b.npz")]
    first, second = (load_sequences([path]) for path in paths)
    assert [one.side for one in first] == ["left", "right"]
    for one, other in zip(first, second, strict=True):
        for name in ARRAYS:
            assert np.array_equal(getattr(one, name), getattr(other, name)), name
    again = [done for _, _, done in drives_of(job)]
    assert [len(done.stop) for done in again] == [len(one) for one in first]
    before = paths[0].stat().st_mtime_ns
    collect_shard([job], paths[0])
    assert paths[0].stat().st_mtime_ns == before  # what is there is not made again
