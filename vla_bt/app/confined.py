"""The whole application in a memory-limited group, lockstep beside a real worker or over ROS: ``python -m vla_bt.app.confined``.

Promises: enters its group before it starts anything; drives from goal to goal, recording; prints one line of JSON twice a second
until SIGTERM; on the way it judges itself whether the robot ever moves on an answer that is stale or of a policy that is gone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from vla_bt.app.staleness import Judge

ROW_PERIOD_S = 0.5
FRAME = (320, 180)
"""Pictures for the worker [px]: rendering larger ones takes more of the CPU than the rest together."""


class App(Protocol):
    """The application in one of its worlds."""

    def step(self) -> None:
        """Let about a tick period pass."""

    def row(self) -> dict[str, Any]:
        """Report."""

    def close(self) -> None:
        """End everything."""


class LockstepApp:
    """Simulator, gate rule and tree in this process at real speed; the policy in a worker of its own."""

    def __init__(self, options: argparse.Namespace, folder: Path, directory: Path) -> None:
        from vla_bt.app.drive import LockstepRun
        from vla_bt.app.lockstep import LockstepRobot
        from vla_bt.camera.ring import FrameRingWriter, ring_path
        from vla_bt.episodes.recorder import EpisodeRecorder
        from vla_bt.memory.monitor import MemoryMonitor
        from vla_bt.policy.client import WorkerClient
        from vla_bt.settings import GateSettings, TreeSettings, load
        from vla_bt.sim.scenes import make_scene
        from vla_bt.words import Twist

        ring = FrameRingWriter(ring_path(directory), *FRAME)

        class Client(WorkerClient):
            robot: LockstepRobot
            written = 0

            def hand_frame(self, frame_sequence: int, frame_time_s: float, measured: Twist) -> bool:
                if self.written < frame_sequence:
                    frame = self.robot.render_frame(frame_sequence, *FRAME)
                    while frame is not None and self.written < frame_sequence:
                        self.written = ring.write(frame, frame_time_s, frame_time_s).sequence
                return super().hand_frame(frame_sequence, frame_time_s, measured)

        class Run(LockstepRun):
            def make_client(self) -> Any:
                client = Client(self.policy, directory, self.robot.now)
                client.robot = self.robot
                return client

            def make_memory(self) -> MemoryMonitor:
                memory = MemoryMonitor(self.settings, directory=directory)
                memory.start()
                return memory

        settings = replace(
            load(TreeSettings, "tree"),
            memory_guard=options.guard == "on",
            memory_hold_s=options.hold_s,
            record_from_start=True,
            goal_timeout_s=30.0,
            initial_mode="vla",
        )
        self._recorder = EpisodeRecorder(folder, settings.frame_period_s)
        self._ring = ring
        self._run = Run(
            make_scene("1box_vert_left"), options.policy, settings, load(GateSettings, "gate"), recorder=self._recorder
        )
        self._goal = self._run.scene.goal
        self._due_s = time.monotonic()
        self._late_s: deque[float] = deque(maxlen=200)
        self._judge = Judge(settings.policy_output_timeout_s + settings.request_valid_for_s)

    def step(self) -> None:
        """Tick when it is time."""
        from py_trees.blackboard import Blackboard

        from vla_bt.words import Source

        run, robot = self._run, self._run.robot
        period_s = run.settings.tick_period_s
        time.sleep(max(0.0, self._due_s - time.monotonic()))
        self._late_s.append(time.monotonic() - self._due_s)
        self._due_s = max(self._due_s + period_s, time.monotonic() - period_s)
        if len(run.path) % 100 == 0 and (not robot.goal_lines or json.loads(robot.goal_lines[-1])["state"] not in _OPEN):
            robot.give_goal(self._goal)
        run.step()
        status = run.client.status()
        request = Blackboard.storage["/request"].value
        output = Blackboard.storage.get("/policy_output")
        moves = request.source is Source.POLICY and not request.twist.is_zero()
        age_s = None if output is None else robot.now() - output.at_s
        self._judge.look(robot.now(), moves, status.state == "ready", age_s)

    def row(self) -> dict[str, Any]:
        """Report."""
        run, status, memory = self._run, self._run.client.status(), self._run.memory
        late_ms = sorted(1e3 * late for late in self._late_s)
        return {
            "memory": memory.report(),
            "ticks": len(run.path),
            "late_p99_ms": round(late_ms[int(0.99 * (len(late_ms) - 1))], 2) if late_ms else 0.0,
            "policy": {"state": status.state, "detail": status.detail, "grade": status.grade.name.lower()},
            "restarts": status.restarts,
            "out_of_memory": status.out_of_memory,
            "steps": status.steps_taken,
            "driven": self._judge.driven,
            "stale": self._judge.stale,
            "oldest_s": round(self._judge.oldest_s, 3),
            "mode": run.robot.mode_line,
            "episodes": self._recorder.status().episodes,
            "recording": self._recorder.status().words,
        }

    def close(self) -> None:
        """End everything."""
        self._run.close()
        self._run.memory.stop()
        self._recorder.close()
        self._ring.close()


_OPEN = ("accepted", "active")


class RosApp:
    """All processes of a robot over ROS, and their person in this one."""

    def __init__(self, options: argparse.Namespace, folder: Path, directory: Path) -> None:
        from vla_bt.ros.environment import isolate, prepare

        domain = isolate()
        prepare()
        from vla_bt.app.long_drive import LongDrive
        from vla_bt.app.processes import ProcessGroup
        from vla_bt.memory.monitor import read_report
        from vla_bt.ros.soak_operator import SoakOperator
        from vla_bt.settings import TreeSettings, load

        settings = load(TreeSettings, "tree")
        self._group = group = ProcessGroup(directory, folder / "logs", domain)
        self._operator = SoakOperator(settings.policy_output_timeout_s + settings.request_valid_for_s)
        self.person = LongDrive()
        size = ("-p", f"camera_width:={options.camera[0]}", "-p", f"camera_height:={options.camera[1]}")
        group.start("gate")
        group.start("sim", ["--ros-args", "-p", "scene:=1box_vert_left", *size])
        group.start("bridge")
        tree = {
            "policy": options.policy,
            "runs_directory": str(folder),
            "memory_guard": str(options.guard == "on").lower(),
            "memory_hold_s": f"{options.hold_s:.1f}",
            "record_from_start": "true",
            "record_pictures": "jpeg",
            "goal_timeout_s": "30.0",
            "initial_mode": "vla",
        }
        group.start("tree", ["--ros-args", *(word for name, value in tree.items() for word in ("-p", f"{name}:={value}"))])
        self._report = partial(read_report, directory)

    def step(self) -> None:
        """Say what a person would; what the robot does is judged as it is heard."""
        time.sleep(0.05)
        operator = self._operator
        words = self.person.look(time.monotonic(), operator.goal) if operator.snapshot else None
        if words is not None:
            if words.put_back:
                operator.call("reset_sim")
            operator.give_goal(words.sentence)
        dead = self._group.dead()
        if dead:
            raise RuntimeError(f"ended by itself: {dead}")

    def row(self) -> dict[str, Any]:
        """Report."""
        snapshot = self._operator.snapshot
        policy = snapshot.get("policy", {})
        memory = self._report() or {}
        return {
            "memory": memory,
            "ticks": snapshot.get("tick", 0),
            "late_p99_ms": snapshot.get("late_ms", [0.0, 0.0])[1],
            "policy": {
                "state": policy.get("state", "starting"),
                "detail": policy.get("detail", ""),
                "grade": memory.get("grade", ""),
            },
            "restarts": policy.get("restarts", 0),
            "out_of_memory": memory.get("out_of_memory", 0),
            "steps": policy.get("steps_taken", 0),
            "driven": self._operator.judge.driven,
            "stale": self._operator.judge.stale,
            "oldest_s": round(self._operator.judge.oldest_s, 3),
            "goals": self.goals(),
            "mode": f"{snapshot.get('mode', '')}: {snapshot.get('words', '')}",
            "episodes": snapshot.get("recorder", {}).get("episodes", 0),
            "recording": snapshot.get("recorder", {}).get("words", ""),
        }

    def goals(self) -> dict[str, int]:
        """Return how many goals were told, how many in other words, and what became of them."""
        person = self.person
        return {"told": person.told, "different": len(person.sentences), "changed": person.changed, **self._operator.became}

    def close(self) -> None:
        """End everything."""
        self._group.close()
        self._operator.close()


def parser() -> argparse.ArgumentParser:
    """Return the parser of this program."""
    parser = argparse.ArgumentParser(prog="python -m vla_bt.app.confined", description="Run the application in a memory group.")
    parser.add_argument("--world", choices=("lockstep", "ros"), required=True)
    parser.add_argument("--group", type=Path, help="directory of the cgroup to enter first")
    parser.add_argument("--folder", type=Path, required=True, help="where episodes and logs go")
    parser.add_argument("--policy", required=True)
    parser.add_argument("--guard", choices=("on", "off"), default="on")
    parser.add_argument("--hold-s", type=float, default=20.0)
    parser.add_argument("--camera", type=int, nargs=2, default=(640, 360), metavar=("W", "H"))
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit code."""
    options = parser().parse_args(arguments)
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.append(1))
    if options.group is not None:
        (options.group / "cgroup.procs").write_text("0", encoding="ascii")
    directory = Path("/dev/shm") / f"vla_bt-{os.getuid()}-confined-{os.getpid()}"
    directory.mkdir(mode=0o700)
    os.environ["VLA_BT_RUNTIME_DIR"] = str(directory)
    app: App | None = None
    code = 0
    try:
        app = (LockstepApp if options.world == "lockstep" else RosApp)(options, options.folder, directory)
        due_s = time.monotonic()
        while not told:
            app.step()
            if time.monotonic() >= due_s:
                due_s = time.monotonic() + ROW_PERIOD_S
                print(json.dumps(app.row()), flush=True)
    except BrokenPipeError:
        code = 1
    finally:
        if app is not None:
            app.close()
        shutil.rmtree(directory, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
