"""A policy in the tree's own process, for lockstep: the same client, with a latency that is stated and simulated.

Promises: an output is handed out when the clock has reached the time its frame was handed over plus the latency, not before;
with the same frames and times the results are the same bit for bit, the reported latency being the simulated one. What the
computer really needed is kept apart in ``compute_s``. A change of grade takes the time it takes, and no simulated time.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vla_bt.camera.lens import Picture
from vla_bt.policy import grades
from vla_bt.policy.port import Grade, Policy, PolicyOutput, PolicyStatus
from vla_bt.words import Twist

FrameSource = Callable[[int, Picture], "NDArray[np.uint8] | None"]


class InlineClient:
    """A :class:`~vla_bt.policy.port.PolicyClient` that steps its policy when a frame is handed over.

    Parameters
    ----------
    policy : Policy
    frame_source : callable
        Returns the pixels (height, width, 3) of a frame's sequence as the policy wants to see them, or None when it is gone.
    clock : callable
        The world's seconds; simulated in lockstep.
    latency_s : float
        Simulated time from handing a frame over to its output [s].
    remake : callable, optional
        Makes the policy anew after it was shrunk or unloaded; without it, it stays as small as it became.

    Attributes
    ----------
    compute_s : list of float
        Wall time each step really took [s].
    """

    def __init__(
        self,
        policy: Policy,
        frame_source: FrameSource,
        clock: Callable[[], float],
        latency_s: float = 0.0,
        remake: Callable[[], Policy] | None = None,
    ) -> None:
        if not 0.0 <= latency_s <= 10.0:
            raise ValueError(f"latency_s is {latency_s:g}; expected 0 to 10 s")
        self._frame_source, self._clock, self._latency_s, self._remake = frame_source, clock, latency_s, remake
        self._policy: Policy | None = policy
        self._info, self._grade, self._goal = policy.info, Grade.FULL, ""
        self._goal_id: int | None = None
        self._pending: PolicyOutput | None = None
        self._output: PolicyOutput | None = None
        self._detail = policy.info.label
        self.frames_handed = self.steps_taken = 0
        self.compute_s: list[float] = []

    def set_goal(self, goal_id: int, goal: str) -> None:
        """Start a goal; outputs of earlier goals are discarded from now on."""
        self._goal = goal
        if self._policy is not None:
            self._policy.reset(goal)
        self._goal_id, self._pending, self._output = goal_id, None, None

    def hand_frame(self, frame_sequence: int, frame_time_s: float, measured: Twist) -> bool:
        """Take one step on a frame.

        False when a step is under way, there is no goal, the frame is gone, or ``measured`` holds a non-finite number.
        """
        self._ripen()
        policy = self._policy
        if policy is None or self._goal_id is None or self._pending is not None or not measured.is_finite():
            return False
        info = policy.info
        frame = self._frame_source(frame_sequence, info.picture) if info.needs_frame else None
        if info.needs_frame and frame is None:
            self._detail = f"frame {frame_sequence} is gone"
            return False
        self._detail = info.label
        self.frames_handed += 1
        started = time.perf_counter()
        step = policy.step(frame, frame_time_s, measured)
        self.compute_s.append(time.perf_counter() - started)
        self.steps_taken += 1
        self._pending = PolicyOutput(
            step=dataclasses.replace(step, latency_s=self._latency_s),
            goal_id=self._goal_id,
            frame_sequence=frame_sequence,
            frame_time_s=frame_time_s,
            received_s=self._clock() + self._latency_s,
        )
        return True

    def poll(self) -> PolicyOutput | None:
        """Return the newest output for the current goal that is due and was not returned yet, if any."""
        self._ripen()
        output, self._output = self._output, None
        return output

    def status(self) -> PolicyStatus:
        """Report; an inline policy is ready unless it is unloaded."""
        self._ripen()
        return PolicyStatus(
            state="ready" if self._policy is not None else "dead",
            detail=self._detail if self._policy is not None else "unloaded for want of memory",
            info=self._info,
            frames_handed=self.frames_handed,
            steps_taken=self.steps_taken,
            restarts=0,
            last_latency_s=self._latency_s,
            awaited_since_s=None if self._pending is None else self._pending.received_s - self._latency_s,
            grade=self._grade,
        )

    def set_grade(self, grade: Grade) -> None:
        """Shrink the policy, let go of it, or make it anew; the goal stays."""
        if grade is self._grade or (grade < self._grade and self._remake is None):
            return
        self._pending = self._output = None
        if grade is Grade.UNLOADED:
            self._policy = None
        elif grade < self._grade:
            self._policy = None  # never two at once
            assert self._remake is not None
            self._policy = self._remake()
            grades.degrade(self._policy, Grade.FULL, grade)
        elif self._policy is not None:
            grades.degrade(self._policy, self._grade, grade)
        self._grade = grade
        if self._policy is not None:
            self._detail = grades.label_of(self._policy.info.label, grade)
            if self._goal_id is not None:
                self._policy.reset(self._goal)

    def clear_caches(self) -> None:
        """Give back what the policy doesn't need now."""
        grades.clear(self._policy)

    def forgive(self) -> None:
        """Nothing to forgive: without a process of its own it is never given up."""

    def close(self) -> None:
        """Let go of anything under way."""
        self._pending = self._output = None

    def _ripen(self) -> None:
        # A nanosecond's grace, because simulated times are sums of steps.
        if self._pending is not None and self._clock() >= self._pending.received_s - 1e-9:
            self._output, self._pending = self._pending, None
