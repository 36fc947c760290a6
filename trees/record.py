"""What is written down: 18-frame episodes of what was seen, decided and done. Never fails."""

from __future__ import annotations

from py_trees.behaviour import Behaviour
from py_trees.composites import Selector

from vla_bt.behaviours.recording import AppendFrame, CloseEpisode, RecorderIdle


def create_record_subtree() -> Behaviour:
    """Create the recording branch."""
    root = Selector("Record", memory=False)
    root.add_children([AppendFrame("Append frame"), CloseEpisode("Close episode"), RecorderIdle("Recorder idle")])
    return root
