"""The program ``vla-bt``: finds the verb, runs it, turns its answer into an exit code.

Promises: a user's mistake is one line on standard error and exit code 2; success alone is exit code 0; verbs that were not asked
for are not imported.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from vla_bt import __version__

VERBS = {
    "run": "drive to a goal in one of the worlds",
    "demo": "the whole application over ROS 2 processes, with a summary",
    "sim": "the simulated robot; 'sim check' measures the expert in it",
    "camera": "publish a camera, a video file or a folder of pictures",
    "teleop": "drive by keyboard",
    "goal": "give the robot a goal",
    "episodes": "look into, check, count, show and exchange recorded episodes",
    "policy": "look into weights, convert, shrink, measure and try policies",
    "tree": "draw the behaviour tree with no robot present",
    "train": "teach a policy in the simulator",
    "models": "compare architectures taught on the same drives",
    "eval": "measure a policy in scripted scenarios",
    "runs": "look into finished runs: what happened, and why the robot stood",
    "dashboard": "a web page that shows what the robot sees, decides and did",
    "memory": "who holds how much memory; the guard's proof under a real limit, and a soak",
    "bench": "measure ticks, stops and recording",
    "doctor": "check this machine",
}
"""Verb -> one line of help. Each lives in a module of its own name with ``add_parser(subparsers)``."""

EXAMPLES = """examples:
  vla-bt demo
  vla-bt run --world lockstep --scene 2box_hori_right --goal "go around the boxes on the right to the cup"
  vla-bt tree show
  vla-bt goal "go forward 1 m, then turn right"
"""


def build_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """Build the parser; only ``verb``'s own options are loaded, all of them when it is None."""
    parser = argparse.ArgumentParser(
        prog="vla-bt",
        description="Language-driven autonomy for a mobile robot, decided by a behaviour tree.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"vla-bt {__version__}")
    subparsers = parser.add_subparsers(metavar="VERB", required=True)
    for name, line in VERBS.items():
        if verb is None or verb == name:
            importlib.import_module(f"vla_bt.cli.{name}").add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=line)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    verb = next((word for word in arguments if word in VERBS), "")
    parser = build_parser(verb)
    options = parser.parse_args(arguments)
    from vla_bt.settings import SettingsError

    try:
        return int(options.run(options))
    except SettingsError as error:
        print(f"vla-bt {verb}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
