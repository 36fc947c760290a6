"""The leaves that pursue the active goal's current sub-goal and judge whether it was reached."""

from __future__ import annotations

from py_trees.common import Status

from vla_bt.behaviours.leaf import Leaf
from vla_bt.contract import STALE, Staleness
from vla_bt.goals.ledger import ActiveGoal, Evidence
from vla_bt.goals.motion import MotionOutcome, MotionState, MotionTracker
from vla_bt.goals.plan import MotionGoal, StopGoal, SubGoal
from vla_bt.port import GateStatus
from vla_bt.proposal import Outcome, Proposal
from vla_bt.words import ZERO, Source

STANDING_S = 0.3
"""How long the gate must have applied zero before a robot counts as standing [s]."""


class GoalActive(Leaf):
    """Succeed while a goal is being pursued."""

    READS = ("goal",)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._goal: ActiveGoal | None = None
        self.feedback_message = "no goal"

    def update(self) -> Status:
        """SUCCESS or FAILURE at once."""
        goal: ActiveGoal | None = self.read("goal")
        if goal is not self._goal:
            self._goal = goal
            self.feedback_message = f"goal {goal.id}: {goal.words}" if goal else "no goal"
        return Status.SUCCESS if goal else Status.FAILURE


class SubgoalIs(Leaf):
    """Succeed while the current sub-goal is of one kind."""

    READS = ("goal",)

    def __init__(self, name: str, kind: type[SubGoal]) -> None:
        super().__init__(name)
        self.kind = kind

    def update(self) -> Status:
        """SUCCESS or FAILURE at once."""
        subgoal = self.read("goal").subgoal
        self.feedback_message = f"it is a {subgoal.kind}"
        return Status.SUCCESS if isinstance(subgoal, self.kind) else Status.FAILURE


class CarryOutMotion(Leaf):
    """Propose the velocity of a measured motion; SUCCESS when it is done or can't be done."""

    READS = ("goal", "odometry", "gate")
    WRITES = ("proposal_motion", "motion")

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._key = 0
        self._tracker: MotionTracker | None = None

    def update(self) -> Status:
        """RUNNING or SUCCESS, always with a proposal."""
        goal: ActiveGoal = self.read("goal")
        gate: GateStatus | Staleness = self.read("gate")
        if gate is STALE:  # held by its own cause in this tick, so nothing is lost
            self.feedback_message = "waiting for the gate"
            self.write("proposal_motion", Proposal(ZERO, Source.MOTION, self.feedback_message, goal.id))
            return Status.RUNNING
        if self._tracker is None or goal.key != self._key:
            assert isinstance(goal.subgoal, MotionGoal)
            self._key = goal.key
            self._tracker = MotionTracker(goal.subgoal, self.settings, gate.limits)
        odometry = self.read("odometry")
        outcome: MotionOutcome = self._tracker.update(self.now_s, None if odometry is STALE else odometry, gate.applied)
        self.feedback_message = f"{goal.words}: {outcome.words}"
        self.write("motion", outcome)
        self.write("proposal_motion", Proposal(outcome.twist, Source.MOTION, self.feedback_message, goal.id))
        return Status.RUNNING if outcome.state is MotionState.RUNNING else Status.SUCCESS


class StandStill(Leaf):
    """Propose zero for a sub-goal that asks to stop."""

    READS = ("goal",)
    WRITES = ("proposal_stand",)

    def update(self) -> Status:
        """SUCCESS with a zero proposal."""
        goal: ActiveGoal = self.read("goal")
        self.feedback_message = "standing, as told"
        self.write("proposal_stand", Proposal(ZERO, Source.MOTION, self.feedback_message, goal.id))
        return Status.SUCCESS


class SubgoalReached(Leaf):
    """Judge the sub-goal that its pursuer calls finished: it counts once the robot stands.

    A place counts by the policy's own stop signal, never by small outputs; a motion by odometry or, labelled so, by time.
    """

    READS = ("goal", "gate", "motion")
    WRITES = ("outcome",)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._since_s: float | None = None
        self._last_s = 0.0
        self._key = 0

    def update(self) -> Status:
        """RUNNING, so that the drive branch keeps running whatever was judged."""
        goal: ActiveGoal = self.read("goal")
        motion: MotionOutcome | Staleness = self.read("motion")
        if motion is not STALE and motion.state is MotionState.FAILED:
            self.feedback_message = motion.words
            self.write("outcome", Outcome(goal.key, failure=motion.words))
            return Status.RUNNING
        if not self._stands(goal.key):
            self.feedback_message = "finished; waiting for the robot to stand"
            return Status.RUNNING
        if motion is not STALE:
            evidence = motion.evidence
        else:
            evidence = Evidence.STANDING if isinstance(goal.subgoal, StopGoal) else Evidence.POLICY
        self.feedback_message = f"reached, judged by {evidence.value}"
        self.write("outcome", Outcome(goal.key, evidence))
        return Status.RUNNING

    def _stands(self, key: int) -> bool:
        """Tell whether the gate has applied zero for long enough, without a break in this leaf's ticks."""
        gate: GateStatus | Staleness = self.read("gate")
        unbroken = key == self._key and self.now_s - self._last_s <= 3 * self.settings.tick_period_s
        self._key, self._last_s = key, self.now_s
        if gate is STALE or not gate.applied.is_zero():
            self._since_s = None
            return False
        if self._since_s is None or not unbroken:
            self._since_s = self.now_s
        return self.now_s - self._since_s >= STANDING_S
