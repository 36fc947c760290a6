"""The person of the demo: one more ROS node, with no more authority than any teleop or goal client, and a stopwatch."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import deque
from typing import Any

import rclpy
from geometry_msgs.msg import Twist as TwistMessage
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Bool, String
from std_srvs.srv import SetBool, Trigger

from vla_bt.ros import qos
from vla_bt.words import ZERO, Twist

TELEOP_PERIOD_S = 0.05
RATE_WINDOW_S = 3.0


class DemoOperator:
    """Publishes what a person would, and keeps what the application publishes.

    Attributes
    ----------
    snapshot : dict
        The tree's newest moment, empty before the first.
    goal : dict
        The ledger's newest line, empty before the first.
    velocity : Twist
        The newest ``cmd_vel``.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.snapshot: dict[str, Any] = {}
        self.snapshot_s = 0.0
        self.goal: dict[str, Any] = {}
        self.velocity = ZERO
        self.fastest = 0.0
        self.sources: set[str] = set()
        self._velocity_times: deque[float] = deque(maxlen=600)
        self._zero_since_s: float | None = None
        self._lock = threading.Lock()
        self._teleop = node.create_publisher(TwistMessage, "teleop/cmd_vel", qos.COMMAND)
        self._mode = node.create_publisher(String, "mode", qos.COMMAND)
        self._goal = node.create_publisher(String, "goal", qos.COMMAND)
        self._stop = node.create_publisher(Bool, "emergency_stop", qos.COMMAND)
        node.create_subscription(TwistMessage, "cmd_vel", self._on_velocity, qos.CMD_VEL)
        node.create_subscription(String, "tree/snapshot", self._on_snapshot, qos.LATCHED)
        node.create_subscription(String, "goal_status", self._on_goal, qos.LATCHED)
        self._services = {
            "reset_stop": node.create_client(Trigger, "gate/estop_reset"),
            "reset_sim": node.create_client(Trigger, "sim/reset"),
            "record": node.create_client(SetBool, "tree/record"),
        }
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, name="ros", daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()

    def close(self) -> None:
        """End the node's thread."""
        self._executor.shutdown(timeout_sec=1.0)
        self._thread.join(timeout=1.0)

    # ------------------------------------------------------------------ what a person does

    def drive(self, twist: Twist) -> None:
        """Ask for a velocity once; call it every ``TELEOP_PERIOD_S``."""
        message = TwistMessage()
        message.linear.x, message.linear.y, message.angular.z = (float(value) for value in twist)
        self._teleop.publish(message)

    def set_mode(self, mode: str) -> None:
        """Ask for a mode."""
        self._mode.publish(String(data=mode))

    def give_goal(self, text: str) -> None:
        """Give a goal."""
        self._goal.publish(String(data=text))

    def press_stop(self, active: bool) -> float:
        """Press or release the emergency stop; returns the time [s]."""
        pressed_s = time.monotonic()
        self._stop.publish(Bool(data=active))
        return pressed_s

    def call(self, name: str, value: bool | None = None, timeout_s: float = 5.0) -> tuple[bool, str]:
        """Call one of the services; False with words when it isn't there or does not answer."""
        client = self._services[name]
        if not client.wait_for_service(timeout_sec=timeout_s):
            return False, f"no service {client.srv_name}"
        request = SetBool.Request(data=value) if value is not None else Trigger.Request()
        future = client.call_async(request)
        limit_s = time.monotonic() + timeout_s
        while not future.done():
            if time.monotonic() > limit_s:
                return False, f"{client.srv_name} did not answer"
            time.sleep(0.01)
        answer = future.result()
        return bool(answer.success), str(answer.message)

    # ------------------------------------------------------------------ what a person sees

    def _on_velocity(self, message: TwistMessage) -> None:
        now_s = time.monotonic()
        twist = Twist(message.linear.x, message.linear.y, message.angular.z)
        with self._lock:
            self._velocity_times.append(now_s)
            self.velocity = twist
            self.fastest = max(self.fastest, twist.speed)
            if not twist.is_zero():
                self._zero_since_s = None
            elif self._zero_since_s is None:
                self._zero_since_s = now_s

    def _on_snapshot(self, message: String) -> None:
        snapshot = json.loads(message.data)
        self.sources.add(snapshot["source"])
        self.snapshot, self.snapshot_s = snapshot, time.monotonic()

    def _on_goal(self, message: String) -> None:
        self.goal = json.loads(message.data)

    def zero_since_s(self) -> float | None:
        """Since when every ``cmd_vel`` has been zero [s], None while one was not."""
        with self._lock:
            return self._zero_since_s

    def velocity_rate(self) -> float:
        """Rate of ``cmd_vel`` over the last seconds [Hz]."""
        limit_s = time.monotonic() - RATE_WINDOW_S
        with self._lock:
            return sum(at_s > limit_s for at_s in self._velocity_times) / RATE_WINDOW_S

    def has_gate(self) -> bool:
        """Tell whether somebody sends ``cmd_vel`` and listens to the emergency stop."""
        return self.node.count_publishers("cmd_vel") > 0 and self._stop.get_subscription_count() > 0

    def has_tree(self) -> bool:
        """Tell whether the tree listens and has published a moment lately."""
        heard = self._goal.get_subscription_count() > 0 and self._mode.get_subscription_count() > 0
        return heard and self._teleop.get_subscription_count() > 0 and time.monotonic() - self.snapshot_s < 1.0


class LoneOperator(DemoOperator):
    """A person with a node and a ROS context of their own, which end with it. Signals stay the program's."""

    def __init__(self, name: str) -> None:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        super().__init__(Node(name))

    def close(self) -> None:
        """End node and context too."""
        super().close()
        self.node.destroy_node()
        rclpy.try_shutdown()
