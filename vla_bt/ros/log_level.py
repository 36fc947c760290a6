"""``--log-level``: how much a verb's processes say, as ROS understands it; needs neither ROS nor anything slow to import."""

from __future__ import annotations

import argparse

LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")


def add_log_level(parser: argparse.ArgumentParser) -> None:
    """Add the option."""
    parser.add_argument("--log-level", choices=LOG_LEVELS, help="how much the processes say (default info)")


def log_arguments(level: str | None) -> list[str]:
    """Return a level as ROS arguments; nothing for None."""
    return ["--ros-args", "--log-level", level] if level else []
