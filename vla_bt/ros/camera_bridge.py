"""Node ``camera_bridge``: ``camera/image`` and ``camera/camera_info`` in, frame ring out; the same on every robot.

Promises: holds no decisions, no torch and no py_trees; a frame is in the ring with the time it arrived (CLOCK_MONOTONIC), or
refused in words, in the log and once a second in ``/diagnostics``; a frame of another encoding than rgb8 or bgr8, of sizes that
don't fit together, or larger than the ring's slots never reaches a reader. Killed at any moment it leaves readers a whole ring.
A 720p frame costs 2.3 to 2.7 ms of CPU (measured on two busy cores), most of it the transport's own copies.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from vla_bt.camera.lens import UNKNOWN
from vla_bt.camera.ring import FrameRingWriter, RingError, ring_path
from vla_bt.memory.allocator import keep_freed_memory
from vla_bt.port import FrameInfo
from vla_bt.ros import qos
from vla_bt.ros.guarding import first_to_go
from vla_bt.ros.images import ImageError, lens_from, pixels_of
from vla_bt.ros.parameters import declare
from vla_bt.ros.process import diagnose, run_node
from vla_bt.settings import BridgeSettings, SettingsError
from vla_bt.wire import runtime_directory

DIAGNOSTICS_PERIOD_S = 1.0
SAME_SHAPE = 0.01
"""A calibration of another aspect ratio than the frames' is of another part of the sensor."""


class CameraBridge:
    """Subscription, ring and diagnostics on a node."""

    def __init__(self, node: Node) -> None:
        settings = declare(node, BridgeSettings, live=())
        keep_freed_memory()
        try:
            self._ring = FrameRingWriter(ring_path(runtime_directory()), settings.max_width, settings.max_height, settings.slots)
        except RingError as error:
            raise SettingsError(str(error)) from None
        self._node = node
        self._frames = self._refused = 0
        self._problem = self._uncalibrated = ""
        self._newest: FrameInfo | None = None
        self._lens, self._aspect = UNKNOWN, 0.0  # as the calibration says
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", qos.COMMAND)
        self._image = node.create_subscription(Image, "camera/image", self._on_image, qos.IMAGE)
        node.create_subscription(CameraInfo, "camera/camera_info", self._on_info, qos.IMAGE)
        self._reported_s = time.monotonic()
        node.create_timer(DIAGNOSTICS_PERIOD_S, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _on_image(self, message: Image) -> None:
        received_s = time.monotonic()
        stamp = message.header.stamp
        try:
            pixels = pixels_of(message)
            lens = self._lens if self._belongs_to(message.width, message.height) else UNKNOWN
            self._newest = self._ring.write(pixels, stamp.sec + 1e-9 * stamp.nanosec, received_s, lens)
        except (ImageError, RingError) as error:
            self._refused += 1
            self._problem = str(error)
            self._node.get_logger().error(f"camera/image: frame refused: {error}", throttle_duration_sec=5.0)
            return
        self._frames += 1

    def _belongs_to(self, width: int, height: int) -> bool:
        """Tell whether the calibration is of the part of the sensor that frames of this size show."""
        return abs(self._aspect * height / width - 1.0) < SAME_SHAPE

    def _on_info(self, message: CameraInfo) -> None:
        try:
            self._lens, self._aspect, self._uncalibrated = lens_from(message), message.width / message.height, ""
        except ImageError as error:
            self._lens, self._uncalibrated = UNKNOWN, str(error)
            self._node.get_logger().warning(f"camera/camera_info: {error}", throttle_duration_sec=60.0)

    def _report(self) -> None:
        now_s = time.monotonic()
        rate_hz = self._frames / (now_s - self._reported_s)
        newest = self._newest
        lens_problem = self._uncalibrated
        if newest is not None and self._lens.known and not self._belongs_to(newest.width, newest.height):
            lens_problem = f"camera_info is not of frames of {newest.width}x{newest.height}"
        if self._refused:
            level, message = DiagnosticStatus.ERROR, f"frames refused: {self._problem}"
        elif not self._frames:
            level, message = DiagnosticStatus.WARN, f"no frame on {self._image.topic_name}"
        elif lens_problem:
            level, message = DiagnosticStatus.WARN, lens_problem
        else:
            level, message = DiagnosticStatus.OK, f"{rate_hz:.1f} frames a second"
        known = self._lens.known and not lens_problem
        fovy = round(math.degrees(2 * math.atan(self._lens.y)), 1) if known else "unknown: no calibration on camera/camera_info"
        values: dict[str, object] = {
            "rate_hz": round(rate_hz, 2),
            "refused": self._refused,
            "sequence": newest.sequence if newest is not None else 0,
            "fovy_deg": fovy,
        }
        diagnose(self._node, self._diagnostics, level, message, values)
        self._frames = self._refused = 0
        self._reported_s = now_s

    def finished(self) -> bool:
        """Never by itself."""
        return False

    def shutdown(self) -> None:
        """Remove the ring."""
        self._ring.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the bridge; returns the exit code."""
    first_to_go("bridge")
    return run_node("camera_bridge", CameraBridge, argv)


if __name__ == "__main__":
    sys.exit(main())
