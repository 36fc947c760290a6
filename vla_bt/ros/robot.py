"""The ``Robot`` port over ROS topics: what the tree process knows of the world.

Promises: every value carries the time its callback ran (CLOCK_MONOTONIC, injected); a message with absurd numbers, nan included,
is refused, counted and said, and the last good value goes on ageing; requests of people are handed out exactly once, in order;
a flood of them is cut to the newest few; no method blocks and no pixels travel: frames stay in the camera bridge's ring.
ROS callbacks and the tick may run in different threads: one lock makes a snapshot consistent.

Subscribes ``odom``, ``scan`` and ``battery_state`` where ``required_inputs`` lists them, and ``contact``, ``teleop/cmd_vel``,
``mode`` and ``goal``. The scan is taken as it comes, in ``base_link``: mount the scanner so, or transform it before. Publishes
``mode_status``, ``goal_status`` (JSON, kept for late joiners) and ``robot/action``. Service ``~/record``: true begins a
recording, anew if one is under way; false ends it. The gate is spoken to over datagram sockets in the runtime directory.
"""

from __future__ import annotations

import json
import math
import os
import select
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from geometry_msgs.msg import Twist as TwistMessage
from geometry_msgs.msg import Vector3
from nav_msgs.msg import Odometry as OdometryMessage
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import BatteryState, LaserScan
from std_msgs.msg import String
from std_srvs.srv import SetBool

from vla_bt.camera.ring import FrameRingReader, ring_path
from vla_bt.port import Battery, Contact, GateStatus, Odometry, Operator, Request, Scan, Snapshot, TeleopInput
from vla_bt.ros import qos
from vla_bt.settings import TreeSettings
from vla_bt.wire import Mailbox, WireError, pack_request, unpack_gate_status
from vla_bt.words import Mode, Twist

MAX_REQUESTS = 64  # of one kind, between two ticks
MAX_MODE_CHARACTERS = 100
MAX_GOAL_CHARACTERS = 20_000  # the parser refuses far shorter ones, and says so
MAX_SPEED = 10.0  # [m/s] and [rad/s]: beyond it a number is an error, not a wish
MAX_POSITION_M = 1e6
MAX_SCAN_POINTS = 20_000
WARNING_PERIOD_S = 5.0

T = TypeVar("T")


def twist_of(message: TwistMessage) -> Twist | None:
    """Return the planar part of a message, or None when it is non-finite or absurd."""
    twist = Twist(message.linear.x, message.linear.y, message.angular.z)
    return twist if all(abs(component) <= MAX_SPEED for component in twist) else None  # false for nan too


def message_of(twist: Twist) -> TwistMessage:
    """Return a velocity as a message."""
    message = TwistMessage()
    message.linear.x, message.linear.y, message.angular.z = (float(component) for component in twist)
    return message


class RosRobot:
    """Implements :class:`vla_bt.port.Robot` for the tree's process.

    Parameters
    ----------
    node : Node
        Whose topics and services these are; somebody else spins it, in any thread.
    runtime_dir : Path
        Where the camera's ring and the gate's sockets are.
    settings : TreeSettings
        ``required_inputs`` says which inputs this robot has.
    clock : callable
        Monotonic time [s].

    Attributes
    ----------
    refused : Counter
        Messages refused so far, by topic.
    """

    def __init__(
        self, node: Node, runtime_dir: Path, settings: TreeSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._node = node
        self._clock = clock
        self._lock = threading.Lock()
        self.refused: Counter[str] = Counter()
        self._odometry: Odometry | None = None
        self._scan: Scan | None = None
        self._battery: Battery | None = None
        self._contact: Contact | None = None
        self._teleop: TeleopInput | None = None
        self._gate: GateStatus | None = None
        self._modes: deque[str] = deque(maxlen=MAX_REQUESTS)
        self._goals: deque[str] = deque(maxlen=MAX_REQUESTS)
        self._records: deque[bool] = deque(maxlen=MAX_REQUESTS)
        self._mode_line = ""

        has = settings.required_inputs
        self._reader = FrameRingReader(ring_path(runtime_dir)) if "camera" in has else None
        if "odometry" in has:
            node.create_subscription(OdometryMessage, "odom", self._on_odometry, qos.SENSOR)
        if "scan" in has:
            node.create_subscription(LaserScan, "scan", self._on_scan, qos.SENSOR)
        if "battery" in has:
            node.create_subscription(BatteryState, "battery_state", self._on_battery, qos.SENSOR)
        node.create_subscription(Vector3, "contact", self._on_contact, qos.SENSOR)
        node.create_subscription(TwistMessage, "teleop/cmd_vel", self._on_teleop, qos.COMMAND)
        node.create_subscription(String, "mode", self._on_mode, qos.COMMAND)
        node.create_subscription(String, "goal", self._on_goal, qos.COMMAND)
        node.create_service(SetBool, "~/record", self._on_record)
        self._mode_status = node.create_publisher(String, "mode_status", qos.STATUS)
        self._goal_status = node.create_publisher(String, "goal_status", qos.STATUS)
        self._action = node.create_publisher(TwistMessage, "robot/action", qos.CMD_VEL)

        self._gate_socket = runtime_dir / "gate.sock"
        self._mailbox = Mailbox(runtime_dir / "tree.gate.sock")
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._listener = threading.Thread(target=self._listen, name="gate status", daemon=True)
        self._listener.start()

    # ------------------------------------------------------------------ the port

    def now(self) -> float:
        """Monotonic seconds."""
        return self._clock()

    def snapshot(self) -> Snapshot:
        """Copy a consistent view of all inputs, and hand out the pending requests."""
        frame = self._reader.latest() if self._reader is not None else None
        with self._lock:
            operator = Operator(self._teleop, _taken(self._modes), _taken(self._goals), _taken(self._records))
            return Snapshot(
                now_s=self._clock(),
                frame=frame,
                odometry=self._odometry,
                scan=self._scan,
                battery=self._battery,
                contact=self._contact,
                gate=self._gate,
                operator=operator,
            )

    def copy_frame(self, sequence: int) -> NDArray[np.uint8] | None:
        """Copy a frame from the ring, or None when it has left it."""
        return self._reader.copy(sequence) if self._reader is not None else None

    def camera_problem(self) -> str:
        """Why there is no frame, in words; empty when there is one."""
        return self._reader.problem if self._reader is not None else ""

    def send(self, request: Request) -> None:
        """Hand a request to the gate. Where no gate listens it is lost; the missing gate status tells."""
        self._mailbox.send(pack_request(request, self._clock()), self._gate_socket)

    def publish_mode(self, mode: Mode, text: str) -> None:
        """Publish mode and who drives as JSON, when they changed."""
        line = json.dumps({"mode": mode.value, "text": text})
        if line != self._mode_line:
            self._mode_line = line
            self._mode_status.publish(String(data=line))

    def publish_goal_status(self, text: str) -> None:
        """Publish the ledger's newest line."""
        self._goal_status.publish(String(data=text))

    def publish_action(self, twist: Twist) -> None:
        """Publish the policy's raw proposal."""
        self._action.publish(message_of(twist))

    def close(self) -> None:
        """Stop listening to the gate, let go of ring and socket. The node is its owner's."""
        os.write(self._wake_write, b"x")
        self._listener.join(timeout=2.0)
        self._mailbox.close()
        os.close(self._wake_read)
        os.close(self._wake_write)
        if self._reader is not None:
            self._reader.close()

    # ------------------------------------------------------------------ what arrives

    def _refuse(self, topic: str, why: str) -> None:
        self.refused[topic] += 1
        self._node.get_logger().warning(
            f"{topic}: message refused: {why} ({self.refused[topic]} so far)", throttle_duration_sec=WARNING_PERIOD_S
        )

    def _on_odometry(self, message: OdometryMessage) -> None:
        received_s = self._clock()
        place, turn, twist = message.pose.pose.position, message.pose.pose.orientation, twist_of(message.twist.twist)
        norm = math.sqrt(turn.w**2 + turn.x**2 + turn.y**2 + turn.z**2)
        if not (abs(place.x) <= MAX_POSITION_M and abs(place.y) <= MAX_POSITION_M):
            return self._refuse("odom", f"position ({place.x}, {place.y})")
        if not 0.9 <= norm <= 1.1:
            return self._refuse("odom", f"orientation of length {norm:.3g}")
        if twist is None:
            return self._refuse("odom", "velocity not finite or above 10 m/s or rad/s")
        yaw = math.atan2(2 * (turn.w * turn.z + turn.x * turn.y), turn.w**2 + turn.x**2 - turn.y**2 - turn.z**2)
        with self._lock:
            self._odometry = Odometry(place.x, place.y, yaw, twist, received_s)

    def _on_scan(self, message: LaserScan) -> None:
        received_s = self._clock()
        ranges = np.array(message.ranges, np.float32)
        angles = (message.angle_min, message.angle_increment)
        if not 0 < ranges.size <= MAX_SCAN_POINTS:
            return self._refuse("scan", f"{ranges.size} ranges")
        if not all(map(math.isfinite, angles)) or not 1e-5 < abs(message.angle_increment) * ranges.size < 7.0:
            return self._refuse("scan", f"angles from {angles[0]:.3g} in {ranges.size} steps of {angles[1]:.3g} rad")
        # A finite value outside the range is no measurement, as the message says; -inf (too near to measure, REP 117) stays.
        outside = np.isfinite(ranges) & ((ranges < message.range_min) | (ranges > message.range_max))
        ranges[outside] = np.inf
        with self._lock:
            self._scan = Scan(ranges, *angles, received_s)

    def _on_battery(self, message: BatteryState) -> None:
        received_s = self._clock()
        if not 0.0 <= message.percentage <= 1.0:
            return self._refuse("battery_state", f"percentage {message.percentage}; expected 0 to 1")
        with self._lock:
            self._battery = Battery(message.percentage, received_s)

    def _on_contact(self, message: Vector3) -> None:
        received_s = self._clock()
        length = math.hypot(message.x, message.y)
        if not 1e-6 < length < 1e6:
            return self._refuse("contact", f"direction ({message.x}, {message.y})")
        with self._lock:
            self._contact = Contact(message.x / length, message.y / length, received_s)

    def _on_teleop(self, message: TwistMessage) -> None:
        received_s = self._clock()
        twist = twist_of(message)
        if twist is None:
            return self._refuse("teleop/cmd_vel", "velocity not finite or above 10 m/s or rad/s")
        with self._lock:
            self._teleop = TeleopInput(twist, received_s)

    def _on_mode(self, message: String) -> None:
        with self._lock:
            self._modes.append(message.data[:MAX_MODE_CHARACTERS])

    def _on_goal(self, message: String) -> None:
        with self._lock:
            self._goals.append(message.data[:MAX_GOAL_CHARACTERS])

    def _on_record(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        with self._lock:
            self._records.append(bool(request.data))
        response.success = True
        response.message = "a recording begins" if request.data else "recording ends"
        return response

    def _listen(self) -> None:
        """Take the gate's reports as they come: read only at ticks, a hung tree would take old ones for new."""
        while True:
            ready, _, _ = select.select([self._mailbox.fileno(), self._wake_read], [], [])
            if self._wake_read in ready:
                return
            for data in self._mailbox.receive():
                try:
                    status = unpack_gate_status(data, self._clock())
                except WireError as error:
                    self._refuse("gate status", str(error))
                    continue
                with self._lock:
                    self._gate = status


def _taken(queue: deque[T]) -> tuple[T, ...]:
    """Empty a queue."""
    taken = tuple(queue)
    queue.clear()
    return taken
