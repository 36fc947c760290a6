"""What the memory guard costs: the monitor's share of a CPU, and the time its branch adds to a tick.

Promises: the monitor is the real one, watching this process and five more that hold memory and look like the application's; the
branch is the real one in the real tree, ticked once more right after each whole tick, at level 0 and with every step in force.
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
from functools import partial
from pathlib import Path

from vla_bt.bench.figures import Spread, spread
from vla_bt.bench.memory_world import MemoryPolicy, MemoryRobot
from vla_bt.bench.tick import WARM_UP_TICKS, BenchError, Stopwatch, application, bench_settings
from vla_bt.memory.ladder import Level
from vla_bt.memory.monitor import MemoryMonitor, MemoryReading

HELD_MB = 60
MODULES = (
    "vla_bt.policy.worker",
    "vla_bt.ros.gate_node",
    "vla_bt.ros.camera_bridge",
    "vla_bt.ros.sim_node",
    "vla_bt.ros.camera_node",
)


def _same(reading: MemoryReading) -> MemoryReading:
    return reading


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
    fine, busy : Spread
        Processor time of the guard's branch in one tick at level 0, and with every step in force [s].
    tick : Spread
        Processor time of a whole tick, for comparison [s].
    """

    seconds: float
    samples: int
    processes: int
    cpu_percent: float
    fine: Spread
    busy: Spread
    tick: Spread


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


def measure_branch(ticks: int) -> tuple[Spread, Spread, Spread]:
    """Tick the guard's branch in the real tree; returns its cost at level 0, with every step in force, and the whole tick's."""
    settings = replace(bench_settings(), memory_hold_s=3600.0)
    robot, policy = MemoryRobot(settings.tick_period_s), MemoryPolicy()
    fine, busy, whole = Stopwatch(), Stopwatch(), Stopwatch()
    with application(robot, policy, settings) as (loop, tree):
        guard = next(child for child in tree.root.children if child.name == "Guard memory")
        memory = loop_memory(guard)
        robot.set_mode("vla")
        robot.give_goal("go to the cup")
        for watch in (fine, busy):
            if watch is busy:
                low = replace(memory.sample(), available_mb=settings.memory_critical_mb / 2.0)
                memory.reading = partial(_same, low)  # type: ignore[method-assign]
            for count in range(WARM_UP_TICKS + ticks):
                robot.advance()
                policy.advance(robot.now())
                with whole:
                    loop.tick()
                with watch:
                    for _ in guard.tick():
                        pass
                if count == WARM_UP_TICKS:
                    watch.clear()
            state = memory.state
            expected = Level.FINE if watch is fine else Level.UNLOAD
            if state is None or state.level is not expected:
                raise BenchError(f"the guard is at {state.words if state else 'no level'}; expected {expected.words}")
    return spread(fine.cpu_s), spread(busy.cpu_s), spread(whole.cpu_s)


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
    fine, busy, tick = measure_branch(ticks)
    return GuardCost(seconds, samples, processes, percent, fine, busy, tick)
