"""Put a tree, its resources and a world together."""

from __future__ import annotations

from py_trees.blackboard import Blackboard
from py_trees.trees import BehaviourTree

from vla_bt.app.loop import TickLoop
from vla_bt.port import Robot
from vla_bt.resources import Resources
from vla_bt.trees.root import create_root


def assemble(robot: Robot, resources: Resources) -> TickLoop:
    """Create the tree on an empty blackboard, set it up, and return the loop that ticks it.

    One tree a process: the blackboard of ``py_trees`` is global.
    """
    Blackboard.clear()
    tree = BehaviourTree(create_root())
    tree.setup(resources=resources)
    return TickLoop(tree, robot, resources)
