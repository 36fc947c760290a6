"""Quality of service of every topic, in one place."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _profile(depth: int, reliable: bool = True, latched: bool = False) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


IMAGE = _profile(1, reliable=False)
"""Pictures: the newest or none. Best effort hears reliable publishers too, and no slow viewer holds the camera up."""

SENSOR = _profile(5, reliable=False)
"""To hear ``odom``, ``scan``, ``battery_state``, ``contact``, however their driver publishes them."""

SENSOR_SOURCE = _profile(5)
"""To publish them: reliable subscribers hear it too."""

CMD_VEL = _profile(1)
"""Velocities: the newest only, and never a kept one for a late joiner: it could move the robot."""

COMMAND = _profile(10)
"""Goals, modes, teleop, the emergency stop, diagnostics: delivered, never kept for a late joiner."""

STATUS = _profile(1, latched=True)
"""Status topics: a late joiner gets the last word."""

LEDGER = _profile(50, latched=True)
"""To hear ``goal_status`` line by line: several goals may change in one tick; and each snapshot, which alone tells what changed
since the last."""

LATCHED = STATUS
