"""The launch files start the right processes; where ``launch`` is not installed, these tests are skipped."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("launch.actions", reason="launch is not on PyPI")

from launch.actions import ExecuteProcess, OpaqueFunction

from launch import LaunchContext, LaunchDescription
from vla_bt.ros.launching import check_file
from vla_bt.settings import SettingsError, config_path

LAUNCH = Path(__file__).parents[3] / "launch"

RUN = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
service = LaunchService()
arguments = [tuple(word.split(":=", 1)) for word in sys.argv[2:]]
file = IncludeLaunchDescription(PythonLaunchDescriptionSource(sys.argv[1]), launch_arguments=arguments)
service.include_launch_description(LaunchDescription([file]))
sys.exit(service.run())
"""


def description(name: str) -> LaunchDescription:
    spec = importlib.util.spec_from_file_location("launched", LAUNCH / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


def commands(name: str, **given: str) -> dict[str, str]:
    """Return each process's command line, by module."""
    context = LaunchContext()
    context.launch_configurations.update(given)

    def processes(entities: Any) -> Iterator[ExecuteProcess]:
        for entity in entities:
            if isinstance(entity, ExecuteProcess):
                yield entity
            elif isinstance(entity, OpaqueFunction):
                yield from processes(entity.execute(context) or [])
            else:
                yield from processes(entity.visit(context) or [])

    lines = {}
    for process in processes(description(name).entities):
        words = ["".join(part.perform(context) for part in word) for word in process.cmd]
        assert words[1] == "-m"
        lines[words[2].removeprefix("vla_bt.ros.")] = " ".join(words[3:])
    return lines


def test_a_robot_is_gate_bridge_and_tree() -> None:
    lines = commands("robot.launch.py")
    assert list(lines) == ["gate_node", "camera_bridge", "tree_node"]
    assert set(lines.values()) == {f"--ros-args --params-file {config_path('robot.yaml')}"}


def test_topics_namespace_policy_and_camera_reach_the_nodes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VLA_BT_RUNTIME_DIR", str(tmp_path))
    lines = commands("robot.launch.py", namespace="second", cmd_vel="base/cmd_vel", policy="expert", camera="csi:1")
    assert len(lines) == 4
    assert all(line.endswith("-r cmd_vel:=base/cmd_vel -r __ns:=/second") for line in lines.values())
    assert "-p policy:=expert" in lines["tree_node"]
    assert lines["camera_node"].startswith(f"--source csi:1 --ros-args --params-file {config_path('camera.yaml')}")


def test_the_simulator_comes_with_the_application() -> None:
    lines = commands("sim.launch.py", scene="2box_hori_left", seed="7")
    assert list(lines) == ["gate_node", "camera_bridge", "tree_node", "sim_node"]
    assert lines["sim_node"].startswith("--scene 2box_hori_left --seed 7 --ros-args")


def test_a_parameter_file_that_a_namespace_makes_void_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("gate:\n  ros__parameters:\n    period_s: 0.03\n")
    check_file(path, "")
    with pytest.raises(SettingsError, match=r"'gate:' is not read in the namespace /second; write '/\*\*/gate:'"):
        check_file(path, "second")
    check_file(config_path("robot.yaml"), "second")


@pytest.mark.ros
@pytest.mark.sim
def test_up_and_down(ros_environment: dict[str, str], runtime_dir: Path, tmp_path: Path) -> None:
    environment = {**ros_environment, "VLA_BT_RUNTIME_DIR": str(runtime_dir), "ROS_LOG_DIR": str(tmp_path)}
    command = [sys.executable, "-c", RUN, str(LAUNCH / "sim.launch.py"), "policy:=expert", "seed:=3"]
    process = subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        sockets = ("gate.sock", "tree.gate.sock", "camera.ring", "truth.mmap", "policy.sock")
        limit_s = time.monotonic() + 40.0
        while not all((runtime_dir / name).exists() for name in sockets):
            assert process.poll() is None
            assert time.monotonic() < limit_s, f"there are only {sorted(entry.name for entry in runtime_dir.iterdir())}"
            time.sleep(0.1)
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=20.0)
    finally:
        process.kill()
        process.wait()
    assert output.count("process has finished cleanly") == 4, output
    assert "Traceback" not in output, output
    assert not [entry for entry in runtime_dir.iterdir() if entry.suffix in {".sock", ".ring", ".mmap"}]
