"""Put a tree, its resources and a world together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from py_trees.blackboard import Blackboard
from py_trees.trees import BehaviourTree

from vla_bt.app.loop import TickLoop
from vla_bt.app.run_log import nodes_of, witness
from vla_bt.port import Robot
from vla_bt.resources import Resources
from vla_bt.runlog.encoder import Node
from vla_bt.runlog.log import RunLog
from vla_bt.trees.root import create_root


def assemble(robot: Robot, resources: Resources, make_log: Callable[[Sequence[Node]], RunLog] | None = None) -> TickLoop:
    """Create the tree on an empty blackboard, set it up, and return the loop that ticks it.

    One tree a process: the blackboard of ``py_trees`` is global. ``make_log`` begins a run log for the tree's nodes.
    """
    Blackboard.clear()
    root = create_root()
    tree = BehaviourTree(root)
    tree.setup(resources=resources)
    log = make_log(nodes_of(root)) if make_log is not None else None
    return TickLoop(tree, robot, resources, witness(root, log.take) if log is not None else None)
