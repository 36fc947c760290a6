"""What a tick of the tree costs without inference, beside a plain ``py_trees`` tick of the same shape.

Promises: the tree is the real one with its real leaves, driving in mode vla towards a place; robot and policy answer from memory.
Its twin has the same composites around leaves that only return a status: the very statuses the real leaves returned in the tick
just before, so both walk the same path (checked after every tick). Ticks alternate between the two in one process, under one
garbage collector, which looks at no more than a tree process's would.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from py_trees.behaviour import Behaviour
from py_trees.blackboard import Blackboard
from py_trees.common import Status
from py_trees.composites import Composite, Parallel, Selector, Sequence
from py_trees.trees import BehaviourTree

from vla_bt.app.loop import TickLoop
from vla_bt.bench.figures import Spread, spread
from vla_bt.bench.memory_world import MemoryPolicy, MemoryRobot
from vla_bt.control.causes import load_causes
from vla_bt.episodes.recorder import EpisodeRecorder
from vla_bt.memory.monitor import MemoryMonitor
from vla_bt.policy.port import PolicyClient
from vla_bt.port import Robot
from vla_bt.resources import Resources, RobotView
from vla_bt.settings import TreeSettings, load
from vla_bt.trees.root import create_root
from vla_bt.words import Source

WARM_UP_TICKS = 100
MAX_TICKS = 50_000
"""So many fit into the longest time a goal may take."""


class BenchError(RuntimeError):
    """A measurement that would not mean what it says; the message is one line."""


class _Plain(Behaviour):
    """A leaf that does nothing but return a status."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.answer = Status.SUCCESS

    def update(self) -> Status:
        return self.answer


class Twin:
    """A plain tree of the same shape as another.

    Parameters
    ----------
    root : Behaviour
        The tree to copy: composites of py_trees over any leaves.
    """

    def __init__(self, root: Behaviour) -> None:
        self.tree = BehaviourTree(_plain(root, {}))
        originals, plains = list(root.iterate()), list(self.tree.root.iterate())
        self._all = list(zip(originals, plains, strict=True))
        self._leaves = [(original, plain) for original, plain in self._all if isinstance(plain, _Plain)]

    @property
    def nodes(self) -> int:
        """How many nodes each of the two has."""
        return len(self._all)

    @property
    def visited(self) -> int:
        """How many nodes the last tick went through."""
        return sum(original.status is not Status.INVALID for original, _ in self._all)

    def learn(self) -> None:
        """Take the statuses the original's leaves have now."""
        for original, plain in self._leaves:
            plain.answer = original.status

    def check(self) -> None:
        """Refuse a tick that went another way than the original's.

        Raises
        ------
        BenchError
            With the first node that differs.
        """
        for original, plain in self._all:
            if original.status is not plain.status:
                raise BenchError(
                    f"the plain tree differs at '{original.name}': {plain.status.value}, not {original.status.value}"
                )


def _plain(node: Behaviour, kinds: dict[type[Behaviour], type[_Plain]]) -> Behaviour:
    """Copy a tree. Each class of leaves gets a class of its own, as in any tree: Python runs one class faster than many."""
    copy: Composite
    if isinstance(node, Parallel):
        copy = Parallel(node.name, policy=node.policy)
    elif isinstance(node, Selector):
        copy = Selector(node.name, memory=node.memory)
    elif isinstance(node, Sequence):
        copy = Sequence(node.name, memory=node.memory)
    else:
        kind = kinds.setdefault(type(node), type(f"Plain{type(node).__name__}", (_Plain,), {}))
        return kind(node.name)
    copy.add_children([_plain(child, kinds) for child in node.children])
    return copy


class Stopwatch:
    """Times the body of a ``with``: by the clock, and in processor time of this thread, which others don't lengthen."""

    def __init__(self) -> None:
        self.wall_s: list[float] = []
        self.cpu_s: list[float] = []

    def __enter__(self) -> None:
        self._began = (time.perf_counter(), time.thread_time())

    def __exit__(self, *_: object) -> None:
        cpu_s, wall_s = time.thread_time(), time.perf_counter()
        self.wall_s.append(wall_s - self._began[0])
        self.cpu_s.append(cpu_s - self._began[1])

    def clear(self) -> None:
        """Forget what was measured."""
        self.wall_s.clear()
        self.cpu_s.clear()


class TimedTree:
    """A tree that times its ticks, for the loop that makes them."""

    def __init__(self, tree: BehaviourTree, resources: Resources) -> None:
        self._tree = tree
        self.resources = resources
        self.root, self.visitors = tree.root, tree.visitors
        self.watch = Stopwatch()

    def tick(self) -> None:
        """Tick, timed."""
        with self.watch:
            self._tree.tick()


@dataclass(frozen=True)
class TickCost:
    """What was measured.

    Attributes
    ----------
    nodes, visited : int
        Nodes of the tree, and those a tick goes through.
    tree, plain : Spread
        Processor time of a tick of the real tree, and of its twin [s].
    whole : Spread
        The same of tree, composition of the request and its sending [s].
    wall : Spread
        ``whole`` by the clock: with whatever else ran on the machine [s].
    """

    nodes: int
    visited: int
    tree: Spread
    plain: Spread
    whole: Spread
    wall: Spread

    @property
    def ratio(self) -> float:
        """Median of the real tree's tick over its twin's."""
        return self.tree.p50 / self.plain.p50


@contextmanager
def application(
    robot: Robot, policy: PolicyClient, settings: TreeSettings, recorder: EpisodeRecorder | None = None
) -> Iterator[tuple[TickLoop, TimedTree]]:
    """Put the real tree between a robot and a policy, as the tree's process does: recorder, memory monitor and frozen heap."""
    memory = MemoryMonitor(settings)
    memory.start()
    with tempfile.TemporaryDirectory() as folder:
        recorder = recorder or EpisodeRecorder(Path(folder), settings.frame_period_s)
        resources = Resources(settings, RobotView(robot), policy, recorder, memory, load_causes())
        Blackboard.clear()
        tree = BehaviourTree(create_root())
        tree.setup(resources=resources)
        timed = TimedTree(tree, resources)
        gc.collect()
        gc.freeze()
        try:
            yield TickLoop(timed, robot, resources), timed
        finally:
            gc.unfreeze()
            recorder.close()
            memory.stop()


def bench_settings() -> TreeSettings:
    """Return the tree's own settings, but for a goal that lasts as long as the measurement."""
    return replace(load(TreeSettings, "tree"), goal_timeout_s=3600.0)


def measure_tick(ticks: int) -> TickCost:
    """Measure ``ticks`` ticks of each tree.

    Raises
    ------
    BenchError
        When the robot did not drive by its policy all the time, or the two trees went different ways.
    """
    settings = bench_settings()
    robot, policy = MemoryRobot(settings.tick_period_s), MemoryPolicy()
    whole, plain = Stopwatch(), Stopwatch()
    with application(robot, policy, settings) as (loop, tree):
        twin = Twin(tree.root)
        robot.set_mode("vla")
        robot.give_goal("go to the cup")
        for count in range(WARM_UP_TICKS + ticks):
            if count == WARM_UP_TICKS:
                for watch in (tree.watch, whole, plain):
                    watch.clear()
            robot.advance()
            policy.advance(robot.now())
            with whole:
                request = loop.tick()
            twin.learn()
            with plain:
                twin.tree.tick()
            if count >= WARM_UP_TICKS:
                twin.check()
                if request.source is not Source.POLICY or request.twist.is_zero():
                    raise BenchError(f"tick {request.tick} was not driven by the policy: {loop.words}")
    return TickCost(
        nodes=twin.nodes,
        visited=twin.visited,
        tree=spread(tree.watch.cpu_s),
        plain=spread(plain.cpu_s),
        whole=spread(whole.cpu_s),
        wall=spread(whole.wall_s),
    )
