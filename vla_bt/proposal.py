"""What leaves say to the step after the tick: proposals of a velocity, and evidence about a sub-goal."""

from __future__ import annotations

from dataclasses import dataclass

from vla_bt.words import Source, Twist


@dataclass(frozen=True)
class Proposal:
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
