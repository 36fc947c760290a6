"""Who moves the robot: the first child that can act, acts."""

from __future__ import annotations

from py_trees.behaviour import Behaviour
from py_trees.composites import Selector

from vla_bt.behaviours.driving import Idle
from vla_bt.behaviours.safety import ProtectiveStop
from vla_bt.trees.hybrid import create_hybrid_subtree
from vla_bt.trees.manual import create_manual_subtree
from vla_bt.trees.vla import create_vla_subtree


def create_drive_subtree() -> Behaviour:
    """Create the selector without memory: safety, manual, hybrid, vla, idle."""
    root = Selector("Drive", memory=False)
    root.add_children(
        [
            ProtectiveStop("Protective stop"),
            create_manual_subtree(),
            create_hybrid_subtree(),
            create_vla_subtree(),
            Idle("Idle"),
        ]
    )
    return root
