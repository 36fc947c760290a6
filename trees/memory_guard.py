"""What is done when memory runs short. Never fails."""

from __future__ import annotations

from py_trees.behaviour import Behaviour
from py_trees.composites import Selector

from vla_bt.behaviours.memory import ClearCaches, MemoryFine, StopForMemory


def create_memory_guard_subtree() -> Behaviour:
    """Create the guard: the first step of the ladder that the memory level does not call for ends it."""
    root = Selector("Guard memory", memory=False)
    root.add_children([MemoryFine("Memory fine?"), ClearCaches("Clear caches"), StopForMemory("Stop autonomy for memory")])
    return root
