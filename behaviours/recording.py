"""The leaves that record episodes: on the tick only the copy of a frame and its hand-over; the disk is another thread's."""

from __future__ import annotations

from collections import OrderedDict

from py_trees.common import Status

from vla_bt.behaviours.leaf import Leaf
from vla_bt.contract import STALE, Staleness
from vla_bt.episodes.format import FrameSample
from vla_bt.port import FrameInfo, Request
from vla_bt.words import ZERO, Source

FRAMES_REMEMBERED = 8
"""More than the ring holds."""


class AppendFrame(Leaf):
    """When a frame is due, hand over what the last request was decided on, asked for, and led to.

    The picture is the one the decision was made on; for a person's velocity that is the newest one they could see, which has to
    be fresh. No picture is recorded twice in a row: beside a dead camera nothing is recorded.
    """

    READS = ("recording_wanted", "request", "frame", "gate", "odometry", "mode", "goal", "policy_status", "policy_output")

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._frames: OrderedDict[int, FrameInfo] = OrderedDict()
        self._recorded = 0  # the sequence of the newest frame handed over

    def update(self) -> Status:
        """SUCCESS when a frame was handed over, FAILURE when none is due or none can be had."""
        recorder, frame = self.resources.recorder, self.read("frame")
        if recorder is None or not self.read("recording_wanted"):
            self.feedback_message = "not asked to record"
            return Status.FAILURE
        if recorder.status().state == "idle":
            recorder.start()
        if frame is not STALE:
            self._frames[frame.sequence] = frame
            self._frames.move_to_end(frame.sequence)  # a bridge that came back may count from 1 again
            if len(self._frames) > FRAMES_REMEMBERED:
                self._frames.popitem(last=False)
        if not recorder.due(self.now_s):
            self.feedback_message = "no frame is due"
            return Status.FAILURE
        sample = self._sample()
        if sample is None:
            self.feedback_message = "no picture of this decision that is not recorded yet; the next one will do"
            return Status.FAILURE
        taken = recorder.offer(sample)
        if taken:
            self._recorded = sample.frame_sequence
        self.feedback_message = recorder.status().words
        return Status.SUCCESS if taken else Status.FAILURE

    def _sample(self) -> FrameSample | None:
        """Gather one sample, None while there is no request or no picture of it: stale, recorded already, out of the ring."""
        request: Request | Staleness = self.read("request")
        if request is STALE:
            return None
        frame: FrameInfo | Staleness = self.read("frame")
        info = self._frames.get(request.frame_sequence) if request.frame_sequence else None if frame is STALE else frame
        if info is None or info.sequence == self._recorded:
            return None
        image = self.resources.robot.copy_frame(info.sequence)
        if image is None:
            return None
        gate, odometry, goal = self.read("gate"), self.read("odometry"), self.read("goal")
        status, output = self.read("policy_status"), self.read("policy_output")
        by_policy = request.source is Source.POLICY and output is not STALE
        return FrameSample(
            image=image,
            action=request.twist,
            applied=ZERO if gate is STALE else gate.applied,
            source=request.source,
            mode=self.read("mode"),
            frame_sequence=info.sequence,
            exposure_s=info.stamp_s,
            receipt_s=info.received_s,
            decided_s=self.now_s,
            goal_text=goal.text if goal else "",
            goal_id=request.goal_id,
            odometry=None if odometry is STALE else odometry,
            policy_latency_s=output.step.latency_s if by_policy else None,
            weights_hash=status.info.weights_hash if status.info is not None else "",
        )


class CloseEpisode(Leaf):
    """End recording, also a failed one, when it is no longer wanted; at its 18th frame the recorder itself closes an episode."""

    READS = ("recording_wanted",)

    def update(self) -> Status:
        """SUCCESS when recording was ended in this tick, else FAILURE."""
        recorder = self.resources.recorder
        if recorder is None or self.read("recording_wanted") or recorder.status().state == "idle":
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
