"""The one place that decides what carries the tree: ``py_trees_ros`` where it is installed, plain ``py_trees`` elsewhere.

Either way our own loop calls ``tick()``. With ``py_trees_ros`` the stock viewer and watchers find the tree's streams.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from py_trees.behaviour import Behaviour
from py_trees.trees import BehaviourTree

from vla_bt.resources import Resources

SETUP_TIMEOUT_S = 15.0


def has_py_trees_ros() -> bool:
    """Tell whether ``py_trees_ros`` can carry the tree here."""
    return importlib.util.find_spec("py_trees_ros") is not None


def host_tree(root: Behaviour, node: Any, resources: Resources) -> BehaviourTree:
    """Set the tree up on the best carrier there is.

    Parameters
    ----------
    root : Behaviour
        From :func:`vla_bt.trees.root.create_root`.
    node : rclpy.node.Node
        The node whose name and parameters the streams use.
    resources : Resources
        Handed to each leaf's ``setup``.
    """
    if has_py_trees_ros():
        trees = importlib.import_module("py_trees_ros.trees")
        tree: BehaviourTree = trees.BehaviourTree(root)
        tree.setup(node=node, timeout=SETUP_TIMEOUT_S, resources=resources)
    else:
        tree = BehaviourTree(root)
        tree.setup(resources=resources)
    return tree
