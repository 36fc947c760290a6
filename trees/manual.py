"""A person drives."""

from __future__ import annotations

from py_trees.behaviour import Behaviour
from py_trees.composites import Sequence

from vla_bt.behaviours.driving import FollowTeleop, ModeIs
from vla_bt.words import Mode


def create_manual_subtree() -> Behaviour:
    """Create the branch that acts in mode manual while a teleop velocity is fresh."""
    root = Sequence("Manual", memory=False)
    root.add_children([ModeIs("Mode manual?", Mode.MANUAL), FollowTeleop("Follow teleop")])
    return root
