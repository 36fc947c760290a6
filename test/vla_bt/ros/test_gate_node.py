"""The gate as a process over real ROS 2: it drives, it stops in silence, it latches, it says zero last."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from geometry_msgs.msg import Twist as TwistMessage  # noqa: E402
from geometry_msgs.msg import TwistStamped  # noqa: E402
from rcl_interfaces.srv import SetParameters  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data  # noqa: E402
from std_msgs.msg import Bool  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from vla_bt.port import GateStatus, Request  # noqa: E402
from vla_bt.ros import environment  # noqa: E402
from vla_bt.settings import GateSettings  # noqa: E402
from vla_bt.wire import Mailbox, pack_request, unpack_gate_status  # noqa: E402
from vla_bt.words import ZERO, Source, Twist  # noqa: E402

pytestmark = pytest.mark.ros

ENVIRONMENT = {
    "ROS_DOMAIN_ID": str(1 + os.getpid() % 100),
    "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    "FASTDDS_BUILTIN_TRANSPORTS": "UDPv4",  # a killed process leaves no shared memory behind
}
PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
FAST = Twist(0.5, 0.0, 0.2)
GATE = ["-m", "vla_bt.ros.gate_node"]
TRIES = 3  # the best one counts: the others are the machine's
ARRIVAL_S = 20.0  # a start, and finding each other, on a busy machine


class World:
    """The other end of every wire of the gate: tree, base, operator."""

    def __init__(self, directory: Path, context: Any) -> None:
        self.directory = directory
        self.node = rclpy.create_node("world", context=context)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.node)
        self.tree = Mailbox(directory / "tree.gate.sock")
        self.tick = 0
        self.velocities: list[tuple[float, Twist]] = []
        self.statuses: list[GateStatus] = []
        self.diagnostics: list[DiagnosticStatus] = []
        self.gates: list[subprocess.Popen[str]] = []
        self.subscription = self.node.create_subscription(TwistMessage, "cmd_vel", self.on_velocity, 10)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", lambda m: self.diagnostics.extend(m.status), 10)
        self.emergency_stop = self.node.create_publisher(Bool, "emergency_stop", 10)
        self.reset_client = self.node.create_client(Trigger, "gate/estop_reset")

    def on_velocity(self, message: TwistMessage) -> None:
        self.velocities.append((time.monotonic(), Twist(message.linear.x, message.linear.y, message.angular.z)))

    def start(self, *arguments: str, command: list[str] = GATE, wait: bool = True) -> "subprocess.Popen[str]":
        before = self.listeners()  # a killed gate stays in the graph until its lease ends
        gate = subprocess.Popen(
            [sys.executable, *command, *arguments],
            env={**os.environ, "VLA_BT_RUNTIME_DIR": str(self.directory)},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.gates.append(gate)
        if wait:
            self.until(lambda: bool(self.velocities) and bool(self.listeners() - before))
            self.until(self.reset_client.service_is_ready)
        return gate

    def listeners(self) -> set[bytes]:
        return {bytes(info.endpoint_gid) for info in self.node.get_subscriptions_info_by_topic("emergency_stop")}

    def spin(self, seconds: float, twist: Twist | None = None, source: Source = Source.POLICY) -> None:
        """Let time pass, sending a request every 20 ms when there is a ``twist``."""
        end_s = next_s = time.monotonic()
        end_s += seconds
        while (now_s := time.monotonic()) < end_s:
            if twist is not None and now_s >= next_s:
                self.send(twist, source)
                next_s = now_s + 0.02
            self.executor.spin_once(timeout_sec=0.005)
            self.statuses += [unpack_gate_status(data, now_s) for data in self.tree.receive()]

    def until(self, condition: Callable[[], bool], twist: Twist | None = None, seconds: float = ARRIVAL_S) -> None:
        end_s = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end_s, f"waited in vain; {self.velocities[-3:]} {self.statuses[-1:]}"
            self.spin(0.02, twist)

    def send(self, twist: Twist, source: Source = Source.POLICY) -> float:
        self.tick += 1
        stops = self.statuses[-1].stops if self.statuses else 0
        request = Request(twist, source, valid_for_s=0.15, tick=self.tick, stops=stops)
        self.tree.send(pack_request(request, time.monotonic()), self.directory / "gate.sock")
        return time.monotonic()

    def drive(self) -> float:
        """Drive until the full velocity arrives; return the time of the last request."""
        self.until(lambda: bool(self.velocities) and self.now == FAST, FAST)
        return self.send(FAST)

    def stop(self, active: bool) -> None:
        self.emergency_stop.publish(Bool(data=active))

    def reset(self) -> Trigger.Response:
        future = self.reset_client.call_async(Trigger.Request())
        self.until(future.done)
        return future.result()

    @property
    def now(self) -> Twist:
        return self.velocities[-1][1]

    def first_zero_after(self, moment_s: float) -> float:
        return next(at for at, twist in self.velocities if at >= moment_s and twist.is_zero())

    def close(self) -> None:
        for gate in self.gates:
            gate.terminate()
            gate.communicate(timeout=ARRIVAL_S)
        self.tree.close()
        self.executor.shutdown()
        self.node.destroy_node()


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        for name in PROFILES:
            patch.delenv(name, raising=False)
        environment.prepare()
        context = rclpy.Context()
        rclpy.init(context=context)
        yield context
        rclpy.shutdown(context=context)


@pytest.fixture
def world(context: Any) -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="gate-") as directory:
        world = World(Path(directory), context)
        yield world
        world.close()


def test_it_follows_requests_and_stops_in_silence(world: World) -> None:
    world.start()
    assert {twist for _, twist in world.velocities} == {ZERO}
    last_s = world.drive()
    speeds = [twist.linear_x for _, twist in world.velocities]
    rise = GateSettings().max_linear_acceleration
    for (before_s, before), (after_s, after) in zip(world.velocities, world.velocities[1:], strict=False):
        # two steps may arrive at once, so the rise is judged with one period to spare
        assert after.linear_x - before.linear_x <= rise * (after_s - before_s + 0.06)
    assert speeds == sorted(speeds)
    took_s = []
    for _ in range(TRIES):
        last_s = world.drive()
        world.until(lambda: world.now == ZERO)
        stopped_s = world.first_zero_after(last_s)
        took_s.append(stopped_s - last_s)
        assert [twist for at, twist in world.velocities if at < stopped_s][-1] == FAST  # no ramp
    assert 0.1 <= min(took_s) <= 0.3, took_s
    world.spin(0.2)
    assert world.now == ZERO
    last = world.statuses[-1]
    assert (last.latched, last.fault, last.applied, last.source) == (False, "", ZERO, Source.IDLE)
    assert last.limits == GateSettings()

    # what is no request stops it too, and is reported
    world.drive()
    world.tree.send(b"garbage", world.directory / "gate.sock")
    world.until(lambda: "refused" in world.statuses[-1].fault, FAST)
    assert world.statuses[-1].applied == ZERO


def test_an_emergency_stop_latches_until_the_reset(world: World) -> None:
    gate = world.start()
    took_s = []
    for again in reversed(range(TRIES)):
        world.drive()
        pressed_s = time.monotonic()
        world.stop(True)
        world.until(lambda: world.statuses[-1].latched, FAST)
        world.spin(0.3, FAST)
        stopped_s = world.first_zero_after(pressed_s)
        took_s.append(stopped_s - pressed_s)
        assert all(twist.is_zero() for at, twist in world.velocities if at > stopped_s)
        if again:
            world.stop(False)
            world.spin(0.2)
            assert world.reset().success
    assert min(took_s) <= 0.1, took_s
    refused = world.reset()
    assert (refused.success, refused.message) == (False, "emergency_stop is still active: release it first")

    # a gate that dies latched comes back latched
    gate.kill()
    gate.wait()
    world.velocities.clear()
    world.start()
    world.until(lambda: any(status.latched and status.received_s > stopped_s for status in world.statuses[-5:]), FAST)
    world.spin(0.2, FAST)
    assert {twist for _, twist in world.velocities} == {ZERO}

    world.stop(False)
    world.spin(0.2, FAST)
    assert world.now == ZERO
    assert world.reset().success
    world.spin(0.2)
    assert {twist for _, twist in world.velocities} == {ZERO}  # nothing is resumed
    world.drive()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_zero_last(world: World, number: signal.Signals) -> None:
    gate = world.start()
    world.drive()
    sent_s = time.monotonic()
    gate.send_signal(number)
    world.until(lambda: gate.poll() is not None, FAST)
    world.spin(0.1)
    assert gate.returncode == 0
    assert world.first_zero_after(sent_s) - sent_s <= 0.5  # the requests go on: nothing but the ending makes it zero
    assert world.now == ZERO
    assert sorted(path.name for path in world.directory.iterdir()) == ["tree.gate.sock"]


@pytest.mark.parametrize("where", ["step", "emergency_stop"])
def test_an_exception_ends_it_with_zero_last(world: World, where: str) -> None:
    """The loop's thread and the callbacks' thread fail alike."""
    program = f"""
import vla_bt.control.gate, vla_bt.ros.gate_node, sys
calls = 0
def broken(rule, *arguments):
    global calls
    calls += 1
    if {where!r} != "step" or rule.state.applied.linear_x == 0.5:
        raise ZeroDivisionError("planted")
    return whole(rule, *arguments)
whole = vla_bt.control.gate.GateRule.{where}
vla_bt.control.gate.GateRule.{where} = broken
sys.exit(vla_bt.ros.gate_node.main([]))
"""
    gate = world.start(command=["-c", program])
    if where == "emergency_stop":
        world.drive()
        world.stop(True)
    world.until(lambda: gate.poll() is not None, FAST)
    world.spin(0.1)
    assert gate.returncode == 1
    assert max(twist.linear_x for _, twist in world.velocities) == 0.5
    assert world.now == ZERO
    assert "ZeroDivisionError: planted" in gate.communicate()[1]


def test_a_second_sender_and_an_unheard_stop_are_errors(world: World) -> None:
    world.start()
    world.until(lambda: bool(world.diagnostics))
    assert world.diagnostics[-1].level == DiagnosticStatus.OK
    assert world.diagnostics[-1].name == "/gate: cmd_vel"
    intruder = world.node.create_publisher(TwistMessage, "cmd_vel", 1)
    world.until(lambda: world.diagnostics[-1].level == DiagnosticStatus.ERROR)
    assert "1 more sender(s) on cmd_vel" in world.diagnostics[-1].message
    world.node.destroy_publisher(intruder)
    world.until(lambda: world.diagnostics[-1].level == DiagnosticStatus.OK)
    world.node.create_publisher(Bool, "emergency_stop", qos_profile_sensor_data)
    world.until(lambda: "emergency_stop has a best-effort publisher" in world.diagnostics[-1].message)


def test_limits_can_be_changed_while_it_runs(world: World) -> None:
    world.start()
    client = world.node.create_client(SetParameters, "gate/set_parameters")
    world.until(client.service_is_ready)

    def change(name: str, value: object) -> Any:
        message = Parameter(name, value=value).to_parameter_msg()
        future = client.call_async(SetParameters.Request(parameters=[message]))
        world.until(future.done, FAST)
        return future.result().results[0]

    world.drive()
    assert change("max_linear_x", 0.1).successful
    world.until(lambda: abs(world.now.linear_x - 0.1) < 1e-9, FAST)
    refused = change("max_linear_x", 99.0)
    assert not refused.successful
    assert "max_linear_x" in refused.reason
    assert not change("cmd_vel_type", "TwistStamped").successful
    world.spin(0.1, FAST)
    assert world.now.linear_x == pytest.approx(0.1)


def test_a_stop_said_before_it_started_is_heard_and_velocities_can_be_stamped(world: World) -> None:
    stamped: list[TwistStamped] = []
    world.node.destroy_subscription(world.subscription)
    world.node.create_subscription(TwistStamped, "cmd_vel", stamped.append, 10)
    latching = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    world.node.create_publisher(Bool, "emergency_stop", latching).publish(Bool(data=True))
    world.start("--ros-args", "-p", "cmd_vel_type:=TwistStamped", wait=False)
    world.until(lambda: bool(stamped) and bool(world.statuses) and world.statuses[-1].latched)
    assert stamped[-1].header.frame_id == "base_link"
    assert stamped[-1].header.stamp.sec > 0


def test_a_second_gate_and_a_bad_parameter_are_refused_with_one_line(world: World) -> None:
    world.start()
    second = world.start(wait=False)
    bad = world.start("--ros-args", "-p", "max_linear_x:=99.0", wait=False)
    line = second.communicate(timeout=ARRIVAL_S)[1].strip()
    assert second.returncode == 2
    assert line.startswith("gate: another gate runs in ")
    assert "\n" not in line
    line = bad.communicate(timeout=ARRIVAL_S)[1].strip()
    assert bad.returncode == 2
    assert "max_linear_x" in line
    assert "Traceback" not in line
    world.drive()  # the first one took no harm


def test_it_imports_neither_torch_nor_opencv() -> None:
    program = "import sys, vla_bt.ros.gate_node; sys.exit(str({'torch', 'cv2', 'py_trees'} & set(sys.modules) or 0))"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.stderr.strip() in ("0", "")
