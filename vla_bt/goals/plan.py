"""What an understood sentence becomes: a plan of ordered sub-goals, or a rejection with its reason in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

SHOWN_CHARACTERS = 80
"""Longer texts are cut to this many characters wherever a goal is shown or published."""

OTHER_SIDE = {"left": "right", "right": "left"}
"""The sides on which to pass what is in the way, and of each the other."""


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
class MotionGoal:
    """A measured motion: judged by odometry, or by time where there is none.

    Attributes
    ----------
    motion : Motion
        Which one.
    amount : float
        Distance [m] or angle [rad], > 0.
    note : str
        How the words were read ("no distance told: 0.5 m"), or empty.
    """

    kind: ClassVar[str] = "motion"
    motion: Motion
    amount: float
    note: str = ""

    @property
    def text(self) -> str:
        """What is shown to people."""
        if self.motion.is_turn:
            return f"{self.motion.value} {math.degrees(self.amount):.4g} deg"
        return f"move {self.motion.value} {self.amount:.4g} m"


@dataclass(frozen=True)
class PlaceGoal:
    """A sentence for the policy: judged by the policy's stop signal.

    Attributes
    ----------
    text : str
        What the policy is told: lower case, single spaces, no closing punctuation, no "please".
    place : str
        The thing to reach, as the vocabulary's word ("cup" for a mug).
    side : str
        ``left`` or ``right``: on which side of what is in the way to pass; empty when none was told.
    note : str
        How the words were read, or empty.
    """

    kind: ClassVar[str] = "place"
    text: str
    place: str
    side: str = ""
    note: str = ""


@dataclass(frozen=True)
class StopGoal:
    """The robot stands."""

    kind: ClassVar[str] = "stop"
    text: ClassVar[str] = "stop"
    note: str = ""


SubGoal = MotionGoal | PlaceGoal | StopGoal


def describe(step: SubGoal) -> str:
    """Return one line for people."""
    extra = [f"side {step.side}"] if isinstance(step, PlaceGoal) and step.side else []
    extra += [step.note] if step.note else []
    return f"{step.kind}: {step.text}" + (f" ({'; '.join(extra)})" if extra else "")


@dataclass(frozen=True)
class Plan:
    """An understood goal.

    Attributes
    ----------
    original : str
        The words as they came; those of a stop may be cut.
    steps : tuple of SubGoal
        At least one, in order.
    """

    original: str
    steps: tuple[SubGoal, ...]

    @property
    def is_stop(self) -> bool:
        """It asks for nothing but to stop."""
        return all(isinstance(step, StopGoal) for step in self.steps)


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
