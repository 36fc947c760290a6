"""What recording costs: frames lost, what it adds to a tick, processor time, and bytes a second beside what the disk takes.

Promises: the tree is the real one, ticked at 20 Hz on the wall clock the way its process does it, with a camera that is another
process and writes 720p noise into the real ring at 30 Hz; it hands frames over to the real recorder through its own leaf.
Recording and not recording take turns, so that both see the same machine. What was lost is counted in the files, read back.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from vla_bt.app.loop import TickLoop
from vla_bt.bench.figures import LoadMeter, Spread, spread
from vla_bt.bench.lateness import RingRobot
from vla_bt.bench.memory_world import MemoryPolicy
from vla_bt.bench.tick import BenchError, Stopwatch, application, bench_settings
from vla_bt.camera.ring import ring_path
from vla_bt.episodes.format import FRAMES, EpisodeInfo, EpisodeWriter, FrameSample
from vla_bt.episodes.journal import write_at
from vla_bt.episodes.opening import read
from vla_bt.episodes.recorder import EpisodeRecorder
from vla_bt.port import FrameInfo, Snapshot
from vla_bt.words import Mode, Source, Twist

TICK_S = 0.05
CAMERA_HZ = 30.0
TURN_S = 5.0
SETTLE_S = 0.3
"""What is left out at the beginning of each turn [s]."""

SHAPE = (720, 1280, 3)
FRAME_BYTES = 720 * 1280 * 3
BURSTS = 4
"""Episodes' worth of frames that each way of writing gets, in turns."""


@dataclass(frozen=True)
class RateCost:
    """What was measured at one rate.

    Attributes
    ----------
    rate_hz : float
        Frames asked for a second.
    by : str
        Who hands the frames over: ``tree`` or ``thread``.
    to : str
        Who writes: ``recorder``, or ``h5py`` for a plain loop in its place.
    due, handed, recorded, dropped : int
        Frames that were due between the first and the last one, frames handed over (fewer when a tick came late), frames in the
        files, frames the queue had no room for.
    tick_on, tick_off : Spread
        A tick while recording and while not, by the clock [s].
    cpu_on, cpu_off : Spread
        The same in the ticking thread's processor time [s].
    busy_on, busy_off : float
        Processor time of the whole process [cores].
    waiting : int
        Most frames that waited for the disk.
    load : dict
        How busy the machine was.
    """

    rate_hz: float
    by: str
    to: str
    due: int
    handed: int
    recorded: int
    dropped: int
    tick_on: Spread
    tick_off: Spread
    cpu_on: Spread
    cpu_off: Spread
    busy_on: float
    busy_off: float
    waiting: int
    load: dict[str, Any]

    @property
    def lost(self) -> int:
        """Frames that were handed over and are in no file."""
        return self.handed - self.recorded

    @property
    def late(self) -> int:
        """Frames that were due and nobody handed over: the tick, or the camera, came late."""
        return max(0, self.due - self.handed)

    @property
    def megabytes_a_second(self) -> float:
        """Pixels that reached the files [MB/s]."""
        return self.rate_hz * FRAME_BYTES / 1e6 * (self.recorded / self.due if self.due else 0.0)


@dataclass(frozen=True)
class WriteCost:
    """One way of writing as fast as it goes.

    Attributes
    ----------
    name : str
        Which.
    megabytes_a_second : float
        Until the disk has it [MB/s].
    cpu_ms : float
        Processor time of a frame [ms].
    """

    name: str
    megabytes_a_second: float
    cpu_ms: float


class _Camera(RingRobot):
    """The robot of this measurement, recorded on request."""

    def __init__(self, period_s: float, ring: Path) -> None:
        super().__init__(period_s, ring)
        self._wishes: list[bool] = []

    def record(self, wanted: bool) -> None:
        """A person starts or stops recording; the next tick hears of it."""
        self._wishes.append(wanted)

    def snapshot(self) -> Snapshot:
        """Hand the wishes out once."""
        snapshot, wishes = super().snapshot(), tuple(self._wishes)
        self._wishes.clear()
        return replace(snapshot, operator=replace(snapshot.operator, record_requests=wishes))

    def newest(self) -> FrameInfo | None:
        """Return the newest frame's description."""
        return self._reader.latest()

    def copy_frame(self, sequence: int) -> NDArray[np.uint8] | None:
        """Copy it from the ring."""
        return self._reader.copy(sequence)


class _Counted(EpisodeRecorder):
    """Counts what is handed over."""

    handed = 0

    def offer(self, sample: FrameSample) -> bool:
        """Count one."""
        self.handed += 1
        return super().offer(sample)


class _PlainRecorder(_Counted):
    """A recorder whose thread does what one writes without much thought: h5py, frame by frame, nothing kept safe."""

    def _write_all(self) -> None:
        file: h5py.File | None = None
        count = number = 0
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._queue or self._ended)
                if not self._queue:
                    return
                item = self._queue[0]
            sample = getattr(item, "sample", None)
            if sample is not None:
                if file is None:
                    self._directory.mkdir(parents=True, exist_ok=True)
                    number, count = number + 1, 0
                    file = h5py.File(self._directory / f"{number}.h5", "w")
                    file.create_dataset("images", (FRAMES, *SHAPE), "u1", chunks=(1, *SHAPE))
                    file.create_dataset("decided_s", (FRAMES,), "f8")
                file["images"][count] = sample.image
                file["decided_s"][count] = sample.decided_s
                count += 1
                file.attrs["num_frames"] = count
                file.flush()
            if file is not None and (sample is None or count == FRAMES):
                file.close()
                file = None
            with self._lock:
                self._queue.popleft()


@contextlib.contextmanager
def _feeding(ring: Path) -> Iterator[None]:
    """Run the camera's process."""
    arguments = ["--ring", str(ring), "--rate", str(CAMERA_HZ), "--parent", str(os.getpid())]
    feeder = subprocess.Popen([sys.executable, "-m", "vla_bt.bench.feeder", *arguments], start_new_session=True)
    try:
        until_s = time.monotonic() + 20.0
        while not ring.exists():
            if time.monotonic() > until_s or feeder.poll() is not None:
                raise BenchError("the camera's process did not start")
            time.sleep(0.05)
        yield
    finally:
        feeder.terminate()
        feeder.wait()


class _Turns:
    """Ticks in turns, recording and not, and keeps their times apart."""

    def __init__(self, robot: _Camera, policy: MemoryPolicy, loop: TickLoop, recorder: EpisodeRecorder, by_tree: bool) -> None:
        self._robot, self._policy, self._loop, self._recorder, self._by_tree = robot, policy, loop, recorder, by_tree
        self.watches = {on: Stopwatch() for on in (False, True)}
        self.busy_s = dict.fromkeys((False, True), 0.0)
        self.wall_s = dict.fromkeys((False, True), 0.0)
        self.waiting = self.driven = self.ticks = 0

    def turn(self, on: bool, seconds: float) -> None:
        """Tick for ``seconds``, with or without recording."""
        pump = _Pump(self._robot, self._recorder) if on and not self._by_tree else None
        if on and self._by_tree:
            self._robot.record(True)
        wake, unwatched = threading.Event(), Stopwatch()
        began_s = due_s = time.monotonic()
        began_cpu_s = 0.0
        while (now_s := time.monotonic()) - began_s < seconds:
            settled = now_s - began_s >= SETTLE_S
            if settled and not began_cpu_s:
                began_cpu_s, settled_s = time.process_time(), now_s
            self._robot.advance()
            self._policy.advance(self._robot.now())
            with self.watches[on] if settled else unwatched:
                request = self._loop.tick()
            self.driven += request.source is Source.POLICY and not request.twist.is_zero()
            self.ticks += 1
            if on:
                self.waiting = max(self.waiting, self._recorder.status().waiting)
            due_s = max(due_s + TICK_S, time.monotonic() - TICK_S)
            wake.wait(max(0.0, due_s - time.monotonic()))
        self.busy_s[on] += time.process_time() - began_cpu_s
        self.wall_s[on] += time.monotonic() - settled_s
        if pump is not None:
            pump.end()
        elif on:
            self._robot.record(False)
            self._robot.advance()
            self._loop.tick()

    def busy(self, on: bool) -> float:
        """Return the process's own processor time [cores]."""
        return self.busy_s[on] / self.wall_s[on]


class _Pump:
    """A thread that hands over every frame of the camera, beside the tree: faster than a tree at 20 Hz ever asks."""

    def __init__(self, robot: _Camera, recorder: EpisodeRecorder) -> None:
        self._robot, self._recorder = robot, recorder
        self._over = threading.Event()
        recorder.start()
        self._thread = threading.Thread(target=self._run, name="pump")
        self._thread.start()

    def _run(self) -> None:
        last = 0
        while not self._over.wait(0.002):
            frame = self._robot.newest()
            if frame is None or frame.sequence == last:
                continue
            last = frame.sequence
            image = self._robot.copy_frame(last)
            if image is not None:
                stamps = (frame.stamp_s, frame.received_s, frame.received_s)
                self._recorder.offer(FrameSample(image, Twist(0.1), Twist(), Source.POLICY, Mode.VLA, last, *stamps))

    def end(self) -> None:
        """Stop the thread and the recording."""
        self._over.set()
        self._thread.join()
        self._recorder.stop()


def measure_rate(directory: Path, rate_hz: float, seconds: float, plain: bool = False) -> RateCost:
    """Record at one rate for ``seconds``, and tick as long without.

    Parameters
    ----------
    directory : Path
        On the disk in question; what is written there is deleted.
    rate_hz : float
        Below the tree's own 20 Hz the tree hands the frames over; else a thread beside it hands over all the camera's.
    seconds : float
        [s].
    plain : bool
        With a plain h5py loop in the recorder's place.

    Raises
    ------
    BenchError
        When nothing was recorded, or the robot did not drive.
    """
    by_tree = rate_hz < 1.0 / TICK_S
    rate_hz = rate_hz if by_tree else CAMERA_HZ
    runs = directory / "runs"
    runtime = Path(tempfile.mkdtemp(prefix="vla_bt-bench-", dir="/dev/shm"))
    settings = replace(bench_settings(), tick_period_s=TICK_S, frame_period_s=1.0 / rate_hz)
    recorder = (_PlainRecorder if plain else _Counted)(runs, settings.frame_period_s if by_tree else 1e-4, "bench")
    policy = MemoryPolicy()
    try:
        with (
            _feeding(ring_path(runtime)),
            contextlib.closing(_Camera(TICK_S, ring_path(runtime))) as robot,
            application(robot, policy, settings, recorder if by_tree else None) as (loop, _),
        ):
            robot.set_mode("vla")
            robot.give_goal("go to the cup")
            turns = _Turns(robot, policy, loop, recorder, by_tree)
            load, lasts = LoadMeter(), min(TURN_S, seconds)
            for _ in range(max(1, round(seconds / lasts))):
                for on in (False, True):
                    turns.turn(on, lasts)
            busy = load.stop()
        if turns.driven < 0.5 * turns.ticks:  # a held-up tick may stand; a tree that stands all the time is not what is measured
            raise BenchError(f"the policy drove in {turns.driven} of {turns.ticks} ticks only: the machine is too busy")
        if not recorder.close(60.0):
            raise BenchError("the disk did not take the frames within a minute")
        status = recorder.status()
        due, recorded = _count(runs, settings.frame_period_s if by_tree else 0.0)
        if not recorded or status.error:
            raise BenchError(f"nothing was recorded: {status.words}")
        watches = [turns.watches[on] for on in (True, False)]
        return RateCost(
            rate_hz=rate_hz,
            by="tree" if by_tree else "thread",
            to="h5py" if plain else "recorder",
            due=due,
            handed=recorder.handed,
            recorded=recorded,
            dropped=status.dropped,
            tick_on=spread(watches[0].wall_s),
            tick_off=spread(watches[1].wall_s),
            cpu_on=spread(watches[0].cpu_s),
            cpu_off=spread(watches[1].cpu_s),
            busy_on=turns.busy(True),
            busy_off=turns.busy(False),
            waiting=turns.waiting,
            load=busy,
        )
    finally:
        shutil.rmtree(runtime, ignore_errors=True)
        shutil.rmtree(runs, ignore_errors=True)


def _count(runs: Path, period_s: float) -> tuple[int, int]:
    """Count the frames that were due and those in the files; between two demonstrations none was due.

    With a period of 0 every frame of the camera was due.
    """
    demonstrations: dict[str, list[float]] = {}
    for path in sorted(runs.glob("*.h5")):
        content = read(path, images=False)
        count = content.attributes["num_frames"]
        key = content.attributes.get("demonstration_id", path.name)
        demonstrations.setdefault(key, []).extend(content.columns["decided_s" if period_s else "frame_sequence"][:count])
    due = sum(
        max(len(stamps), round((max(stamps) - min(stamps)) / (period_s or 1.0)) + 1)
        for stamps in demonstrations.values()
        if stamps
    )
    return due, sum(len(stamps) for stamps in demonstrations.values())


def measure_writing(directory: Path) -> list[WriteCost]:
    """Write noise as fast as it goes until the disk has it, in turns: bare, as the recorder does, and with a plain h5py loop.

    Raises
    ------
    OSError
        When the disk doesn't take it.
    """
    random = np.random.default_rng(0)
    frames = [random.integers(0, 256, SHAPE, np.uint8) for _ in range(3)]
    names = ("plain write", "recorder", "h5py loop")
    ways: tuple[Callable[[Path, list[NDArray[np.uint8]]], Path], ...] = (_write_bare, _write_episode, _write_h5py)
    wall_s, cpu_s = [0.0] * len(ways), [0.0] * len(ways)
    for burst in range(BURSTS):
        for way, write in enumerate(ways):
            began_s, began_cpu_s = time.perf_counter(), time.process_time()
            path = write(directory, frames)
            if burst:  # the first finds everything cold
                wall_s[way] += time.perf_counter() - began_s
                cpu_s[way] += time.process_time() - began_cpu_s
            path.unlink()
    count = (BURSTS - 1) * FRAMES
    return [
        WriteCost(name, count * FRAME_BYTES / 1e6 / wall, 1e3 * cpu / count)
        for name, wall, cpu in zip(names, wall_s, cpu_s, strict=True)
    ]


def _write_bare(directory: Path, frames: list[NDArray[np.uint8]]) -> Path:
    path = directory / "bare"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        for index in range(FRAMES):
            write_at(descriptor, memoryview(frames[index % len(frames)]).cast("B"), index * FRAME_BYTES)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return path


def _write_episode(directory: Path, frames: list[NDArray[np.uint8]]) -> Path:
    writer = EpisodeWriter(directory, datetime.now(timezone.utc), EpisodeInfo("bench"), *SHAPE[:2])
    for index in range(FRAMES):
        image = frames[index % len(frames)]
        writer.append(FrameSample(image, Twist(0.1), Twist(), Source.POLICY, Mode.VLA, index, 0.0, 0.0, float(index)))
    return writer.finish()


def _write_h5py(directory: Path, frames: list[NDArray[np.uint8]]) -> Path:
    path = directory / "loop.h5"
    with h5py.File(path, "w") as file:
        images = file.create_dataset("images", (FRAMES, *SHAPE), "u1", chunks=(1, *SHAPE))
        for index in range(FRAMES):
            images[index] = frames[index % len(frames)]
            file.flush()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return path
