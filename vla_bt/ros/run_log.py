"""The tree's run log over ROS: where it goes, and its lines in rclpy's log, each level at its own place, told off the tick."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from py_trees.behaviour import Behaviour
from rclpy.node import Node

from vla_bt.app.run_log import nodes_of
from vla_bt.resources import Resources
from vla_bt.runlog.log import RunLog
from vla_bt.runlog.places import runs_directory
from vla_bt.runlog.topics import Level


def begin_log(node: Node, root: Behaviour, resources: Resources, now_s: float) -> RunLog:
    """Begin the log of a tree's process.

    Parameters
    ----------
    node : Node
        Its logger takes the lines for people; its namespace becomes part of the run's name.
    root : Behaviour
        The tree.
    resources : Resources
        What its leaves share.
    now_s : float
        Port time [s].
    """
    settings = resources.settings
    namespace = node.get_namespace().strip("/").replace("/", "_")
    facts = {
        "node": node.get_fully_qualified_name(),
        "policy": settings.policy,
        "episodes": str(Path(settings.runs_directory).absolute()),
    }
    label = f"ros_{namespace}" if namespace else "ros"
    directory = runs_directory(settings.run_log_directory)
    return RunLog(nodes_of(root), resources.causes, settings, directory, label, now_s, facts, tell=_teller(node))


def _teller(node: Node) -> Callable[[Level, str], None]:
    logger = node.get_logger()

    def tell(level: Level, text: str) -> None:
        # rclpy ties a level to the line of code that logs.
        if level >= Level.FATAL:
            logger.fatal(text)
        elif level is Level.ERROR:
            logger.error(text)
        elif level is Level.WARNING:
            logger.warning(text)
        elif level is Level.INFO:
            logger.info(text)
        else:
            logger.debug(text)

    return tell
