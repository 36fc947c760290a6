"""The expert: a scripted pilot that knows the simulator's truth. The reference for other policies, and their teacher.

Promises: it sees no picture and says so in its label; deterministic; plans anew at every step from where the robot is, so it may
be started or resumed anywhere. It drives to the cup and to nothing else: of what the parser reads it heeds only the side.
Without truth it proposes to stand still.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from vla_bt.goals.parser import parse
from vla_bt.goals.plan import PlaceGoal, Plan
from vla_bt.policy.port import PolicyInfo, PolicyStep
from vla_bt.sim.route import distance_to_box, plan_route
from vla_bt.sim.truth import Truth
from vla_bt.words import ZERO, Twist

CHUNK = 8
PERIOD_S = 0.1
STANDOFF_M = 0.33
"""Distance to the cup's centre at which it stops: between touching the cup (0.25 m) and not having arrived (0.4 m)."""

SURE_M, UNSURE_M = 0.325, 0.365
"""The stop probability rises from 0 at the larger distance to the cup's centre to 1 at the smaller."""

_SPEED = 0.42  # m/s
_SIDEWAYS = 0.28  # m/s
_TURNING = 0.9  # rad/s
_ACCELERATION = 1.0  # m/s^2
_TURN_ACCELERATION = 3.5  # rad/s^2
_BRAKING = 0.35  # m/s^2
_CLEARANCE_M = 0.48  # centre of the robot to a box: 0.2 m of robot and 0.28 m of air; corners are cut a little
_PUSH_OUT_M = 0.4  # closer than this it also moves away from the box
_WALL_M = 0.34
_AHEAD_M, _LOOK_M = 0.24, 0.6


def told_side(goal: str) -> str | None:
    """Return the side the goal tells, None when it tells none or two.

    >>> told_side("keep the box on your RIGHT and go to the cup")
    'left'
    """
    plan = parse(goal)
    told = {step.side for step in plan.steps if isinstance(step, PlaceGoal)} - {""} if isinstance(plan, Plan) else set()
    return told.pop() if len(told) == 1 else None


@dataclass
class _State:
    """The robot as the expert imagines it."""

    x: float
    y: float
    yaw: float
    twist: Twist


class ExpertPolicy:
    """Drives around the boxes on the told side (else the shorter way) to the cup and stops before it.

    Parameters
    ----------
    truth : callable
        Returns the newest :class:`~vla_bt.sim.truth.Truth`, or None when there is none.

    Attributes
    ----------
    asked : ndarray of float32, shape (CHUNK, 3)
        What the last step would drive at those moments if it could change its velocity at once. It teaches better than the
        step's actions do: those stay near the measured velocity, which a pupil would learn to copy.
    """

    def __init__(self, truth: Callable[[], Truth | None]) -> None:
        self._truth = truth
        self._side: str | None = None
        self.asked: NDArray[np.float32] = np.zeros((CHUNK, 3), np.float32)

    @property
    def info(self) -> PolicyInfo:
        """What it is. It takes no frames; the size is nominal."""
        return PolicyInfo("expert", "simulator truth, not vision", 128, 72, needs_frame=False)

    def reset(self, goal: str) -> None:
        """Take the side from the goal."""
        self._side = told_side(goal)

    def step(self, frame: NDArray[np.uint8] | None, time_s: float, measured: Twist) -> PolicyStep:
        """Propose the next :data:`CHUNK` velocities, :data:`PERIOD_S` apart; frame and time are not used."""
        began = perf_counter()
        truth = self._truth()
        self.asked = np.zeros((CHUNK, 3), np.float32)
        if truth is None:
            return PolicyStep(np.zeros((CHUNK, 3), np.float32), PERIOD_S, 0.0, perf_counter() - began)
        start = measured if measured.is_finite() else truth.twist
        actions = self._roll_out(truth, _State(truth.x, truth.y, truth.yaw, start))
        distance = math.hypot(truth.cup_x - truth.x, truth.cup_y - truth.y)
        sure = min(1.0, max(0.0, (UNSURE_M - distance) / (UNSURE_M - SURE_M)))
        return PolicyStep(actions, PERIOD_S, sure, perf_counter() - began)

    def _roll_out(self, truth: Truth, state: _State) -> NDArray[np.float32]:
        """Drive the imagined robot along the planned way and note its velocities, shape (CHUNK, 3)."""
        cup = (truth.cup_x, truth.cup_y)
        way = plan_route((state.x, state.y), cup, truth.boxes, truth.room, self._side, _CLEARANCE_M, _WALL_M)
        actions = np.zeros((CHUNK, 3), np.float32)
        path = None if way is None else _Path(way)
        for index in range(CHUNK):
            wanted = ZERO if path is None else self._follow(truth, path, state)
            self.asked[index] = wanted
            state.twist = _slewed(state.twist, wanted)
            actions[index] = state.twist
            heading = state.yaw + state.twist.angular_z * PERIOD_S / 2
            cos, sin = math.cos(heading), math.sin(heading)
            state.x += (cos * state.twist.linear_x - sin * state.twist.linear_y) * PERIOD_S
            state.y += (sin * state.twist.linear_x + cos * state.twist.linear_y) * PERIOD_S
            state.yaw += state.twist.angular_z * PERIOD_S
        return actions

    @staticmethod
    def _follow(truth: Truth, path: _Path, state: _State) -> Twist:
        """Return the velocity that follows the way, facing where it leads, and slows down before the cup."""
        along = path.nearest(state.x, state.y)
        left = path.length - along - STANDOFF_M
        look_x, look_y = path.at(min(along + _LOOK_M, path.length))
        facing = math.remainder(math.atan2(look_y - state.y, look_x - state.x) - state.yaw, 2 * math.pi)
        turning = max(-_TURNING, min(_TURNING, 2.0 * facing))
        if left <= 0.005:
            return Twist(0.0, 0.0, turning if abs(facing) > 0.05 else 0.0)
        speed = min(_SPEED, 1.3 * left, math.sqrt(2 * _BRAKING * left))
        speed *= max(0.15, 1.0 - abs(facing) / 1.3)  # first turn towards it, then drive
        aim_x, aim_y = path.at(min(along + _AHEAD_M, path.length))
        length = math.hypot(aim_x - state.x, aim_y - state.y) or 1.0
        east, north = speed * (aim_x - state.x) / length, speed * (aim_y - state.y) / length
        for box in truth.boxes:
            gap, out_x, out_y = distance_to_box(box, state.x, state.y)
            push = 1.5 * max(0.0, _PUSH_OUT_M - gap)
            east, north = east + push * out_x, north + push * out_y
        cos, sin = math.cos(state.yaw), math.sin(state.yaw)
        forward, sideways = cos * east + sin * north, cos * north - sin * east
        scale = min(1.0, _SPEED / max(abs(forward), 1e-9), _SIDEWAYS / max(abs(sideways), 1e-9))
        return Twist(forward * scale, sideways * scale, turning)


def _slewed(now: Twist, wanted: Twist) -> Twist:
    """Move from one velocity towards another within the acceleration limits, for one period."""
    change_x, change_y = wanted.linear_x - now.linear_x, wanted.linear_y - now.linear_y
    share = min(1.0, _ACCELERATION * PERIOD_S / max(math.hypot(change_x, change_y), 1e-9))
    most = _TURN_ACCELERATION * PERIOD_S
    turn = now.angular_z + max(-most, min(most, wanted.angular_z - now.angular_z))
    return Twist(now.linear_x + share * change_x, now.linear_y + share * change_y, turn)


class _Path:
    """A polyline that knows its length; progress along it never goes back."""

    def __init__(self, points: NDArray[np.float64]) -> None:
        self._points = [(float(x), float(y)) for x, y in points]
        self._starts = [0.0]
        for (ax, ay), (bx, by) in pairwise(self._points):
            self._starts.append(self._starts[-1] + math.hypot(bx - ax, by - ay))
        self.length = self._starts[-1]
        self._progress = 0.0

    def at(self, along: float) -> tuple[float, float]:
        """Return the point ``along`` metres from the start."""
        for index in range(len(self._points) - 1):
            if along <= self._starts[index + 1]:
                break
        (ax, ay), (bx, by) = self._points[index], self._points[index + 1]
        span = self._starts[index + 1] - self._starts[index]
        share = (along - self._starts[index]) / span if span > 0 else 0.0
        return ax + share * (bx - ax), ay + share * (by - ay)

    def nearest(self, x: float, y: float) -> float:
        """Return how far along the nearest point is [m], looking from the progress so far to half a metre ahead."""
        best, best_gap = self._progress, math.inf
        for index in range(len(self._points) - 1):
            low, high = max(self._starts[index], self._progress), min(self._starts[index + 1], self._progress + 0.5)
            if low > high:
                continue
            (ax, ay), (bx, by) = self._points[index], self._points[index + 1]
            span = self._starts[index + 1] - self._starts[index]
            share = ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / span**2 if span > 0 else 0.0
            along = min(max(self._starts[index] + share * span, low), high)
            px, py = self.at(along)
            gap = math.hypot(px - x, py - y)
            if gap < best_gap:
                best, best_gap = along, gap
        self._progress = best
        return best
