"""``Resources``: everything a tree may use of the application it runs in, handed to each leaf's ``setup``.

Promises: leaves see the robot without its ``send``; the time of a tick is one value for all leaves, set by the loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vla_bt.port import Robot
from vla_bt.settings import TreeSettings

if TYPE_CHECKING:
    from vla_bt.control.causes import CauseTable
    from vla_bt.episodes.recorder import EpisodeRecorder
    from vla_bt.memory.monitor import MemoryMonitor
    from vla_bt.policy.port import PolicyClient


class RobotView:
    """The robot port as leaves see it: everything but ``send``.

    Parameters
    ----------
    robot : Robot
        The whole port; only the loop keeps it.
    """

    def __init__(self, robot: Robot) -> None:
        self.snapshot = robot.snapshot
        self.copy_frame = robot.copy_frame
        self.publish_mode = robot.publish_mode
        self.publish_goal_status = robot.publish_goal_status
        self.publish_action = robot.publish_action


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
    sent_s : float
        Port time at which the newest request left for the gate [s].
    """

    settings: TreeSettings
    robot: RobotView
    policy: PolicyClient
    recorder: EpisodeRecorder | None
    memory: MemoryMonitor
    causes: CauseTable
    tick_time_s: float = 0.0
    tick: int = 0
    lateness_s: float = 0.0
    sent_s: float = 0.0
