"""The leaves of the drive branch that need no goal: who may drive, a person's velocity, standing still."""

from __future__ import annotations

from py_trees.common import Status

from vla_bt.behaviours.leaf import Leaf
from vla_bt.contract import STALE, Staleness
from vla_bt.port import TeleopInput
from vla_bt.proposal import Proposal
from vla_bt.words import ZERO, Mode, Source


class ModeIs(Leaf):
    """Succeed while the mode is one of ``modes``."""

    READS = ("mode",)

    def __init__(self, name: str, *modes: Mode) -> None:
        super().__init__(name)
        self.modes = modes
        self._words: dict[Mode | Staleness, str] = {mode: f"mode is {mode.value}" for mode in Mode}
        self._words[STALE] = "no mode yet"

    def update(self) -> Status:
        """SUCCESS or FAILURE at once."""
        mode = self.read("mode")
        self.feedback_message = self._words[mode]
        return Status.SUCCESS if mode in self.modes else Status.FAILURE


class FollowTeleop(Leaf):
    """Propose the person's velocity while it is fresh; fail when it is not."""

    READS = ("teleop",)
    WRITES = ("proposal_teleop",)

    def update(self) -> Status:
        """RUNNING with a proposal, or FAILURE."""
        teleop: TeleopInput | Staleness = self.read("teleop")
        if teleop is STALE:
            self.feedback_message = "no key pressed"
            return Status.FAILURE
        self.feedback_message = f"driven by hand at {teleop.twist.speed:.2f} m/s"
        self.write("proposal_teleop", Proposal(teleop.twist, Source.TELEOP, self.feedback_message))
        return Status.RUNNING


class TakeOver(Leaf):
    """Propose the person's velocity in hybrid mode; the change of hands is smoothed after the tick."""

    READS = ("teleop",)
    WRITES = ("proposal_takeover",)

    def update(self) -> Status:
        """RUNNING with a proposal, or FAILURE."""
        teleop: TeleopInput | Staleness = self.read("teleop")
        if teleop is STALE:
            return Status.FAILURE
        self.feedback_message = f"a person took over at {teleop.twist.speed:.2f} m/s"
        self.write("proposal_takeover", Proposal(teleop.twist, Source.TAKEOVER, self.feedback_message))
        return Status.RUNNING


class Idle(Leaf):
    """Propose to stand still. The last child of the drive branch: never fails."""

    WRITES = ("proposal_idle",)

    def update(self) -> Status:
        """RUNNING with a zero proposal."""
        self.feedback_message = "nothing to do"
        self.write("proposal_idle", Proposal(ZERO, Source.IDLE, self.feedback_message))
        return Status.RUNNING
