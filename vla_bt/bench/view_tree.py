"""A tree's process for ``vla-bt bench view``: the real tree grown to a size, ticking on the clock, with its stream for viewers.

Promises: ticks as the tree's process does (same loop, same stream, frozen heap), with a robot and a policy in memory, so that
what differs between two measurements is the viewers. For each line on standard input it writes one line of JSON: the spread of
the ticks' processor time, stream included, and of the stream's own part of it, since the line before.
After a line ``drawn`` every tick draws by lot whether the stream is left out of it, as if there were none, until the next line:
those ticks are told apart, under ``without``; both kinds meet the same machine. Ends with its input.
"""

from __future__ import annotations

import argparse
import json
import random
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
    watch, without, own = Stopwatch(), Stopwatch(), Stopwatch()
    lot = random.Random(0)
    drawn = False
    with application(robot, policy, settings) as (loop, tree):
        pad(tree.root, options.nodes)
        leaf_times = TickTimes(tree.root, tree.resources)  # as in the tree's process, with or without viewers
        tree.visitors.append(leaf_times)
        stream = SnapshotStream(node, tree, tree.resources, leaf_times)
        robot.set_mode("vla")
        robot.give_goal("go to the cup")
        due_s = time.monotonic()
        while True:
            executor.spin_once(timeout_sec=0.0)
            ready, _, _ = select.select([sys.stdin], [], [], max(0.0, due_s - time.monotonic()))
            if ready:
                line = sys.stdin.readline()
                if not line:
                    break
                times = {"cpu": watch.cpu_s, "own": own.cpu_s, "without": without.cpu_s}
                print(json.dumps({name: spread(values).in_ms() for name, values in times.items() if values}), flush=True)
                for one in (watch, without, own):
                    one.clear()
                drawn = line.strip() == "drawn"
                continue
            robot.advance()
            policy.advance(robot.now())
            if drawn and lot.random() < 0.5:
                with without:
                    loop.tick()
            else:
                with watch:
                    request = loop.tick()
                    with own:
                        stream.after_tick(request, loop.words, time.monotonic(), dict)
            due_s = max(due_s + settings.tick_period_s, time.monotonic() - settings.tick_period_s)
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
