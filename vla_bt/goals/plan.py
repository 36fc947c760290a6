"""What an understood sentence becomes: a plan of ordered sub-goals, or a rejection with its reason in words."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

SHOWN_CHARACTERS = 80
"""Longer texts are cut to this many characters wherever a goal is shown or published."""


class Kind(str, Enum):
    """What a sub-goal is judged by."""

    MOTION = "motion"  # a measured motion: odometry, or time where there is none
    PLACE = "place"  # a sentence for the policy: its stop signal
    STOP = "stop"  # the robot stands


class Motion(str, Enum):
    """The measured motions, in the robot's own frame."""

    FORWARD = "forward"
    BACK = "back"
    LEFT = "left"
    RIGHT = "right"
    TURN_LEFT = "turn left"
    TURN_RIGHT = "turn right"

    @property
    def is_turn(self) -> bool:
        """The amount is an angle."""
        return self in (Motion.TURN_LEFT, Motion.TURN_RIGHT)


@dataclass(frozen=True)
class SubGoal:
    """One step of a plan.

    Attributes
    ----------
    kind : Kind
        Motion, place or stop.
    text : str
        What is shown to people, and for a place what the policy is told: lower case, single spaces, no closing punctuation.
    motion : Motion or None
        Only for ``Kind.MOTION``.
    amount : float
        Distance [m] or angle [rad] of a motion, always > 0; 0 otherwise.
    place : str
        Only for ``Kind.PLACE``: the thing to reach, as the vocabulary's word ("cup" for a mug).
    side : str
        Only for ``Kind.PLACE``: ``left`` or ``right`` when a side was told, else empty.
    note : str
        What the person should know of how the words were read ("no distance told: 0.5 m"), or empty.
    """

    kind: Kind
    text: str
    motion: Motion | None = None
    amount: float = 0.0
    place: str = ""
    side: str = ""
    note: str = ""

    def describe(self) -> str:
        """Return one line for people."""
        extra = [f"side {self.side}"] if self.side else []
        extra += [self.note] if self.note else []
        return f"{self.kind.value}: {self.text}" + (f" ({'; '.join(extra)})" if extra else "")


def motion_goal(motion: Motion, amount: float, note: str = "") -> SubGoal:
    """Build a motion sub-goal; ``amount`` in m, or in rad for a turn."""
    if motion.is_turn:
        text = f"{motion.value} {math.degrees(amount):.4g} deg"
    else:
        text = f"move {motion.value} {amount:.4g} m"
    return SubGoal(Kind.MOTION, text, motion=motion, amount=amount, note=note)


@dataclass(frozen=True)
class Plan:
    """An understood goal.

    Attributes
    ----------
    original : str
        The words as they came.
    steps : tuple of SubGoal
        At least one, in order.
    """

    original: str
    steps: tuple[SubGoal, ...] = field(default_factory=tuple)

    @property
    def is_stop(self) -> bool:
        """It asks for nothing but to stop."""
        return all(step.kind is Kind.STOP for step in self.steps)


@dataclass(frozen=True)
class Rejection:
    """A goal that is not followed.

    Attributes
    ----------
    original : str
        The words as they came, cut to :data:`SHOWN_CHARACTERS`.
    reason : str
        One line: what is wrong, and what would be right.
    """

    original: str
    reason: str


def shown(text: str, limit: int = SHOWN_CHARACTERS) -> str:
    """Return ``text`` fit for one line of a terminal: printable, single-spaced, at most ``limit`` characters."""
    head = text[: 4 * limit]
    plain = " ".join("".join(letter if letter.isprintable() else " " for letter in head).split())
    if len(plain) > limit or len(head) < len(text):
        return plain[: limit - 3].rstrip() + "..."
    return plain
