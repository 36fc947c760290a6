"""Command-line options of the nodes that have some, as ROS parameters; needs no ROS, so that ``--help`` works anywhere."""

from __future__ import annotations

import argparse
import dataclasses
import json

from vla_bt.ros.log_level import add_log_level, log_arguments
from vla_bt.settings import SimSettings
from vla_bt.sim.scenes import SCENE_NAMES


def _add_ros(parser: argparse.ArgumentParser) -> None:
    add_log_level(parser)
    parser.add_argument("--ros-args", nargs=argparse.REMAINDER, default=[], metavar="...", help="ROS arguments follow")


def add_sim_options(parser: argparse.ArgumentParser) -> None:
    """Add the simulated robot's options."""
    fields = {item.name: item for item in dataclasses.fields(SimSettings)}
    parser.add_argument("--scene", choices=SCENE_NAMES, metavar="NAME", help=f"one of {', '.join(SCENE_NAMES)}")
    for name in ("distance", "position", "pattern"):
        words = fields[name].metadata
        parser.add_argument(f"--{name}", choices=words["choices"], help=f"{words['doc']} (default {fields[name].default})")
    parser.add_argument("--seed", type=int, metavar="N", help="light, textures, sizes, camera pitch (default 0)")
    parser.add_argument("--camera-rate", type=float, dest="camera_rate_hz", metavar="HZ", help="pictures a second (default 15)")
    for name in ("odom", "scan", "battery"):
        parser.add_argument(f"--no-{name}", dest=name, action="store_const", const="false", help=f"a robot without {name}")
    _add_ros(parser)


def add_camera_options(parser: argparse.ArgumentParser) -> None:
    """Add the camera node's options."""
    parser.add_argument("--source", metavar="WHAT", help="csi:N, usb:N, a video file or a folder of pictures (default usb:0)")
    parser.add_argument("--rate", type=float, dest="rate_hz", metavar="HZ", help="pictures a second, at most (default 30)")
    parser.add_argument("--fovy", type=float, dest="fovy_deg", metavar="DEG", help="vertical field of view (default: not known)")
    parser.add_argument("--loop", action="store_const", const="true", help="begin a file or folder again when it ends")
    _add_ros(parser)


def ros_arguments(kind: type, options: argparse.Namespace) -> list[str]:
    """Return the options that were given as ROS arguments; they win over parameters in ``--ros-args``."""
    words: list[str] = []
    for item in dataclasses.fields(kind):
        value = getattr(options, item.name, None)
        if value is not None:
            # Quoted, so that a path with a colon stays one word of YAML.
            words += ["-p", f"{item.name}:={json.dumps(value) if item.type == 'str' else value}"]
    return ["--ros-args", *options.ros_args, *words, *log_arguments(options.log_level)]
