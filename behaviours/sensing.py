"""The leaf that copies the world to the blackboard, once a tick. Promises never to fail."""

from __future__ import annotations

from py_trees.common import Status

from vla_bt.behaviours.leaf import Leaf


class CopySnapshot(Leaf):
    """Copy one consistent snapshot of the robot port, each value stamped with its own time of receipt."""

    WRITES = ("now", "tick", "lateness", "snapshot", "frame", "odometry", "gate", "teleop")

    def update(self) -> Status:
        """Write the snapshot; always SUCCESS."""
        resources = self.resources
        snapshot = resources.robot.snapshot()
        self.write("now", self.now_s)
        self.write("tick", resources.tick)
        self.write("lateness", resources.lateness_s)
        self.write("snapshot", snapshot)
        if snapshot.frame is not None:
            self.write("frame", snapshot.frame, snapshot.frame.received_s)
        if snapshot.odometry is not None:
            self.write("odometry", snapshot.odometry, snapshot.odometry.received_s)
        if snapshot.gate is not None:
            self.write("gate", snapshot.gate, snapshot.gate.received_s)
        teleop = snapshot.operator.teleop
        if teleop is not None:
            self.write("teleop", teleop, teleop.received_s)
        frame = snapshot.frame
        self.feedback_message = (
            "no frame yet" if frame is None else f"frame {frame.sequence}, {1e3 * (self.now_s - frame.received_s):.0f} ms old"
        )
        return Status.SUCCESS
