"""``vla-bt dashboard``: a web page that shows what the robot sees, decides and did, and takes a person's commands."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from vla_bt.cli.options import namespace, port
from vla_bt.ros.log_level import add_log_level, log_arguments

EXAMPLES = """examples:
  vla-bt dashboard                         then open http://localhost:8077/
  vla-bt dashboard --port 9000 --runs /data/runs
  vla-bt dashboard --host 0.0.0.0          from other machines, with the token it prints
  ssh -L 8077:localhost:8077 robot         better: encrypted, and no token needed
"""
PORT = 8077


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "dashboard",
        help="a web page that shows what the robot sees, decides and did",
        description="Serve a web page with the live tree, the camera, goals, driving and the emergency stop. It runs beside the "
        "tree on the robot, and has no more authority than any other operator.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="localhost", help="address to listen on (default localhost); any other needs a token")
    parser.add_argument("--port", type=port, default=PORT, help=f"port (default {PORT}; 0 takes a free one)")
    parser.add_argument("--runs", type=Path, metavar="DIR", help="folder of the episodes (default: the parameter file's)")
    parser.add_argument("--params-file", type=Path, metavar="FILE", help="ROS parameter file (default: the shipped one)")
    parser.add_argument("--namespace", type=namespace, default="", metavar="NAME", help="the robot's ROS namespace")
    add_log_level(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    from vla_bt.dashboard.access import access_for
    from vla_bt.ros.environment import prepare
    from vla_bt.settings import GateSettings, TreeSettings, load
    from vla_bt.wire import runtime_directory
    from vla_bt.words import Twist

    limits = load(GateSettings, "gate", options.params_file)
    runs = options.runs or Path(load(TreeSettings, "tree", options.params_file).runs_directory)
    access = access_for(options.host)
    prepare()
    from vla_bt.ros.dashboard_node import serve
    from vla_bt.ros.guarding import first_to_go

    first_to_go("dashboard")

    def ready(port: int) -> None:
        name = f"[{options.host}]" if ":" in options.host else options.host
        token = f"?token={access.token}" if access.token else ""
        print(f"dashboard: http://{name}:{port}/{token}", flush=True)
        if access.token:
            print("Whoever has this address can drive the robot; the connection is not encrypted.", file=sys.stderr, flush=True)

    fastest = Twist(limits.max_linear_x, limits.max_linear_y, limits.max_angular_z)
    serve(access, options.port, runtime_directory(), runs, fastest, options.namespace, ready, log_arguments(options.log_level))
    return 0
