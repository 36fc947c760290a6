"""A run over the real processes: it ends soon after its goal does, and both outcomes stand in the file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("mujoco")

pytestmark = [pytest.mark.ros, pytest.mark.sim, pytest.mark.slow, pytest.mark.timeout(240)]

CELL = ("scene=1box_vert_left", "distance=close", "position=center", "pattern=core")


def test_a_run_over_ros_ends_when_its_goal_has_and_is_judged_as_the_one_in_lockstep(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vla_bt.cli.main", "eval", "document", "--policy", "expert", "--seeds", "0:1"]
    command += ["--where", *CELL, "--ros", "--json", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=220, check=False)
    assert done.returncode == 0, done.stderr
    whole = json.loads(done.stdout)
    assert whole == json.loads((tmp_path / "out" / "ros.json").read_text())
    assert whole["result"] == {"lockstep": 1.0, "real": 1.0, "difference_points": 0.0, "runs": 1}
    ((lockstep, real),) = whole["pairs"]
    assert lockstep["job"] == real["job"]
    for outcome in (lockstep, real):
        result = outcome["result"]
        assert result["goal_state"] == "reached"
        assert result["reached_cup"]
        assert result["time_s"] < result["claims"][0]["at_s"] + 5.0, "it does not wait for the time limit"
