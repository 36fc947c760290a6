"""What the robot knows: the world, its people, its policy, and what is wrong. Never fails."""

from __future__ import annotations

from py_trees.behaviour import Behaviour
from py_trees.composites import Sequence

from vla_bt.behaviours.operating import TakeRequests
from vla_bt.behaviours.policy import ConsultPolicy
from vla_bt.behaviours.safety import NameCauses
from vla_bt.behaviours.sensing import CopySnapshot


def create_sense_subtree() -> Behaviour:
    """Create the branch that fills the blackboard, once a tick."""
    root = Sequence("Sense", memory=False)
    root.add_children(
        [
            CopySnapshot("Copy snapshot"),
            TakeRequests("Take requests"),
            ConsultPolicy("Consult policy"),
            NameCauses("Name causes"),
        ]
    )
    return root
