"""A mistake on the command line of gate or tree is one line and exit code 2, by whichever door it came."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.ros
GATE = [sys.executable, "-m", "vla_bt.ros.gate_node", "--ros-args"]
TREE = [sys.executable, "-m", "vla_bt.ros.tree_node", "--ros-args"]
RUN = [sys.executable, "-m", "vla_bt.cli.main", "run", "--world", "ros"]


def refusal(command: list[str], runtime_dir: Path, environment: dict[str, str]) -> str:
    """Run what is to be refused; returns the line that says why."""
    environment = {**environment, "VLA_BT_RUNTIME_DIR": str(runtime_dir)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize("command", [GATE, TREE, RUN], ids=["gate", "tree", "run"])
def test_a_parameter_file_that_cant_be_read_is_named(
    command: list[str], tmp_path: Path, runtime_dir: Path, ros_environment: dict[str, str]
) -> None:
    file = tmp_path / "robot.yaml"
    assert refusal([*command, "--params-file", str(file)], runtime_dir, ros_environment).endswith(
        f": {file}: No such file or directory\n"
    )
    file.write_text("gate:\n  ros__parameters: [1\n", encoding="utf-8")
    assert f": {file}: not valid YAML: " in refusal([*command, "--params-file", str(file)], runtime_dir, ros_environment)


def test_arguments_that_ros_cant_use_are_refused(runtime_dir: Path, ros_environment: dict[str, str]) -> None:
    for command in (GATE, TREE):
        assert "max_linear_x" in refusal([*command, "-p", "max_linear_x"], runtime_dir, ros_environment)


@pytest.mark.parametrize(
    "policy, words",
    [
        ("nosuch", "unknown policy 'nosuch'; known: "),
        ("nosuch@int8", "unknown policy 'nosuch'; known: "),
        ("./nosuch", "policy ./nosuch: no such folder"),
    ],
)
def test_a_policy_that_does_not_exist_is_refused_before_the_start(
    policy: str, words: str, runtime_dir: Path, ros_environment: dict[str, str]
) -> None:
    for command in ([*TREE, "-p", f"policy:={policy}"], [*RUN, "--policy", policy]):
        line = refusal(command, runtime_dir, ros_environment)
        assert line.startswith("tree: ")
        assert words in line
