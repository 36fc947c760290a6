"""A robot and a policy that answer from memory: what is timed in front of them is the tree and nothing else.

Promises: inputs are as fresh and as many as on the simulated robot (frames at 15 Hz, scans at 10 Hz, odometry and the gate's
report anew for every tick); they and the policy's answers, which nobody computes, are made in ``advance``, outside of whatever is
timed.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vla_bt.policy.port import Grade, PolicyInfo, PolicyOutput, PolicyStatus, PolicyStep
from vla_bt.port import Battery, FrameInfo, GateStatus, Odometry, Operator, Request, Scan, Snapshot
from vla_bt.words import ZERO, Mode, Source, Twist

CAMERA_PERIOD_S, SCAN_PERIOD_S, BATTERY_PERIOD_S = 1 / 15, 0.1, 1.0
SCAN_RAYS = 240
CRUISE = Twist(0.2, 0.0, 0.1)


class MemoryRobot:
    """A ``Robot`` whose world is a few numbers.

    Attributes
    ----------
    request : Request or None
        The newest one sent.
    goal_line : str
        The ledger's newest line.
    """

    def __init__(self, period_s: float) -> None:
        self.request: Request | None = None
        self.goal_line = ""
        self._period_s = period_s
        self._now_s = 1000.0
        self._sequence = 0
        self._frame: FrameInfo | None = None
        self._frame_due_s = self._now_s
        self._scan: Scan | None = None
        self._battery: Battery | None = None
        self._modes: list[str] = []
        self._goals: list[str] = []
        self._snapshot = Snapshot(self._now_s)

    def set_mode(self, mode: str) -> None:
        """A person asks for a mode; the next tick hears of it."""
        self._modes.append(mode)

    def give_goal(self, goal: str) -> None:
        """A person gives a goal; the next tick hears of it."""
        self._goals.append(goal)

    def advance(self) -> None:
        """Let a tick period pass and prepare what the next snapshot returns."""
        self._now_s += self._period_s
        now_s = self._now_s
        if now_s >= self._frame_due_s:
            self._sequence += 1
            self._frame_due_s += CAMERA_PERIOD_S
            self._frame = FrameInfo(self._sequence, now_s, now_s, 1280, 720, self._sequence)
        if self._scan is None or now_s - self._scan.received_s >= SCAN_PERIOD_S - 1e-9:
            ranges = np.linspace(1.0, 4.0, SCAN_RAYS, dtype=np.float32)
            self._scan = Scan(ranges, -math.pi, 2 * math.pi / SCAN_RAYS, now_s)
        if self._battery is None or now_s - self._battery.received_s >= BATTERY_PERIOD_S:
            self._battery = Battery(0.9, now_s)
        applied, source = (self.request.twist, self.request.source) if self.request else (ZERO, Source.IDLE)
        operator = Operator(None, tuple(self._modes), tuple(self._goals))
        self._modes, self._goals = [], []
        self._snapshot = Snapshot(
            now_s=now_s,
            frame=self._frame,
            odometry=Odometry(1.0, 2.0, 0.3, applied, now_s),
            scan=self._scan,
            battery=self._battery,
            gate=GateStatus(False, "", applied, source, now_s),
            operator=operator,
        )

    def now(self) -> float:
        """Seconds of this world."""
        return self._now_s

    def snapshot(self) -> Snapshot:
        """Return what :meth:`advance` prepared."""
        return self._snapshot

    def copy_frame(self, sequence: int) -> NDArray[np.uint8] | None:
        """Have no pixels: nothing is recorded here."""
        return None

    def send(self, request: Request) -> None:
        """Keep the request."""
        self.request = request

    def publish_mode(self, mode: Mode, text: str) -> None:
        """Nobody listens."""

    def publish_goal_status(self, text: str) -> None:
        """Keep the line."""
        self.goal_line = text

    def publish_action(self, twist: Twist) -> None:
        """Nobody listens."""


class MemoryPolicy:
    """A ``PolicyClient`` that has an answer to each frame by the next tick, without computing."""

    def __init__(self) -> None:
        actions = np.tile(np.array(CRUISE, np.float32), (8, 1))
        self._step = PolicyStep(actions, 0.1, 0.0)
        self._info = PolicyInfo("memory", "answers from memory", 0, 0, needs_frame=False)
        self._goal_id = 0
        self._handed: tuple[int, float] | None = None
        self._output: PolicyOutput | None = None
        self._status = PolicyStatus("ready", "", self._info, 0, 0, 0, 0.0)
        self.steps = 0

    def set_goal(self, goal_id: int, goal: str) -> None:
        """Start a goal."""
        self._goal_id, self._output = goal_id, None

    def hand_frame(self, frame_sequence: int, frame_time_s: float, measured: Twist) -> bool:
        """Take a frame; the answer is there when the next tick asks."""
        self._handed = (frame_sequence, frame_time_s)
        return True

    def poll(self) -> PolicyOutput | None:
        """Return the answer once."""
        output, self._output = self._output, None
        return output

    def status(self) -> PolicyStatus:
        """Report."""
        return self._status

    def set_grade(self, grade: Grade) -> None:
        """Have nothing to shrink."""
        self._status = replace(self._status, grade=grade)

    def clear_caches(self) -> None:
        """Have nothing to clear."""

    def forgive(self) -> None:
        """Have nothing to forgive."""

    def advance(self, now_s: float) -> None:
        """Let the time between two ticks pass: answer the frame that was handed over."""
        if self._handed is None:
            return
        sequence, time_s = self._handed
        self._handed = None
        self.steps += 1
        self._output = PolicyOutput(self._step, self._goal_id, sequence, time_s, now_s)
        self._status = replace(self._status, frames_handed=self.steps, steps_taken=self.steps)
