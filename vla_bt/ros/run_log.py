"""The tree's run log over ROS: where it goes; its lines are in rclpy's log, too, told off the tick."""

from __future__ import annotations

from pathlib import Path

from py_trees.behaviour import Behaviour
from rclpy.node import Node

from vla_bt.app.run_log import nodes_of
from vla_bt.resources import Resources
from vla_bt.ros.logs import teller
from vla_bt.runlog.log import RunLog
from vla_bt.runlog.places import runs_directory


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
    return RunLog(nodes_of(root), resources.causes, settings, directory, label, now_s, facts, tell=teller(node))
