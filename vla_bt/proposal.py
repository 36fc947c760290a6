"""What leaves say to the step after the tick: proposals of a velocity, and evidence about a sub-goal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from vla_bt.goals.ledger import Evidence
from vla_bt.words import Source, Twist


class Proposal(NamedTuple):
    """A velocity one leaf of the drive branch proposes in this tick.

    Attributes
    ----------
    twist : Twist
        The velocity [m/s, m/s, rad/s].
    source : Source
        Who it came from.
    words : str
        Why, for people.
    goal_id, frame_sequence : int
        The goal and the frame it was made from, 0 if none.
    """

    twist: Twist
    source: Source
    words: str
    goal_id: int = 0
    frame_sequence: int = 0


@dataclass(frozen=True)
class Outcome:
    """What became of a sub-goal.

    Attributes
    ----------
    key : int
        The sub-goal's number (:attr:`vla_bt.goals.ledger.ActiveGoal.key`).
    evidence : Evidence or None
        By what it was judged reached; None when it was not.
    failure : str
        Why it can't be reached, or empty.
    """

    key: int
    evidence: Evidence | None = None
    failure: str = ""
