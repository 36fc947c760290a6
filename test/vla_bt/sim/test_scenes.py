"""Scenes are pure functions of their words and seed, and every drawn world can be driven."""

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_bt.sim.route import distance_to_box
from vla_bt.sim.scenes import DISTANCES, PATTERNS, POSITIONS, ROBOT_RADIUS_M, SCENE_NAMES, Scene, Span, Variation, make_scene
from vla_bt.sim.truth import BoxTruth

HARD = Variation(yaw_rad=Span(-0.6, 0.6), cup_m=Span(-0.8, 0.8), pitch_deg=Span(-2, 20), fov_deg=Span(42, 60))


def footprints(scene: Scene) -> list[BoxTruth]:
    return [BoxTruth(box.x, box.y, box.half_x, box.half_y, box.yaw) for box in scene.boxes]


def test_there_are_the_eight_scenes() -> None:
    assert set(SCENE_NAMES) == {f"{n}_{p}_{s}" for n in ("1box", "2box") for p in ("vert", "hori") for s in ("left", "right")}


@pytest.mark.parametrize(
    "words, told",
    [
        (("3box_vert_left",), "unknown scene '3box_vert_left'; known: 1box_vert_left"),
        (("1box_vert_left", "near"), "unknown distance 'near'; known: close, medium, far"),
        (("1box_vert_left", "far", "middle"), "unknown position 'middle'; known: left, center, right"),
        (("1box_vert_left", "far", "left", "odd"), "unknown pattern 'odd'; known: core, variant"),
        (("1box_vert_left", "far", "left", "core", -1), "seed is -1; expected an integer >= 0"),
    ],
)
def test_an_unknown_word_is_refused_with_the_right_ones(words: tuple[Any, ...], told: str) -> None:
    with pytest.raises(ValueError, match=r"expected|unknown") as error:
        make_scene(*words)
    assert str(error.value).startswith(told)
    assert "\n" not in str(error.value)


def test_same_arguments_same_scene_other_seed_other_scene() -> None:
    one = make_scene("2box_hori_right", "far", "left", "variant", 7)
    assert one == make_scene("2box_hori_right", "far", "left", "variant", 7)
    other = make_scene("2box_hori_right", "far", "left", "variant", 8)
    assert other.boxes != one.boxes
    assert other.light != one.light
    assert other.camera.pitch != one.camera.pitch


def test_only_the_words_tell_the_side() -> None:
    left, right = make_scene("1box_vert_left", seed=3), make_scene("1box_vert_right", seed=3)
    assert dataclasses.replace(left, name=right.name, side=right.side, goal=right.goal) == right
    assert left.goal == "go around the box on the left to the cup"
    assert right.goal == "go around the box on the right to the cup"


def test_words_mean_what_they_say() -> None:
    upright, across = make_scene("1box_vert_left").boxes[0], make_scene("1box_hori_left").boxes[0]
    assert upright.half_z > upright.half_y
    assert across.half_z < across.half_y
    assert len(make_scene("2box_vert_left").boxes) == 2
    near, far = make_scene("1box_vert_left", "close"), make_scene("1box_vert_left", "far")
    assert near.boxes[0].x < far.boxes[0].x
    assert near.cup.x < far.cup.x
    places = [make_scene("1box_vert_left", position=place).boxes[0].y for place in ("left", "center", "right")]
    assert places == sorted(places, reverse=True)
    core, variant = make_scene("1box_vert_left"), make_scene("1box_vert_left", pattern="variant")
    assert abs(variant.boxes[0].yaw) > abs(core.boxes[0].yaw)
    assert abs(variant.cup.y) > abs(core.cup.y)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(SCENE_NAMES),
    st.sampled_from(sorted(DISTANCES)),
    st.sampled_from(sorted(POSITIONS)),
    st.sampled_from(PATTERNS),
    st.integers(0, 2**31),
    st.sampled_from([Variation(), HARD]),
)
def test_every_world_leaves_room_to_drive(
    name: str, distance: str, position: str, pattern: str, seed: int, variation: Variation
) -> None:
    scene = make_scene(name, distance, position, pattern, seed, variation)
    for box in footprints(scene):
        assert distance_to_box(box, scene.start.x, scene.start.y)[0] > ROBOT_RADIUS_M + 0.4
        assert distance_to_box(box, scene.cup.x, scene.cup.y)[0] > ROBOT_RADIUS_M + 0.2
        reach = math.hypot(box.half_x, box.half_y)
        assert scene.room.y_max - (box.y + reach) > 2 * ROBOT_RADIUS_M + 0.3
        assert (box.y - reach) - scene.room.y_min > 2 * ROBOT_RADIUS_M + 0.3
    assert scene.room.x_min + ROBOT_RADIUS_M < scene.start.x
    assert scene.cup.x < scene.room.x_max - ROBOT_RADIUS_M


def test_a_wider_variation_pushes_further() -> None:
    yaws = [make_scene("1box_vert_left", seed=seed, variation=HARD).start.yaw for seed in range(40)]
    assert max(yaws) > 0.4
    assert min(yaws) < -0.4
    pitches = [math.degrees(make_scene("1box_vert_left", seed=seed, variation=HARD).camera.pitch) for seed in range(40)]
    assert min(pitches) < 2
    assert max(pitches) > 16
