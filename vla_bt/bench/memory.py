"""What the memory guard costs: the monitor's share of a CPU, and the time its branch adds to a tick.

Promises: the monitor is the real one, watching this process and five more that hold memory and look like the application's; the
branch is the real one in the real tree, ticked once more right after each whole tick; a new sample comes as often as on a robot,
and the ticks that judge one are also told apart; what the guard adds to whole ticks is measured in turns with it on and off.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from vla_bt.bench.figures import Spread, spread
from vla_bt.bench.memory_world import MemoryPolicy, MemoryRobot
from vla_bt.bench.tick import WARM_UP_TICKS, BenchError, Stopwatch, application, bench_settings
from vla_bt.memory.ladder import Level
from vla_bt.memory.monitor import SAMPLE_PERIOD_S, MemoryMonitor, MemoryReading
from vla_bt.settings import TreeSettings

HELD_MB = 60
MODULES = (
    "vla_bt.policy.worker",
    "vla_bt.ros.gate_node",
    "vla_bt.ros.camera_bridge",
    "vla_bt.ros.sim_node",
    "vla_bt.ros.camera_node",
)


TURNS = 4
"""So often the guard is on and off while what it adds is measured."""


class Samples:
    """Hands out readings in place of a monitor's thread, a new one when it is told to."""

    def __init__(self, reading: MemoryReading) -> None:
        self._reading = reading

    def __call__(self) -> MemoryReading:
        """Return the newest."""
        return self._reading

    def renew(self) -> None:
        """A new sample came; it found the same."""
        self._reading = replace(self._reading)


@dataclass(frozen=True)
class GuardCost:
    """What was measured.

    Attributes
    ----------
    seconds : float
        The monitor was watched for this long [s].
    samples, processes : int
        Samples it took, and processes it watched.
    cpu_percent : float
        Its share of one CPU, children of the kernel's work included [%].
    judging, fine, busy : Spread
        Processor time of the guard's branch in one tick: at level 0 with a new sample to judge, at level 0 in all ticks, and with
        every step in force [s].
    tick : Spread
        Processor time of a whole tick, for comparison [s].
    added_s, added_p50_s : float
        What the guard adds to a whole tick: difference of the means and of the medians with it on and off [s].
    """

    seconds: float
    samples: int
    processes: int
    cpu_percent: float
    judging: Spread
    fine: Spread
    busy: Spread
    tick: Spread
    added_s: float
    added_p50_s: float


@contextmanager
def others(directory: Path) -> Iterator[None]:
    """Run processes that look like the application's and hold memory."""
    program = f"import sys, time; held = bytearray(b'1') * {HELD_MB * 1_000_000}; print(1, flush=True); sys.stdin.read()"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", program, "-m", module, "--runtime-dir", str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for module in MODULES
    ]
    try:
        for child in children:
            assert child.stdout is not None
            child.stdout.readline()
        yield
    finally:
        for child in children:
            child.kill()
            child.communicate()


def measure_monitor(seconds: float) -> tuple[int, int, float]:
    """Watch for ``seconds``; returns samples, processes, and the monitor's share of one CPU [%]."""
    directory = Path(tempfile.mkdtemp(prefix="vla_bt-bench-"))
    try:
        with others(directory):
            memory = MemoryMonitor(bench_settings(), directory=directory)
            memory.start()
            time.sleep(1.0)
            before = (memory.ring.taken, time.process_time(), time.monotonic())
            time.sleep(seconds)  # this thread takes no processor time meanwhile: what the process takes is the monitor's
            after = (memory.ring.taken, time.process_time(), time.monotonic())
            reading = memory.reading()
            memory.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    watched = len(reading.processes) if reading is not None else 0
    return after[0] - before[0], watched, 100.0 * (after[1] - before[1]) / (after[2] - before[2])


def measure_branch(ticks: int) -> tuple[Spread, Spread, Spread, Spread]:
    """Tick the guard's branch in the real tree; returns its cost when judging, at level 0, with every step; and whole ticks."""
    settings = replace(bench_settings(), memory_hold_s=3600.0)
    robot, policy = MemoryRobot(settings.tick_period_s), MemoryPolicy()
    fine, busy, whole = Stopwatch(), Stopwatch(), Stopwatch()
    judging: list[float] = []
    with application(robot, policy, settings) as (loop, tree):
        guard = next(child for child in tree.root.children if child.name == "Guard memory")
        memory = loop_memory(guard)
        robot.set_mode("vla")
        robot.give_goal("go to the cup")
        for watch in (fine, busy):
            reading = memory.sample()
            if watch is busy:
                reading = replace(reading, available_mb=settings.memory_critical_mb / 2.0)
            samples = Samples(reading)
            memory.reading = samples  # type: ignore[method-assign]
            for count in range(WARM_UP_TICKS + ticks):
                robot.advance()
                policy.advance(robot.now())
                new = count % _ticks_a_sample(settings) == 0
                if new:
                    samples.renew()
                with whole:
                    loop.tick()
                if new:
                    samples.renew()
                with watch:
                    for _ in guard.tick():
                        pass
                if count == WARM_UP_TICKS:
                    watch.clear()
                elif new and watch is fine and count > WARM_UP_TICKS:
                    judging.append(watch.cpu_s[-1])
            state = memory.state
            expected = Level.FINE if watch is fine else Level.UNLOAD
            if state is None or state.level is not expected or state.reading is not samples():
                raise BenchError(f"the guard is at {state.words if state else 'no level'}; expected {expected.words}")
    return spread(judging), spread(fine.cpu_s), spread(busy.cpu_s), spread(whole.cpu_s)


def measure_added(ticks: int) -> tuple[float, float]:
    """Tick the real tree in turns with the guard on and off; returns what it adds to the mean and to the median tick [s]."""
    taken: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(2 * TURNS):
        on = turn % 2 == 0
        settings = replace(bench_settings(), memory_guard=on)
        robot, policy, watch = MemoryRobot(settings.tick_period_s), MemoryPolicy(), Stopwatch()
        with application(robot, policy, settings) as (loop, tree):
            memory = loop_memory(next(child for child in tree.root.children if child.name == "Guard memory"))
            samples = Samples(memory.sample())
            memory.reading = samples  # type: ignore[method-assign]
            robot.set_mode("vla")
            robot.give_goal("go to the cup")
            for count in range(WARM_UP_TICKS + ticks // TURNS):
                robot.advance()
                policy.advance(robot.now())
                if count % _ticks_a_sample(settings) == 0:
                    samples.renew()
                with watch:
                    loop.tick()
        taken[on] += watch.cpu_s[WARM_UP_TICKS:]
    mean_s = sum(taken[True]) / len(taken[True]) - sum(taken[False]) / len(taken[False])
    return mean_s, spread(taken[True]).p50 - spread(taken[False]).p50


def _ticks_a_sample(settings: TreeSettings) -> int:
    return max(1, round(SAMPLE_PERIOD_S / settings.tick_period_s))


def loop_memory(guard: object) -> MemoryMonitor:
    """Return the monitor that a guard's branch reads."""
    memory: MemoryMonitor = guard.children[0].resources.memory  # type: ignore[attr-defined]
    reading: MemoryReading | None = memory.reading()
    if reading is None:
        raise BenchError("the monitor has no sample")
    return memory


def measure_guard(ticks: int, seconds: float) -> GuardCost:
    """Measure both.

    Raises
    ------
    BenchError
        When the guard did not stand at the level that was to be measured, as on a machine whose memory is short.
    """
    samples, processes, percent = measure_monitor(seconds)
    judging, fine, busy, tick = measure_branch(ticks)
    return GuardCost(seconds, samples, processes, percent, judging, fine, busy, tick, *measure_added(ticks))
