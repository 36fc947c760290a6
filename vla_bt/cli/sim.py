"""``vla-bt sim``: the simulated robot over ROS 2; ``vla-bt sim check``: the expert measured in it, without ROS.

    vla-bt sim --scene 2box_hori_right --seed 7
    vla-bt sim --no-odom --no-scan --no-battery
    vla-bt sim check --runs 100

Promises: runs until Ctrl-C; one line and exit code 2 when a scene, a library or ROS is missing.
"""

from __future__ import annotations

import argparse
from typing import Any

from vla_bt.cli import sim_check
from vla_bt.ros.options import add_sim_options, ros_arguments
from vla_bt.settings import SettingsError, SimSettings

EXAMPLES = """examples:
  vla-bt sim --scene 2box_hori_right --distance medium --position center --pattern core --seed 7 --camera-rate 15
  vla-bt sim --no-odom --no-scan --no-battery         a robot with a camera and cmd_vel only
  vla-bt sim --ros-args -p cmd_vel_type:=TwistStamped -r __ns:=/second
  vla-bt sim check --runs 100
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb and its own verb ``check``."""
    parser = subparsers.add_parser(
        "sim",
        help="the simulated robot; 'sim check' measures the expert in it",
        description="A simulated robot in its room, over ROS 2: camera, odometry, scan, battery and contacts; it hears cmd_vel.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_sim_options(parser)
    parser.set_defaults(run=run)
    sim_check.add_parser(parser.add_subparsers(metavar="check"))


def run(options: argparse.Namespace) -> int:
    """Run the simulated robot; returns the exit code."""
    from vla_bt.ros.environment import prepare

    prepare(publishes_images=True)  # says what is missing before anything of ROS is imported
    try:
        from vla_bt.ros.sim_node import run_sim
    except RuntimeError as error:  # the simulator's own line on what to install
        raise SettingsError(str(error)) from None
    return run_sim(ros_arguments(SimSettings, options))
