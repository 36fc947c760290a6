"""The words every part shares: velocities, modes, sources.

Promises the conventions of REP-103: SI units, x forward, y left, anticlockwise positive, in ``base_link``.
"""

from __future__ import annotations

import math
from enum import Enum, IntEnum
from typing import NamedTuple


class Twist(NamedTuple):
    """A planar velocity in the robot's own frame.

    Attributes
    ----------
    linear_x, linear_y : float
        Forward and leftward speed [m/s].
    angular_z : float
        Turning speed, anticlockwise positive [rad/s].
    """

    linear_x: float = 0.0
    linear_y: float = 0.0
    angular_z: float = 0.0

    def is_finite(self) -> bool:
        """Tell whether every component is a finite number."""
        return all(math.isfinite(component) for component in self)

    def is_zero(self) -> bool:
        """Tell whether the robot is asked to stand still."""
        return self == ZERO

    @property
    def speed(self) -> float:
        """Length of the linear part [m/s]."""
        return math.hypot(self.linear_x, self.linear_y)


ZERO = Twist(0.0, 0.0, 0.0)


class Mode(str, Enum):
    """Who is asked to drive."""

    MANUAL = "manual"
    VLA = "vla"
    HYBRID = "hybrid"


class Source(IntEnum):
    """Who a velocity came from. The numbers travel in messages and files: never renumber."""

    IDLE = 0
    SAFETY = 1
    TELEOP = 2
    POLICY = 3
    TAKEOVER = 4  # a person drives while the mode is hybrid
    MOTION = 5  # a measured motion sub-goal ("go forward 1 m"), driven by odometry or time
