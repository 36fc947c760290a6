"""The tree's process records by service over real ROS 2, also while its policy worker is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

rclpy = pytest.importorskip("rclpy")

from rcl_interfaces.msg import Parameter as ParameterMessage  # noqa: E402
from rcl_interfaces.msg import ParameterValue  # noqa: E402
from rcl_interfaces.srv import SetParameters  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from std_srvs.srv import SetBool  # noqa: E402

from vla_bt.camera.ring import ring_path  # noqa: E402
from vla_bt.episodes.format import FRAMES, load  # noqa: E402
from vla_bt.ros import qos  # noqa: E402

pytestmark = pytest.mark.ros
PERIOD_S = 0.1


class Operator:
    """A person at another node."""

    def __init__(self, context: Any) -> None:
        self.node = rclpy.create_node("operator", context=context)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.node)
        self.told: dict[str, Any] = {}
        self.node.create_subscription(String, "record_status", self.on_status, qos.LATCHED)
        self.recording = self.node.create_client(SetBool, "tree/record")
        self.parameters = self.node.create_client(SetParameters, "tree/set_parameters")

    def on_status(self, message: String) -> None:
        self.told = json.loads(message.data)

    def until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        end_s = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end_s, f"waited in vain; heard {self.told}"
            self.executor.spin_once(timeout_sec=0.02)

    def ask(self, client: Any, request: Any) -> Any:
        self.until(client.service_is_ready)
        answer = client.call_async(request)
        self.until(answer.done)
        return answer.result()

    def set(self, **values: str) -> list[Any]:
        parameters = [
            ParameterMessage(name=name, value=ParameterValue(type=4, string_value=value)) for name, value in values.items()
        ]
        return list(self.ask(self.parameters, SetParameters.Request(parameters=parameters)).results)


@pytest.fixture
def operator(ros_context: Any) -> Iterator[Operator]:
    made = Operator(ros_context)
    yield made
    made.executor.shutdown()
    made.node.destroy_node()


def test_an_episode_in_progress_outlives_the_policy_worker(
    operator: Operator, ros_environment: dict[str, str], runtime_dir: Path, tmp_path: Path
) -> None:
    environment = {**ros_environment, "VLA_BT_RUNTIME_DIR": str(runtime_dir)}
    parameters = {
        "required_inputs": "[camera]",
        "policy": "expert",
        "initial_mode": "vla",
        "frame_period_s": PERIOD_S,
        "runs_directory": tmp_path / "runs",
        "run_log_directory": tmp_path / "log",
    }
    arguments = [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}")]
    tree = subprocess.Popen([sys.executable, "-m", "vla_bt.ros.tree_node", "--ros-args", *arguments], env=environment)
    camera = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "vla_bt.bench.feeder",
            "--ring",
            str(ring_path(runtime_dir)),
            "--rate=20",
            f"--parent={os.getpid()}",
        ]
    )
    try:
        operator.until(lambda: operator.told.get("state") == "idle")
        assert all(answer.successful for answer in operator.set(record_scenario="2box_hori_left", record_distance="far"))
        (refused,) = operator.set(record_distance="nearby")
        assert not refused.successful
        workers = psutil.Process(tree.pid).children()
        assert workers
        assert operator.ask(operator.recording, SetBool.Request(data=True)).message == "a recording begins"
        operator.until(lambda: operator.told["frames"] >= 5)
        for worker in workers:
            os.kill(worker.pid, signal.SIGKILL)
        operator.until(lambda: operator.told["episodes"] >= 2)
        operator.ask(operator.recording, SetBool.Request(data=False))
        operator.until(lambda: operator.told["state"] == "idle" and not operator.told["waiting"])
        assert operator.told["dropped"] == 0
        tree.send_signal(signal.SIGINT)
        assert tree.wait(30.0) == 0
    finally:
        for process in (tree, camera):
            process.kill()
            process.wait()
    assert not list((tmp_path / "runs").glob("*.journal"))
    episodes = sorted((load(path) for path in (tmp_path / "runs").glob("*.h5")), key=index_of)
    first, second = episodes[:2]
    assert first.frames == second.frames == FRAMES
    assert first.attributes["scenario"] == "2box_hori_left"
    assert first.attributes["distance"] == "far"
    assert len({each.attributes["demonstration_id"] for each in episodes}) == 1
    assert second.attributes["previous_episode"] == first.attributes["episode_name"]
    columns = first.columns
    assert (columns["receipt_s"] <= columns["decided_s"]).all()
    assert (columns["decided_s"] <= columns["commanded_s"]).all()
    assert len(set(columns["frame_sequence"])) == FRAMES


def index_of(episode: Any) -> int:
    return int(episode.attributes["demonstration_index"])
