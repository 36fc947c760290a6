"""The person of the stress run and the soak: hears each velocity and each line of the ledger, and judges on the way."""

from __future__ import annotations

import json
import time
from collections import Counter

from geometry_msgs.msg import Twist as TwistMessage
from std_msgs.msg import String

from vla_bt.app.staleness import Judge, RosJudge
from vla_bt.ros import qos
from vla_bt.ros.demo_operator import LoneOperator


class SoakOperator(LoneOperator):
    """A person who watches.

    Parameters
    ----------
    limit_s : float
        See :class:`~vla_bt.app.staleness.RosJudge`.

    Attributes
    ----------
    became : Counter of str
        Lines of the ledger by the goal's state: as often as a goal was ``preempted``, and so on.
    """

    def __init__(self, limit_s: float) -> None:
        self._watch = RosJudge(limit_s)
        self.became: Counter[str] = Counter()
        super().__init__("confined")
        self.node.create_subscription(String, "goal_status", self._on_line, qos.LEDGER)

    @property
    def judge(self) -> Judge:
        """What was found so far."""
        return self._watch.judge

    def _on_velocity(self, message: TwistMessage) -> None:
        super()._on_velocity(message)
        self._watch.hear_velocity(time.monotonic(), self.velocity)

    def _on_snapshot(self, message: String) -> None:
        super()._on_snapshot(message)
        self._watch.hear_snapshot(self.snapshot_s, self.snapshot)

    def _on_line(self, message: String) -> None:
        line = json.loads(message.data)
        if line["id"]:
            self.became[line["state"]] += 1
