"""The judge of runs: it counts what went well and, planted one by one, everything that can go wrong."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vla_bt.policy.expert import ExpertPolicy
from vla_bt.policy.port import PolicyInfo, PolicyStep
from vla_bt.sim.check import check_seed, draw_scene, drive, side_passed
from vla_bt.sim.scenes import DISTANCES, PATTERNS, POSITIONS, SCENE_NAMES, make_scene
from vla_bt.sim.truth import BoxTruth, Truth
from vla_bt.words import Twist

BOX = BoxTruth(0.0, 0.0, 0.2, 0.2, 0.4)


def test_sides_are_told_apart_by_winding() -> None:
    angles = np.linspace(math.pi, 0.3, 50)
    over = [(2 * math.cos(a), 2 * math.sin(a)) for a in angles]
    assert side_passed(over, BOX) == "left"
    assert side_passed([(x, -y) for x, y in over], BOX) == "right"
    assert side_passed(over[:10], BOX) == ""
    assert side_passed([*over, *over[::-1]], BOX) == ""
    assert side_passed([(-2.0, 0.0)], BOX) == ""


class Straight:
    """Drives straight ahead, whatever stands there, and claims to have arrived after a while."""

    def __init__(self, arrives_s: float) -> None:
        self.arrives_s = arrives_s
        self.info = PolicyInfo("straight", "planted", 1, 1, needs_frame=False)

    def reset(self, goal: str) -> None:
        pass

    def step(self, frame: NDArray[np.uint8] | None, time_s: float, measured: Twist) -> PolicyStep:
        actions = np.tile(np.array([0.4, 0.0, 0.0], np.float32), (8, 1))
        return PolicyStep(actions, 0.1, float(time_s >= self.arrives_s))


def test_a_planted_collision_fails() -> None:
    result = drive(make_scene("1box_vert_left"), lambda truth: Straight(99.0))
    assert not result.ok
    assert result.contact.startswith(("box_1 and robot at", "robot and box_1 at"))
    assert "contact: " in result.why()


def test_a_claim_of_arrival_far_from_the_cup_fails() -> None:
    result = drive(make_scene("1box_vert_left"), lambda truth: Straight(1.0))
    assert not result.reached
    assert not result.ok
    assert not result.contact
    assert "not stopped at the cup (ended 2." in result.why()


def test_never_claiming_arrival_fails() -> None:
    scene = dataclasses.replace(make_scene("1box_vert_left"), boxes=())
    result = drive(scene, lambda truth: Straight(99.0), time_limit_s=3.0)
    assert not result.reached
    assert not result.ok


def test_passing_on_the_other_side_fails() -> None:
    class Contrary(ExpertPolicy):
        def reset(self, goal: str) -> None:
            super().reset("go around the box on the right to the cup")

    result = drive(make_scene("1box_vert_left"), Contrary)
    assert result.reached
    assert result.sides == ("right",)
    assert not result.ok
    assert result.why() == "passed on: right"


def test_chunks_bridge_half_a_second_of_latency() -> None:
    assert drive(make_scene("1box_vert_left", seed=3), latency_s=0.5).ok


def test_runs_repeat_to_the_bit() -> None:
    assert check_seed(11) == check_seed(11)


def test_seeds_reach_every_scene() -> None:
    scenes = [draw_scene(seed) for seed in range(120)]
    assert {scene.name for scene in scenes} == set(SCENE_NAMES)
    assert {scene.distance for scene in scenes} == set(DISTANCES)
    assert {scene.position for scene in scenes} == set(POSITIONS)
    assert {scene.pattern for scene in scenes} == set(PATTERNS)


def test_the_truth_is_what_the_policy_gets() -> None:
    seen: list[Truth | None] = []

    def make(truth: Callable[[], Truth | None]) -> ExpertPolicy:
        seen.append(truth())
        return ExpertPolicy(truth)

    assert drive(make_scene("2box_hori_left", seed=2), make).ok
    assert seen[0] is not None
    assert seen[0].scene == "2box_hori_left"
