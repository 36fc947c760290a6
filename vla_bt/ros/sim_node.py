"""Node ``sim``: the simulated robot as a robot is seen over ROS.

Promises: physics keep to the wall clock in steps of 5 ms, in a thread of their own; a process that was stopped for a while goes
on where it was instead of leaping. Pictures are made in another thread, from a world of their own that only ever gets the robot's
pose. The base stops by itself when ``cmd_vel`` was silent for 0.5 s; a non-finite ``cmd_vel`` is refused.

Publishes ``camera/image``, ``camera/camera_info``, ``odom``, ``scan``, ``battery_state`` (those it has), ``contact``
(geometry_msgs/Vector3, unit direction in ``base_link``, while touching) and ``/diagnostics``, and writes the simulator's truth to
the runtime directory for the expert. Service ``~/reset`` puts the robot back to its start. The parameter ``camera_fault`` may be
set at any time.
"""

from __future__ import annotations

import argparse
import array
import math
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import Twist as TwistMessage
from geometry_msgs.msg import TwistStamped, Vector3
from nav_msgs.msg import Odometry as OdometryMessage
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import BatteryState, CameraInfo, LaserScan
from sensor_msgs.msg import Image as ImageMessage
from std_srvs.srv import Trigger

from vla_bt.memory.allocator import keep_freed_memory
from vla_bt.port import Odometry, Scan
from vla_bt.ros import qos
from vla_bt.ros.guarding import first_to_go
from vla_bt.ros.images import camera_info_of, message_of
from vla_bt.ros.options import add_sim_options, ros_arguments
from vla_bt.ros.parameters import declare
from vla_bt.ros.process import diagnose, run_node
from vla_bt.settings import SettingsError, SimSettings
from vla_bt.sim.engine import SimulatorError
from vla_bt.sim.scenes import Scene, make_scene
from vla_bt.sim.truth import TruthWriter
from vla_bt.sim.world import SCAN_RANGE_M, TIMESTEP_S, SimWorld
from vla_bt.wire import runtime_directory
from vla_bt.words import Twist

ODOM_PERIOD_S = 0.02
SCAN_PERIOD_S = 0.05
BATTERY_PERIOD_S = 1.0
DIAGNOSTICS_PERIOD_S = 1.0
SCAN_RANGE_MIN_M = 0.02
LONGEST_STEP_S = 0.1


class Every:
    """Tells when the next of a regular series of moments is due; moments missed are skipped."""

    def __init__(self, period_s: float, now_s: float) -> None:
        self._period_s = period_s
        self.due_s = now_s

    def __call__(self, now_s: float) -> bool:
        """Tell whether it is due now, and set the next."""
        if now_s < self.due_s:
            return False
        self.due_s = max(self.due_s + self._period_s, now_s - self._period_s)
        return True


class SimRobot:
    """The simulated robot on a node: a physics thread, a picture thread, and the node's callbacks."""

    def __init__(self, node: Node) -> None:
        self._settings = declare(node, SimSettings, live=("camera_fault",))
        keep_freed_memory()
        self._node = node
        self._scene = _scene(self._settings)
        self._lock = threading.Lock()  # guards the physics
        self._world = SimWorld(self._scene)
        self._failure: BaseException | None = None
        self._stop = threading.Event()
        self._frames = self._frames_reported = self._refused = 0
        self._physics_s = 0.0
        self._reported_s = time.monotonic()
        self._truth = TruthWriter(runtime_directory() / "truth.mmap")

        self._image = node.create_publisher(ImageMessage, "camera/image", qos.IMAGE)
        self._info = node.create_publisher(CameraInfo, "camera/camera_info", qos.IMAGE)
        self._odom = node.create_publisher(OdometryMessage, "odom", qos.SENSOR_SOURCE) if self._settings.odom else None
        self._scan = node.create_publisher(LaserScan, "scan", qos.SENSOR_SOURCE) if self._settings.scan else None
        self._battery = (
            node.create_publisher(BatteryState, "battery_state", qos.SENSOR_SOURCE) if self._settings.battery else None
        )
        self._contact = node.create_publisher(Vector3, "contact", qos.SENSOR_SOURCE)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", qos.COMMAND)
        stamped = self._settings.cmd_vel_type == "TwistStamped"
        node.create_subscription(TwistStamped if stamped else TwistMessage, "cmd_vel", self._on_velocity, qos.CMD_VEL)
        node.create_service(Trigger, "~/reset", self._on_reset)
        node.create_timer(DIAGNOSTICS_PERIOD_S, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._threads = [self._thread(self._move, "physics"), self._thread(self._look, "camera")]

    def _thread(self, work: Callable[[], None], name: str) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except SimulatorError as failure:
                self._failure = SettingsError(str(failure))
            except Exception as failure:
                self._failure = failure

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread

    def finished(self) -> bool:
        """Never by itself; raises what a thread failed with."""
        if self._failure is not None:
            raise self._failure
        return False

    def shutdown(self) -> None:
        """End the threads and remove the truth."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=2.0)
        self._truth.close()

    # ------------------------------------------------------------------ callbacks

    def _on_velocity(self, message: Any) -> None:
        body = message.twist if isinstance(message, TwistStamped) else message
        twist = Twist(body.linear.x, body.linear.y, body.angular.z)
        if not twist.is_finite():
            self._refused += 1
            self._node.get_logger().error(f"cmd_vel refused: {tuple(twist)} is not finite", throttle_duration_sec=5.0)
            return
        with self._lock:
            self._world.command(twist)

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        world = SimWorld(self._scene)
        with self._lock:
            self._world = world
        response.success, response.message = True, f"back to the start of {self._scene.name}"
        return response

    # ------------------------------------------------------------------ the threads

    def _move(self) -> None:
        """Let the world keep up with the clock, and tell what the robot senses."""
        last_s = time.monotonic()
        step, odom, scan, battery = (
            Every(period_s, last_s) for period_s in (TIMESTEP_S, ODOM_PERIOD_S, SCAN_PERIOD_S, BATTERY_PERIOD_S)
        )
        while not self._stop.wait(max(0.0, step.due_s - time.monotonic())):
            now_s = time.monotonic()
            step(now_s)
            sensing, scanning = odom(now_s), scan(now_s) and self._scan is not None
            with self._lock:
                world = self._world
                world.advance(min(now_s - last_s, LONGEST_STEP_S))
                self._physics_s += min(now_s - last_s, LONGEST_STEP_S)
                last_s = now_s
                odometry = world.odometry(now_s) if sensing else None
                contact = world.contact(now_s) if sensing else None
                truth = world.truth() if sensing else None
                ranges = world.scan(now_s) if scanning else None
            if truth is not None:
                self._truth.write(truth, now_s)
            if odometry is not None and self._odom is not None:
                self._odom.publish(self._odometry_message(odometry))
            if contact is not None:
                self._contact.publish(Vector3(x=contact.x, y=contact.y))
            if ranges is not None and self._scan is not None:
                self._scan.publish(self._scan_message(ranges))
            if self._battery is not None and battery(now_s):
                self._battery.publish(self._battery_message())

    def _look(self) -> None:
        """Publish pictures, seen from where the robot is."""
        settings = self._settings
        eyes = SimWorld(self._scene)
        due = Every(1.0 / settings.camera_rate_hz, time.monotonic())
        pose = eyes.pose()
        try:
            while not self._stop.wait(max(0.0, due.due_s - time.monotonic())):
                due(time.monotonic())
                fault = self._node.get_parameter("camera_fault").value
                if fault == "lost":
                    continue
                if fault != "frozen":
                    with self._lock:
                        pose = self._world.pose()
                stamp_s = 1e-9 * self._node.get_clock().now().nanoseconds
                pixels = eyes.render(settings.camera_width, settings.camera_height, pose)
                image = message_of(pixels, stamp_s, "camera")
                self._info.publish(camera_info_of(eyes.lens, image))
                self._image.publish(image)
                self._frames += 1
        finally:
            eyes.close()

    # ------------------------------------------------------------------ messages

    def _odometry_message(self, odometry: Odometry) -> OdometryMessage:
        message = OdometryMessage(child_frame_id="base_link")
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.header.frame_id = "odom"
        message.pose.pose.position.x, message.pose.pose.position.y = odometry.x, odometry.y
        message.pose.pose.orientation.w = math.cos(odometry.yaw / 2)
        message.pose.pose.orientation.z = math.sin(odometry.yaw / 2)
        twist = message.twist.twist
        twist.linear.x, twist.linear.y, twist.angular.z = odometry.twist
        return message

    def _scan_message(self, scan: Scan) -> LaserScan:
        message = LaserScan(angle_min=scan.angle_min, angle_increment=scan.angle_increment)
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.header.frame_id = "base_link"
        message.angle_max = scan.angle_min + (len(scan.ranges) - 1) * scan.angle_increment
        message.scan_time = SCAN_PERIOD_S
        message.range_min, message.range_max = SCAN_RANGE_MIN_M, SCAN_RANGE_M
        message.ranges = array.array("f", scan.ranges.tobytes())
        return message

    def _battery_message(self) -> BatteryState:
        message = BatteryState(percentage=1.0, present=True)
        message.header.stamp = self._node.get_clock().now().to_msg()
        return message

    def _report(self) -> None:
        now_s = time.monotonic()
        elapsed_s = now_s - self._reported_s
        with self._lock:
            factor, first = self._physics_s / elapsed_s, self._world.first_contact
            self._physics_s = 0.0
        rate_hz = (self._frames - self._frames_reported) / elapsed_s
        self._frames_reported, self._reported_s = self._frames, now_s
        touched = f"; touched {' and '.join(first.geoms)}" if first is not None else ""
        level = DiagnosticStatus.OK if factor > 0.9 else DiagnosticStatus.WARN
        values: dict[str, object] = {
            "real_time_factor": round(factor, 3),
            "camera_hz": round(rate_hz, 2),
            "frames": self._frames_reported,
            "refused": self._refused,
            "scene": self._scene.name,
        }
        diagnose(self._node, self._diagnostics, level, f"{factor:.0%} of real time{touched}", values)


def _scene(settings: SimSettings) -> Scene:
    try:
        return make_scene(settings.scene, settings.distance, settings.position, settings.pattern, settings.seed)
    except ValueError as error:
        raise SettingsError(str(error)) from None


def run_sim(arguments: Sequence[str]) -> int:
    """Run the node with ROS arguments; returns the exit code."""
    sys.setswitchinterval(0.001)  # the physics thread gets its turn while a picture is being copied
    first_to_go("sim")
    return run_node("sim", SimRobot, arguments, publishes_images=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the simulated robot; returns the exit code."""
    parser = argparse.ArgumentParser(prog="sim_node", description=(__doc__ or "").splitlines()[0])
    add_sim_options(parser)
    return run_sim(ros_arguments(SimSettings, parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
