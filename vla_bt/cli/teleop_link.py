"""What ``vla-bt teleop`` says to a robot over ROS 2, and what it hears."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from vla_bt.control.teleop_console import Kind
from vla_bt.words import ZERO, Twist

if TYPE_CHECKING:
    from vla_bt.episodes.plan import Cell

ANSWER_LIMIT_S = 5.0
"""A service that says nothing for so long was killed in mid-call, or hangs [s]."""


class TeleopLink:
    """The topics and the service this program talks to."""

    def __init__(self, node: Any, ending: Any) -> None:
        from geometry_msgs.msg import Twist as TwistMessage
        from rcl_interfaces.srv import SetParametersAtomically
        from std_msgs.msg import Bool, String
        from std_srvs.srv import SetBool, Trigger

        from vla_bt.ros import qos

        self.node = node
        self._ending = ending
        self._twist, self._bool, self._string, self._trigger = TwistMessage, Bool, String, Trigger
        self._velocity = node.create_publisher(TwistMessage, "teleop/cmd_vel", qos.COMMAND)
        self._stop = node.create_publisher(Bool, "emergency_stop", qos.COMMAND)
        self._texts = {Kind.GOAL: node.create_publisher(String, "goal", qos.COMMAND)}
        self._texts[Kind.MODE] = node.create_publisher(String, "mode", qos.COMMAND)
        self._reset = node.create_client(Trigger, "gate/estop_reset")
        self._record_request = SetBool.Request
        self._record = node.create_client(SetBool, "tree/record")
        self._set_request = SetParametersAtomically.Request
        self._set = node.create_client(SetParametersAtomically, "tree/set_parameters_atomically")
        self._labelled: tuple[float, Any] | None = None  # when it was asked, and what will answer
        self._answers: list[tuple[str, float, Any]] = []
        node.create_subscription(String, "mode_status", self._on_mode, qos.LATCHED)
        node.create_subscription(String, "record_status", self._on_recorder, qos.LATCHED)
        self.mode = ""
        self.recorder = ""

    @property
    def topic(self) -> str:
        """Full name of the velocities' topic."""
        return str(self._velocity.topic_name)

    @property
    def awaits_answer(self) -> bool:
        """A service has yet to answer."""
        return bool(self._answers) or self._labelled is not None

    @property
    def heard(self) -> bool:
        """Somebody listens to the velocities."""
        return bool(self._velocity.get_subscription_count() > 0)

    @property
    def all_found(self) -> bool:
        """Somebody listens to everything that is published here, and both programs with services are there."""
        publishers = (self._velocity, self._stop, *self._texts.values())
        heard = all(publisher.get_subscription_count() > 0 for publisher in publishers)
        return heard and all(client.service_is_ready() for client in (self._reset, self._record, self._set))

    def spin(self) -> None:
        """Take what has arrived."""
        import rclpy

        rclpy.spin_once(self.node, timeout_sec=0.0)
        self._ending.raise_if_told()

    def drive(self, twist: Twist) -> None:
        """Publish a velocity."""
        message = self._twist()
        message.linear.x, message.linear.y, message.angular.z = (
            float(twist.linear_x),
            float(twist.linear_y),
            float(twist.angular_z),
        )
        self._velocity.publish(message)

    def emergency_stop(self, active: bool) -> None:
        """Publish the state of the emergency stop."""
        self._stop.publish(self._bool(data=active))

    def say(self, kind: Kind, text: str) -> None:
        """Publish a goal or a mode."""
        self._texts[kind].publish(self._string(data=text))

    def reset(self) -> bool:
        """Ask the gate for a reset; False when there is none."""
        if not self._reset.service_is_ready():
            return False
        self._answers.append(("gate", time.monotonic(), self._reset.call_async(self._trigger.Request())))
        return True

    def record(self, wanted: bool) -> bool:
        """Ask the tree to record or to end it; False when there is none."""
        if not self._record.service_is_ready():
            return False
        self._answers.append(("tree", time.monotonic(), self._record.call_async(self._record_request(data=wanted))))
        return True

    def label(self, cell: Cell, key_pattern: str) -> bool:
        """Ask the tree to label what it records; False when there is none."""
        from rclpy.parameter import Parameter

        if not self._set.service_is_ready():
            return False
        values = {**cell._asdict(), "key_pattern": key_pattern}
        request = self._set_request()
        request.parameters = [Parameter(f"record_{name}", value=value).to_parameter_msg() for name, value in values.items()]
        self._labelled = (time.monotonic(), self._set.call_async(request))
        return True

    def labelled(self, now_s: float) -> str | None:
        """Return once what the tree says of a label: empty when it took it, else why not; None while it may still answer."""
        if self._labelled is None:
            return None
        asked_s, answer = self._labelled
        if answer.done():
            self._labelled = None
            result = answer.result().result
            return "" if result.successful else f"tree: {result.reason}"
        if now_s - asked_s < ANSWER_LIMIT_S:
            return None
        self._labelled = None
        self._set.remove_pending_request(answer)
        return f"tree: no answer within {ANSWER_LIMIT_S:g} s; nothing is recorded"

    def answer(self, now_s: float) -> str:
        """Return each service's answer once, in the order they were asked; one that doesn't come is said, and not waited for."""
        if not self._answers:
            return ""
        who, asked_s, answer = self._answers[0]
        if not answer.done() and now_s - asked_s < ANSWER_LIMIT_S:
            return ""
        self._answers.pop(0)
        if answer.done():
            return f"{who}: {answer.result().message}"
        (self._reset if who == "gate" else self._record).remove_pending_request(answer)
        return f"{who}: no answer within {ANSWER_LIMIT_S:g} s"

    def rest(self) -> None:
        """Leave with zero, and give it time to go out."""
        for _ in range(3):
            self.drive(ZERO)
            time.sleep(0.02)

    def _on_mode(self, message: Any) -> None:
        self.mode = message.data

    def _on_recorder(self, message: Any) -> None:
        try:
            self.recorder = str(json.loads(message.data)["words"])[:100]
        except (ValueError, KeyError, TypeError):
            self.recorder = ""
