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

from vla_bt.app.processes import left_behind
from vla_bt.episodes.format import load

pytestmark = pytest.mark.ros
COMMAND = [sys.executable, "-m", "vla_bt.cli.main", "demo", "--plain"]
DOMAIN = str(43 + os.getpid() % 58)  # that no other test uses


def start(folder: Path) -> subprocess.Popen[str]:
    # A session of its own, so that a signal reaches the demo alone. What a user with a running robot has set is not to matter.
    theirs = {"ROS_DOMAIN_ID": "42", "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET", "ROS_STATIC_PEERS": "127.0.0.2"}
    environment = {**os.environ, **theirs, "VLA_BT_DEMO_DOMAIN": DOMAIN, "COLUMNS": "200"}
    return subprocess.Popen(
        [*COMMAND, "--folder", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    )


def directory_of(pid: int) -> Path:
    return Path("/dev/shm") / f"vla_bt-{os.getuid()}-demo-{pid}"


def reach_of_the_children(pid: int) -> set[tuple[str | None, str | None]]:
    """ROS domain and discovery range of each process that a demo has started."""
    found = set()
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except psutil.Error:
            continue
        if environment.get("VLA_BT_RUNTIME_DIR") == str(directory_of(pid)):
            found.add((environment.get("ROS_DOMAIN_ID"), environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE")))
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
    assert "drives by sight: small-cnn: trained in the simulator" in output
    assert summary["timing"]["estop_to_zero_s"] < 0.3
    whole = sorted(path for path in run.glob("episode_*.h5") if "partial" not in path.name)
    assert whole
    episode = load(whole[0])
    assert episode.frames == 18
    assert episode.images.shape[1:] == (720, 1280, 3)
    assert len({image.tobytes() for image in episode.images}) > 5, "the pictures change while the robot drives"
    assert (run / "contact_sheet.png").stat().st_size > 50_000
    assert (run / "path.png").stat().st_size > 50_000
    assert left_behind(directory_of(demo.pid)) == []


@pytest.mark.timeout(90)
@pytest.mark.parametrize(("after_s", "number"), [(1.0, signal.SIGINT), (9.0, signal.SIGTERM)])
def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path, after_s: float, number: signal.Signals) -> None:
    demo = start(tmp_path)
    time.sleep(after_s)
    reach = reach_of_the_children(demo.pid)
    demo.send_signal(number)
    output, _ = demo.communicate(timeout=40)
    assert demo.returncode == 130, output
    assert "the robot was stopped" in output
    assert left_behind(directory_of(demo.pid)) == []
    assert reach <= {(DOMAIN, "LOCALHOST")}, "a robot nearby is left alone"
    assert reach or after_s < 5.0
    for log in tmp_path.glob("*/logs/*.log"):
        assert "Traceback" not in log.read_text(encoding="utf-8"), log.name


def test_a_wrong_domain_is_refused_in_a_line(tmp_path: Path) -> None:
    environment = {**os.environ, "VLA_BT_DEMO_DOMAIN": "900"}
    done = subprocess.run([*COMMAND, "--folder", str(tmp_path)], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "vla-bt demo: VLA_BT_DEMO_DOMAIN is '900'; expected a ROS domain from 0 to 101\n"
    assert not list(tmp_path.iterdir())
