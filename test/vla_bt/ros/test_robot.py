"""The tree's port over ROS: what arrives is checked, aged and handed out once; a flood of it hurts nobody."""

from __future__ import annotations

import array
import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")

from geometry_msgs.msg import Twist as TwistMessage  # noqa: E402
from geometry_msgs.msg import Vector3  # noqa: E402
from nav_msgs.msg import Odometry as OdometryMessage  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from sensor_msgs.msg import BatteryState, LaserScan  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from std_srvs.srv import SetBool  # noqa: E402

from vla_bt.camera.ring import FrameRingWriter, ring_path  # noqa: E402
from vla_bt.port import GateStatus, Request, Snapshot  # noqa: E402
from vla_bt.ros import qos  # noqa: E402
from vla_bt.ros.robot import MAX_GOAL_CHARACTERS, MAX_REQUESTS, RosRobot  # noqa: E402
from vla_bt.settings import TreeSettings  # noqa: E402
from vla_bt.wire import Mailbox, pack_gate_status, unpack_request  # noqa: E402
from vla_bt.words import Mode, Source, Twist  # noqa: E402

pytestmark = pytest.mark.ros

TOPICS = {
    "odom": OdometryMessage,
    "scan": LaserScan,
    "battery_state": BatteryState,
    "contact": Vector3,
    "teleop/cmd_vel": TwistMessage,
    "mode": String,
    "goal": String,
}


class World:
    """The robot under test and the other end of its topics, each node spun in a thread of its own."""

    def __init__(self, context: Any, directory: Path, settings: TreeSettings, name: str) -> None:
        self.directory = directory
        self.node = rclpy.create_node(name, namespace=name, context=context)
        self.other = rclpy.create_node("other", namespace=name, context=context)
        self.robot = RosRobot(self.node, directory, settings)
        self.publishers = {topic: self.other.create_publisher(kind, topic, qos.COMMAND) for topic, kind in TOPICS.items()}
        self.record = self.other.create_client(SetBool, f"{name}/record")
        self.executors = [SingleThreadedExecutor(context=context) for _ in range(2)]
        for executor, node in zip(self.executors, (self.node, self.other), strict=True):
            executor.add_node(node)
        self.threads = [threading.Thread(target=executor.spin, daemon=True) for executor in self.executors]
        for thread in self.threads:
            thread.start()

    def until(self, done: Callable[[], Any], what: str, seconds: float = 10.0) -> Any:
        limit = time.monotonic() + seconds
        while not (found := done()):
            assert time.monotonic() < limit, f"waited in vain: {what}"
            time.sleep(0.005)
        return found

    def say(self, topic: str, message: Any, wanted: Callable[[Snapshot], Any]) -> Snapshot:
        """Publish and wait until the robot's snapshot shows it."""
        publisher = self.publishers[topic]
        self.until(publisher.get_subscription_count, f"a subscriber of {topic}")
        publisher.publish(message)
        return self.until(lambda: shot if wanted(shot := self.robot.snapshot()) else None, topic)

    def refuses(self, topic: str, message: Any) -> None:
        before = self.robot.refused[topic]
        self.until(self.publishers[topic].get_subscription_count, f"a subscriber of {topic}")
        self.publishers[topic].publish(message)
        self.until(lambda: self.robot.refused[topic] == before + 1, f"{topic} refused")

    def close(self) -> None:
        for executor in self.executors:
            executor.shutdown(timeout_sec=2.0)
        for thread in self.threads:
            thread.join(timeout=2.0)
        self.robot.close()
        self.node.destroy_node()
        self.other.destroy_node()


@pytest.fixture(scope="module")
def world(ros_context: Any, runtime_dir: Path) -> Iterator[World]:
    made = World(ros_context, runtime_dir, TreeSettings(), "tree")
    yield made
    made.close()


def odometry(**changes: float) -> OdometryMessage:
    values = {"x": 1.0, "y": -2.0, "yaw": 0.5, "norm": 1.0, "speed": 0.2} | changes
    message = OdometryMessage()
    message.pose.pose.position.x, message.pose.pose.position.y = values["x"], values["y"]
    message.pose.pose.orientation.w = values["norm"] * math.cos(values["yaw"] / 2)
    message.pose.pose.orientation.z = values["norm"] * math.sin(values["yaw"] / 2)
    message.twist.twist.linear.x = values["speed"]
    return message


def scan(ranges: list[float], increment: float = 0.01) -> LaserScan:
    return LaserScan(angle_min=-1.0, angle_increment=increment, range_min=0.1, range_max=10.0, ranges=array.array("f", ranges))


def twist(x: float, y: float = 0.0, z: float = 0.0) -> TwistMessage:
    message = TwistMessage()
    message.linear.x, message.linear.y, message.angular.z = x, y, z
    return message


def test_inputs_arrive_with_the_time_of_their_receipt(world: World) -> None:
    before = time.monotonic()
    got = world.say("odom", odometry(), lambda shot: shot.odometry).odometry
    assert got is not None
    assert (got.x, got.y, got.twist) == (1.0, -2.0, Twist(0.2, 0.0, 0.0))
    assert got.yaw == pytest.approx(0.5)
    assert before < got.received_s < time.monotonic()

    measured = world.say("scan", scan([1.0, 0.05, 20.0, math.inf, -math.inf, math.nan]), lambda shot: shot.scan).scan
    assert measured is not None
    expected = np.array([1.0, np.inf, np.inf, np.inf, -np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(measured.ranges, expected)
    assert measured.angle_min == -1.0
    assert measured.angle_increment == pytest.approx(0.01)

    charge = world.say("battery_state", BatteryState(percentage=0.5), lambda shot: shot.battery).battery
    assert charge is not None
    assert charge.fraction == 0.5
    touch = world.say("contact", Vector3(x=0.0, y=-3.0), lambda shot: shot.contact).contact
    assert touch is not None
    assert (touch.x, touch.y) == (0.0, -1.0)
    wish = world.say("teleop/cmd_vel", twist(0.3, -0.1, 0.7), lambda shot: shot.operator.teleop).operator.teleop
    assert wish is not None
    assert wish.twist == Twist(0.3, -0.1, 0.7)
    last = world.robot.snapshot()
    assert last.now_s >= wish.received_s >= touch.received_s >= charge.received_s >= measured.received_s >= got.received_s


@pytest.mark.parametrize(
    "topic, message",
    [
        ("odom", odometry(x=math.nan)),
        ("odom", odometry(y=1e9)),
        ("odom", odometry(yaw=math.nan)),
        ("odom", odometry(norm=0.0)),
        ("odom", odometry(speed=math.inf)),
        ("odom", odometry(speed=1e3)),
        ("scan", scan([])),
        ("scan", scan([1.0], increment=math.nan)),
        ("scan", scan([1.0] * 30, increment=0.0)),
        ("scan", scan([1.0] * 30, increment=3.0)),
        ("scan", scan([1.0] * 20_001, increment=1e-4)),
        ("battery_state", BatteryState(percentage=math.nan)),
        ("battery_state", BatteryState(percentage=87.0)),
        ("contact", Vector3(x=math.nan, y=1.0)),
        ("contact", Vector3()),
        ("teleop/cmd_vel", twist(math.nan)),
        ("teleop/cmd_vel", twist(0.0, -math.inf)),
        ("teleop/cmd_vel", twist(0.0, 0.0, 1e6)),
    ],
)
def test_nonsense_is_refused_and_counted_and_the_last_good_value_stays(world: World, topic: str, message: Any) -> None:
    def values(shot: Snapshot) -> tuple[Any, ...]:
        return shot.odometry, shot.scan, shot.battery, shot.contact, shot.operator.teleop

    before = values(world.robot.snapshot())
    world.refuses(topic, message)
    after = values(world.robot.snapshot())
    assert all(old is new for old, new in zip(before, after, strict=True))


def test_requests_are_handed_out_once_and_in_order(world: World) -> None:
    for index in range(5):
        world.until(world.publishers["goal"].get_subscription_count, "a subscriber of goal")
        world.publishers["goal"].publish(String(data=f"goal {index}"))
    world.publishers["mode"].publish(String(data="vla"))
    goals: list[str] = []
    modes: list[str] = []

    def all_here() -> bool:
        operator = world.robot.snapshot().operator
        goals.extend(operator.goal_requests)
        modes.extend(operator.mode_requests)
        return len(goals) >= 5 and len(modes) >= 1

    world.until(all_here, "five goals and a mode")
    time.sleep(0.1)
    all_here()
    assert goals == [f"goal {index}" for index in range(5)]
    assert modes == ["vla"]
    assert world.robot.snapshot().operator.goal_requests == ()


def test_recording_is_asked_for_by_service(world: World) -> None:
    assert world.record.wait_for_service(timeout_sec=10.0)
    for wanted in (True, False):
        answer = world.record.call(SetBool.Request(data=wanted), timeout_sec=10.0)
        assert answer is not None
        assert answer.success
        assert world.robot.snapshot().operator.record_requests == (wanted,)


def test_a_flood_of_goals_is_cut_to_the_newest(world: World) -> None:
    for index in range(10_000):  # handed over directly: the transport would drop most of them before
        world.robot._on_goal(String(data=f"go {index} " + "x" * 100))
    goals = world.robot.snapshot().operator.goal_requests
    assert len(goals) == MAX_REQUESTS
    assert goals[-1].startswith("go 9999 ")
    world.robot._on_goal(String(data="y" * 1_000_000))
    world.robot._on_mode(String(data="z" * 1_000_000))
    operator = world.robot.snapshot().operator
    assert [len(text) for text in operator.goal_requests] == [MAX_GOAL_CHARACTERS]
    assert [len(text) for text in operator.mode_requests] == [100]


def test_a_flood_over_ros_leaves_the_snapshot_quick(world: World) -> None:
    publisher = world.publishers["goal"]
    slowest = 0.0
    for index in range(1000):
        publisher.publish(String(data=f"{index}"))
        if index % 20 == 0:
            before = time.thread_time()
            world.robot.snapshot()
            slowest = max(slowest, time.thread_time() - before)
    assert slowest < 0.005, "CPU seconds of the thread that ticks"
    world.until(lambda: "999" in world.robot.snapshot().operator.goal_requests, "the newest goal")


def test_frames_come_from_the_ring(world: World) -> None:
    assert world.robot.snapshot().frame is None
    assert "no frame ring" in world.robot.camera_problem()
    writer = FrameRingWriter(ring_path(world.directory), 64, 48)
    info = writer.write(np.full((48, 64, 3), 9, np.uint8), 1.0, time.monotonic())
    assert world.robot.snapshot().frame == info
    pixels = world.robot.copy_frame(info.sequence)
    assert pixels is not None
    assert pixels.min() == pixels.max() == 9
    assert world.robot.copy_frame(99) is None
    writer.close()


def test_gate_reports_arrive_and_requests_leave(world: World) -> None:
    world.robot.send(Request(Twist(), Source.IDLE))  # nobody listens: lost, and no error
    gate = Mailbox(world.directory / "gate.sock")
    try:
        request = Request(Twist(0.1, 0.2, 0.3), Source.POLICY, 7, 8, 0.15, 9)
        before = time.monotonic()
        world.robot.send(request)
        ((arrived, sent_s),) = (unpack_request(data) for data in gate.receive())
        assert arrived == request
        assert before <= sent_s <= time.monotonic()

        made_s = time.monotonic()  # what waits for its reader gets no younger
        report = GateStatus(True, "in words", Twist(0.5, 0.0, -0.5), Source.TELEOP, made_s)
        assert gate.send(b"rubbish", world.directory / "tree.gate.sock")
        assert gate.send(pack_gate_status(report), world.directory / "tree.gate.sock")
        status = world.until(lambda: world.robot.snapshot().gate, "the gate's report")
        assert (status.latched, status.fault, status.applied, status.source) == (True, "in words", report.applied, Source.TELEOP)
        assert status.received_s == made_s
        assert world.robot.refused["gate status"] == 1
    finally:
        gate.close()


def test_status_topics_reach_late_joiners_and_repeat_nothing(world: World) -> None:
    world.robot.publish_mode(Mode.VLA, "the policy drives")
    world.robot.publish_goal_status('{"id": 1}')
    heard: dict[str, list[str]] = {"mode_status": [], "goal_status": []}
    for topic, lines in heard.items():
        world.other.create_subscription(String, topic, lambda message, lines=lines: lines.append(message.data), qos.LATCHED)
    world.until(lambda: all(heard.values()), "the latched lines")
    for _ in range(3):
        world.robot.publish_mode(Mode.VLA, "the policy drives")
    world.robot.publish_mode(Mode.MANUAL, "a person drives")
    world.until(lambda: len(heard["mode_status"]) == 2, "the changed line")
    assert [json.loads(line)["mode"] for line in heard["mode_status"]] == ["vla", "manual"]
    assert heard["goal_status"] == ['{"id": 1}']


def test_the_raw_proposal_is_published(world: World) -> None:
    heard: list[TwistMessage] = []
    world.other.create_subscription(TwistMessage, "robot/action", heard.append, qos.CMD_VEL)

    def published() -> bool:
        world.robot.publish_action(Twist(0.1, -0.2, 0.3))
        return bool(heard)

    world.until(published, "robot/action")
    assert (heard[0].linear.x, heard[0].linear.y, heard[0].angular.z) == (0.1, -0.2, 0.3)


def test_inputs_a_robot_lacks_are_not_subscribed(ros_context: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("d")
    lonely = World(ros_context, directory, TreeSettings(required_inputs=["camera"]), "lonely")
    try:
        subscribed = {name for name, _ in lonely.node.get_subscriber_names_and_types_by_node("lonely", "/lonely")}
        assert {"/lonely/goal", "/lonely/mode", "/lonely/teleop/cmd_vel", "/lonely/contact"} <= subscribed
        assert not {"/lonely/odom", "/lonely/scan", "/lonely/battery_state"} & subscribed
        assert lonely.robot.snapshot().odometry is None
    finally:
        lonely.close()
