"""One run: the whole tree in lockstep, a script of what people do and what goes wrong, and a witness to what is true.

Promises: what a job yields under ``result`` and ``trace`` depends on the job, the code and the policy's weights alone, bit for
bit on one machine. Frames are rendered only when the policy consumes them, at the size it asks for (or ``job.camera``), and one
small one a second for the report's pictures.
"""

from __future__ import annotations

import functools
import json
import math
import re
import time
from dataclasses import fields, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from py_trees.blackboard import Blackboard

from vla_bt.app.drive import CLOSED, SETTLE_S, LockstepRun
from vla_bt.app.lockstep import plain
from vla_bt.app.snapshot import to_text, tree_snapshot
from vla_bt.camera.lens import Picture, framed, whole_size
from vla_bt.eval.job import Job
from vla_bt.eval.judge import Claim, GoalLog, Tick, judge, outcome_of
from vla_bt.eval.script import Event
from vla_bt.policy.factory import make_policy
from vla_bt.policy.inline import FrameSource, InlineClient
from vla_bt.policy.names import DEFAULT
from vla_bt.policy.port import Policy, PolicyOutput, PolicyStatus
from vla_bt.settings import GateSettings, TreeSettings, load
from vla_bt.words import Twist

UNTRAINED = f"{DEFAULT}@full"
"""What the policy ``untrained`` stands for: the default's network with random weights."""

WITNESS_S = 1.0
WITNESS_SIZE = (320, 180)
SHEET_COLUMNS, SHEET_ROWS = 4, 3
TRACE_TICKS = 4
"""Every so many ticks a line of the trace."""


@functools.lru_cache(maxsize=2)
def load_network(name: str) -> Policy:
    """Load a network once a process; ``reset`` starts it anew for each run."""
    from vla_bt.policy.runtime import set_threads

    set_threads(1)  # a step is too small to share
    return make_policy(UNTRAINED if name == "untrained" else name)


class FaultyClient(InlineClient):
    """An inline client whose worker can be killed and whose latency can change."""

    restarts = 0
    dead = False
    _told: tuple[int, str] | None = None

    def set_goal(self, goal_id: int, goal: str) -> None:
        """Start a goal; a dead worker is told it when it is there again."""
        self._told = (goal_id, goal)
        if not self.dead:
            super().set_goal(goal_id, goal)

    def hand_frame(self, frame_sequence: int, frame_time_s: float, measured: Twist) -> bool:
        """Take a step, unless dead."""
        return not self.dead and super().hand_frame(frame_sequence, frame_time_s, measured)

    def poll(self) -> PolicyOutput | None:
        """Return the newest output, unless dead."""
        return None if self.dead else super().poll()

    def status(self) -> PolicyStatus:
        """Report."""
        status = replace(super().status(), restarts=self.restarts)
        return replace(status, state="dead", detail="killed by the script", awaited_since_s=None) if self.dead else status

    def kill(self) -> None:
        """Lose the worker with all that it remembers."""
        self.dead = True
        self.close()

    def revive(self) -> None:
        """Let a new worker take its place: it is told the goal and remembers nothing."""
        self.dead = False
        self.restarts += 1
        if self._told is not None:
            super().set_goal(*self._told)

    def delay(self, latency_s: float) -> None:
        """Change the latency of all later steps [s]."""
        self._latency_s = latency_s


class ScenarioRun(LockstepRun):
    """A lockstep run with a script and a witness."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.noise, self.light = 0.0, 1.0
        self._waiting = list(job.events)
        self._under_way: list[Event] = []
        self.ticks: list[Tick] = []
        self.goal_log = GoalLog()
        self.pictures: list[tuple[float, NDArray[np.uint8]]] = []
        self.moments: dict[str, str] = {}
        self._read_lines = 0
        settings, gate = load(TreeSettings, "tree"), load(GateSettings, "gate")
        # What else this computer does must not change a result: here memory never runs short.
        limits: dict[str, Any] = {item.name: 0.0 for item in fields(settings) if re.fullmatch("memory_.*_mb", item.name)}
        settings = replace(settings, memory_guard=False, **limits)
        super().__init__(job.make_scene(), job.policy, settings, gate, policy_latency_s=job.policy_latency_s)

    def make_client(self) -> FaultyClient:
        """Make the policy and what the tree sees of it."""
        name = self.job.policy
        policy = make_policy(name, self.world.truth) if name == "expert" else load_network(name)
        source: FrameSource = self._frame
        return FaultyClient(policy, source, self.robot.now, self.policy_latency_s)

    def _frame(self, sequence: int, picture: Picture) -> NDArray[np.uint8] | None:
        """Render what the camera saw, in the script's light and noise (and at the job's size), as the policy sees it."""
        lens = self.world.lens
        width, height = self.job.camera or whole_size(picture, lens)
        frame = self.robot.render_frame(sequence, width, height)
        if frame is None:
            return None
        if self.noise != 0.0 or self.light != 1.0:
            grain = np.random.default_rng([self.job.seed, sequence, 263]).normal(0.0, self.noise, frame.shape)
            frame = np.clip(self.light * frame + grain, 0, 255).astype(np.uint8)
        return framed(frame, lens, picture)

    # ------------------------------------------------------------------ the script

    def step(self) -> None:
        """Do what is due, then let one tick period pass, tick, and write down what is true."""
        now_s = self.robot.now()
        while self._waiting and self._waiting[0].at_s <= now_s + 1e-9:
            event = self._waiting.pop(0)
            self._begin(event)
            if event.for_s < math.inf:
                self._under_way.append(event)
        for event in [event for event in self._under_way if event.at_s + event.for_s <= now_s + 1e-9]:
            self._under_way.remove(event)
            self._end(event)
        pressed = [event for event in self._under_way if event.do == "teleop"]
        if pressed:
            assert isinstance(pressed[-1].value, tuple)
            self.robot.press_teleop(Twist(*pressed[-1].value))
        super().step()
        self._witness(bool(pressed))

    def _begin(self, event: Event) -> None:
        value, client = event.value, self.client
        assert isinstance(client, FaultyClient)
        match event.do, value:
            case "mode", str():
                self.robot.set_mode(value)
            case "goal", str():
                self.robot.give_goal(value)
                self.goal_log.told_at.append(len(self.ticks))
            case "emergency_stop", _:
                self.robot.emergency_stop(True)
            case (("camera" | "odometry" | "scan"), _):
                setattr(self.robot.faults, f"{event.do}_{value}", True)
            case "camera_noise", float():
                self.noise = value
            case "light", float():
                self.light = value
            case "policy", _:
                client.kill()
            case "latency_s", float():
                client.delay(value)
            case "push", (force_x, force_y, torque):
                self.world.push(force_x, force_y, torque, event.for_s)
            case "cup", (x, y):
                truth = self.world.truth()
                self.world.move_cup(truth.cup_x + x, truth.cup_y + y)

    def _end(self, event: Event) -> None:
        client = self.client
        assert isinstance(client, FaultyClient)
        match event.do:
            case "emergency_stop":
                self.robot.emergency_stop(False)
                self.robot.reset_emergency_stop()
            case "camera" | "odometry" | "scan":
                setattr(self.robot.faults, f"{event.do}_{event.value}", False)
            case "camera_noise":
                self.noise = 0.0
            case "light":
                self.light = 1.0
            case "policy":
                client.revive()
            case "latency_s":
                client.delay(self.policy_latency_s)

    # ------------------------------------------------------------------ the witness

    def _witness(self, pressed: bool) -> None:
        truth, source = self.world.truth(), self.path[-1].source
        self.ticks.append(Tick(truth.time_s, truth.x, truth.y, truth.yaw, truth.twist, source, pressed))
        lines = list(self.robot.goal_lines)
        for line in lines[self._read_lines :]:
            self._note(json.loads(line))
        self._read_lines = len(lines)
        if self.world.first_contact is not None and "contact" not in self.moments:
            self.moments["contact"] = self.tree_text()
        if len(self.ticks) % max(1, round(WITNESS_S / self.settings.tick_period_s)) == 0:
            picture = self.robot.render_frame(self.robot.newest_sequence, *WITNESS_SIZE)
            if picture is not None:
                self.pictures.append((truth.time_s, picture))

    def _note(self, line: dict[str, Any]) -> None:
        claims = self.goal_log.enter(line, self.ticks[-1])
        for step, evidence in claims:
            claim = Claim.judged(line["id"], step, evidence, self.world.truth(), self.ticks[-1], self.goal_log, self.job)
            self.goal_log.claims.append(claim)
            if not claim.true and "false claim" not in self.moments:
                self.moments["false claim"] = self.tree_text()

    def tree_text(self) -> str:
        """Draw the tree as it is."""
        storage = Blackboard.storage
        request, mode = storage["/request"].value, storage["/mode"].value
        return to_text(tree_snapshot(self.loop.root, request, mode, self.loop.words, self.robot.now()))

    def done(self) -> bool:
        """All that was scripted has happened, no goal is open, and the robot has had time to come to rest."""
        now_s, goals = self.robot.now(), self.goal_log
        if now_s >= self.job.time_limit_s - 1e-9:
            return True
        if self._waiting or self._under_way or any(state not in CLOSED for state in goals.states.values()):
            return False
        heard = bool(goals.states) or not goals.told_at
        return heard and now_s - max(self.job.last_event_s, goals.closed_s) >= SETTLE_S


def run_job(job: Job) -> dict[str, Any]:
    """Run one job.

    Returns
    -------
    dict
        ``job``, ``ok``, ``failure`` (in a word or two), ``result`` (reproducible), ``trace`` (every 0.2 s: time, x, y, yaw,
        velocity, source), for a failure ``tree`` (what it said) and ``sheet`` (JPEG), and ``timing``.
    """
    began, busy = time.perf_counter(), time.process_time()
    run = ScenarioRun(job)
    try:
        while not run.done():
            run.step()
            if time.perf_counter() - began > job.wall_limit_s:
                raise RuntimeError(f"no end after {job.wall_limit_s:.0f} s of the wall clock")
        first = run.world.first_contact
        contact = f"{' and '.join(first.geoms)} at {first.time_s:.2f} s" if first else ""
        result = plain(judge(job, run.scene, run.ticks, run.goal_log, run.world.truth(), contact, _counters(run)))
        ok, failure = outcome_of(job, result)
        trace = [tick.line() for tick in run.ticks[::TRACE_TICKS]] + [run.ticks[-1].line()]
        outcome: dict[str, Any] = {"job": job.to_dict(), "ok": ok, "failure": failure, "result": result, "trace": trace}
        if not ok:
            outcome["tree"] = run.moments | {"end": run.tree_text()}
            outcome["sheet"] = contact_sheet(run.pictures)
    finally:
        run.close()
    ticks_ms = 1e3 * np.array(run.tick_s)
    timing = {
        "wall_s": time.perf_counter() - began,
        "cpu_s": time.process_time() - busy,
        "tick_p50_ms": float(np.percentile(ticks_ms, 50)),
        "tick_p99_ms": float(np.percentile(ticks_ms, 99)),
        "policy_step_p50_ms": float(1e3 * np.median(run.client.compute_s)) if run.client.compute_s else 0.0,
    }
    return outcome | {"timing": plain(timing)}


def _counters(run: ScenarioRun) -> dict[str, Any]:
    run.digest.update(run.robot.frames_digest.digest())
    info = run.client.status().info
    return {
        "policy": {"name": info.name, "label": info.label, "weights_hash": info.weights_hash} if info else None,
        "latency_s": {"policy": run.policy_latency_s, "action": run.action_latency_s},
        "inputs": run.settings.required_inputs,
        "frames_handed": run.client.frames_handed,
        "policy_steps": run.client.steps_taken,
        "frames_rendered": run.robot.frames_rendered,
        "digest": run.digest.hexdigest(),
    }


def contact_sheet(pictures: list[tuple[float, NDArray[np.uint8]]]) -> bytes:
    """Return a JPEG of pictures spread evenly over the run, the last included, each with its time; empty if there are none."""
    if not pictures:
        return b""
    count = min(len(pictures), SHEET_COLUMNS * SHEET_ROWS)
    chosen = [pictures[round(index * (len(pictures) - 1) / max(1, count - 1))] for index in range(count)]
    tiles = []
    for time_s, picture in chosen:
        tile = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        for thick, colour in ((3, (0, 0, 0)), (1, (255, 255, 255))):
            cv2.putText(tile, f"{time_s:.0f} s", (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, thick, cv2.LINE_AA)
        tiles.append(tile)
    columns = min(SHEET_COLUMNS, len(tiles))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[at : at + columns]) for at in range(0, len(tiles), columns)]
    done, encoded = cv2.imencode(".jpg", np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 72])
    return encoded.tobytes() if done else b""
