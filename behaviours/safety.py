"""The leaves that keep the robot safe: one names every active cause, one stops for those that the mode doesn't allow."""

from __future__ import annotations

from py_trees.common import Status

from vla_bt.behaviours.leaf import Leaf
from vla_bt.contract import STALE, Staleness
from vla_bt.control import watch
from vla_bt.control.causes import Verdict
from vla_bt.control.obstacles import NOTHING, Blocked, blocked
from vla_bt.memory.ladder import Level
from vla_bt.policy.port import PolicyOutput, PolicyStatus
from vla_bt.port import Contact, Scan, Snapshot
from vla_bt.proposal import Proposal
from vla_bt.words import ZERO, Mode, Source, Twist


class NameCauses(Leaf):
    """Name what is stale, wrong, full or dead, and weigh it by the cause x mode table. Never fails."""

    READS = ("lateness", "snapshot", "mode", "goal_expired", "policy_status", "policy_output", "memory")
    WRITES = ("verdict", "around")

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._camera = watch.CameraWatch()
        self._scan: Scan | None = None
        self._contact: Contact | None = None
        self._around: Blocked = NOTHING
        self._finite: PolicyOutput | None = None

    def update(self) -> Status:
        """Write the verdict and the blocked directions; always SUCCESS."""
        snapshot: Snapshot = self.read("snapshot")
        now_s, settings = self.now_s, self.settings
        active = watch.gate_causes(snapshot.gate, now_s, settings)
        self._camera, found = watch.camera_causes(self._camera, snapshot.frame, now_s, self._motion(snapshot), settings)
        active |= found
        active |= watch.teleop_causes(snapshot.operator.teleop, now_s, settings)
        active |= watch.odometry_causes(snapshot.odometry, now_s, settings)
        active |= watch.scan_causes(snapshot.scan, now_s, settings)
        active |= watch.battery_causes(snapshot.battery, now_s, settings)
        active |= self._policy_causes()
        memory = self.read("memory")
        if memory is not STALE:
            active |= watch.memory_causes(memory.level is Level.UNLOAD, memory.reading.available_mb, memory.stop, memory.blind)
        active |= watch.goal_causes(bool(self.read("goal_expired")), settings)
        active |= watch.tick_causes(self.read("lateness"), settings)
        around = self._blocked(snapshot)
        active |= watch.direction_causes(around)
        verdict = self.resources.causes.decide(active, self.read("mode"))
        self.write("verdict", verdict)
        self.write("around", around)
        self.feedback_message = ", ".join(active) if active else "all well"
        return Status.SUCCESS

    def _motion(self, snapshot: Snapshot) -> Twist:
        """Return how the robot moves: measured where it has odometry, else what the gate applies."""
        if "odometry" in self.settings.required_inputs and snapshot.odometry is not None:
            return snapshot.odometry.twist
        return snapshot.gate.applied if snapshot.gate is not None else ZERO

    def _policy_causes(self) -> dict[str, str]:
        status: PolicyStatus = self.read("policy_status")
        output: PolicyOutput | Staleness = self.read("policy_output")
        unjudged = None if output is STALE or output is self._finite else output  # one look at each answer's numbers is enough
        found = watch.policy_causes(status, unjudged, status.awaited_since_s, self.now_s, self.settings)
        if unjudged is not None and "policy_not_finite" not in found:
            self._finite = unjudged
        return found

    def _blocked(self, snapshot: Snapshot) -> Blocked:
        """Return the blocked directions, worked out again only for a new scan or contact."""
        settings, now_s = self.settings, self.now_s
        scan, contact = snapshot.scan, snapshot.contact
        if scan is not None and now_s - scan.received_s > settings.scan_timeout_s:
            scan = None
        if contact is not None and now_s - contact.received_s > settings.contact_hold_s:
            contact = None
        if scan is not self._scan or contact is not self._contact:
            self._scan, self._contact = scan, contact
            self._around = blocked(scan, contact, settings.robot_radius_m, settings.obstacle_distance_m)
        return self._around


class ProtectiveStop(Leaf):
    """Hold the robot at zero while a cause forbids whoever would drive now; says which cause."""

    READS = ("verdict", "mode", "teleop")
    WRITES = ("proposal_safety",)

    def update(self) -> Status:
        """RUNNING with a zero proposal, or FAILURE when nothing forbids to drive."""
        verdict: Verdict = self.read("verdict")
        causes = verdict.stop_all
        if not causes and verdict.stop_autonomy and self._autonomous():
            causes = verdict.stop_autonomy
        if not causes:
            self.feedback_message = "free to drive"
            return Status.FAILURE
        self.feedback_message = "stopped: " + ", ".join(causes)
        self.write("proposal_safety", Proposal(ZERO, Source.SAFETY, self.feedback_message))
        return Status.RUNNING

    def _autonomous(self) -> bool:
        """Tell whether the policy would drive in this tick."""
        mode = self.read("mode")
        return mode is Mode.VLA or (mode is Mode.HYBRID and self.read("teleop") is STALE)
