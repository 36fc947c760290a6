"""``vla-bt bench tick``: what a tick costs, how late it comes beside a busy policy, and what a frame costs on its way.

Promises: exit code 0 only if every aim was met; what depends on the machine stands under ``timing`` and says how busy that was.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_bt.settings import SettingsError

if TYPE_CHECKING:
    from vla_bt.bench.figures import Spread
    from vla_bt.bench.lateness import Lateness
    from vla_bt.bench.ring import RingCost
    from vla_bt.bench.tick import TickCost
    from vla_bt.port import Robot

RATIO_AIM = 1.5
TICK_AIM_S = 0.001
LATE_AIM_S = 0.005
RING_FRAMES = 300
TICKS_PER_SECOND_OF_LATENESS = 250
LONGEST_LATENESS_S = 20.0
POLICY = "hybrid"

EXAMPLES = """examples:
  vla-bt bench tick                   about a minute
  vla-bt bench tick --ticks 20000 --json > tick.json

processor time is this process's own and hardly depends on what else runs; lateness and latency do: measure on an idle machine
"""


def add_parser(subparsers: Any) -> None:
    """Add the benchmark."""
    parser = subparsers.add_parser(
        "tick",
        help="cost and lateness of ticks, cost and latency of frames",
        description="A tick of the real tree without inference, beside a plain py_trees tick of the same shape; the lateness of "
        "a 20 Hz tick while a policy worker is busy; the ring's copies beside plain ones; the time from a frame to the request "
        "that follows from it. Exit code 0 only if every aim was met.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--ticks",
        type=_ticks,
        default=5000,
        metavar="N",
        help="ticks of each tree (default 5000); lateness takes N/250 s, at most 20",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.set_defaults(run=run)


def _ticks(text: str) -> int:
    try:
        ticks = int(text)
    except ValueError:
        ticks = 0
    if not 100 <= ticks <= 50_000:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 100 to 50000")
    return ticks


def run(options: argparse.Namespace) -> int:
    """Run the benchmark; returns the exit code."""
    from vla_bt.bench.figures import LoadMeter
    from vla_bt.bench.lateness import measure_lateness
    from vla_bt.bench.ring import measure_ring, measure_snapshot
    from vla_bt.bench.tick import BenchError, measure_tick

    def say(words: str) -> None:
        if sys.stderr.isatty():
            print(words, file=sys.stderr, flush=True)

    try:
        load = LoadMeter()
        say(f"{options.ticks} ticks ...")
        cost = measure_tick(options.ticks)
        say("ring ...")
        ring = measure_ring(RING_FRAMES)
        with _ros_robot() as robot:
            snapshot = measure_snapshot(robot, RING_FRAMES) if robot is not None else None
        busy = load.stop()
        seconds = min(LONGEST_LATENESS_S, options.ticks / TICKS_PER_SECOND_OF_LATENESS)
        say(f"lateness beside policy {POLICY}: about {2 * seconds + 10:.0f} s ...")
        lateness = measure_lateness(POLICY, seconds)
    except BenchError as problem:
        raise SettingsError(str(problem)) from None
    aims = {
        "ratio": cost.ratio <= RATIO_AIM,
        "tick": cost.whole.p99 <= TICK_AIM_S,
        "lateness": lateness.late.p99 <= LATE_AIM_S,
    }
    if options.json:
        print(json.dumps(_report(options.ticks, cost, ring, snapshot, busy, lateness, aims), indent=2))
    else:
        print(_table(cost, ring, snapshot, busy, lateness, aims))
    return 0 if all(aims.values()) else 1


@contextlib.contextmanager
def _ros_robot() -> Iterator[Robot | None]:
    """Yield the ROS port with frames in its ring but nobody on its topics, or None where there is no rclpy."""
    if importlib.util.find_spec("rclpy") is None:
        yield None
        return
    import shutil

    from vla_bt.ros.environment import isolate, prepare

    isolate()  # a benchmark does not talk to a robot nearby
    prepare()
    import rclpy
    from rclpy.node import Node

    from vla_bt.bench.ring import filled_ring
    from vla_bt.ros.robot import RosRobot
    from vla_bt.settings import TreeSettings

    directory = Path("/dev/shm") / f"vla_bt-{os.getuid()}-bench-{os.getpid()}"
    directory.mkdir(mode=0o700)
    rclpy.init()
    node = Node("bench")
    try:
        with filled_ring(directory):
            robot = RosRobot(node, directory, TreeSettings())
            try:
                yield robot
            finally:
                robot.close()
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
        shutil.rmtree(directory, ignore_errors=True)


def _report(
    ticks: int,
    cost: TickCost,
    ring: RingCost,
    snapshot: Spread | None,
    busy: dict[str, Any],
    lateness: Lateness,
    aims: dict[str, bool],
) -> dict[str, Any]:
    spreads = ("write", "plain_write", "copy", "plain_copy", "latest")
    return {
        "result": {
            "ticks": ticks,
            "nodes": cost.nodes,
            "nodes_visited": cost.visited,
            "frame_bytes": ring.bytes,
            "policy": lateness.policy,
            "policy_label": lateness.label,
            "aims": {"ratio": RATIO_AIM, "tick_p99_ms": 1e3 * TICK_AIM_S, "late_p99_ms": 1e3 * LATE_AIM_S},
        },
        "timing": {
            "aims_met": aims,
            "tick": {
                "tree_cpu": cost.tree.in_ms(),
                "plain_cpu": cost.plain.in_ms(),
                "ratio": round(cost.ratio, 3),
                "with_request_cpu": cost.whole.in_ms(),
                "with_request_wall": cost.wall.in_ms(),
                "machine": busy,
            },
            "ring": {
                **{name: getattr(ring, name).in_ms() for name in spreads},
                "ros_snapshot": snapshot.in_ms() if snapshot is not None else None,
                "machine": busy,
            },
            "lateness": {
                "policy_busy": lateness.late.in_ms(),
                "policy_at_rest": lateness.late_idle.in_ms(),
                "tick_wall": lateness.wall.in_ms(),
                "camera_to_request": lateness.camera_to_request.in_ms(),
                "worker_busy": round(lateness.worker_busy, 3),
                "frames_handed": lateness.frames_handed,
                "steps_taken": lateness.steps_taken,
                "machine": lateness.load,
            },
        },
    }


def _table(
    cost: TickCost, ring: RingCost, snapshot: Spread | None, busy: dict[str, Any], lateness: Lateness, aims: dict[str, bool]
) -> str:
    from vla_bt.bench.figures import load_words

    def verdict(name: str, aim: str) -> str:
        return f"  aim {aim}: {'met' if aims[name] else 'MISSED'}"

    def bandwidth(spread: Spread) -> str:
        return f"{spread}, {ring.bytes / spread.p50 / 1e9:.1f} GB/s"

    lines = [
        f"tick without inference: {cost.nodes} nodes, {cost.visited} of them in each tick; processor time; {load_words(busy)}",
        f"  tree              {cost.tree}",
        f"  plain py_trees    {cost.plain}",
        f"  ratio             {cost.ratio:.2f}{verdict('ratio', f'{RATIO_AIM}')}",
        f"  tree and request  {cost.whole}{verdict('tick', 'p99 1 ms')}",
        f"  the same, clock   {cost.wall}",
        f"  ROS port's snapshot, not in it: {snapshot if snapshot is not None else 'no rclpy here'}",
        "",
        f"ring, {ring.bytes / 1e6:.1f} MB frames; {load_words(busy)}",
        f"  write             {bandwidth(ring.write)}",
        f"  plain copy        {bandwidth(ring.plain_write)}",
        f"  copy out          {bandwidth(ring.copy)}",
        f"  plain copy, new   {bandwidth(ring.plain_copy)}",
        f"  find the newest   {ring.latest}",
        "",
        f"20 Hz tick beside policy {lateness.policy} ({lateness.label}), its worker computing {lateness.worker_busy:.0%} of the "
        f"time; {lateness.steps_taken} steps for {lateness.frames_handed} frames; {load_words(lateness.load)}",
        f"  late              {lateness.late}{verdict('lateness', 'p99 5 ms')}",
        f"  worker at rest    {lateness.late_idle}",
        f"  tick, clock       {lateness.wall}",
        f"  frame to request  {lateness.camera_to_request}",
    ]
    if not aims["lateness"] and lateness.late_idle.p99 > LATE_AIM_S:
        lines.append("  the machine is as late with the worker at rest: something else keeps it busy")
    return "\n".join(lines)
