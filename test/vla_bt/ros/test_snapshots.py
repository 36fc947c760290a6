"""The snapshot for viewers: nothing while nobody looks; small with every key set and every text at its longest."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")

from py_trees.behaviour import Behaviour  # noqa: E402
from py_trees.blackboard import Blackboard  # noqa: E402
from std_msgs.msg import String  # noqa: E402

from vla_bt.app.loop import TickLoop  # noqa: E402
from vla_bt.app.snapshot import MESSAGE_LIMIT, to_json, to_json_within  # noqa: E402
from vla_bt.app.watching import TickTimes  # noqa: E402
from vla_bt.bench.memory_world import MemoryPolicy, MemoryRobot  # noqa: E402
from vla_bt.bench.tick import application, bench_settings  # noqa: E402
from vla_bt.bench.view_tree import pad  # noqa: E402
from vla_bt.contract import KEYS, Stamped  # noqa: E402
from vla_bt.control.causes import Verdict, load_causes  # noqa: E402
from vla_bt.port import Request  # noqa: E402
from vla_bt.ros import qos  # noqa: E402
from vla_bt.ros.snapshots import MAX_BYTES, SnapshotStream, node_kinds  # noqa: E402
from vla_bt.words import Source, Twist  # noqa: E402

pytestmark = pytest.mark.ros

LIMIT_BYTES = 64 * 1024
LIMIT_S = 0.002
NODES = 100
LONG = "🤖" * 10_000  # four bytes each: the worst there is


@pytest.fixture
def driving() -> Iterator[tuple[TickLoop, Any, MemoryRobot, MemoryPolicy]]:
    """The real tree, grown to a hundred nodes, driving by a policy."""
    settings = bench_settings()
    robot, policy = MemoryRobot(settings.tick_period_s), MemoryPolicy()
    with application(robot, policy, settings) as (loop, timed):
        pad(timed.root, NODES)
        robot.set_mode("vla")
        robot.give_goal("go to the cup")
        yield loop, timed, robot, policy


def tick(loop: TickLoop, robot: MemoryRobot, policy: MemoryPolicy, times: int = 1) -> Request:
    for _ in range(times):
        robot.advance()
        policy.advance(robot.now())
        request = loop.tick()
    return request


def times_of(timed: Any) -> TickTimes:
    times = TickTimes(timed.root, timed.resources)
    timed.visitors.append(times)
    return times


def fill(root: Behaviour, now_s: float) -> None:
    """Set every key, write every text at its longest, and let every cause be active."""
    storage = Blackboard.storage
    for name in KEYS:
        storage.setdefault(f"/{name}", Stamped(None, now_s))
    causes = dict.fromkeys(load_causes().causes, LONG)
    storage["/verdict"] = Stamped(Verdict((LONG,), (LONG,), (LONG,), causes), now_s)
    for node in root.iterate():
        node.feedback_message = LONG
    assert set(storage) >= {f"/{name}" for name in KEYS}


def test_the_largest_tree_with_every_key_set_stays_within_64_kb(driving: Any, ros_context: Any) -> None:
    loop, timed, robot, policy = driving
    node = rclpy.create_node("largest", context=ros_context)
    try:
        stream = SnapshotStream(node, timed, timed.resources, times_of(timed))
        stream._switch(True, robot.now())
        request = tick(loop, robot, policy, 400)
        fill(timed.root, robot.now())
        stream._watch.begin()
        for behaviour in timed.root.iterate():
            stream._watch._changes.append([robot.now(), behaviour.name, "RUNNING", "FAILURE", LONG[:MESSAGE_LIMIT]])
        snapshot = stream.describe(request, LONG, robot.now())
        snapshot["leaves"] = stream._times.leaf_rows()
        text = to_json_within(snapshot, MAX_BYTES)
    finally:
        node.destroy_node()
    told = json.loads(text)
    assert [row[:3] for row in told["nodes"]] == [row[:3] for row in snapshot["nodes"]]
    assert len(told["nodes"]) == len(told["transitions"]) == NODES
    assert all(row[-1] for row in told["nodes"])  # shortened, not dropped
    assert MAX_BYTES == LIMIT_BYTES < len(to_json(snapshot).encode())
    assert len(snapshot["causes"]) == len(load_causes().causes)
    assert len(text.encode()) <= LIMIT_BYTES, f"{len(text.encode())} bytes"
    assert not any(isinstance(value, (bytes, np.ndarray)) for value in snapshot.values())


@pytest.mark.parametrize("text", ["following the policy at 0.31 m/s", LONG], ids=["typical", "longest"])
def test_the_largest_tree_with_every_key_set_takes_at_most_2_ms(driving: Any, ros_context: Any, text: str) -> None:
    """Processor time, which other processes lengthen least; the times of leaves, once a second, included."""
    loop, timed, robot, policy = driving
    node = rclpy.create_node("timed", context=ros_context)
    took_s: dict[bool, list[float]] = {False: [], True: []}
    try:
        stream = SnapshotStream(node, timed, timed.resources, times_of(timed))
        stream._switch(True, robot.now())
        request = tick(loop, robot, policy, 300)
        if text == LONG:
            fill(timed.root, robot.now())
        for count in range(80):
            for behaviour in timed.root.iterate():
                stream._watch._changes.append([robot.now(), behaviour.name, "RUNNING", "FAILURE", text[:MESSAGE_LIMIT]])
            with_leaves = count % 2 == 1
            began_s = time.thread_time()
            leaves = {"leaves": stream._times.leaf_rows()} if with_leaves else {}
            told = to_json_within(stream.describe(request, text, robot.now()) | leaves, MAX_BYTES)
            stream._publisher.publish(String(data=told))
            took_s[with_leaves].append(time.thread_time() - began_s)
    finally:
        node.destroy_node()
    assert float(np.median(took_s[False])) <= LIMIT_S
    assert min(took_s[True]) <= LIMIT_S


def test_no_key_of_the_blackboard_holds_pixels(driving: Any) -> None:
    """A stock viewer calls ``str()`` on every value: none may be long, whatever the tree is doing."""
    loop, _, robot, policy = driving
    tick(loop, robot, policy, 100)
    texts = {path: len(str(entry.value)) for path, entry in Blackboard.storage.items() if isinstance(entry, Stamped)}
    assert len(texts) > len(KEYS) // 2
    assert max(texts.values()) < 8000, max(texts.items(), key=lambda item: item[1])
    assert sum(texts.values()) < LIMIT_BYTES


def test_nothing_is_published_or_measured_until_somebody_looks(driving: Any, ros_context: Any) -> None:
    loop, timed, robot, policy = driving
    node = rclpy.create_node("tree", context=ros_context, namespace="/watched")
    viewer = rclpy.create_node("viewer", context=ros_context)
    heard: list[dict[str, Any]] = []
    executor = rclpy.executors.SingleThreadedExecutor(context=ros_context)
    executor.add_node(viewer)
    try:
        stream = SnapshotStream(node, timed, timed.resources, times_of(timed))
        figures = {"tick_ms": [1.0, 2.0]}
        for _ in range(5):
            stream.after_tick(tick(loop, robot, policy), loop.words, robot.now(), lambda: figures)
        assert len(timed.visitors) == 1  # the times alone, which the run log needs
        subscription = viewer.create_subscription(
            String, "/watched/tree/snapshot", lambda m: heard.append(json.loads(m.data)), qos.LATCHED
        )

        def run(found: Any) -> None:
            end_s = time.monotonic() + 20.0
            while not found():
                assert time.monotonic() < end_s
                stream.after_tick(tick(loop, robot, policy), loop.words, robot.now(), lambda: figures)
                executor.spin_once(timeout_sec=0.02)

        run(lambda: len(heard) >= 5)
        assert len(timed.visitors) == 2
        newest = heard[-1]
        assert newest["tick_ms"] == [1.0, 2.0]
        assert newest["policy"]["state"] == "ready"
        assert newest["gate"]["latched"] is False
        assert len(newest["kinds"]) == len(newest["nodes"]) == NODES
        assert any("leaves" in snapshot for snapshot in heard)
        viewer.destroy_subscription(subscription)
        run(lambda: len(timed.visitors) == 1)
    finally:
        executor.shutdown()
        node.destroy_node()
        viewer.destroy_node()


def test_kinds_are_told_apart() -> None:
    from vla_bt.trees.root import create_root

    root = create_root()
    kinds = node_kinds(root)
    assert kinds[0] == "P"
    assert set(kinds) <= set("PSFDL")
    assert kinds.count("L") == sum(not node.children for node in root.iterate())


def test_an_unasked_velocity_is_plain_numbers(driving: Any, ros_context: Any) -> None:
    loop, timed, robot, policy = driving
    tick(loop, robot, policy, 10)
    node = rclpy.create_node("plain", context=ros_context)
    try:
        stream = SnapshotStream(node, timed, timed.resources, times_of(timed))
        request = Request(Twist(*np.array([0.1, 0.2, 0.3], np.float32).tolist()), Source.POLICY, tick=3)
        assert json.loads(to_json(stream.describe(request, "why", robot.now())))["velocity"] == [0.1, 0.2, 0.3]
    finally:
        node.destroy_node()
