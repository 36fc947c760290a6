"""What ``vla-bt teleop`` says to a robot over ROS 2, and what it hears."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from vla_bt.control.teleop_console import Kind
from vla_bt.words import ZERO, Twist

if TYPE_CHECKING:
    from vla_bt.episodes.plan import Cell


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
        self._labelled: Any = None
        self._answers: list[tuple[str, Any]] = []
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
        self._answers.append(("gate", self._reset.call_async(self._trigger.Request())))
        return True

    def record(self, wanted: bool) -> bool:
        """Ask the tree to record or to end it; False when there is none."""
        if not self._record.service_is_ready():
            return False
        self._answers.append(("tree", self._record.call_async(self._record_request(data=wanted))))
        return True

    def label(self, cell: Cell, key_pattern: str) -> bool:
        """Ask the tree to label what it records; False when there is none."""
        from rclpy.parameter import Parameter

        if not self._set.service_is_ready():
            return False
        values = {**cell._asdict(), "key_pattern": key_pattern}
        request = self._set_request()
        request.parameters = [Parameter(f"record_{name}", value=value).to_parameter_msg() for name, value in values.items()]
        self._labelled = self._set.call_async(request)
        return True

    def labelled(self) -> str | None:
        """Return once what the tree says of a label: empty when it took it, else why not; None while it says nothing."""
        if self._labelled is None or not self._labelled.done():
            return None
        result, self._labelled = self._labelled.result().result, None
        return "" if result.successful else f"tree: {result.reason}"

    def answer(self) -> str:
        """Return each service's answer once, in the order they were asked."""
        if not self._answers or not self._answers[0][1].done():
            return ""
        who, answer = self._answers.pop(0)
        return f"{who}: {answer.result().message}"

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
