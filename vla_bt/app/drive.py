"""One goal in lockstep: the whole tree drives the simulated robot until the goal is closed, and the truth judges the run.

Promises: ``result`` depends on the arguments alone, bit for bit on one machine, and holds a digest of the trajectory and of the
frames: those the policy consumed, and one small one a second. Whatever the wall clock had a hand in stands under ``timing``.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from vla_bt.app.assemble import assemble
from vla_bt.app.lockstep import LockstepRobot, plain
from vla_bt.app.loop import TickLoop
from vla_bt.app.path_picture import PathPoint
from vla_bt.app.run_log import Witness
from vla_bt.control.causes import load_causes
from vla_bt.episodes.recorder import EpisodeRecorder
from vla_bt.goals.parser import parse
from vla_bt.goals.plan import PlaceGoal, Plan
from vla_bt.memory.monitor import MemoryMonitor
from vla_bt.policy.expert import told_side
from vla_bt.policy.factory import make_policy
from vla_bt.policy.inline import InlineClient
from vla_bt.resources import Resources, RobotView
from vla_bt.runlog.encoder import Node
from vla_bt.runlog.log import RunLog
from vla_bt.settings import GateSettings, TreeSettings
from vla_bt.sim.check import GOAL_RADIUS_M, side_passed
from vla_bt.sim.scenes import Scene
from vla_bt.sim.world import SimWorld
from vla_bt.words import Source

CLOSED = ("reached", "rejected", "preempted", "expired", "failed")
WITNESS_TICKS = 20
WITNESS_SIZE = (320, 180)
"""Every so many ticks a frame of this size [px] goes into the digest, whether the policy looks or not."""

SETTLE_S = 0.5
"""Simulated time after the goal is closed, to see the robot stand [s]."""


@dataclass
class LockstepRun:
    """The application in lockstep, step by step; :func:`drive` is the usual way to use it.

    Parameters
    ----------
    scene : Scene
        Where.
    policy : str
        A name that :func:`vla_bt.policy.factory.make_policy` knows.
    settings, gate_settings
        As on the robot.
    policy_latency_s, action_latency_s : float
        Simulated time from frame to proposal, and from request to gate [s].
    recorder : Recorder or None
        Where episodes go.
    runs : Path or None
        Directory of run logs; None writes none.
    """

    scene: Scene
    policy: str
    settings: TreeSettings
    gate_settings: GateSettings
    policy_latency_s: float = 0.1
    action_latency_s: float = 0.02
    seed: int = 0
    recorder: EpisodeRecorder | None = None
    runs: Path | None = None
    log: RunLog | None = field(default=None, init=False)
    path: list[PathPoint] = field(default_factory=list)
    tick_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world = SimWorld(self.scene)
        self.robot = LockstepRobot(self.world, self.settings, self.gate_settings, self.action_latency_s)
        self.client = self.make_client()
        self.memory = self.make_memory()
        self.resources = Resources(self.settings, RobotView(self.robot), self.client, self.recorder, self.memory, load_causes())
        self.loop: TickLoop = assemble(self.robot, self.resources, self._begin_log if self.runs is not None else None)
        self.digest = hashlib.sha256()

    def make_client(self) -> InlineClient:
        """Make the policy and what the tree sees of it."""
        make = partial(make_policy, self.policy, self.world.truth, self.seed)
        return InlineClient(make(), self.robot.policy_frame, self.robot.now, self.policy_latency_s, remake=make)

    def make_memory(self) -> MemoryMonitor:
        """Look at the memory once: what happens on the machine meanwhile must not change the result."""
        memory = MemoryMonitor(self.settings)
        memory.sample()
        return memory

    def step(self) -> None:
        """Let one tick period pass, then tick."""
        self.robot.advance(self.settings.tick_period_s)
        started = time.perf_counter()
        request = self.loop.tick()
        self.tick_s.append(time.perf_counter() - started)
        x, y, yaw = self.world.pose()
        self.path.append(PathPoint(x, y, yaw, request.source))
        self.digest.update(struct.pack("<6dBQ", x, y, yaw, *request.twist, request.source, request.frame_sequence))

    def _begin_log(self, nodes: Sequence[Node]) -> RunLog:
        facts = {
            "policy": self.policy,
            "scene": {name: getattr(self.scene, name) for name in ("name", "distance", "position", "pattern", "seed")},
            "episodes": str(Path(self.settings.runs_directory).absolute()) if self.recorder is not None else "",
        }
        causes, began_s = self.resources.causes, self.robot.now()
        self.log = RunLog(nodes, causes, self.settings, self.runs, "lockstep", began_s, facts, patient=True)
        return self.log

    def close(self) -> None:
        """Stop the robot, end the log and free the renderer."""
        self.loop.shutdown()
        if self.log is not None:
            assert isinstance(self.loop.witness, Witness)
            self.log.close(times=self.loop.witness.times.last_window())
        self.client.close()
        self.world.close()


def drive(
    run: LockstepRun,
    goal: str,
    mode: str = "vla",
    time_limit_s: float = 60.0,
    progress: Callable[[LockstepRun], None] | None = None,
) -> dict[str, Any]:
    """Give one goal and run until it is closed and the robot stands, or the time is over.

    Returns
    -------
    dict
        ``result`` (reproducible) and ``timing`` (not).
    """
    started = time.perf_counter()
    robot, world = run.robot, run.world
    robot.set_mode(mode)
    run.step()
    robot.give_goal(goal)
    closed_s = math.inf
    state = "told"
    while robot.now() < time_limit_s and robot.now() - closed_s < SETTLE_S:
        run.step()
        if len(run.path) % WITNESS_TICKS == 0:
            robot.render_frame(robot.newest_sequence, *WITNESS_SIZE)
        if robot.goal_lines and closed_s == math.inf:
            state = json.loads(robot.goal_lines[-1])["state"]
            if state in CLOSED:
                closed_s = robot.now()
        if progress is not None and len(run.path) % 20 == 0:
            progress(run)
    truth = world.truth()
    cup_distance_m = math.hypot(truth.cup_x - truth.x, truth.cup_y - truth.y)
    track = [(point.x, point.y) for point in run.path]
    sides = [side_passed(track, box) for box in truth.boxes]
    contact = world.first_contact
    stands = truth.twist.speed < 0.01 and abs(truth.twist.angular_z) < 0.02
    info = run.client.status().info
    run.digest.update(robot.frames_digest.digest())
    result = {
        "scene": {
            "name": run.scene.name,
            "distance": run.scene.distance,
            "position": run.scene.position,
            "pattern": run.scene.pattern,
            "seed": run.scene.seed,
        },
        "goal": goal,
        "mode": mode,
        "policy": {"name": info.name, "label": info.label, "weights_hash": info.weights_hash} if info else None,
        "latency_s": {"policy": run.policy_latency_s, "action": run.action_latency_s},
        "inputs": run.settings.required_inputs,
        "goal_state": state,
        "goal_events": [json.loads(line) for line in robot.goal_lines],
        "reached_cup": bool(stands and cup_distance_m <= GOAL_RADIUS_M),
        "cup_distance_m": cup_distance_m,
        "contact": f"{' and '.join(contact.geoms)} at {contact.time_s:.2f} s" if contact else "",
        "sides_passed": sides,
        "side_told": run.scene.side,
        "path_length_m": float(sum(math.dist(before, after) for before, after in pairwise(track))),
        "time_s": robot.now(),
        "ticks": len(run.path),
        "ticks_by_source": {source.name.lower(): sum(point.source is source for point in run.path) for source in Source},
        "frames_handed": run.client.frames_handed,
        "policy_steps": run.client.steps_taken,
        "frames_rendered": robot.frames_rendered,
        "digest": run.digest.hexdigest(),
    }
    wall_s = time.perf_counter() - started
    ticks_ms = 1e3 * np.array(run.tick_s)
    timing = {
        "wall_s": wall_s,
        "simulated_per_wall": robot.now() / wall_s,
        "tick_p50_ms": float(np.percentile(ticks_ms, 50)),
        "tick_p99_ms": float(np.percentile(ticks_ms, 99)),
        "policy_step_p50_ms": float(1e3 * np.median(run.client.compute_s)) if run.client.compute_s else 0.0,
    }
    return {"result": plain(result), "timing": plain(timing)}


def succeeded(result: dict[str, Any]) -> bool:
    """Tell whether a run did all that was asked: goal reached as judged by the tree and by the truth, nothing touched.

    A goal that leads to the cup counts only if the robot stands at the cup; the side counts only if the goal told one.
    """
    if result["goal_state"] != "reached" or result["contact"]:
        return False
    plan = parse(result["goal"])
    if not isinstance(plan, Plan) or not any(isinstance(step, PlaceGoal) and step.place == "cup" for step in plan.steps):
        return True
    told = told_side(result["goal"])
    return bool(result["reached_cup"] and all(side == told for side in result["sides_passed"] if told))
