"""The demo over real processes: it succeeds, leaves what it promises, and Ctrl-C at any moment leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from vla_bt.episodes.format import load

pytestmark = pytest.mark.ros
COMMAND = [sys.executable, "-m", "vla_bt.cli.main", "demo", "--plain"]


def start(folder: Path) -> subprocess.Popen[str]:
    # A session of its own, so that a signal reaches the demo alone, and a ROS domain that no other test uses.
    environment = {**os.environ, "ROS_DOMAIN_ID": str(1 + os.getpid() % 90), "COLUMNS": "200"}
    return subprocess.Popen(
        [*COMMAND, "--folder", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    )


def left_behind(demo_pid: int) -> list[str]:
    """Processes and shared memory that belong to a demo that has ended."""
    directory = f"vla_bt-{os.getuid()}-demo-{demo_pid}"
    found = [str(path) for path in Path("/dev/shm").glob(f"{directory}*")]
    for process in psutil.process_iter(["cmdline", "environ"]):
        environment = process.info["environ"] or {}
        if directory in environment.get("VLA_BT_RUNTIME_DIR", ""):
            found.append(" ".join(process.info["cmdline"] or []))
    return found


@pytest.mark.timeout(240)
def test_the_demo_succeeds_and_leaves_what_it_promises(tmp_path: Path) -> None:
    demo = start(tmp_path)
    output, _ = demo.communicate(timeout=220)
    assert demo.returncode == 0, output
    (run,) = tmp_path.iterdir()
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert summary["result"]["ok"]
    checks = summary["result"]["checks"]
    for name in (
        "driven by hand",
        "cup reached (vla)",
        "takeover and hand-back",
        "one step for each frame",
        "emergency stop",
        "reset",
    ):
        assert checks[name]["ok"], checks[name]
    assert "SIMULATOR TRUTH, NOT VISION" in output
    assert summary["timing"]["estop_to_zero_s"] < 0.3
    whole = sorted(path for path in run.glob("episode_*.h5") if "partial" not in path.name)
    assert whole
    episode = load(whole[0])
    assert episode.frames == 18
    assert episode.images.shape[1:] == (720, 1280, 3)
    assert len({image.tobytes() for image in episode.images}) > 5, "the pictures change while the robot drives"
    assert (run / "contact_sheet.png").stat().st_size > 50_000
    assert (run / "path.png").stat().st_size > 50_000
    assert left_behind(demo.pid) == []


@pytest.mark.timeout(90)
@pytest.mark.parametrize(("after_s", "number"), [(1.0, signal.SIGINT), (9.0, signal.SIGTERM)])
def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path, after_s: float, number: signal.Signals) -> None:
    demo = start(tmp_path)
    time.sleep(after_s)
    demo.send_signal(number)
    output, _ = demo.communicate(timeout=40)
    assert demo.returncode == 130, output
    assert "the robot was stopped" in output
    assert left_behind(demo.pid) == []
    for log in tmp_path.glob("*/logs/*.log"):
        assert "Traceback" not in log.read_text(encoding="utf-8"), log.name
