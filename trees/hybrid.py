"""A person takes over from the policy; when they fall silent, the vla branch drives again."""

from __future__ import annotations

from py_trees.behaviour import Behaviour
from py_trees.composites import Sequence

from vla_bt.behaviours.driving import ModeIs, TakeOver
from vla_bt.words import Mode


def create_hybrid_subtree() -> Behaviour:
    """Create the branch that acts in mode hybrid while a teleop velocity is fresh."""
    root = Sequence("Hybrid", memory=False)
    root.add_children([ModeIs("Mode hybrid?", Mode.HYBRID), TakeOver("Take over")])
    return root
