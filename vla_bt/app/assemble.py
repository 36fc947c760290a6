"""Put a tree, its resources and a world together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from py_trees.blackboard import Blackboard
from py_trees.trees import BehaviourTree

from vla_bt.app.loop import TickLoop, Tree
from vla_bt.app.run_log import Witness, nodes_of
from vla_bt.diagnosis import Diagnosis, Row, Times
from vla_bt.episodes.recorder import RecorderStatus
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
    loop = TickLoop(tree, robot, resources)
    if make_log is not None:
        loop.witness = witness_for(tree, loop, resources, make_log(nodes_of(root)))
    return loop


def witness_for(tree: Tree, loop: TickLoop, resources: Resources, log: RunLog) -> Witness:
    """Return what hands each tick to a log, with rows of diagnostics once a second of the tree's time."""
    diagnosis = Diagnosis(lambda: resources.settings)

    def diagnose(now_s: float) -> list[Row]:
        times = Times(witness.times.tick_s, witness.times.late_s, witness.times.missed)
        recorder = resources.recorder.status() if resources.recorder is not None else RecorderStatus("off")
        diagnosis.after_tick(Blackboard.storage)
        others = (resources.policy.status(), recorder, log.status(), None)
        return diagnosis.rows(Blackboard.storage, now_s, times, loop.words, *others)

    witness = Witness(tree, resources, log.take, diagnose)
    return witness
