"""How long the robot goes on after something was killed, stopped or frozen: real processes over real ROS 2, real signals.

Promises: in every repetition the policy drives when the fault comes, at a random moment; the time counts from just before the
fault until ``cmd_vel`` is zero and stays so, as a subscriber hears it. When the gate itself is the fault nobody is left to send
zero: then the base counts, by the simulator's truth. Each repetition begins with everything repaired. Only processes started here
are ended.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import psutil

from vla_bt.app.processes import ProcessGroup
from vla_bt.bench import deadlines
from vla_bt.bench.tick import BenchError
from vla_bt.camera.ring import FrameRingReader, ring_path
from vla_bt.settings import GateSettings, TreeSettings
from vla_bt.sim.truth import TruthReader
from vla_bt.words import ZERO, Twist

SCENE = "1box_vert_left"
GOAL = "go around the box on the left to the cup"
MOVING = 0.1
"""Speed on ``cmd_vel`` above which the robot counts as driving [m/s]."""

HOLD_S = 0.25
"""How long zero must last to count [s]."""

NEVER_S = 3.0
"""A robot that has not stopped by then, beyond its aim, never did [s]."""

START_LIMIT_S = 60.0
CAMERA_HZ = 15


class Operator(Protocol):
    """What the benchmark needs of a person at the topics; ``vla_bt.ros.bench_operator`` has it."""

    snapshot: dict
    snapshot_s: float
    velocity: Twist

    def drive(self, twist: Twist) -> None:
        """Ask for a velocity once."""

    def set_mode(self, mode: str) -> None:
        """Ask for a mode."""

    def give_goal(self, text: str) -> None:
        """Give a goal."""

    def press_stop(self, active: bool) -> float:
        """Press or release the emergency stop; returns the time [s]."""

    def call(self, name: str, value: bool | None = None, timeout_s: float = 5.0) -> tuple[bool, str]:
        """Call ``reset_stop`` or ``reset_sim``."""

    def set_camera_fault(self, fault: str, timeout_s: float = 5.0) -> bool:
        """Spoil the simulated camera."""

    def zero_since_s(self) -> float | None:
        """Since when every ``cmd_vel`` has been zero [s]."""

    def has_gate(self) -> bool:
        """Tell whether the gate is there."""

    def has_tree(self) -> bool:
        """Tell whether the tree is there."""


@dataclass(frozen=True)
class Case:
    """One fault.

    Attributes
    ----------
    words : str
        What is done.
    target : str
        The process it is done to; empty for none.
    signal : int
        The signal it gets; 0 for none.
    aim_s : callable
        From the tree's and the gate's settings: the time to zero to stay below [s].
    bound_s : callable
        From the same: the worst case on a machine that is never late [s].
    """

    words: str
    target: str
    signal: int
    bound_s: Callable[[TreeSettings, GateSettings], float]
    aim_s: Callable[[TreeSettings, GateSettings], float] = lambda tree, gate: deadlines.AIM_S


def _base_aim_s(tree: TreeSettings, gate: GateSettings) -> float:
    return deadlines.BASE_TIMEOUT_S + deadlines.BASE_REST_S


_KILL, _STOP = signal.SIGKILL, signal.SIGSTOP

CASES = {
    "estop": Case("emergency stop pressed", "", 0, deadlines.emergency_stop_s),
    "tree-stop": Case("tree stopped (SIGSTOP)", "tree", _STOP, deadlines.tree_gone_s),
    "tree-kill": Case("tree killed (kill -9)", "tree", _KILL, deadlines.tree_gone_s),
    "worker-stop": Case("policy worker stopped", "worker", _STOP, deadlines.worker_hangs_s),
    "worker-kill": Case("policy worker killed", "worker", _KILL, deadlines.worker_dead_s),
    "bridge-stop": Case("camera bridge stopped", "bridge", _STOP, deadlines.camera_gone_s),
    "bridge-kill": Case("camera bridge killed", "bridge", _KILL, deadlines.camera_gone_s),
    "gate-stop": Case("gate stopped; until the base rests", "gate", _STOP, deadlines.gate_gone_s, _base_aim_s),
    "gate-kill": Case("gate killed; until the base rests", "gate", _KILL, deadlines.gate_gone_s, _base_aim_s),
    "camera-freeze": Case("camera repeats one picture", "", 0, deadlines.camera_frozen_s),
    "camera-stop": Case("camera process stopped", "camera", _STOP, deadlines.camera_gone_s),
    "camera-kill": Case("camera process killed", "camera", _KILL, deadlines.camera_gone_s),
}
"""Every fault by name, in the order they are best done in."""


class StopBench:
    """The processes, their person, and the stopwatch.

    Parameters
    ----------
    group : ProcessGroup
        Empty; the caller closes it.
    operator : Operator
        On the group's ROS domain.
    folder : Path
        For pictures and whatever the tree records.
    seed : int
        Of the moments the faults come at.
    sim_parameters : iterable of str
        More ROS parameters of the simulator, as ``name:=value``.

    Attributes
    ----------
    held : list of str
        Why, in the tree's words, the robot did not drive when it should have: not a fault of ours, nothing is measured then.
    """

    def __init__(
        self, group: ProcessGroup, operator: Operator, folder: Path, seed: int = 0, sim_parameters: Iterable[str] = ()
    ) -> None:
        self._group, self._operator, self._folder = group, operator, folder
        self._random = random.Random(seed)
        self.held: list[str] = []
        self._sim_parameters = (f"scene:={SCENE}", *sim_parameters)
        self._truth = TruthReader(group.directory / "truth.mmap", time.monotonic)
        self._ring = FrameRingReader(ring_path(group.directory))

    def close(self) -> None:
        """Let go of what was read; the processes are the group's."""
        self._ring.close()

    def start(self) -> None:
        """Start everything and wait until it runs."""
        for name in ("gate", "sim", "bridge", "tree"):
            self._start(name)
        self._until(self._ready, START_LIMIT_S, "everything to run")

    def run(self, name: str, repeats: int) -> Iterator[float | None]:
        """Yield the time to zero of each repetition of a case [s], None where the robot never stopped."""
        case = CASES[name]
        self._use_camera(separate=case.target == "camera")
        for _ in range(repeats):
            self._drive()
            pid = self._pid(case.target) if case.target else 0
            at_s = self._inject(name, case, pid)
            taken_s = self._rest(at_s) if case.target == "gate" else self._zero(at_s)
            self._repair(name, case, pid)
            yield taken_s

    # ------------------------------------------------------------------ processes

    def _start(self, name: str) -> None:
        parameters = {
            "sim": self._sim_parameters,
            "tree": ("policy:=expert", f"runs_directory:={self._folder}", f"run_log_directory:={self._folder}"),
            "camera": (f"source:={self._pictures()}", f"rate_hz:={float(CAMERA_HZ)}", "loop:=true") if name == "camera" else (),
        }.get(name, ())
        if name == "tree":
            self._operator.snapshot, self._operator.snapshot_s = {}, 0.0
        self._group.start(name, ["--ros-args", *(word for parameter in parameters for word in ("-p", parameter))])

    def _pictures(self) -> Path:
        """Return a folder of pictures that differ, for a camera process that needs no device."""
        folder = self._folder / "pictures"
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(3):
            shade = np.full((720, 1280, 3), 60 * number + 40, np.uint8)
            cv2.imwrite(str(folder / f"{number}.png"), shade)
        return folder

    def _use_camera(self, separate: bool) -> None:
        """Take pictures from the simulator, or from a process that is nothing but a camera."""
        if not self._operator.set_camera_fault("lost" if separate else "none"):
            raise BenchError("the simulator does not take its parameter camera_fault")
        if separate and "camera" not in self._group.children:
            self._start("camera")
        elif not separate:
            self._group.end("camera")
        self._until(self._ready, START_LIMIT_S, "a picture")

    def _pid(self, target: str) -> int:
        if target != "worker":
            return self._group.children[target].pid
        for child in psutil.Process(self._group.children["tree"].pid).children():
            with contextlib.suppress(psutil.Error):
                if "vla_bt.policy.worker" in child.cmdline():
                    return child.pid
        raise BenchError("the tree has no policy worker")

    def _ready(self) -> bool:
        frame = self._ring.latest()
        seen = frame is not None and time.monotonic() - frame.received_s < 0.2
        policy = self._operator.snapshot.get("policy", {})
        return seen and self._operator.has_gate() and self._operator.has_tree() and policy.get("state") == "ready"

    def _until(self, condition: Callable[[], bool], limit_s: float, what: str) -> None:
        end_s = time.monotonic() + limit_s
        while not condition():
            dead = self._group.dead()
            if dead:
                name, words = next(iter(dead.items()))
                raise BenchError(f"the {name} process ended by itself: {words}")
            if time.monotonic() > end_s:
                said = self._operator.snapshot.get("words", "nothing")
                raise BenchError(f"waited {limit_s:.0f} s in vain for {what}; the tree says: {said}")
            time.sleep(0.01)

    # ------------------------------------------------------------------ one repetition

    def _drive(self) -> None:
        """Let the policy drive from the start, for a moment nobody can foresee."""
        operator = self._operator
        operator.set_mode("manual")
        self._until(lambda: operator.zero_since_s() is not None, START_LIMIT_S, "zero in mode manual")
        ok, words = operator.call("reset_sim")
        if not ok:
            raise BenchError(f"the simulator's reset failed: {words}")
        self._until(self._ready, START_LIMIT_S, "everything to run")
        for _ in range(5):
            operator.set_mode("vla")
            operator.give_goal(GOAL)
            end_s = time.monotonic() + 5.0
            while time.monotonic() < end_s and not self._moving():
                time.sleep(0.01)
            time.sleep(0.2 + 0.5 * self._random.random())
            if self._moving():
                return
            self.held.append(str(operator.snapshot.get("words", "")))
            self._nudge()
        raise BenchError(f"the robot does not drive; the tree says: {self.held[-1]}")

    def _nudge(self) -> None:
        """Drive a little by hand, as a person would whose robot was held by a fault that came by itself on a busy machine."""
        self._operator.set_mode("manual")
        end_s = time.monotonic() + 1.0
        while time.monotonic() < end_s:
            self._operator.drive(Twist(-0.15, 0.0, 0.2))
            time.sleep(0.05)
        self._operator.drive(ZERO)

    def _moving(self) -> bool:
        return self._operator.zero_since_s() is None and self._operator.velocity.speed > MOVING

    def _inject(self, name: str, case: Case, pid: int) -> float:
        """Do it; returns the time just before [s]."""
        if name == "estop":
            return self._operator.press_stop(True)
        at_s = time.monotonic()
        if name == "camera-freeze":
            self._operator.set_camera_fault("frozen")
        else:
            os.kill(pid, case.signal)
        return at_s

    def _zero(self, at_s: float) -> float | None:
        """Return how long it took until ``cmd_vel`` was zero and stayed so."""
        while time.monotonic() < at_s + NEVER_S:
            since_s = self._operator.zero_since_s()
            if since_s is not None and since_s >= at_s and time.monotonic() >= since_s + HOLD_S:
                return since_s - at_s
            time.sleep(0.005)
        return None

    def _rest(self, at_s: float) -> float | None:
        """Return how long it took until the base itself rested, by the simulator's truth."""
        since_s: float | None = None
        while (now_s := time.monotonic()) < at_s + NEVER_S:
            truth = self._truth()
            if truth is None or truth.twist.speed > 0.01 or abs(truth.twist.angular_z) > 0.02:
                since_s = None
            elif since_s is None:
                since_s = now_s
            elif now_s >= since_s + HOLD_S:
                return since_s - at_s
            time.sleep(0.005)
        return None

    def _repair(self, name: str, case: Case, pid: int) -> None:
        if case.signal == signal.SIGSTOP:
            with contextlib.suppress(ProcessLookupError):  # a silent worker is killed by its tree
                os.kill(pid, signal.SIGCONT)
        elif case.signal == signal.SIGKILL and case.target != "worker":  # the tree starts a new worker itself
            self._start(case.target)
        elif name == "estop":
            self._operator.press_stop(False)
            self._until(lambda: self._operator.call("reset_stop")[0], 5.0, "the emergency stop's reset")
        elif name == "camera-freeze":
            self._operator.set_camera_fault("none")
        if case.target == "tree":
            self._operator.snapshot, self._operator.snapshot_s = {}, 0.0  # an old word does not count
        self._until(self._ready, START_LIMIT_S, f"everything to run again after '{name}'")
