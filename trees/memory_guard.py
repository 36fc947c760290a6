"""What is done when memory runs short. Never fails."""

from __future__ import annotations

from py_trees.behaviour import Behaviour
from py_trees.composites import Selector, Sequence

from vla_bt.behaviours.memory import ClearCaches, DegradePolicy, MemoryFine, ShortenRecording, UnloadPolicy


def create_memory_guard_subtree() -> Behaviour:
    """Create the guard: while memory is not fine, each step of the ladder sees to it that it is in force, or not any more."""
    ladder = Sequence("Memory ladder", memory=False)
    ladder.add_children(
        [
            ClearCaches("Clear caches"),
            ShortenRecording("Shorten recording's queue"),
            DegradePolicy("Degrade the policy"),
            UnloadPolicy("Unload the policy"),
        ]
    )
    root = Selector("Guard memory", memory=False)
    root.add_children([MemoryFine("Memory fine?"), ladder])
    return root
