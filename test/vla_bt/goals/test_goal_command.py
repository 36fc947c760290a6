"""``vla-bt goal``: reads without a robot, tells over ROS 2, and its exit code says what became of the goal."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from vla_bt.cli.main import main
from vla_bt.goals.ledger import Evidence, GoalLedger

needs_ros = pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="rclpy is not installed")


def test_check_shows_how_a_goal_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["goal", "go", "forward", "1 m,", "then turn right", "--check"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "1. motion: move forward 1 m",
        "2. motion: turn right 90 deg (no angle told: 90 deg)",
    ]


def test_check_says_why_a_goal_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["goal", "asdf qwer", "--check"]) == 1
    assert capsys.readouterr().err.startswith("rejected: no word in it is known")


def test_check_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["goal", "grab the cup", "--check", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    assert result["understood"] is True
    assert result["steps"][0]["kind"] == "place"
    assert "no arm" in result["steps"][0]["note"]
    assert main(["goal", "asdf", "--check", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["result"]["understood"] is False


@pytest.mark.parametrize("text", ["a b", "1st", "a//b", "a-b"])
def test_what_is_no_namespace_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["goal", "--namespace", text, "stop"])
    assert ended.value.code == 2
    assert f"argument --namespace: {text!r} is not a ROS namespace" in capsys.readouterr().err.splitlines()[-1]


@pytest.fixture
def ros_environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    return dict(os.environ)


@pytest.fixture
def robot(ros_environment: dict[str, str]) -> Iterator[GoalLedger]:
    """A node that keeps a real ledger and reaches motions by itself, but never places."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from std_msgs.msg import String

    context = rclpy.Context()
    context.init()
    node = rclpy.create_node("ledger", context=context)
    ledger = GoalLedger(60.0)
    status = node.create_publisher(String, "goal_status", QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))

    def publish() -> None:
        for event in ledger.take_events():
            status.publish(String(data=event.to_json()))

    def told(message: Any) -> None:
        ledger.submit(message.data, time.monotonic())
        ledger.activate(time.monotonic())
        publish()

    def tick() -> None:
        active = ledger.active
        if active is not None and active.subgoal.kind != "place":
            ledger.advance(time.monotonic(), Evidence.TIMED)
            publish()

    node.create_subscription(String, "goal", told, QoSProfile(depth=10))
    node.create_timer(0.2, tick)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    yield ledger
    executor.shutdown()
    thread.join(5.0)
    node.destroy_node()
    context.try_shutdown()


@needs_ros
@pytest.mark.ros
def test_waits_until_reached_and_says_by_what_it_was_judged(robot: GoalLedger, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["goal", "go forward 1 m, then turn right", "--wait", "--timeout", "20"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("reached, judged by: timed (no odometry), timed (no odometry)")
    assert main(["goal", "asdf qwer", "--wait"]) == 1
    assert "rejected: no word in it is known" in capsys.readouterr().out
    assert main(["goal", "go to the cup", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["result"]["state"] in ("accepted", "active")
    assert answer["result"]["id"] == 3
    assert main(["goal", "go to the cup", "--wait", "--timeout", "0.5"]) == 1
    assert "goal 4 goes on; to stop the robot: vla-bt goal stop" in capsys.readouterr().err


@needs_ros
@pytest.mark.ros
def test_ctrl_c_leaves_the_goal_and_says_how_to_stop(robot: GoalLedger, ros_environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "vla_bt.cli.main", "goal", "go to the cup", "--wait"]
    with subprocess.Popen(command, env=ros_environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while "go to the cup" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "to stop the robot: vla-bt goal stop" in errors
    assert "Traceback" not in errors
    assert robot.active is not None


@needs_ros
@pytest.mark.ros
def test_no_robot_is_said_in_one_line(ros_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("vla_bt.cli.goal.CONNECT_S", 0.5)
    assert main(["goal", "go to the cup"]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith("vla-bt goal: no robot listens on /goal (ROS domain ")
