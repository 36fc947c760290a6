"""The memory guard's leaves: one judges, each of the others carries out one step of the ladder and takes it back.

Promises: none fails the branch; none does slow work on the tick.
"""

from __future__ import annotations

from typing import Any

from py_trees.common import Status

from vla_bt.behaviours.leaf import Leaf
from vla_bt.contract import STALE
from vla_bt.memory.guard import SHORT_QUEUE, MemoryGuard, MemoryState
from vla_bt.memory.ladder import Level
from vla_bt.memory.monitor import STALE_S, MemoryReading
from vla_bt.policy.port import Grade, PolicyStatus

STILL_SPEED, STILL_TURN = 0.01, 0.02
"""Odometry is never quite still [m/s, rad/s]."""


class MemoryFine(Leaf):
    """Judge the newest sample; SUCCESS while nothing is in force and nothing is to be done."""

    READS = ("policy_status", "gate", "odometry")
    WRITES = ("memory",)

    def setup(self, **kwargs: Any) -> None:
        """Begin at level 0.

        Raises
        ------
        SettingsError
            When the levels' limits do not fall.
        """
        super().setup(**kwargs)
        self._guard = MemoryGuard(self.settings, self.resources.memory)
        self._state: MemoryState | None = None

    def update(self) -> Status:
        """SUCCESS when fine (or nothing was sampled yet), FAILURE when the ladder's steps are wanted."""
        memory = self.resources.memory
        reading: MemoryReading | None = memory.reading()
        status: PolicyStatus = self.read("policy_status")
        if reading is None:
            self.feedback_message = "no sample yet"
            return Status.SUCCESS
        state, silence_s = self._state, memory.silence_s()
        if not self.settings.memory_guard:
            if state is None or state.reading is not reading:
                self._keep(self._unguarded(reading, status))
            return Status.SUCCESS
        due = state is None or not state.quiet or state.reading is not reading or memory.asked or status.gave_up
        if state is None or due or silence_s > STALE_S:
            state = self._guard.judge(reading, status, self._standing(), self.now_s, silence_s)
            if state.act:
                self._guard.changing(status, self.now_s)
            self._keep(state)
        fine = state.quiet and status.grade is Grade.FULL
        return Status.SUCCESS if fine else Status.FAILURE

    @staticmethod
    def _unguarded(reading: MemoryReading, status: PolicyStatus) -> MemoryState:
        return MemoryState(
            reading,
            manual_only=status.detail if status.gave_up else "",
            words=f"the guard is off; {reading.available_mb:.0f} MB available",
            policy_grade=status.grade,
            out_of_memory=status.out_of_memory,
        )

    def _keep(self, state: MemoryState) -> None:
        self._state = self.resources.memory.state = state
        self.feedback_message = state.words
        self.write("memory", state)

    def _standing(self) -> bool:
        gate, odometry = self.read("gate"), self.read("odometry")
        if gate is STALE or not gate.applied.is_zero():
            return False
        twist = odometry.twist if odometry is not STALE else gate.applied
        return bool(twist.speed < STILL_SPEED and abs(twist.angular_z) < STILL_TURN)


class ClearCaches(Leaf):
    """Level 1: ask for all caches to be cleared, here and at the policy, off the tick. Always SUCCESS."""

    READS = ("memory",)

    def update(self) -> Status:
        """Ask when it is due."""
        state: MemoryState = self.read("memory")
        if state.clear:
            self.resources.memory.request_clear()
            self.resources.policy.clear_caches()
        self.feedback_message = "in force" if state.level >= Level.CLEAR else "not needed"
        return Status.SUCCESS


class ShortenRecording(Leaf):
    """Level 2: recording's queue takes fewer frames; what is in it stays. Always SUCCESS."""

    READS = ("memory",)

    def update(self) -> Status:
        """Shorten the queue, or give it its length back."""
        state: MemoryState = self.read("memory")
        recorder = self.resources.recorder
        short = state.level >= Level.SHORTEN
        self.feedback_message = f"at most {SHORT_QUEUE} frames wait" if short else "not needed"
        beyond = recorder.limit_queue(SHORT_QUEUE if short else None) if recorder is not None else None
        if beyond is not None:
            words = f"recording's queue takes {SHORT_QUEUE} frames" if short else "recording's queue has its length again"
            self.resources.memory.note(words, beyond / 1e6 if short else None)
        return Status.SUCCESS


class DegradePolicy(Leaf):
    """Level 3: 8-bit weights, then fewer layers; and, step by step, back. Always SUCCESS."""

    READS = ("memory",)

    def update(self) -> Status:
        """Ask the policy for its grade when it may be changed."""
        state: MemoryState = self.read("memory")
        policy = self.resources.policy
        if state.forgive:
            policy.forgive()
        if state.act and state.grade is not Grade.UNLOADED:
            policy.set_grade(state.grade)
        wanted = f"policy wanted: {state.grade.name.lower()}"
        self.feedback_message = f"{wanted}; waiting for the robot to stand" if state.stop and not state.act else wanted
        return Status.SUCCESS


class UnloadPolicy(Leaf):
    """Level 4: the policy goes, autonomy stops (the cause is named by ``NameCauses``), teleop still drives. Always SUCCESS."""

    READS = ("memory",)

    def update(self) -> Status:
        """Unload the policy when it may be changed."""
        state: MemoryState = self.read("memory")
        unload = state.grade is Grade.UNLOADED
        if unload and state.act:
            self.resources.policy.set_grade(Grade.UNLOADED)
        self.feedback_message = "no policy; autonomy is stopped" if unload else "not needed"
        return Status.SUCCESS
