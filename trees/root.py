"""The whole tree, and the check that it keeps its promises.

A Parallel with a failing child terminates and re-initialises its running siblings every tick, so ``sense``, ``guard memory`` and
``record`` must not fail; ``drive`` always ends in Idle, which doesn't.
"""

from __future__ import annotations

from py_trees.behaviour import Behaviour
from py_trees.common import ParallelPolicy
from py_trees.composites import Parallel

from vla_bt.behaviours.leaf import Leaf
from vla_bt.contract import violations
from vla_bt.trees.drive import create_drive_subtree
from vla_bt.trees.memory_guard import create_memory_guard_subtree
from vla_bt.trees.record import create_record_subtree
from vla_bt.trees.sense import create_sense_subtree


class ContractError(ValueError):
    """The tree's leaves break the blackboard contract; the message lists how."""


def create_root() -> Behaviour:
    """Create the whole tree; it needs no robot until its ``setup``.

    Raises
    ------
    ContractError
        When a leaf breaks the blackboard contract.
    """
    root = Parallel("vla_bt", policy=ParallelPolicy.SuccessOnAll(synchronise=False))
    root.add_children([create_sense_subtree(), create_memory_guard_subtree(), create_record_subtree(), create_drive_subtree()])
    check_contract(root)
    return root


def check_contract(root: Behaviour) -> None:
    """Refuse a tree that breaks the blackboard contract.

    Raises
    ------
    ContractError
        With one line for each violation.
    """
    leaves = [(leaf.name, type(leaf).__name__, leaf.READS, leaf.WRITES) for leaf in root.iterate() if isinstance(leaf, Leaf)]
    problems = violations(leaves)
    if problems:
        raise ContractError("; ".join(problems))
