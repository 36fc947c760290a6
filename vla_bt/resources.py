"""``Resources``: everything a tree may use of the application it runs in, handed to each leaf's ``setup``.

Promises: leaves see the robot without its ``send``; the time of a tick is one value for all leaves, set by the loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from vla_bt.port import Snapshot
from vla_bt.settings import GateSettings, TreeSettings
from vla_bt.words import Mode, Twist

if TYPE_CHECKING:
    from vla_bt.control.causes import CauseTable
    from vla_bt.episodes.recorder import EpisodeRecorder
    from vla_bt.memory.monitor import MemoryMonitor
    from vla_bt.policy.port import PolicyClient


class RobotView(Protocol):
    """The part of the robot port that leaves may use: everything but ``send``."""

    def snapshot(self) -> Snapshot:
        """See :meth:`vla_bt.port.Robot.snapshot`."""

    def copy_frame(self, sequence: int) -> NDArray[np.uint8] | None:
        """See :meth:`vla_bt.port.Robot.copy_frame`."""

    def publish_mode(self, mode: Mode, text: str) -> None:
        """See :meth:`vla_bt.port.Robot.publish_mode`."""

    def publish_goal_status(self, text: str) -> None:
        """See :meth:`vla_bt.port.Robot.publish_goal_status`."""

    def publish_action(self, twist: Twist) -> None:
        """See :meth:`vla_bt.port.Robot.publish_action`."""


@dataclass
class Resources:
    """What the leaves of one tree share.

    Attributes
    ----------
    tick_time_s : float
        Port time at which the current tick began [s].
    tick : int
        Ticks begun so far.
    lateness_s : float
        How long after its due time the current tick began [s].
    """

    settings: TreeSettings
    gate_settings: GateSettings
    robot: RobotView
    policy: PolicyClient
    recorder: EpisodeRecorder | None
    memory: MemoryMonitor
    causes: CauseTable
    tick_time_s: float = 0.0
    tick: int = 0
    lateness_s: float = 0.0
