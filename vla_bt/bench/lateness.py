"""How late the tick comes while a network is at work beside it, and how old a frame is when a request follows from it.

Promises: three processes, as on the robot: one writes 720p frames into the real ring at 15 Hz, the real worker runs the policy on
them, and this one ticks the real tree at 20 Hz, waiting the way the tree's process waits. Only ROS and the robot are left out:
odometry, scan and the gate's reports are answered from memory.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

from vla_bt.app.loop import TickLoop
from vla_bt.bench.figures import LoadMeter, Spread, spread
from vla_bt.bench.memory_world import MemoryRobot
from vla_bt.bench.tick import BenchError, application, bench_settings
from vla_bt.camera.ring import FrameRingReader, ring_path
from vla_bt.policy.client import WorkerClient
from vla_bt.port import Snapshot

CAMERA_HZ = 15.0
START_LIMIT_S = 120.0
TURN_S = 5.0
"""The policy drives, and rests, in turns of about this length [s]."""

SETTLE_S = 0.5
"""What is left out of each turn [s]."""


class RingRobot(MemoryRobot):
    """A ``Robot`` on the wall clock whose camera is a real ring.

    Attributes
    ----------
    received_s : dict of int to float
        Sequence and time of receipt of each frame that a snapshot showed.
    """

    def __init__(self, period_s: float, ring: Path) -> None:
        super().__init__(period_s)
        self._reader = FrameRingReader(ring)
        self.received_s: dict[int, float] = {}

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def snapshot(self) -> Snapshot:
        """Copy what is in the ring now, with the rest from memory."""
        frame = self._reader.latest()
        if frame is not None:
            self.received_s[frame.sequence] = frame.received_s
        return replace(self._snapshot, now_s=time.monotonic(), frame=frame)

    def advance(self) -> None:
        """Make the rest as fresh as it would be."""
        self._now_s = time.monotonic() - self._period_s
        super().advance()

    def close(self) -> None:
        """Let go of the ring."""
        self._reader.close()


@dataclass(frozen=True)
class Lateness:
    """What was measured.

    Attributes
    ----------
    policy, label : str
        What the worker ran, in its own words.
    frames_handed, steps_taken : int
        Counts from start to end: equal, or one step is under way.
    worker_busy : float
        Share of the time in which the worker computed while the policy drove.
    late, late_idle : Spread
        Begin of each tick after its due time, while the policy drove and, turn by turn with that, while its worker had nothing to
        do: what the machine itself does to a waiting process [s].
    wall : Spread
        Each tick while the policy drove, by the clock [s].
    camera_to_request : Spread
        From a frame's receipt in the ring until the first request that follows from it was composed [s].
    load : dict
        The machine meanwhile.
    """

    policy: str
    label: str
    frames_handed: int
    steps_taken: int
    worker_busy: float
    late: Spread
    late_idle: Spread
    wall: Spread
    camera_to_request: Spread
    load: dict[str, float]


def measure_lateness(policy: str, seconds: float) -> Lateness:
    """Tick at the tree's own rate for ``seconds`` while a worker runs ``policy``, and for as long while it rests.

    Raises
    ------
    BenchError
        When the worker isn't there in time, or no request ever followed from a frame.
    """
    directory = Path("/dev/shm") / f"vla_bt-{os.getuid()}-bench-{os.getpid()}"
    directory.mkdir(mode=0o700)
    feeder: subprocess.Popen[bytes] | None = None
    client: WorkerClient | None = None
    try:
        command = [sys.executable, "-m", "vla_bt.bench.feeder", "--ring", str(ring_path(directory)), "--rate", str(CAMERA_HZ)]
        # The feeder needs no ROS library, and without a second start of the interpreter its parent is this process.
        environment = os.environ | {"_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"}
        feeder = subprocess.Popen([*command, "--parent", str(os.getpid())], stdin=subprocess.DEVNULL, env=environment)
        client = WorkerClient(policy, directory, time.monotonic)
        _await(client, feeder)
        return _measure(client, directory, seconds)
    finally:
        if client is not None:
            client.close()
        if feeder is not None:
            feeder.terminate()
            feeder.wait(5.0)
        shutil.rmtree(directory, ignore_errors=True)


def _await(client: WorkerClient, feeder: subprocess.Popen[bytes]) -> None:
    limit_s = time.monotonic() + START_LIMIT_S
    while (status := client.status()).state != "ready":
        if feeder.poll() is not None:
            raise BenchError(f"the process that feeds the ring ended with code {feeder.returncode}")
        if status.state == "dead" or status.restarts or time.monotonic() > limit_s:
            raise BenchError(f"the policy worker is not ready: {status.detail}")
        time.sleep(0.05)


class _Run:
    """The loop of 20 Hz, and what is noted of it."""

    def __init__(self, loop: TickLoop, robot: RingRobot, client: WorkerClient, period_s: float) -> None:
        self._loop, self._robot, self._client, self._period_s = loop, robot, client, period_s
        self._wake = threading.Event()
        self._due_s = time.monotonic()
        self._steps = client.steps_taken
        self.late_s: dict[bool, list[float]] = {True: [], False: []}
        self.wall_s: list[float] = []
        self.latency_s: dict[int, float] = {}
        self.computed_s = 0.0

    def tick(self, driving: bool, noted: bool) -> None:
        """Wait for the next tick as the tree's process does, make it, and note it under whether the policy drives."""
        self._robot.advance()
        self._wake.wait(max(0.0, self._due_s - time.monotonic()))
        began_s = time.monotonic()
        request = self._loop.tick(began_s - self._due_s)
        done_s = time.monotonic()
        if noted:
            self.late_s[driving].append(began_s - self._due_s)
            if driving:
                self._note_policy(request.frame_sequence, done_s - began_s, done_s)
        self._steps = self._client.steps_taken
        self._due_s = max(self._due_s + self._period_s, done_s - self._period_s)

    def _note_policy(self, sequence: int, took_s: float, done_s: float) -> None:
        self.wall_s.append(took_s)
        received_s = self._robot.received_s.get(sequence)
        if received_s is not None and sequence not in self.latency_s:
            self.latency_s[sequence] = done_s - received_s
        if self._client.steps_taken != self._steps:
            self.computed_s += self._client.status().last_latency_s


def _measure(client: WorkerClient, directory: Path, seconds: float) -> Lateness:
    settings = replace(bench_settings(), stop_probability=1.0)  # an untrained network may claim arrival at any time
    period_s = settings.tick_period_s
    robot = RingRobot(period_s, ring_path(directory))
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(0.001)  # as the tree's process does
    try:
        with application(robot, client, settings) as (loop, _):
            run = _Run(loop, robot, client, period_s)
            load = LoadMeter()
            turns = max(1, round(seconds / TURN_S))
            for turn in range(2 * turns):
                driving = turn % 2 == 0
                robot.set_mode("vla" if driving else "manual")
                if driving:
                    robot.give_goal("go to the cup")
                for count in range(round((SETTLE_S + seconds / turns) / period_s)):
                    run.tick(driving, noted=count * period_s >= SETTLE_S)
    finally:
        sys.setswitchinterval(interval_s)
        robot.close()
    status = client.status()
    if not run.latency_s:
        raise BenchError(f"no request followed from a frame; the policy is {status.state}: {status.detail}")
    return Lateness(
        policy=status.info.name if status.info else "",
        label=status.info.label if status.info else "",
        frames_handed=status.frames_handed,
        steps_taken=status.steps_taken,
        worker_busy=run.computed_s / seconds,
        late=spread(run.late_s[True]),
        late_idle=spread(run.late_s[False]),
        wall=spread(run.wall_s),
        camera_to_request=spread(list(run.latency_s.values())),
        load=load.stop(),
    )
