"""``vla-bt teleop`` over real ROS 2, at a terminal and from a pipe."""

import os
import pty
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy")

from geometry_msgs.msg import Twist as TwistMessage  # noqa: E402
from rcl_interfaces.srv import SetParametersAtomically  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from std_msgs.msg import Bool, String  # noqa: E402
from std_srvs.srv import SetBool, Trigger  # noqa: E402

from vla_bt.ros import environment  # noqa: E402
from vla_bt.words import ZERO, Twist  # noqa: E402

pytestmark = pytest.mark.ros

ENVIRONMENT = {
    "ROS_DOMAIN_ID": str(1 + os.getpid() % 100),
    "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    "FASTDDS_BUILTIN_TRANSPORTS": "UDPv4",
}
PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
TELEOP = [sys.executable, "-m", "vla_bt.cli.main", "teleop"]
ARRIVAL_S = 60.0  # on a machine busy with other work


class Robot:
    """Listens to everything teleop says."""

    def __init__(self, context: Any) -> None:
        self.node = rclpy.create_node("robot", context=context)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.node)
        self.velocities: list[Twist] = []
        self.words: list[tuple[str, object]] = []
        self.node.create_subscription(TwistMessage, "teleop/cmd_vel", self.on_velocity, 10)
        self.node.create_subscription(String, "goal", lambda m: self.words.append(("goal", m.data)), 10)
        self.node.create_subscription(String, "mode", lambda m: self.words.append(("mode", m.data)), 10)
        self.node.create_subscription(Bool, "emergency_stop", self.on_stop, 10)
        self.node.create_service(Trigger, "gate/estop_reset", self.on_reset)
        self.node.create_service(SetBool, "tree/record", self.on_record)
        self.node.create_service(SetParametersAtomically, "tree/set_parameters_atomically", self.on_label)

    def on_velocity(self, message: TwistMessage) -> None:
        self.velocities.append(Twist(message.linear.x, message.linear.y, message.angular.z))

    def on_stop(self, message: Bool) -> None:
        if ("stop", message.data) not in self.words[-1:]:  # it is repeated
            self.words.append(("stop", message.data))

    def on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.words.append(("reset", True))
        response.success, response.message = True, "reset"
        return response

    def on_record(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self.words.append(("record", request.data))
        response.success, response.message = True, "as told"
        return response

    def on_label(
        self, request: SetParametersAtomically.Request, response: SetParametersAtomically.Response
    ) -> SetParametersAtomically.Response:
        self.words.append(("label", {each.name: each.value.string_value for each in request.parameters}))
        response.result.successful = True
        return response

    def until(self, condition: Callable[[], bool]) -> None:
        end_s = time.monotonic() + ARRIVAL_S
        while not condition():
            assert time.monotonic() < end_s, f"waited in vain; heard {self.velocities[-3:]} {self.words}"
            self.executor.spin_once(timeout_sec=0.01)


@pytest.fixture
def robot() -> Iterator[Robot]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        for name in PROFILES:
            patch.delenv(name, raising=False)
        environment.prepare()
        context = rclpy.Context()
        rclpy.init(context=context)
        robot = Robot(context)
        yield robot
        robot.executor.shutdown()
        robot.node.destroy_node()
        rclpy.shutdown(context=context)


def test_keys_from_a_pipe_are_played_one_after_the_other(robot: Robot) -> None:
    teleop = subprocess.Popen(TELEOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert teleop.stdin is not None
    teleop.stdin.write("2ggo to the cup\nowrl" + " x" + "uy")
    teleop.stdin.close()
    teleop.stdin = None
    robot.until(lambda: teleop.poll() is not None)
    robot.until(lambda: ("reset", True) in robot.words and robot.velocities[-1] == ZERO)
    output, errors = teleop.communicate()
    assert teleop.returncode == 0, errors
    assert sorted(robot.words[:2]) == [("goal", "go to the cup"), ("mode", "vla")]  # two topics keep no order between them
    assert robot.words[2:] == [
        ("record", True),
        ("record", False),
        ("goal", "stop"),
        ("stop", True),
        ("stop", False),
        ("reset", True),
    ]
    forward, turn = Twist(0.3, 0.0, 0.0), Twist(0.0, 0.0, 0.6)
    order = [twist for i, twist in enumerate(robot.velocities) if i == 0 or twist != robot.velocities[i - 1]]
    assert order == [forward, ZERO, turn, ZERO]
    assert 4 <= robot.velocities.count(forward) <= 8  # 0.3 s at 20 Hz
    recorded = ["tree: as told"] * 2
    said = [
        "mode: vla",
        "goal: go to the cup",
        *recorded,
        "goal: stop",
        "EMERGENCY STOP",
        "emergency stop released",
        "gate: reset",
    ]
    assert output.splitlines() == said


def test_a_demonstration_is_labelled_then_recorded_and_becomes_a_guide(robot: Robot, tmp_path: Path) -> None:
    command = [*TELEOP, "--collect", str(tmp_path)]
    teleop = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert teleop.stdin is not None
    teleop.stdin.write("n2121wqm" + "p" + "n2221k")  # a core demonstration, progress, and its guide in a variant
    teleop.stdin.close()
    teleop.stdin = None
    robot.until(lambda: teleop.poll() is not None)
    robot.until(lambda: robot.words[-1] == ("record", False))
    output, errors = teleop.communicate()
    assert teleop.returncode == 0, errors
    label = {"record_scenario": "1box_vert_right", "record_distance": "medium", "record_position": "left"}
    assert robot.words == [
        ("label", {**label, "record_pattern": "core", "record_key_pattern": ""}),
        ("record", True),
        ("record", False),
        ("label", {**label, "record_pattern": "variant", "record_key_pattern": "w q"}),
        ("record", True),
        ("record", False),  # what is under way ends with the program
    ]
    order = [twist for i, twist in enumerate(robot.velocities) if i == 0 or twist != robot.velocities[i - 1]]
    forward, left = Twist(0.3, 0.0, 0.0), pytest.approx((0.2121, 0.2121, 0.0), abs=1e-3)
    assert [twist for twist in order if twist != ZERO] == [forward, left, forward, left]
    assert "0 of 72 demonstrations there; of this kind 0 of 1" in output
    assert "guide of 2 keys, k plays it: w q" in output


def test_a_service_that_never_answers_is_told_and_not_waited_for(robot: Robot, tmp_path: Path) -> None:
    hung = rclpy.create_node("tree", context=robot.node.context)  # its services can be found, and nobody serves them
    for kind, name in ((SetBool, "tree/record"), (SetParametersAtomically, "tree/set_parameters_atomically")):
        robot.node.destroy_service(next(each for each in robot.node.services if each.srv_name.endswith(name)))
        hung.create_service(kind, name, lambda _, response: response)
    try:
        command = [*TELEOP, "--collect", str(tmp_path)]
        teleop = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert teleop.stdin is not None
        teleop.stdin.write("o" + "n2121" + "w")
        teleop.stdin.close()
        teleop.stdin = None
        robot.until(lambda: teleop.poll() is not None)
        output, errors = teleop.communicate()
    finally:
        hung.destroy_node()
    assert teleop.returncode == 0, errors
    assert output.splitlines() == ["tree: no answer within 5 s", "tree: no answer within 5 s; nothing is recorded"]
    assert Twist(0.3, 0.0, 0.0) in robot.velocities  # the key after them was played


@pytest.mark.parametrize("last_key", [b"\x1b", b"\x03"])
def test_at_a_terminal_it_leaves_zero_no_recording_and_the_terminal_as_it_was(
    robot: Robot, tmp_path: Path, last_key: bytes
) -> None:
    controller, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    # A session of its own makes the terminal the controlling one: Ctrl-C then comes as it does for a person.
    arguments = [*TELEOP, "--collect", str(tmp_path)]
    child = f"import fcntl, os, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv({sys.executable!r}, {arguments!r})"
    command = [sys.executable, "-c", child]
    teleop = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True)
    try:
        screen = ""
        while "0.30 m/s" not in screen or screen.endswith("nobody listens on /teleop/cmd_vel\x1b[K"):
            screen += os.read(controller, 65536).decode()
        os.write(controller, b"w\x1b[Aw")  # an arrow key is neither a direction nor Esc
        robot.until(lambda: Twist(0.3, 0.0, 0.0) in robot.velocities)
        robot.until(lambda: robot.velocities[-1] == ZERO)
        os.write(controller, b"d")
        robot.until(lambda: robot.velocities[-1] == Twist(0.0, -0.3, 0.0))
        os.write(controller, b"n2121")
        robot.until(lambda: robot.words[-1:] == [("record", True)])
        os.write(controller, last_key)
        robot.until(lambda: teleop.poll() is not None)
        robot.until(lambda: robot.words[-1] == ("record", False))
        robot.until(lambda: robot.velocities[-1] == ZERO)
        assert teleop.returncode == 0
        assert termios.tcgetattr(terminal) == before
        assert "EMERGENCY STOP" in screen
    finally:
        teleop.kill()
        teleop.wait()
        os.close(controller)
        os.close(terminal)


@pytest.mark.parametrize("option", ["--linear=0", "--linear=fast", "--angular=9", "--namespace=a b"])
def test_a_bad_option_is_refused_with_one_line(option: str) -> None:
    finished = subprocess.run([*TELEOP, option], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert finished.returncode == 2
    assert option.split("=")[0] in finished.stderr.splitlines()[-1]
    assert "Traceback" not in finished.stderr
