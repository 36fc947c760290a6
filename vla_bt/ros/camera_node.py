"""Node ``camera``: a camera, a video file or a folder of pictures as ``camera/image``.

Promises: rgb8 of one size (1280x720 by default; other sizes are scaled to fit, on black), stamped when it was taken, in frame
``camera``; ``camera/camera_info`` beside it where ``fovy_deg`` is given. A camera that is lost is said in ``/diagnostics`` and
taken up again when it returns; no old picture is ever repeated. A file is played at ``rate_hz``, each of its frames once; at its
end the node ends with exit code 0, or it begins again with ``loop``.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from vla_bt.camera.lens import lens_of
from vla_bt.camera.source import EndOfSourceError, FrameSource, fit, open_source
from vla_bt.memory.allocator import keep_freed_memory
from vla_bt.ros import qos
from vla_bt.ros.guarding import first_to_go
from vla_bt.ros.images import camera_info_of, message_of
from vla_bt.ros.options import add_camera_options, ros_arguments
from vla_bt.ros.parameters import declare
from vla_bt.ros.process import diagnose, run_node
from vla_bt.settings import CameraSettings, SettingsError

DIAGNOSTICS_PERIOD_S = 1.0
IDLE_PERIOD_S = 0.05


class CameraNode:
    """A source and its thread on a node; a device may block in ``read`` for seconds without holding the node up.

    Parameters
    ----------
    node : Node
        The node.
    source : FrameSource, optional
        Default: what the node's parameters name.
    """

    def __init__(self, node: Node, source: FrameSource | None = None) -> None:
        self._settings = declare(node, CameraSettings, live=())
        keep_freed_memory()
        self._node = node
        self._source = source or open_source(self._settings)
        self._frames = 0
        self._reported_s = time.monotonic()
        self._failure: BaseException | None = None
        self._image = node.create_publisher(Image, "camera/image", qos.IMAGE)
        self._lens = lens_of(self._settings.fovy_deg, self._settings.width, self._settings.height)
        self._info = node.create_publisher(CameraInfo, "camera/camera_info", qos.IMAGE) if self._lens.known else None
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", qos.COMMAND)
        node.create_timer(DIAGNOSTICS_PERIOD_S, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="camera", daemon=True)
        self._thread.start()

    def finished(self) -> bool:
        """Tell whether a file has ended; raises what the source failed with."""
        if self._failure is not None:
            raise self._failure
        return not self._thread.is_alive()

    def shutdown(self) -> None:
        """End the thread and let go of the device."""
        self._stop.set()
        self._thread.join(timeout=2.0)
        if not self._thread.is_alive():  # a device that hangs in read is left to the end of the process
            self._source.close()

    def _work(self) -> None:
        period_s = 1.0 / self._settings.rate_hz
        due_s = time.monotonic()
        try:
            while not self._stop.wait(max(0.0, due_s - time.monotonic())):
                got = self._source.read()
                if got is None:
                    due_s = time.monotonic() + IDLE_PERIOD_S
                    continue
                pixels, stamp_s = got
                fitted = fit(pixels, self._settings.width, self._settings.height)
                image = message_of(fitted, stamp_s, self._settings.frame_id)
                if self._info is not None:
                    self._info.publish(camera_info_of(self._lens, image))
                self._image.publish(image)
                self._frames += 1
                due_s = max(due_s + period_s, time.monotonic() - period_s)
        except EndOfSourceError:
            pass
        except SettingsError as error:
            self._failure = SettingsError(f"source '{self._settings.source}': {error}")
        except Exception as error:
            self._failure = error

    def _report(self) -> None:
        now_s = time.monotonic()
        rate_hz = self._frames / (now_s - self._reported_s)
        self._frames, self._reported_s = 0, now_s
        problem = self._source.problem
        if problem:
            self._node.get_logger().warning(f"{self._settings.source}: {problem}", throttle_duration_sec=10.0)
        level = DiagnosticStatus.ERROR if problem else DiagnosticStatus.OK if rate_hz else DiagnosticStatus.WARN
        values: dict[str, object] = {"rate_hz": round(rate_hz, 2), "source": self._settings.source}
        diagnose(self._node, self._diagnostics, level, problem or f"{rate_hz:.1f} frames a second", values)


def run_camera(arguments: Sequence[str]) -> int:
    """Run the node with ROS arguments; returns the exit code."""
    first_to_go("camera")
    return run_node("camera", CameraNode, arguments, publishes_images=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the camera; returns the exit code."""
    parser = argparse.ArgumentParser(prog="camera_node", description=(__doc__ or "").splitlines()[0])
    add_camera_options(parser)
    return run_camera(ros_arguments(CameraSettings, parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
