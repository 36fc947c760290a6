"""The tree's process writes a log, tells what changes, and publishes a row of diagnostics for each of its parts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

rclpy = pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402

from vla_bt.ros import qos  # noqa: E402
from vla_bt.runlog.places import run_folders  # noqa: E402
from vla_bt.runlog.reader import open_run  # noqa: E402
from vla_bt.runlog.summary import figures  # noqa: E402
from vla_bt.runlog.why import why  # noqa: E402

pytestmark = pytest.mark.ros

ROWS = {"tick", "safety", "camera", "policy", "gate", "goal", "recorder", "run log", "memory"}
PATIENCE_S = 80.0


@pytest.fixture
def heard(ros_environment: dict[str, str]) -> Iterator[tuple[dict[str, DiagnosticStatus], SingleThreadedExecutor]]:
    """Collect the newest row of each name."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node("listener", context=context)
    rows: dict[str, DiagnosticStatus] = {}

    def take(message: DiagnosticArray) -> None:
        rows.update((row.name, row) for row in message.status)

    node.create_subscription(DiagnosticArray, "/diagnostics", take, qos.COMMAND)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    yield rows, executor
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_a_tree_alone_says_all_and_leaves_a_log_when_killed(
    heard: tuple[dict[str, DiagnosticStatus], SingleThreadedExecutor], ros_environment: dict[str, str], tmp_path: Path
) -> None:
    rows, executor = heard
    runtime = Path("/dev/shm") / f"vla_bt-{os.getuid()}-log-{os.getpid()}"
    runtime.mkdir(mode=0o700)
    parameters = ("policy:=expert", f"runs_directory:={tmp_path}", f"run_log_directory:={tmp_path / 'logs'}", "initial_mode:=vla")
    command = [sys.executable, "-m", "vla_bt.ros.tree_node", "--ros-args"]
    for parameter in parameters:
        command += ["-p", parameter]
    environment = {**ros_environment, "VLA_BT_RUNTIME_DIR": str(runtime)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            end_s = time.monotonic() + PATIENCE_S
            while not {f"/tree: {what}" for what in ROWS} <= rows.keys() and time.monotonic() < end_s:
                executor.spin_once(timeout_sec=0.1)
            told_s = time.monotonic() + 2.5
            while time.monotonic() < told_s:
                executor.spin_once(timeout_sec=0.1)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
            for path in runtime.glob("*"):
                path.unlink()
            runtime.rmdir()
        assert process.stderr is not None
        told = process.stderr.read()
    assert {f"/tree: {what}" for what in ROWS} <= rows.keys()
    assert all(row.hardware_id for row in rows.values())
    stale = DiagnosticStatus.STALE
    assert (rows["/tree: gate"].level, rows["/tree: gate"].message) == (stale, "never heard")
    assert rows["/tree: camera"].level == stale
    assert rows["/tree: safety"].level == DiagnosticStatus.ERROR
    assert "the gate is silent (no report yet)" in rows["/tree: safety"].message
    assert rows["/tree: run log"].level == DiagnosticStatus.OK
    assert {pair.key for pair in rows["/tree: tick"].values} >= {"p50_ms", "p99_ms", "worst_ms", "missed_deadlines"}
    assert "[WARN]" in told
    assert "the gate is silent (no report yet)" in told

    (folder,) = run_folders(tmp_path / "logs")
    run = open_run(folder)
    assert len(run.notes) == 1
    assert "cut short" in run.notes[0]
    assert figures(run)["ending"] == "cut short"
    answer = why(run)
    assert (answer.held, answer.leaf, answer.mode) == (True, "Protective stop", "vla")
    assert {"gate_silent", "camera_stale"} <= {cause.name for cause in answer.causes}
