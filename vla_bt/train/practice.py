"""One practice drive in the simulator: what the network would have seen, and what the expert would have done there.

Promises: deterministic for its arguments; frames are rendered only at the size the policy takes; whoever drives, the labels come
from the expert alone, without noise, from the state the robot was really in; requests pass through the gate's rule and take
effect after a latency, as on the robot. Between a request and the gate stands no tree. A drive that goes on where another was
broken off begins with the gate at zero: the robot brakes until the first action comes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vla_bt.camera.lens import Picture, framed, whole_size
from vla_bt.control.gate import GateRule
from vla_bt.policy.expert import CHUNK, PERIOD_S, SURE_M, UNSURE_M, ExpertPolicy
from vla_bt.policy.port import PolicyStep
from vla_bt.port import Request
from vla_bt.settings import GateSettings, TreeSettings
from vla_bt.sim.check import GOAL_RADIUS_M, side_passed
from vla_bt.sim.scenes import Scene
from vla_bt.sim.truth import BoxTruth, Truth
from vla_bt.sim.world import SimWorld
from vla_bt.words import ZERO, Source, Twist

TICK_S = 0.05
AUXILIARY = 10
"""Cup, then nearest and farthest corner of the first and of the second box: x and y of each in ``base_link`` [m]."""

_STAYS_S = 0.8
_CLAIMS = TreeSettings().stop_probability

Push = tuple[float, float, float, float, float]
"""Time, force_x, force_y, torque, duration of a push from outside [s, N, N, N m, s]."""

Darkness = tuple[float, float, float]
"""From when, for how long [s, s], and the share of the light that is left then (0..1)."""

Driver = Callable[[NDArray[np.uint8], float, Twist, PolicyStep], PolicyStep]


@dataclass(frozen=True)
class Practice:
    """How one drive goes.

    Attributes
    ----------
    side : str
        ``left``, ``right`` or empty: where the expert passes.
    frame_period_s, latency_s : float
        Between frames, and from a frame to its action [s]; whole ticks of :data:`TICK_S`.
    limit_s : float
        The drive ends then at the latest [s].
    pushes : tuple of Push
        In the order of their times.
    cup_hidden : bool
        The cup is not there: the way leads to where it would be, but there is nothing to claim.
    ends_there : bool
        The drive ends some time after the robot came to where the cup is, or would be.
    darkness : Darkness, optional
        While it is dark the expert asks to stand, and there is nothing to claim.

    All times count from where the drive begins.
    """

    side: str
    frame_period_s: float = 0.1
    latency_s: float = 0.1
    limit_s: float = 25.0
    pushes: tuple[Push, ...] = ()
    cup_hidden: bool = False
    ends_there: bool = True
    darkness: Darkness | None = None


@dataclass(frozen=True)
class Drive:
    """What came of it: one entry for each frame.

    Attributes
    ----------
    frames : ndarray of uint8, shape (n, height, width, 3)
    elapsed : ndarray of float32, shape (n,)
        Since the frame before [s]; 0 for the first.
    twist, actions, stop, auxiliary, known : ndarray of float32
        Measured velocity (n, 3); what the expert asks for (n, CHUNK, 3); whether to claim arrival (n,), 0..1; positions
        (n, AUXILIARY) and which of them there are (n, AUXILIARY).
    reached, contact, side_as_told, claimed : bool
        Judged by the truth: stands at the cup having claimed it; touched something; passed all boxes as told; claimed at all.
    """

    frames: NDArray[np.uint8]
    elapsed: NDArray[np.float32]
    twist: NDArray[np.float32]
    actions: NDArray[np.float32]
    stop: NDArray[np.float32]
    auxiliary: NDArray[np.float32]
    known: NDArray[np.float32]
    reached: bool
    contact: bool
    side_as_told: bool
    claimed: bool
    cup_distance_m: float

    @property
    def ok(self) -> bool:
        """All of it held."""
        return self.reached and not self.contact and self.side_as_told


def hide_cup(scene: Scene) -> Scene:
    """Put the cup behind the wall."""
    return replace(scene, cup=replace(scene.cup, x=scene.room.x_max + 3.0))


def practise(world: SimWorld, plan: Practice, driver: Driver, picture: Picture, cup: tuple[float, float]) -> Drive:
    """Drive once, from where the world stands.

    Parameters
    ----------
    world : SimWorld
        A fresh one, or one in which another drive was broken off.
    plan : Practice
    driver : callable
        Returns what is done, given frame, time, measured velocity and the expert's step.
    picture : Picture
        What the frames are to be like.
    cup : (x, y)
        Where the expert drives to [m].
    """

    def truth() -> Truth:
        return replace(world.truth(), cup_x=cup[0], cup_y=cup[1])

    expert = ExpertPolicy(truth)
    expert.reset(f"go around the box on the {plan.side} to the cup" if plan.side else "go to the cup")
    gate_settings = GateSettings()
    gate = GateRule(gate_settings)
    frames, rows = [], []
    waiting: list[tuple[float, float, PolicyStep]] = []
    newest: tuple[float, PolicyStep] | None = None
    pushes = list(plan.pushes)
    begun_s = world.time_s
    next_frame_s = last_frame_s = begun_s
    there_s = standing_s = 0.0
    claimed = False
    track = []
    while world.time_s - begun_s < plan.limit_s - 1e-9:
        now = world.time_s
        seen = truth()
        track.append((seen.x, seen.y))
        while pushes and pushes[0][0] <= now - begun_s:
            world.push(*pushes.pop(0)[1:])
        if now >= next_frame_s - 1e-9:
            next_frame_s += plan.frame_period_s
            frame = framed(world.render(*whole_size(picture, world.lens)), world.lens, picture)
            label = expert.step(None, now, seen.twist)
            asked, nothing_to_claim = expert.asked, plan.cup_hidden
            light = _light(plan.darkness, now - begun_s)
            if light < 1.0:
                frame = (frame * light).astype(np.uint8)
                asked, nothing_to_claim = np.zeros_like(asked), True
                label = replace(label, actions=np.zeros_like(label.actions), stop_probability=0.0)
            frames.append(frame)
            rows.append((now - last_frame_s, *_row(seen, asked, plan.cup_hidden, nothing_to_claim)))
            last_frame_s = now
            waiting.append((now + plan.latency_s, now, driver(frame, now, seen.twist, label)))
        while waiting and waiting[0][0] <= now + 1e-9:
            newest = waiting.pop(0)[1:]
        action, stops = _action(newest, now)
        claimed = claimed or stops
        gate.receive(Request(action, Source.POLICY, tick=len(track)), now)
        while world.time_s < now + TICK_S - 1e-9:
            world.command(gate.step(world.time_s))
            world.advance(min(gate_settings.period_s, now + TICK_S - world.time_s))
        distance = math.hypot(cup[0] - seen.x, cup[1] - seen.y)
        there_s = there_s + TICK_S if distance < UNSURE_M + 0.01 else 0.0
        still = seen.twist.speed < 0.01 and abs(seen.twist.angular_z) < 0.02
        standing_s = standing_s + TICK_S if stops and still else 0.0
        if world.first_contact is not None or (plan.ends_there and there_s > 2.5) or standing_s > _STAYS_S:
            break
    last = world.truth()
    distance = math.hypot(last.cup_x - last.x, last.cup_y - last.y)
    sides = [side_passed(track, box) for box in last.boxes]
    elapsed, twist, actions, stop, auxiliary, known = (np.array(column, np.float32) for column in zip(*rows, strict=True))
    return Drive(
        frames=np.array(frames),
        elapsed=elapsed,
        twist=twist,
        actions=actions,
        stop=stop,
        auxiliary=auxiliary,
        known=known,
        reached=standing_s > 0.25 and distance <= GOAL_RADIUS_M,
        contact=world.first_contact is not None,
        side_as_told=not plan.side or all(side == plan.side for side in sides),
        claimed=standing_s > 0.25,
        cup_distance_m=distance,
    )


def _action(newest: tuple[float, PolicyStep] | None, now: float) -> tuple[Twist, bool]:
    """Return what to do now, and whether arrival is claimed."""
    if newest is None:
        return ZERO, False
    made_s, step = newest
    if step.stop_probability >= _CLAIMS:
        return ZERO, True
    index = int((now - made_s) / step.action_period_s + 1e-9)
    if not 0 <= index < len(step.actions):
        return ZERO, False
    return Twist(*(float(value) for value in step.actions[index])), False


def _light(darkness: Darkness | None, since_s: float) -> float:
    """Return the share of the light there is, so long after the drive began [s]."""
    if darkness is None or not darkness[0] <= since_s < darkness[0] + darkness[1]:
        return 1.0
    return darkness[2]


def _row(truth: Truth, asked: NDArray[np.float32], cup_hidden: bool, nothing_to_claim: bool) -> tuple[object, ...]:
    """Return twist, actions, stop, auxiliary, known for one moment."""
    cos, sin = math.cos(truth.yaw), math.sin(truth.yaw)

    def local(x: float, y: float) -> tuple[float, float]:
        east, north = x - truth.x, y - truth.y
        return cos * east + sin * north, cos * north - sin * east

    places = [*local(truth.cup_x, truth.cup_y)]
    known = [0.0 if cup_hidden else 1.0] * 2
    for box in truth.boxes[:2]:
        corners = sorted((local(*corner) for corner in corners_of(box)), key=lambda place: math.hypot(*place))
        places += [*corners[0], *corners[-1]]
        known += [1.0] * 4
    missing = AUXILIARY - len(places)
    distance = math.hypot(truth.cup_x - truth.x, truth.cup_y - truth.y)
    sure = 0.0 if nothing_to_claim else min(1.0, max(0.0, (UNSURE_M - distance) / (UNSURE_M - SURE_M)))
    return tuple(truth.twist), asked, sure, [*places, *[0.0] * missing], [*known, *[0.0] * missing]


def corners_of(box: BoxTruth) -> list[tuple[float, float]]:
    """Return the four corners of a box's footprint in the world [m]."""
    cos, sin = math.cos(box.yaw), math.sin(box.yaw)
    half = ((box.half_x, box.half_y), (-box.half_x, box.half_y), (-box.half_x, -box.half_y), (box.half_x, -box.half_y))
    return [(box.x + cos * x - sin * y, box.y + sin * x + cos * y) for x, y in half]


class NoisyExpert:
    """Drives as the expert, now and then pulled aside for a while, so that there is something to recover from.

    The pull is in proportion to the expert's speed: where it creeps up to the cup it would only be rammed.
    """

    def __init__(self, rng: np.random.Generator, rate_hz: float = 0.5) -> None:
        self._rng, self._rate_hz = rng, rate_hz
        self._pull = np.zeros(3, np.float32)
        self._until_s = -1.0
        self._last_s: float | None = None

    def __call__(self, frame: NDArray[np.uint8], time_s: float, measured: Twist, label: PolicyStep) -> PolicyStep:
        """Return the expert's step, disturbed."""
        passed_s = 0.0 if self._last_s is None else time_s - self._last_s  # a drive may begin late
        self._last_s = time_s
        if time_s >= self._until_s:
            self._pull[:] = 0.0
            if self._rng.random() < passed_s * self._rate_hz:
                self._pull[:] = self._rng.normal(0.0, (0.2, 0.16, 0.6))
                self._until_s = time_s + float(self._rng.uniform(0.3, 1.2))
        speed = float(np.hypot(label.actions[0, 0], label.actions[0, 1]))
        pull = self._pull * min(1.0, speed / 0.3)
        return replace(label, actions=(label.actions + pull).astype(np.float32), stop_probability=0.0)


assert (CHUNK, PERIOD_S) == (8, 0.1)
