"""The expert: obeys left and right, touches nothing, stops at the cup, from anywhere."""

import dataclasses
import math

import numpy as np
import pytest

from vla_bt.policy.expert import CHUNK, PERIOD_S, ExpertPolicy, told_side
from vla_bt.sim.check import drive
from vla_bt.sim.scenes import SCENE_NAMES, Pose, Span, Variation, make_scene
from vla_bt.sim.truth import Truth
from vla_bt.sim.world import SimWorld
from vla_bt.words import ZERO, Twist


@pytest.mark.parametrize(
    "goal, side",
    [
        ("go around the box on the left to the cup", "left"),
        ("Pass the box on the RIGHT-hand side and go to the cup", "right"),
        ("keep left of the boxes and go to the cup", "left"),
        ("keep the box on your right and go to the cup", "left"),
        ("go to the cup", None),
        ("not left, right!", None),
        ("bright leftover", None),
    ],
)
def test_the_side_is_read_from_the_words(goal: str, side: str | None) -> None:
    assert told_side(goal) == side


def test_it_says_that_it_is_no_vision() -> None:
    info = ExpertPolicy(lambda: None).info
    assert info.label == "simulator truth, not vision"
    assert not info.needs_frame


def test_without_truth_it_proposes_to_stand_still() -> None:
    policy = ExpertPolicy(lambda: None)
    policy.reset("go to the cup")
    step = policy.step(None, 0.0, Twist(0.3, 0.0, 0.0))
    assert not step.actions.any()
    assert step.stop_probability == 0.0


@pytest.mark.parametrize("name", SCENE_NAMES)
def test_it_succeeds_in_each_scene(name: str) -> None:
    for distance, position, pattern, seed in (("close", "left", "core", 0), ("far", "right", "variant", 1)):
        result = drive(make_scene(name, distance, position, pattern, seed))
        assert result.ok, result.why()
        assert result.clearance_m > 0.13


def test_it_succeeds_under_hard_variation() -> None:
    hard = Variation(yaw_rad=Span(-0.6, 0.6), cup_m=Span(-0.8, 0.8), start_m=Span(-0.3, 0.3), box_yaw_rad=Span(-0.6, 0.6))
    for seed in range(12):
        name = SCENE_NAMES[seed % len(SCENE_NAMES)]
        result = drive(make_scene(name, "medium", "center", "variant", seed, hard))
        assert result.ok, f"{name} {seed}: {result.why()}"


@pytest.mark.parametrize("side", ["left", "right"])
def test_it_may_take_over_anywhere(side: str) -> None:
    """As after a person's takeover: beside a box on either side, askew, close to it, between box and cup."""
    scene = make_scene(f"1box_hori_{side}", seed=4)
    box = scene.boxes[0]
    places = [
        Pose(box.x, box.y + 0.75, 2.0),
        Pose(box.x, box.y - 0.75, -2.5),
        Pose(box.x - 0.45, box.y, math.pi),
        Pose(box.x + 0.5, box.y + 0.2, 3.0),
        Pose(-0.5, 1.6, -1.0),
    ]
    for start in places:
        result = drive(dataclasses.replace(scene, start=start))
        assert result.reached, f"{start}: {result.why()}"
        assert not result.contact, f"{start}: {result.why()}"


def test_without_a_told_side_it_takes_the_shorter() -> None:
    scene = make_scene("1box_vert_left")
    for shift in (-0.3, 0.3):
        box = dataclasses.replace(scene.boxes[0], y=shift)
        cup = dataclasses.replace(scene.cup, y=0.0)
        result = drive(dataclasses.replace(scene, goal="go to the cup", boxes=(box,), cup=cup))
        assert result.reached
        assert result.sides == ("left" if shift < 0 else "right",)


def truth_now() -> Truth:
    return SimWorld(make_scene("1box_vert_left")).truth()


def test_a_chunk_is_a_plan_and_not_one_velocity_repeated() -> None:
    policy = ExpertPolicy(truth_now)
    policy.reset("left")
    step = policy.step(None, 0.0, ZERO)
    assert step.actions.shape == (CHUNK, 3)
    assert step.actions.dtype == np.float32
    assert step.action_period_s == PERIOD_S
    assert len(np.unique(step.actions, axis=0)) == CHUNK
    speeds = np.hypot(step.actions[:, 0], step.actions[:, 1])
    assert speeds[0] == pytest.approx(0.1, abs=0.02)  # from rest within its own acceleration
    assert speeds[-1] > speeds[0]
    assert step.finite


def test_same_truth_same_actions() -> None:
    truth = dataclasses.replace(truth_now(), y=0.2)
    steps = []
    for _ in range(2):
        policy = ExpertPolicy(lambda: truth)
        policy.reset("go left")
        steps.append(policy.step(None, 0.0, Twist(0.2, 0.0, 0.1)))
    assert np.array_equal(steps[0].actions, steps[1].actions)
    again = policy.step(None, 5.0, Twist(0.2, 0.0, 0.1))
    assert np.array_equal(again.actions, steps[0].actions)  # no memory


def test_stop_probability_is_about_the_cup() -> None:
    cup = truth_now()
    probabilities = []
    for distance in (1.0, 0.37, 0.345, 0.324, 0.28):
        truth = dataclasses.replace(cup, x=cup.cup_x - distance, y=cup.cup_y)
        policy = ExpertPolicy(lambda truth=truth: truth)  # type: ignore[misc]
        policy.reset("")
        probabilities.append(policy.step(None, 0.0, ZERO).stop_probability)
    assert probabilities[:2] == [0.0, 0.0]
    assert probabilities[2] == pytest.approx(0.5)
    assert probabilities[3:] == [1.0, 1.0]


def test_a_measured_velocity_that_is_not_finite_is_not_passed_on() -> None:
    policy = ExpertPolicy(truth_now)
    policy.reset("left")
    assert policy.step(None, 0.0, Twist(math.nan, 0.0, 0.0)).finite
