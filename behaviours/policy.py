"""The leaves that talk with the policy: one hands it frames and takes its answers, one follows it. Neither waits for it."""

from __future__ import annotations

from py_trees.common import Status

from vla_bt.behaviours.leaf import Leaf
from vla_bt.contract import STALE, Staleness
from vla_bt.goals.ledger import ActiveGoal
from vla_bt.goals.plan import PlaceGoal
from vla_bt.policy.port import PolicyOutput
from vla_bt.proposal import Proposal
from vla_bt.words import ZERO, Mode, Source, Twist


class ConsultPolicy(Leaf):
    """While a place is being sought, hand each new frame to the policy once and publish its newest answer."""

    READS = ("frame", "odometry", "gate", "mode", "goal")
    WRITES = ("policy_status", "policy_output", "policy_frame")

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._goal_key = 0
        self._handed_sequence = 0

    def update(self) -> Status:
        """Always SUCCESS: what the policy lacks is a cause, not a failure."""
        policy = self.resources.policy
        goal = self.read("goal")
        seeking = goal if goal and isinstance(goal.subgoal, PlaceGoal) and self.read("mode") is not Mode.MANUAL else None
        if seeking is None:
            self._goal_key = 0
            policy.poll()
            self.feedback_message = "no place to seek"
        else:
            self._consult(seeking)
        self.write("policy_status", policy.status())
        return Status.SUCCESS

    def _consult(self, goal: ActiveGoal) -> None:
        policy = self.resources.policy
        if goal.key != self._goal_key:
            policy.set_goal(goal.key, goal.subgoal.text)
            self._goal_key = goal.key
            self.feedback_message = "no frame handed over yet"
        output = policy.poll()
        if output is not None:
            self.write("policy_output", output, output.received_s)
            action = output.action_at(output.frame_time_s)
            if action is not None and action.is_finite():
                self.resources.robot.publish_action(action)
        frame = self.read("frame")
        fresh = frame is not STALE and frame.sequence != self._handed_sequence
        if fresh and policy.hand_frame(frame.sequence, frame.received_s, self._measured()):
            self._handed_sequence = frame.sequence
            self.write("policy_frame", frame.sequence)
            self.feedback_message = f"frame {frame.sequence} handed over"

    def _measured(self) -> Twist:
        odometry = self.read("odometry")
        if odometry is not STALE:
            return odometry.twist
        gate = self.read("gate")
        return ZERO if gate is STALE else gate.applied


class FollowPolicy(Leaf):
    """Propose the policy's velocity for this moment; stand while it claims to have arrived, SUCCESS once it keeps to that."""

    READS = ("policy_output", "goal")
    WRITES = ("proposal_policy",)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._finite: PolicyOutput | None = None
        self._followed_key = 0
        self._claims = 0

    def update(self) -> Status:
        """RUNNING while following, SUCCESS while enough answers in a row claim arrival; both with a proposal."""
        output: PolicyOutput | Staleness = self.read("policy_output")
        goal: ActiveGoal = self.read("goal")
        if output is STALE and goal.key == self._followed_key:
            # At once, not down the ramp of a wish to stand: the robot still moves on an answer that no longer counts.
            self._propose(ZERO, goal.id, 0, "the policy's last answer is too old", Source.SAFETY)
            return Status.RUNNING
        if output is STALE or output.goal_id != goal.key:
            self._propose(ZERO, goal.id, 0, "waiting for the policy")
            return Status.RUNNING
        if goal.key != self._followed_key:
            self._followed_key, self._claims = goal.key, 0
        claims = output.step.stop_probability >= self.settings.stop_probability
        if output is not self._finite:  # one look at each answer's numbers is enough
            if not output.step.finite:
                self._claims = 0
                self._propose(ZERO, goal.id, output.frame_sequence, "the policy's answer is not finite")
                return Status.RUNNING
            self._finite = output
            self._claims = self._claims + 1 if claims else 0
        if claims:
            kept = self._claims >= self.settings.stop_answers
            words = "the policy says it has arrived" if kept else f"the policy says it has arrived ({self._claims})"
            self._propose(ZERO, goal.id, output.frame_sequence, words)
            return Status.SUCCESS if kept else Status.RUNNING
        action = output.action_at(self.now_s)
        if action is None:
            self._propose(ZERO, goal.id, output.frame_sequence, "the policy's chunk is used up")
            return Status.RUNNING
        self._propose(self._limited(action), goal.id, output.frame_sequence, f"following the policy: {goal.subgoal.text}")
        return Status.RUNNING

    def _limited(self, action: Twist) -> Twist:
        """Scale a proposal down to the policy's speed limits, keeping its direction."""
        linear = self.settings.max_policy_linear / max(action.speed, self.settings.max_policy_linear, 1e-9)
        turn = self.settings.max_policy_angular
        return Twist(action.linear_x * linear, action.linear_y * linear, max(-turn, min(turn, action.angular_z)))

    def _propose(self, twist: Twist, goal_id: int, frame_sequence: int, words: str, source: Source = Source.POLICY) -> None:
        self.feedback_message = words
        self.write("proposal_policy", Proposal(twist, source, words, goal_id, frame_sequence))
