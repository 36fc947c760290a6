"""A tree's process for ``vla-bt bench view``: the real tree grown to a size, ticking on the clock, with its stream for viewers.

Promises: ticks as the tree's process does (same loop, same stream, frozen heap), with a robot and a policy in memory, so that
what differs between two measurements is the viewers. For each line on standard input it writes one line of JSON: the spread of
processor time and of wall time of the ticks, stream included, since the line before. Ends with its input.
"""

from __future__ import annotations

import argparse
import json
import select
import sys
import time
from collections.abc import Sequence as Words

from py_trees.behaviour import Behaviour
from py_trees.common import Status
from py_trees.composites import Composite, Selector, Sequence

GROUP = 8
BLINK_TICKS = 20


class Changing(Behaviour):
    """A leaf whose message changes in every tick and whose status now and then, if ``blinking``."""

    def __init__(self, name: str, answer: Status, blinking: bool = False) -> None:
        super().__init__(name)
        self._answer, self._blinking, self._count = answer, blinking, 0

    def update(self) -> Status:
        """Return the answer, or RUNNING's opposite every second blink."""
        self._count += 1
        self.feedback_message = f"value {self._count} of a sensor that never rests"
        blink = self._blinking and (self._count // BLINK_TICKS) % 2 == 1
        return self._answer if not blink else Status.FAILURE if self._answer is Status.SUCCESS else Status.SUCCESS


def pad(root: Behaviour, nodes: int) -> None:
    """Grow a tree under its root to exactly ``nodes`` nodes, all of which are visited in every tick.

    Raises
    ------
    ValueError
        When it has more already, or too few would be added.
    """
    missing = nodes - sum(1 for _ in root.iterate())
    if missing < 4 or not isinstance(root, Composite):
        raise ValueError(f"can't grow the tree to {nodes} nodes: {missing} more")
    padding = Selector("Padding", memory=False)
    missing -= 1
    while missing:
        size = missing if missing <= GROUP + 2 else GROUP + 1
        group = Sequence(f"Group {len(padding.children) + 1}", memory=False)
        missing -= size
        last = Status.SUCCESS if not missing else Status.FAILURE  # a failed group hands on to the next; the branch succeeds
        leaves = [Changing(f"Sensor {len(padding.children) + 1}.{index + 1}", Status.SUCCESS) for index in range(size - 2)]
        group.add_children([*leaves, Changing(f"Decision {len(padding.children) + 1}", last, blinking=not padding.children)])
        padding.add_child(group)
    root.add_child(padding)


def main(argv: Words[str] | None = None) -> int:
    """Tick until standard input ends."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, default=100)
    options = parser.parse_args(argv)
    sys.setswitchinterval(0.001)
    from vla_bt.ros.environment import prepare

    prepare()
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    from vla_bt.app.watching import TickTimes
    from vla_bt.bench.figures import spread
    from vla_bt.bench.memory_world import MemoryPolicy, MemoryRobot
    from vla_bt.bench.tick import Stopwatch, application, bench_settings
    from vla_bt.ros.snapshots import SnapshotStream

    rclpy.init(args=[])
    node = rclpy.create_node("tree")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    settings = bench_settings()
    robot, policy = MemoryRobot(settings.tick_period_s), MemoryPolicy()
    watch = Stopwatch()
    with application(robot, policy, settings) as (loop, tree):
        pad(tree.root, options.nodes)
        times = TickTimes(tree.root, tree.resources)  # as in the tree's process, with or without viewers
        tree.visitors.append(times)
        stream = SnapshotStream(node, tree, tree.resources, times)
        robot.set_mode("vla")
        robot.give_goal("go to the cup")
        due_s = time.monotonic()
        while True:
            executor.spin_once(timeout_sec=0.0)
            ready, _, _ = select.select([sys.stdin], [], [], max(0.0, due_s - time.monotonic()))
            if ready:
                if not sys.stdin.readline():
                    break
                report = {"cpu": spread(watch.cpu_s).in_ms(), "wall": spread(watch.wall_s).in_ms()} if watch.wall_s else {}
                print(json.dumps(report), flush=True)
                watch.clear()
                continue
            robot.advance()
            policy.advance(robot.now())
            with watch:
                request = loop.tick()
                stream.after_tick(request, loop.words, time.monotonic(), dict)
            due_s = max(due_s + settings.tick_period_s, time.monotonic() - settings.tick_period_s)
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
