"""Who of the page's visitors may move the robot, and whether they still do.

Promises: pure rules, time is an argument. One driver at a time; another gets control only by asking to take over. Each velocity
that a tab sends with the dead-man held is said once, within :data:`FRESH_S` or never, and only if it answers a beat sent at most
:data:`ECHO_S` ago: what a network held up and then delivers in a burst moves nothing. Nothing is ever repeated on a tab's behalf.
A person who lets go, gives control back or loses it to another is a zero, once: the robot brakes as for any lower speed. A tab
that closes, dies, hangs or is cut off is silence: the tree's teleop time-out makes it a protective stop, without a ramp.
Anybody may press the emergency stop; it stays pressed whatever becomes of the tab.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from vla_bt.words import ZERO, Twist

FRESH_S = 0.1
"""A velocity that could not be said for so long is not said any more [s]."""

DRIVING_S = 0.2
"""So long after its last velocity a page still counts as driving, for those who watch [s]."""

ECHO_S = 0.4
BEATS_KEPT = 64


@dataclass
class Visitor:
    """One tab.

    Attributes
    ----------
    number : int
        Counts tabs from 1.
    name : str
        For people.
    """

    number: int
    name: str
    _sent: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=BEATS_KEPT))
    answered: int = 0
    answered_s: float = 0.0

    def sent_beat(self, beat: int, now_s: float) -> None:
        """Note that a beat was sent."""
        self._sent.append((beat, now_s))

    def heard(self, beat: int, now_s: float) -> None:
        """Note the newest beat that the tab has answered; numbers that were never sent are ignored."""
        if beat > self.answered and any(beat == number for number, _ in self._sent):
            self.answered, self.answered_s = beat, now_s

    def echo_age(self, beat: int, now_s: float) -> float:
        """Return how long ago a beat was sent [s]; infinite for one that was not, or is long past."""
        return next((now_s - at_s for number, at_s in self._sent if number == beat), float("inf"))


class Authority:
    """The rules for all tabs of one server.

    Parameters
    ----------
    fastest : Twist
        Limits on each component of what a page may ask for [m/s, m/s, rad/s].

    Attributes
    ----------
    driver : Visitor or None
        Who is in control.
    pressed : bool
        The emergency stop is pressed here.
    """

    def __init__(self, fastest: Twist) -> None:
        self.driver: Visitor | None = None
        self.pressed = False
        self._fastest = fastest
        self._asked: Twist | None = None
        self._asked_s = 0.0
        self._unsaid: Twist | None = None
        self._moving = False

    def take(self, visitor: Visitor, over: bool) -> str:
        """Give control to a visitor; returns why not, empty when it was given.

        Parameters
        ----------
        visitor : Visitor
            Who asks.
        over : bool
            Also from another driver.
        """
        if self.driver is not None and self.driver is not visitor:
            if not over:
                return f"{self.driver.name} is in control; take over to drive"
            self.release(self.driver)
        self.driver = visitor
        return ""

    def leave(self, visitor: Visitor) -> None:
        """Take control from a visitor who gives it back, if he has it."""
        if self.driver is visitor:
            self.release(visitor)
            self.driver = None

    def lose(self, visitor: Visitor) -> None:
        """Take control from a visitor whose tab is gone, if he has it: silence follows, no zero."""
        if self.driver is visitor:
            self.driver = self._asked = self._unsaid = None
            self._moving = False

    def drive(self, visitor: Visitor, twist: Twist, beat: int, now_s: float) -> str:
        """Take a velocity, the dead-man being held; returns why it is refused, empty when it is taken."""
        visitor.heard(beat, now_s)
        if self.driver is not visitor:
            return "another page is in control" if self.driver is not None else "take control first"
        if visitor.echo_age(beat, now_s) > ECHO_S:
            return "arrived too late: the connection is slow"
        self._asked = Twist(*(max(-limit, min(limit, value)) for value, limit in zip(twist, self._fastest, strict=True)))
        self._unsaid, self._asked_s, self._moving = self._asked, now_s, True
        return ""

    def release(self, visitor: Visitor) -> None:
        """Let go of the dead-man."""
        if self.driver is visitor and self._moving:
            self._asked, self._unsaid, self._moving = None, ZERO, False

    def driving(self, now_s: float) -> Twist | None:
        """Return the velocity that is being asked for, None when nobody drives."""
        return self._asked if self._asked is not None and now_s - self._asked_s <= DRIVING_S else None

    def output(self, now_s: float) -> Twist | None:
        """Return what to publish now and not again: a velocity, the zero of who let go, or None for silence."""
        twist, self._unsaid = self._unsaid, None
        if twist is None or (self._moving and now_s - self._asked_s > FRESH_S):
            return None
        return twist
