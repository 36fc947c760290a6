"""The snapshot for viewers: nothing while nobody looks; small with every key set and every text at its longest."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")

from py_trees.blackboard import Blackboard  # noqa: E402
from std_msgs.msg import String  # noqa: E402

from vla_bt.app.loop import TickLoop  # noqa: E402
from vla_bt.app.snapshot import MESSAGE_LIMIT, to_json, to_json_within  # noqa: E402
from vla_bt.app.watching import TickTimes  # noqa: E402
from vla_bt.bench.memory_world import MemoryPolicy, MemoryRobot  # noqa: E402
from vla_bt.bench.tick import application, bench_settings  # noqa: E402
from vla_bt.bench.view_tree import pad  # noqa: E402
from vla_bt.contract import KEYS, PROPOSALS, Stamped  # noqa: E402
from vla_bt.control.causes import Verdict, load_causes  # noqa: E402
from vla_bt.control.obstacles import blocked  # noqa: E402
from vla_bt.goals.ledger import ActiveGoal, Evidence, GoalEntry, GoalEvent, State  # noqa: E402
from vla_bt.goals.motion import MotionOutcome, MotionState  # noqa: E402
from vla_bt.goals.parser import MAX_STEPS  # noqa: E402
from vla_bt.goals.plan import PlaceGoal  # noqa: E402
from vla_bt.goals.reading import MAX_CHARACTERS  # noqa: E402
from vla_bt.memory.guard import MemoryState  # noqa: E402
from vla_bt.memory.ladder import Level  # noqa: E402
from vla_bt.memory.monitor import MemoryReading  # noqa: E402
from vla_bt.memory.processes import ProcessMemory  # noqa: E402
from vla_bt.memory.system import GpuMemory, SystemMemory  # noqa: E402
from vla_bt.policy.port import Grade, PolicyInfo, PolicyOutput, PolicyStatus, PolicyStep, WorkerMemory  # noqa: E402
from vla_bt.port import Battery, Contact, FrameInfo, GateStatus, Odometry, Operator, Request, Scan, Snapshot, TeleopInput  # noqa: E402
from vla_bt.proposal import Outcome, Proposal  # noqa: E402
from vla_bt.ros import qos  # noqa: E402
from vla_bt.ros.guarding import OOM_SCORES  # noqa: E402
from vla_bt.ros.snapshots import MAX_BYTES, SnapshotStream, node_kinds  # noqa: E402
from vla_bt.words import Mode, Source, Twist  # noqa: E402

pytestmark = pytest.mark.ros

LIMIT_BYTES = 64 * 1024
LIMIT_S = 0.002
NODES = 100
RAYS = 1080
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


def largest(now_s: float, words: str) -> dict[str, Any]:
    """Return for every key of the contract as large a value as a robot can have, ``words`` wherever there are some."""
    twist = Twist(-0.123456789, 0.123456789, -1.23456789)
    scan = Scan(np.full(RAYS, 0.25, np.float32), -math.pi, 2 * math.pi / RAYS, now_s)  # a cell of a prison
    contact = Contact(-0.70710678, 0.70710678, now_s)
    frame = FrameInfo(2**40, now_s, now_s, 3840, 2160, 2**32 - 1)
    odometry = Odometry(-1234.56789, 1234.56789, -3.14159265, twist, now_s)
    gate = GateStatus(True, words, twist, Source.TAKEOVER, now_s, stops=2**31, words=words)
    teleop = TeleopInput(twist, now_s)
    asked = Operator(teleop, ("vla",) * 8, (words,) * 8, (True,) * 8)
    steps = tuple(PlaceGoal(words, "cup", "left", words) for _ in range(MAX_STEPS))
    entry = GoalEntry(2**20, words, State.FAILED, steps, 9, now_s, now_s, now_s, words, (Evidence.POLICY,) * MAX_STEPS)
    info = PolicyInfo("a-policy-of-a-long-name", words, 1280, 720, "0123456789abcdef" * 4)
    memory = WorkerMemory(123456.7, 123456.7, 123456.7, 123456.7, 1234, 123456.7, 123456.7)
    status = PolicyStatus("starting", words, info, 2**40, 2**40, 1234, 0.12345, now_s, 1234, Grade.LAYERS, 12, True, memory)
    step = PolicyStep(np.full((32, 3), -0.12345678, np.float32), 0.2, 0.987654, 0.123456, True, True)
    processes = {role: ProcessMemory(2**22, 123456.7, 123456.7, 123456.7, 123456.7) for role in OOM_SCORES}
    system = SystemMemory(123456.7, 123456.7, 123456.7, 12.3, 12.3)
    gpu = GpuMemory(123456.7, 123456.7, 123456.7)
    reading = MemoryReading(123456.7, now_s, system, True, 123456.7, processes=processes, gpu=gpu)
    state = MemoryState(reading, Level.UNLOAD, Grade.UNLOADED, True, words, True, True, words, words, Grade.LAYERS, 12, words)
    causes = dict.fromkeys(load_causes().causes, words)
    values: dict[str, Any] = {
        "now": now_s,
        "tick": 2**40,
        "lateness": 123.456789,
        "frame": frame,
        "odometry": odometry,
        "gate": gate,
        "teleop": teleop,
        "snapshot": Snapshot(now_s, frame, odometry, scan, Battery(0.123456, now_s), contact, gate, asked),
        "mode": Mode.HYBRID,
        "goal": ActiveGoal(2**20, words, steps[-1], 9, MAX_STEPS, now_s),
        "goal_expired": True,
        "goal_events": (GoalEvent(entry, 2**20, now_s),) * 8,
        "recording": 2**20,
        "policy_frame": 2**40,
        "policy_status": status,
        "policy_output": PolicyOutput(step, 2**20, 2**40, now_s, now_s),
        "verdict": Verdict(tuple(causes.values()), (words,), (words,), causes),
        "around": blocked(scan, contact, 0.2, 0.3),
        "memory": state,
        "motion": MotionOutcome(MotionState.FAILED, twist, Evidence.TIMED, words, 12.3456789),
        "outcome": Outcome(2**20, Evidence.TIMED, words),
        "request": Request(twist, Source.TAKEOVER, 2**20, 2**40, 0.2, 2**40, 2**31),
    }
    return values | {name: Proposal(twist, Source.TAKEOVER, words, 2**20, 2**40) for name in PROPOSALS}


def fill(timed: Any, now_s: float) -> None:
    """Give every key its largest value, write every text at its longest, and let every cause be active."""
    values = largest(now_s, LONG)
    assert set(values) == set(KEYS)
    for name, value in values.items():
        Blackboard.storage[f"/{name}"] = Stamped(value, now_s)
    for node in timed.root.iterate():
        node.feedback_message = LONG
    resources = timed.resources  # what is shown of these does not come from the blackboard
    resources.policy.status = lambda: values["policy_status"]
    report = resources.memory.report() | {"words": LONG, "manual_only": LONG}
    resources.memory.report = lambda: report


def test_the_largest_tree_with_every_key_set_stays_within_64_kb(driving: Any, ros_context: Any) -> None:
    loop, timed, robot, policy = driving
    node = rclpy.create_node("largest", context=ros_context)
    try:
        stream = SnapshotStream(node, timed, timed.resources, times_of(timed))
        stream._switch(True, robot.now())
        request = tick(loop, robot, policy, 400)
        fill(timed, robot.now())
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
    assert snapshot["policy"]["detail"] == snapshot["policy"]["label"] == snapshot["memory"]["words"] == LONG[:MESSAGE_LIMIT]
    assert len(text.encode()) <= LIMIT_BYTES, f"{len(text.encode())} bytes"
    assert not any(isinstance(value, (bytes, np.ndarray)) for value in snapshot.values())


@pytest.mark.parametrize(
    ("text", "limit_s"), [("following the policy at 0.31 m/s", LIMIT_S), (LONG, 3 * LIMIT_S)], ids=["typical", "longest"]
)
def test_the_largest_tree_with_every_key_set_takes_at_most_2_ms_as_a_rule(
    driving: Any, ros_context: Any, text: str, limit_s: float
) -> None:
    """Processor time, which others lengthen least: at the median, and with the times of leaves (once a second) at best."""
    loop, timed, robot, policy = driving
    node = rclpy.create_node("timed", context=ros_context)
    took_s: dict[bool, list[float]] = {False: [], True: []}
    try:
        stream = SnapshotStream(node, timed, timed.resources, times_of(timed))
        stream._switch(True, robot.now())
        request = tick(loop, robot, policy, 300)
        if text == LONG:
            fill(timed, robot.now())
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
    assert float(np.median(took_s[False])) <= limit_s
    assert min(took_s[True]) <= limit_s


def test_no_key_of_the_blackboard_holds_pixels(driving: Any) -> None:
    """A stock viewer calls ``str()`` on every value: none may be long, whatever the tree is doing."""
    loop, _, robot, policy = driving
    tick(loop, robot, policy, 100)
    texts = {path: len(str(entry.value)) for path, entry in Blackboard.storage.items() if isinstance(entry, Stamped)}
    assert len(texts) > len(KEYS) // 2
    assert max(texts.values()) < 8000, max(texts.items(), key=lambda item: item[1])
    assert sum(texts.values()) < LIMIT_BYTES


def test_each_key_at_its_largest_stays_readable_in_a_stock_viewer() -> None:
    """They print every value of every key; goals are at most :data:`MAX_CHARACTERS` long, and nothing else is longer."""
    values = largest(1e6, "x" * MAX_CHARACTERS)
    assert set(values) == set(KEYS)
    told = values.pop("goal_events")  # with eight goals of ten steps each told in one tick: of people's own making
    texts = {name: len(str(Stamped(value, 1e6))) for name, value in values.items()}
    assert max(texts.values()) < 32 * 1024, max(texts.items(), key=lambda item: item[1])
    assert sum(texts.values()) < LIMIT_BYTES, texts
    assert len(str(told[0])) < 32 * 1024


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
