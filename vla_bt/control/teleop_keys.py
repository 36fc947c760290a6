"""Driving by keys: which key means which velocity, and how long a key press lasts.

Promises: a press is a pulse that ends by itself (a held key repeats and so prolongs it); after the end one explicit zero is
sent, then nothing: silence means that nobody drives. The newest key counts. A diagonal is as fast as a straight line.
"""

from __future__ import annotations

import math

from vla_bt.words import ZERO, Twist

_DIAGONAL = math.sqrt(0.5)

DIRECTIONS: dict[str, Twist] = {
    "w": Twist(1.0, 0.0, 0.0),
    "s": Twist(-1.0, 0.0, 0.0),
    "a": Twist(0.0, 1.0, 0.0),
    "d": Twist(0.0, -1.0, 0.0),
    "q": Twist(_DIAGONAL, _DIAGONAL, 0.0),
    "e": Twist(_DIAGONAL, -_DIAGONAL, 0.0),
    "z": Twist(-_DIAGONAL, _DIAGONAL, 0.0),
    "c": Twist(-_DIAGONAL, -_DIAGONAL, 0.0),
    "r": Twist(0.0, 0.0, 1.0),
    "t": Twist(0.0, 0.0, -1.0),
    " ": ZERO,
}
"""Direction of each driving key: unit speed in ``base_link``."""

FASTER, SLOWER = "+", "-"
SPEED_STEP = 1.25
SLOWEST, FASTEST = 0.1, 4.0
"""Bounds of the factor that the speed keys multiply the starting speeds with."""


class TeleopKeys:
    """Turns key presses into velocities.

    Parameters
    ----------
    linear : float
        Speed of a linear key at the start [m/s].
    angular : float
        Speed of a turning key at the start [rad/s].
    pulse_s : float
        How long a press lasts [s].
    """

    def __init__(self, linear: float = 0.3, angular: float = 0.6, pulse_s: float = 0.3) -> None:
        self.pulse_s = pulse_s
        self._linear, self._angular, self._factor = linear, angular, 1.0
        self._direction: Twist | None = None
        self._until_s = -math.inf

    @property
    def linear(self) -> float:
        """Speed of a linear key now [m/s]."""
        return self._linear * self._factor

    @property
    def angular(self) -> float:
        """Speed of a turning key now [rad/s]."""
        return self._angular * self._factor

    @property
    def driving(self) -> bool:
        """A pulse, or the zero after it, is still to be published."""
        return self._direction is not None

    def press(self, key: str, now_s: float) -> bool:
        """Take a key press at ``now_s`` [s]; False when the key does not drive."""
        key = key.lower()
        if key in (FASTER, SLOWER):
            factor = self._factor * (SPEED_STEP if key == FASTER else 1.0 / SPEED_STEP)
            self._factor = max(SLOWEST, min(FASTEST, factor))
            return True
        if key not in DIRECTIONS:
            return False
        self._direction = DIRECTIONS[key]
        self._until_s = now_s + self.pulse_s
        return True

    def twist(self, now_s: float) -> Twist | None:
        """Return the velocity to publish at ``now_s`` [s]; zero once after a pulse; None when there is nothing to say."""
        direction = self._direction
        if direction is None:
            return None
        if now_s >= self._until_s:
            self._direction = None
            return ZERO
        return Twist(direction.linear_x * self.linear, direction.linear_y * self.linear, direction.angular_z * self.angular)
