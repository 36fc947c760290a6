"""The real processes (simulator, bridge, gate, tree, dashboard) for whoever looks at the page: tests, the docs' pictures."""

from __future__ import annotations

import math
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vla_bt.app.processes import ProcessGroup

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
START_S = 90.0


def browser_path() -> str:
    """Return the path of a Chromium, empty when there is none."""
    for name in (os.environ.get("CHROMIUM", ""), *BROWSERS):
        if name and (path := shutil.which(name)):
            return path
    return ""


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class World:
    """Everything started, and a person's view of the robot beside the page.

    Parameters
    ----------
    domain : int
        ROS domain of its own.
    folder : Path
        For logs and episodes.
    sim, tree : sequence of str
        Parameters of the simulator, and more of the tree.
    policy : str
        Who drives.
    """

    def __init__(self, domain: int, folder: Path, *sim: str, tree: Sequence[str] = (), policy: str = "expert") -> None:
        self.runs = folder / "runs"
        self.runs.mkdir(parents=True, exist_ok=True)
        self.directory = Path(tempfile.mkdtemp(prefix="vla_bt-dash-", dir="/dev/shm"))
        os.environ.update(ROS_DOMAIN_ID=str(domain), ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST")
        os.environ.pop("VLA_BT_RUNTIME_DIR", None)
        from vla_bt.ros.environment import prepare

        prepare()
        self.group = ProcessGroup(self.directory, folder / "logs", domain)
        self.port = free_port()
        self.url = f"http://localhost:{self.port}/"
        self.group.start("gate")
        self.group.start("sim", _parameters(*sim))
        self.group.start("bridge")
        self.group.start("tree", _parameters(f"policy:={policy}", f"runs_directory:={self.runs}", *tree))
        self.start_dashboard()
        import rclpy

        from vla_bt.ros.demo_operator import DemoOperator
        from vla_bt.sim.truth import TruthReader

        self._context: Any = rclpy.Context()
        rclpy.init(context=self._context)
        self.operator = DemoOperator(rclpy.create_node("person", context=self._context))
        self._truth = TruthReader(self.directory / "truth.mmap", time.monotonic)
        try:
            self.until(self.ready, START_S)
        except AssertionError:
            self.close()
            raise

    def start_dashboard(self) -> None:
        """Start the dashboard, again if it runs."""
        self.group.start("dashboard", ["dashboard", "--port", str(self.port), "--runs", str(self.runs)])

    def ready(self) -> bool:
        """Tell whether robot, gate, tree, policy and page are there."""
        assert not self.group.dead(), self.group.dead()
        served = re.search(r"dashboard: http", (self.group.logs / "dashboard.log").read_text())
        policy = self.operator.snapshot.get("policy", {}).get("state")
        return (
            bool(served)
            and self.operator.has_gate()
            and self.operator.has_tree()
            and policy == "ready"
            and self.pose() is not None
        )

    def until(self, found: Callable[[], Any], seconds: float = 30.0) -> Any:
        """Wait for something; returns it."""
        end_s = time.monotonic() + seconds
        while not (result := found()):
            assert time.monotonic() < end_s, f"waited in vain: {self.group.dead()} {self.operator.velocity}"
            time.sleep(0.02)
        return result

    def pose(self) -> tuple[float, float] | None:
        """Where the simulated robot really is [m]."""
        truth = self._truth()
        return (truth.x, truth.y) if truth is not None else None

    def moved(self, since: tuple[float, float]) -> float:
        """How far it is from an earlier pose [m]."""
        here = self.pose()
        assert here is not None
        return math.dist(here, since)

    def moving(self) -> bool:
        """Tell whether the gate lets it move now."""
        return self.operator.zero_since_s() is None

    def stands_for(self) -> float:
        """Since how long every velocity was zero [s]; 0 while it moves."""
        since_s = self.operator.zero_since_s()
        return 0.0 if since_s is None else time.monotonic() - since_s

    def close(self) -> dict[str, int | None]:
        """End everything; returns the exit codes."""
        self.operator.close()
        self.operator.node.destroy_node()
        self._context.try_shutdown()
        return self.group.close()


def _parameters(*words: str) -> list[str]:
    return ["--ros-args", *(part for word in words for part in ("-p", word))]
