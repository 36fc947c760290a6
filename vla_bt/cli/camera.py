"""``vla-bt camera``: publish a camera, a video file or a folder of pictures as ``camera/image``.

    vla-bt camera --source csi:0
    vla-bt camera --source drive.mp4 --loop

Promises: runs until Ctrl-C or a file's end (exit code 0); one line and exit code 2 when the source can't work or ROS is missing.
"""

from __future__ import annotations

import argparse
from typing import Any

from vla_bt.ros.options import add_camera_options, ros_arguments
from vla_bt.settings import CameraSettings

EXAMPLES = """examples:
  vla-bt camera --source csi:0                        Jetson; needs an OpenCV with GStreamer; pipeline in config/camera.yaml
  vla-bt camera --source usb:0 --rate 15
  vla-bt camera --source drive.mp4 --loop
  vla-bt camera --source pictures/ --rate 2
  vla-bt camera --ros-args --params-file config/camera.yaml

Pictures of other sizes are scaled to fit 1280x720, on black. A camera that is lost is taken up again when it returns.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "camera",
        help="publish a camera, a video file or a folder of pictures",
        description="Publish a camera, a video file or a folder of pictures as camera/image (rgb8, 1280x720).",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_camera_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Publish until told to end; returns the exit code."""
    from vla_bt.ros.environment import prepare

    prepare(publishes_images=True)  # says what is missing before anything of ROS is imported
    from vla_bt.ros.camera_node import run_camera

    return run_camera(ros_arguments(CameraSettings, options))
