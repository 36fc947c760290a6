"""The policy port, on both sides of the process border.

``Policy`` is what a policy implements: plain calls that may take long. ``PolicyClient`` is what the tree sees: calls that
never block, whether the policy runs in a worker process (``vla_bt.policy.client``) or inline in lockstep
(``vla_bt.app.lockstep``). One step per handed-over frame: ``frames_handed`` and ``steps_taken`` must meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vla_bt.camera.lens import Picture
from vla_bt.words import Twist


class Grade(IntEnum):
    """How much of a policy is kept in memory. The numbers travel in messages."""

    FULL = 0
    INT8 = 1  # 8-bit weights
    LAYERS = 2  # and half the layers of its deepest transformer
    UNLOADED = 3


@dataclass(frozen=True)
class WorkerMemory:
    """What a worker says of its memory.

    Attributes
    ----------
    rss_mb : float
        Its resident memory [MB].
    gpu_allocated_mb, gpu_reserved_mb, gpu_free_mb : float
        torch's share of the GPU, in use and kept, and what the GPU has left [MB]; 0 on a CPU.
    clears : int
        How often it has cleared its caches.
    cleared_mb, shrunk_mb : float
        What its last clearing, and its last shrinking, gave back: resident memory and GPU memory, measured [MB].
    """

    rss_mb: float
    gpu_allocated_mb: float = 0.0
    gpu_reserved_mb: float = 0.0
    gpu_free_mb: float = 0.0
    clears: int = 0
    cleared_mb: float = 0.0
    shrunk_mb: float = 0.0


@dataclass(frozen=True)
class PolicyStep:
    """What one step yields.

    Attributes
    ----------
    actions : ndarray of float32, shape (chunk, 3)
        Proposed velocities (linear_x, linear_y, angular_z) [m/s, m/s, rad/s], the first for the frame's own time.
    action_period_s : float
        Time between consecutive actions of the chunk [s].
    stop_probability : float
        The policy's own claim that the goal is reached, 0..1; never derived from small actions.
    latency_s : float
        Time the step took [s].
    text_cache_hit : bool
        The goal's text features came from the cache.
    clamped : bool
        An action had to be limited to the policy's declared range.
    """

    actions: NDArray[np.float32]
    action_period_s: float
    stop_probability: float
    latency_s: float = 0.0
    text_cache_hit: bool = False
    clamped: bool = False

    @property
    def finite(self) -> bool:
        """Every number in it is finite."""
        return bool(np.isfinite(self.actions).all()) and bool(np.isfinite(self.stop_probability))


@dataclass(frozen=True)
class PolicyInfo:
    """What a policy says of itself.

    ``label`` is shown to people: ``untrained``, ``simulator truth, not vision``, or what the weights' card says.
    ``weights_hash`` is hex, empty when there are no weights. ``fovy_deg`` is the vertical field of view its frames are to have
    [deg], 0 where any will do.
    """

    name: str
    label: str
    frame_width: int
    frame_height: int
    weights_hash: str = ""
    needs_frame: bool = True
    fovy_deg: float = 0.0

    @property
    def picture(self) -> Picture:
        """What it wants to see."""
        return Picture(self.frame_width, self.frame_height, self.fovy_deg)


class Policy(Protocol):
    """A policy. Called from one thread."""

    @property
    def info(self) -> PolicyInfo:
        """What it is."""

    def reset(self, goal: str) -> None:
        """Start a new goal: forget the recurrent state, encode the text once."""

    def step(self, frame: NDArray[np.uint8] | None, time_s: float, measured: Twist) -> PolicyStep:
        """Take exactly one recurrent step on one frame.

        Parameters
        ----------
        frame : ndarray of uint8, shape (height, width, 3), RGB, or None
            None only when ``info.needs_frame`` is false.
        time_s : float
            Exposure/receipt time of the frame on the caller's clock [s]; gaps reset the state.
        measured : Twist
            Velocity of the robot: measured by odometry, or last applied by the gate.
        """


@dataclass(frozen=True)
class PolicyOutput:
    """A step's result as it arrives at the tree, labelled with what it was made from."""

    step: PolicyStep
    goal_id: int
    frame_sequence: int
    frame_time_s: float
    received_s: float

    def action_at(self, time_s: float) -> Twist | None:
        """Return the chunk's action for ``time_s`` on the tree's clock, None outside the chunk."""
        index = int((time_s - self.frame_time_s) / self.step.action_period_s + 1e-9)
        if not 0 <= index < len(self.step.actions):
            return None
        return Twist(*self.step.actions[index].tolist())


@dataclass(frozen=True)
class PolicyStatus:
    """How the policy is doing.

    ``state`` is one of ``starting``, ``ready``, ``dead``; ``detail`` says why in words. ``awaited_since_s`` is the time since
    which an answer has been awaited, None when no step is under way. ``frames_lost`` counts frames that were handed over and
    never consumed: gone from the ring before the worker came to them, or under way when it died. So ``frames_handed`` minus
    ``frames_lost`` is ``steps_taken``, or one more while a step is under way. ``grade`` is what the policy is, or is being made
    into while it is not ready. ``out_of_memory`` counts how often it ended for want of memory; with ``gave_up`` it stays away
    until :meth:`PolicyClient.forgive`.
    """

    state: str
    detail: str
    info: PolicyInfo | None
    frames_handed: int
    steps_taken: int
    restarts: int
    last_latency_s: float
    awaited_since_s: float | None = None
    frames_lost: int = 0
    grade: Grade = Grade.FULL
    out_of_memory: int = 0
    gave_up: bool = False
    memory: WorkerMemory | None = None


class PolicyClient(Protocol):
    """The tree's view of the policy. No call blocks."""

    def set_goal(self, goal_id: int, goal: str) -> None:
        """Start a goal; outputs of earlier goals are discarded from now on."""

    def hand_frame(self, frame_sequence: int, frame_time_s: float, measured: Twist) -> bool:
        """Hand one new frame over for one step. False when a step is still under way or the policy is not ready."""

    def poll(self) -> PolicyOutput | None:
        """Return the newest output for the current goal that was not returned yet, if any."""

    def status(self) -> PolicyStatus:
        """Report."""

    def set_grade(self, grade: Grade) -> None:
        """Ask for a policy that takes less or more memory; while it changes, its state is ``starting``."""

    def clear_caches(self) -> None:
        """Ask the policy to give back what it keeps but doesn't need: encoded goals beside the current one, freed memory."""

    def forgive(self) -> None:
        """Try again after the policy was given up for want of memory."""
