"""The leaves that record episodes: on the tick only the copy of a frame and its hand-over; the disk is another thread's."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from py_trees.common import Status

from vla_bt.behaviours.leaf import Leaf
from vla_bt.contract import STALE, Staleness
from vla_bt.episodes.format import FrameSample
from vla_bt.goals.ledger import ActiveGoal
from vla_bt.policy.port import PolicyOutput, PolicyStatus
from vla_bt.port import FrameInfo, GateStatus, Odometry, Request
from vla_bt.words import Mode, Source

FRAMES_REMEMBERED = 64
"""Descriptions of frames, not pixels: a policy of two seconds beside a camera of 30 Hz still finds its own."""

SLOW_POLICY_S = 0.08
"""A policy whose answers take longer finds its frame overwritten: a ring of 4 at 30 Hz lasts 0.13 s [s]."""

FRAMES_HELD = 3
"""Pixels: of the frame that is answered, of the one in the policy's hands, and of one it may have lost."""


class _Seen(NamedTuple):
    """A frame, and the odometry known when the policy was handed it, or else when it came."""

    frame: FrameInfo
    odometry: Odometry | Staleness


class _Known(NamedTuple):
    """What a tick's decision rested on; the next tick records it, when the command has left and the gate has answered."""

    tick: int
    at_s: float
    frame: FrameInfo | Staleness
    odometry: Odometry | Staleness
    mode: Mode
    goal: ActiveGoal | None
    status: PolicyStatus | Staleness
    output: PolicyOutput | Staleness


class AppendFrame(Leaf):
    """When a frame is due, hand over what the last request was decided on, asked for, and led to.

    The picture is the one the decision was made on; for a person's velocity that is the newest one they could see, which has to
    be fresh. Never one that arrived after the decision, and none twice in a row: beside a dead camera nothing is recorded. For a
    policy slower than the camera's ring each picture is copied when the policy gets it: slow as it is, these are few.
    """

    READS = (
        "recording",
        "request",
        "snapshot",
        "frame",
        "gate",
        "odometry",
        "mode",
        "goal",
        "policy_frame",
        "policy_status",
        "policy_output",
    )

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._frames: OrderedDict[int, _Seen] = OrderedDict()
        self._policy_frame = 0
        self._known: _Known | None = None
        self._held: OrderedDict[FrameInfo, NDArray[np.uint8]] = OrderedDict()  # frames the policy was handed
        self._recorded = 0  # the sequence of the newest frame handed over
        self._recording = 0

    def update(self) -> Status:
        """SUCCESS when a frame was handed over, FAILURE when none is due or none can be had."""
        recorder, number = self.resources.recorder, self.read("recording")
        if recorder is None or not number:
            self._known = None
            self._held.clear()
            self.feedback_message = "not asked to record"
            return Status.FAILURE
        if number != self._recording or recorder.status().state == "idle":
            recorder.stop()
            recorder.start()
            self._recording = number
        decided, self._known = self._known, self._know()
        slow = self._known.status is not STALE and self._known.status.last_latency_s > SLOW_POLICY_S
        if slow:
            self._hold()
        if not recorder.due(self.now_s):
            if not slow:
                self._held.clear()
            self.feedback_message = recorder.status().words
            return Status.FAILURE
        sample = self._sample(decided) if decided is not None else None
        if sample is None:
            if not slow:
                self._hold()
            self.feedback_message = "no picture of this decision that is not recorded yet; the next one will do"
            return Status.FAILURE
        taken = recorder.offer(sample)
        if taken:
            self._recorded = sample.frame_sequence
        self.feedback_message = recorder.status().words
        return Status.SUCCESS if taken else Status.FAILURE

    def _know(self) -> _Known:
        """Note what this tick decides on: the branch that drives comes after this leaf, the one that senses before."""
        frame, odometry, handed = self.read("frame"), self.read("odometry"), self.read("policy_frame")
        if frame is not STALE:
            known = self._frames.get(frame.sequence)
            if known is None or known.frame != frame:  # a bridge that came back may count from 1 again
                self._frames[frame.sequence] = _Seen(frame, odometry)
            self._frames.move_to_end(frame.sequence)
            if len(self._frames) > FRAMES_REMEMBERED:
                self._frames.popitem(last=False)
        if handed is not STALE and handed != self._policy_frame:
            self._policy_frame = handed
            if handed in self._frames:
                self._frames[handed] = _Seen(self._frames[handed].frame, odometry)
        return _Known(
            self.resources.tick,
            self.read("snapshot").now_s,  # not the tick's own time: a frame may arrive between its beginning and the snapshot
            frame,
            odometry,
            self.read("mode"),
            self.read("goal"),
            self.read("policy_status"),
            self.read("policy_output"),
        )

    def _hold(self) -> None:
        """Copy the frame the policy just got: when its answer comes the ring may have lost it."""
        sequence = self.read("policy_frame")
        seen = None if sequence is STALE or sequence == self._recorded else self._frames.get(sequence)
        if seen is None or seen.frame in self._held:
            return
        image = self.resources.robot.copy_frame(sequence)
        if image is not None:
            self._held[seen.frame] = image
            if len(self._held) > FRAMES_HELD:
                self._held.popitem(last=False)

    def _picture(self, info: FrameInfo) -> NDArray[np.uint8] | None:
        held = self._held.get(info)
        return self.resources.robot.copy_frame(info.sequence) if held is None else held

    def _sample(self, decided: _Known) -> FrameSample | None:
        """Gather one sample, None while there is no request or no picture of it: stale, recorded already, out of the ring."""
        request: Request | Staleness = self.read("request")
        if request is STALE or request.tick != decided.tick:
            return None
        if request.frame_sequence:
            seen = self._frames.get(request.frame_sequence)
        else:
            seen = None if decided.frame is STALE else self._frames.get(decided.frame.sequence)
        if seen is None or seen.frame.sequence == self._recorded:
            return None
        info = seen.frame
        image = self._picture(info)
        if image is None:
            return None
        sent_s = self.resources.sent_s
        gate: GateStatus | Staleness = self.read("gate")
        answer = gate if gate is not STALE and gate.received_s >= sent_s else None
        goal, status, output = decided.goal, decided.status, decided.output
        step = output.step if request.source is Source.POLICY and output is not STALE else None
        return FrameSample(
            image=image,
            action=request.twist,
            applied=answer.applied if answer is not None else None,
            source=request.source,
            mode=decided.mode,
            frame_sequence=info.sequence,
            exposure_s=info.stamp_s,
            receipt_s=info.received_s,
            decided_s=decided.at_s,
            commanded_s=sent_s,
            applied_s=answer.received_s if answer is not None else math.nan,
            goal_text=goal.text if goal else "",
            subgoal_text=goal.subgoal.text if goal else "",
            goal_id=request.goal_id,
            odometry=None if decided.odometry is STALE else decided.odometry,
            seen_odometry=None if seen.odometry is STALE else seen.odometry,
            policy_latency_s=step.latency_s if step is not None else None,
            weights_hash=status.info.weights_hash if status is not STALE and status.info is not None else "",
        )


class CloseEpisode(Leaf):
    """End recording, also a failed one, when it is no longer wanted; at its 18th frame the recorder itself closes an episode."""

    READS = ("recording",)

    def update(self) -> Status:
        """SUCCESS when recording was ended in this tick, else FAILURE."""
        recorder = self.resources.recorder
        if recorder is None or self.read("recording") or recorder.status().state == "idle":
            return Status.FAILURE
        recorder.stop()
        self.feedback_message = "closed what was being recorded"
        return Status.SUCCESS


class RecorderIdle(Leaf):
    """Say how the recorder is doing. Always SUCCESS."""

    def update(self) -> Status:
        """SUCCESS."""
        recorder = self.resources.recorder
        self.feedback_message = recorder.status().words if recorder is not None else "no recorder"
        return Status.SUCCESS
