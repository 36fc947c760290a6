"""Does a policy reach the cup? Closed-loop runs in simulated time, judged by the simulator's truth.

Promises: deterministic; the policy's actions pass through the same gate rule as on the robot and take effect only after a
latency. A run counts only if all of it holds: arrival claimed by the policy, stopped within :data:`GOAL_RADIUS_M` of the cup,
nothing touched at any time, and every box passed on the told side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from vla_bt.control.gate import GateRule
from vla_bt.policy.expert import ExpertPolicy
from vla_bt.policy.port import Policy, PolicyOutput
from vla_bt.port import Request
from vla_bt.settings import GateSettings
from vla_bt.sim.route import distance_to_box
from vla_bt.sim.scenes import DISTANCES, PATTERNS, POSITIONS, SCENE_NAMES, Scene, make_scene
from vla_bt.sim.truth import BoxTruth, Truth
from vla_bt.sim.world import SimWorld
from vla_bt.words import ZERO, Source

GOAL_RADIUS_M = 0.4
LATENCY_S = 0.1
TIME_LIMIT_S = 40.0
_GATE_TICKS_PER_STEP = 5  # a policy step each 0.1 s
_GATE_TICKS_PER_REQUEST = 2
_STILL_S = 0.5
_STILL_SPEED = 0.01
_PASSED_RAD = 1.2


@dataclass(frozen=True)
class RunResult:
    """What came of one run.

    Attributes
    ----------
    scene, distance, position, pattern, seed
        Arguments of :func:`vla_bt.sim.scenes.make_scene`.
    reached : bool
        Arrival was claimed and the robot stood still within :data:`GOAL_RADIUS_M` of the cup.
    contact : str
        Empty, or when and what it touched first.
    sides : tuple of str
        For each box "left", "right", or "" where it was not passed.
    side_as_told : bool
        All boxes were passed on the told side.
    cup_distance_m : float
        At the end, to the cup's centre [m].
    clearance_m : float
        Least distance from the robot's outside to a box [m].
    time_s : float
        Simulated time it took [s].
    """

    scene: str
    distance: str
    position: str
    pattern: str
    seed: int
    reached: bool
    contact: str
    sides: tuple[str, ...]
    side_as_told: bool
    cup_distance_m: float
    clearance_m: float
    time_s: float

    @property
    def ok(self) -> bool:
        """Everything held."""
        return self.reached and not self.contact and self.side_as_told

    def why(self) -> str:
        """Say in words what failed; empty when nothing did."""
        reasons = []
        if not self.reached:
            reasons.append(f"not stopped at the cup (ended {self.cup_distance_m:.2f} m away after {self.time_s:.0f} s)")
        if self.contact:
            reasons.append(f"contact: {self.contact}")
        if not self.side_as_told:
            reasons.append(f"passed on: {', '.join(side or 'neither side' for side in self.sides)}")
        return "; ".join(reasons)


def side_passed(track: Sequence[tuple[float, float]], box: BoxTruth) -> str:
    """Tell on which side of a box a track of positions (x, y) [m] led past it: "left", "right" or "" for not past it.

    Decided by the angle that the line from the box's centre to the robot sweeps: clockwise is passing on the left.
    """
    swept = 0.0
    bearings = [math.atan2(y - box.y, x - box.x) for x, y in track]
    for before, after in pairwise(bearings):
        swept += math.remainder(after - before, 2 * math.pi)
    if abs(swept) < _PASSED_RAD:
        return ""
    return "left" if swept < 0 else "right"


def drive(
    scene: Scene,
    make_policy: Callable[[Callable[[], Truth | None]], Policy] = ExpertPolicy,
    latency_s: float = LATENCY_S,
    time_limit_s: float = TIME_LIMIT_S,
) -> RunResult:
    """Run a policy in a scene until it has arrived or the time is over.

    Parameters
    ----------
    scene : Scene
        Where; its goal sentence is what the policy is told.
    make_policy : callable
        Makes a policy that needs no frames from the world's truth.
    latency_s : float
        From what the policy saw to its action at the gate [s].
    time_limit_s : float
        Simulated time after which the run has failed [s].
    """
    world = SimWorld(scene)
    policy = make_policy(world.truth)
    policy.reset(scene.goal)
    settings = GateSettings()
    gate = GateRule(settings)
    waiting: list[PolicyOutput] = []
    newest: PolicyOutput | None = None
    arrived, still_s, clearance = False, 0.0, math.inf
    track: list[tuple[float, float]] = []
    for tick in range(1, math.ceil(time_limit_s / settings.period_s) + 1):
        now = world.time_s
        truth = world.truth()
        track.append((truth.x, truth.y))
        gaps = [distance_to_box(box, truth.x, truth.y)[0] - truth.robot_radius for box in truth.boxes]
        clearance = min([clearance, *gaps])
        if tick % _GATE_TICKS_PER_STEP == 1:
            step = policy.step(None, now, truth.twist)
            waiting.append(PolicyOutput(step, 1, tick, now, now + latency_s))
        while waiting and waiting[0].received_s <= now + 1e-9:
            newest = waiting.pop(0)
        arrived = arrived or (newest is not None and newest.step.stop_probability > 0.5)
        if tick % _GATE_TICKS_PER_REQUEST == 1:
            action = newest.action_at(now) if newest is not None and not arrived else None
            gate.receive(Request(action or ZERO, Source.POLICY, tick=tick), now)
        world.command(gate.step(now))
        world.advance(settings.period_s)
        moving = truth.twist.speed > _STILL_SPEED or abs(truth.twist.angular_z) > _STILL_SPEED
        still_s = 0.0 if moving or not arrived else still_s + settings.period_s
        if still_s >= _STILL_S or world.first_contact is not None:
            break
    truth = world.truth()
    track.append((truth.x, truth.y))
    distance = math.hypot(truth.cup_x - truth.x, truth.cup_y - truth.y)
    sides = tuple(side_passed(track, box) for box in truth.boxes)
    contact = ""
    if world.first_contact is not None:
        contact = f"{' and '.join(world.first_contact.geoms)} at {world.first_contact.time_s:.2f} s"
    world.close()
    return RunResult(
        scene=scene.name,
        distance=scene.distance,
        position=scene.position,
        pattern=scene.pattern,
        seed=scene.seed,
        reached=still_s >= _STILL_S and distance <= GOAL_RADIUS_M,
        contact=contact,
        sides=sides,
        side_as_told=all(side == scene.side for side in sides),
        cup_distance_m=round(distance, 4),
        clearance_m=round(clearance, 4),
        time_s=round(world.time_s, 3),
    )


def draw_scene(seed: int) -> Scene:
    """Draw name, distance, position and pattern, all evenly, and the scene itself from one number."""
    rng = np.random.default_rng([seed, 107])
    choices = [SCENE_NAMES, tuple(DISTANCES), tuple(POSITIONS), PATTERNS]
    name, distance, position, pattern = (options[int(rng.integers(len(options)))] for options in choices)
    return make_scene(name, distance, position, pattern, seed)


def check_seed(seed: int) -> RunResult:
    """Run the expert in the scene drawn from ``seed``."""
    return drive(draw_scene(seed))
