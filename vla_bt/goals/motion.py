"""Measured motions: from a start pose to velocities until "1 m forward" or "90 degrees left" is done, and by what that is judged.

Promises: pure (pose and time are arguments). With odometry a motion ends within 5 cm and 3 degrees of what was told, along the
line and heading it began with, or it fails with a reason. Without odometry it integrates the velocities the gate really applied,
and says so; a robot that has odometry and loses it on the way stops and fails, it never goes on by time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from vla_bt.goals.ledger import Evidence
from vla_bt.goals.plan import Motion, MotionGoal
from vla_bt.port import Odometry
from vla_bt.settings import GateSettings, TreeSettings
from vla_bt.words import ZERO, Twist

POSITION_TOLERANCE_M = 0.02
ANGLE_TOLERANCE_RAD = math.radians(1.0)
"""Aimed at; half and a third of what is promised, to leave room for what the robot still rolls."""

LINE_TOLERANCE_M = 0.3
"""Further off the line than this, something else moves the robot."""

_GAIN = 2.0  # 1/s; with 0.15 s from command to odometry the loop stays well damped (gain * delay = 0.3 < 1/e)
_MIN_LINEAR, _MIN_ANGULAR = 0.03, 0.06  # slower than this many bases don't move at all
_STANDING_LINEAR, _STANDING_ANGULAR = 0.02, 0.05
_CROSS_LIMIT, _HEADING_LIMIT = 0.1, 0.4
_PAUSE_S = 0.5  # a longer time between two updates means that somebody else drove
_STUCK_S = 3.0
_JUMP_MARGIN_M, _JUMP_MARGIN_RAD = 0.3, 0.5
_AXES = {Motion.FORWARD: (1.0, 0.0), Motion.BACK: (-1.0, 0.0), Motion.LEFT: (0.0, 1.0), Motion.RIGHT: (0.0, -1.0)}


class MotionState(str, Enum):
    """Where a motion stands."""

    RUNNING = "running"
    REACHED = "reached"
    FAILED = "failed"


@dataclass(frozen=True)
class MotionOutcome:
    """What one update says.

    Attributes
    ----------
    state : MotionState
        Running, reached or failed.
    twist : Twist
        The velocity proposed now; zero unless running.
    evidence : Evidence
        By what progress is judged.
    words : str
        Progress or the reason of failure, one line.
    remaining : float
        What is left [m or rad].
    """

    state: MotionState
    twist: Twist
    evidence: Evidence
    words: str
    remaining: float


@dataclass
class _Pose:
    x: float = 0.0
    y: float = 0.0
    yaw: float = 0.0  # unwrapped


class MotionTracker:
    """Drives one motion sub-goal. Make a new one for each.

    Parameters
    ----------
    goal : MotionGoal
        What to do.
    settings : TreeSettings
        Speeds, and in ``required_inputs`` whether this robot has odometry.
    gate : GateSettings
        Limits that the gate will hold the robot to.
    """

    def __init__(self, goal: MotionGoal, settings: TreeSettings, gate: GateSettings) -> None:
        self.goal = goal
        self.evidence = Evidence.ODOMETRY if "odometry" in settings.required_inputs else Evidence.TIMED
        self._gate = gate
        self._angular = min(settings.motion_angular, gate.max_angular_z)
        sideways = goal.motion in (Motion.LEFT, Motion.RIGHT)
        self._linear = min(settings.motion_linear, gate.max_linear_y if sideways else gate.max_linear_x)
        self._start: Odometry | None = None
        self._pose = _Pose()
        self._raw: Odometry | None = None
        self._last_s: float | None = None
        self._best = math.inf
        self._best_s = 0.0
        self._closed: MotionOutcome | None = None

    def update(self, now_s: float, odometry: Odometry | None, applied: Twist) -> MotionOutcome:
        """Take one step.

        Parameters
        ----------
        now_s : float
            Time of this tick [s].
        odometry : Odometry or None
            Fresh odometry; None when it is stale or this robot has none.
        applied : Twist
            The velocity the gate applied last.

        Returns
        -------
        MotionOutcome
            Once reached or failed, always the same.
        """
        if self._closed is None:
            outcome = self._step(now_s, odometry, applied)
            if outcome.state is MotionState.RUNNING:
                return outcome
            self._closed = outcome
        return self._closed

    def _step(self, now_s: float, odometry: Odometry | None, applied: Twist) -> MotionOutcome:
        dt = 0.0 if self._last_s is None else now_s - self._last_s
        if (self._angular if self.goal.motion.is_turn else self._linear) <= 0.0:
            return self._failed(f"this robot can't move like that: its speed limit for '{self.goal.motion.value}' is 0")
        if self.evidence is Evidence.TIMED:
            if dt > _PAUSE_S:
                return self._failed(f"interrupted for {dt:.1f} s; without odometry nobody knows where it stands")
            self._integrate(applied, dt)
            speed = applied
        else:
            if odometry is None:
                return self._failed("odometry was lost on the way" if self._start else "no odometry to measure it by")
            problem = self._follow(odometry, dt)
            if problem:
                return self._failed(problem)
            speed = odometry.twist
        if dt > _PAUSE_S:  # standing meanwhile is nobody's fault
            self._best_s = now_s
        self._last_s = now_s
        return self._turn(now_s, speed) if self.goal.motion.is_turn else self._straight(now_s, speed)

    def _integrate(self, applied: Twist, dt: float) -> None:
        """Dead reckoning from what the gate applied since the last update."""
        pose = self._pose
        middle = pose.yaw + 0.5 * applied.angular_z * dt
        pose.x += (applied.linear_x * math.cos(middle) - applied.linear_y * math.sin(middle)) * dt
        pose.y += (applied.linear_x * math.sin(middle) + applied.linear_y * math.cos(middle)) * dt
        pose.yaw += applied.angular_z * dt

    def _follow(self, odometry: Odometry, dt: float) -> str:
        """Express the odometry in the start's frame, yaw unwrapped; returns what is wrong with it."""
        values = (odometry.x, odometry.y, odometry.yaw, *odometry.twist)
        if not all(math.isfinite(value) for value in values):
            return "odometry holds numbers that are not finite"
        if self._start is None or self._raw is None:
            self._start = self._raw = odometry
            return ""
        moved = math.hypot(odometry.x - self._raw.x, odometry.y - self._raw.y)
        turned = math.remainder(odometry.yaw - self._raw.yaw, math.tau)
        if moved > 2 * self._gate.max_linear_x * dt + _JUMP_MARGIN_M:
            return f"odometry jumped by {moved:.2f} m"
        if abs(turned) > 2 * self._gate.max_angular_z * dt + _JUMP_MARGIN_RAD:
            return f"odometry jumped by {math.degrees(turned):.0f} degrees"
        self._raw = odometry
        dx, dy = odometry.x - self._start.x, odometry.y - self._start.y
        cos, sin = math.cos(self._start.yaw), math.sin(self._start.yaw)
        self._pose = _Pose(dx * cos + dy * sin, dy * cos - dx * sin, self._pose.yaw + turned)
        return ""

    def _straight(self, now_s: float, measured: Twist) -> MotionOutcome:
        along_x, along_y = _AXES[self.goal.motion]
        done = self._pose.x * along_x + self._pose.y * along_y
        off = -self._pose.x * along_y + self._pose.y * along_x  # leftwards of the direction of travel
        remaining = self.goal.amount - done
        words = f"{done:.2f} of {self.goal.amount:.2f} m, {self.evidence.value}"
        if abs(off) > LINE_TOLERANCE_M:
            return self._failed(f"{abs(off):.2f} m off its line after {done:.2f} m; something else moves the robot")
        if self._is_stuck(now_s, remaining, POSITION_TOLERANCE_M):
            return self._failed(f"no progress for {_STUCK_S:g} s after {done:.2f} of {self.goal.amount:.2f} m")
        if abs(remaining) <= POSITION_TOLERANCE_M:
            state = MotionState.REACHED if measured.speed <= _STANDING_LINEAR else MotionState.RUNNING
            return MotionOutcome(state, ZERO, self.evidence, words, remaining)
        pace = self._pace(remaining, self._linear, _MIN_LINEAR, self._gate.max_linear_acceleration)
        back_to_line = max(-_CROSS_LIMIT, min(_CROSS_LIMIT, -_GAIN * off))
        to_heading = max(-_HEADING_LIMIT, min(_HEADING_LIMIT, -_GAIN * self._pose.yaw))
        # From the start's frame to the robot's own.
        ahead, left = pace * along_x - back_to_line * along_y, pace * along_y + back_to_line * along_x
        cos, sin = math.cos(self._pose.yaw), math.sin(self._pose.yaw)
        limit_y = self._gate.max_linear_y
        twist = Twist(ahead * cos + left * sin, max(-limit_y, min(limit_y, left * cos - ahead * sin)), to_heading)
        return MotionOutcome(MotionState.RUNNING, twist, self.evidence, words, remaining)

    def _turn(self, now_s: float, measured: Twist) -> MotionOutcome:
        sign = 1.0 if self.goal.motion is Motion.TURN_LEFT else -1.0
        done = sign * self._pose.yaw
        remaining = self.goal.amount - done
        words = f"{math.degrees(done):.0f} of {math.degrees(self.goal.amount):.0f} deg, {self.evidence.value}"
        if self._is_stuck(now_s, remaining, ANGLE_TOLERANCE_RAD):
            return self._failed(f"no progress for {_STUCK_S:g} s after {words.split(',')[0]}")
        if abs(remaining) <= ANGLE_TOLERANCE_RAD:
            state = MotionState.REACHED if abs(measured.angular_z) <= _STANDING_ANGULAR else MotionState.RUNNING
            return MotionOutcome(state, ZERO, self.evidence, words, remaining)
        pace = self._pace(remaining, self._angular, _MIN_ANGULAR, self._gate.max_angular_acceleration)
        return MotionOutcome(MotionState.RUNNING, Twist(0.0, 0.0, sign * pace), self.evidence, words, remaining)

    @staticmethod
    def _pace(remaining: float, cruise: float, slowest: float, acceleration: float) -> float:
        """Return the signed speed for what remains: cruise, brake at half of what the gate allows, close in."""
        distance = abs(remaining)
        pace = min(cruise, max(slowest, min(_GAIN * distance, math.sqrt(acceleration * distance))))
        return math.copysign(pace, remaining)

    def _is_stuck(self, now_s: float, remaining: float, step: float) -> bool:
        if abs(remaining) < self._best - step:
            self._best, self._best_s = abs(remaining), now_s
        return now_s - self._best_s > _STUCK_S

    def _failed(self, reason: str) -> MotionOutcome:
        return MotionOutcome(MotionState.FAILED, ZERO, self.evidence, reason, math.nan)
