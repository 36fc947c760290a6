"""What the run log adds to a tick, and how much it writes.

Promises: the real tree drives by its policy at every measured tick; blocks of ticks with and without a log alternate in one
process, with the log's own thread at work beside them, ten times as fast as on a robot.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from vla_bt.app.run_log import Witness, nodes_of
from vla_bt.bench.figures import Spread, spread
from vla_bt.bench.memory_world import MemoryPolicy, MemoryRobot
from vla_bt.bench.tick import WARM_UP_TICKS, BenchError, application, bench_settings
from vla_bt.control.causes import load_causes
from vla_bt.runlog.log import RunLog
from vla_bt.words import Source

BLOCK_TICKS = 50
SPEED_UP = 10.0


@dataclass(frozen=True)
class LogCost:
    """What was measured.

    Attributes
    ----------
    with_log, without : Spread
        A tick with its request, by the clock [s].
    with_log_cpu, without_cpu : Spread
        The same in processor time of the ticking thread [s].
    writer_cpu_s : float
        Processor time of all other threads per logged tick [s], over what they take without a log.
    bytes_per_hour : float
        At the robot's own tick rate.
    dropped : int
        Ticks the log lost.
    """

    with_log: Spread
    without: Spread
    with_log_cpu: Spread
    without_cpu: Spread
    writer_cpu_s: float
    bytes_per_hour: float
    dropped: int

    @property
    def added_p50_s(self) -> float:
        """What the log adds to the median tick, in processor time [s]."""
        return self.with_log_cpu.p50 - self.without_cpu.p50

    @property
    def added_p99_s(self) -> float:
        """What the log adds to the 99th percentile, in processor time [s]."""
        return self.with_log_cpu.p99 - self.without_cpu.p99


def measure_log(ticks: int) -> LogCost:
    """Measure ``ticks`` ticks with a log and as many without.

    Raises
    ------
    BenchError
        When the robot did not drive by its policy all the time, or the log failed.
    """
    settings = bench_settings()
    robot, policy = MemoryRobot(settings.tick_period_s), MemoryPolicy()
    wall: dict[bool, list[float]] = {True: [], False: []}
    cpu: dict[bool, list[float]] = {True: [], False: []}
    others: dict[bool, float] = {True: 0.0, False: 0.0}
    with application(robot, policy, settings) as (loop, tree), tempfile.TemporaryDirectory() as folder:
        log = RunLog(nodes_of(tree.root), load_causes(), settings, Path(folder), "bench", robot.now())
        witness = Witness(tree, tree.resources, log.take)
        robot.set_mode("vla")
        robot.give_goal("go to the cup")
        for count in range(WARM_UP_TICKS + 2 * ticks):
            logged = count // BLOCK_TICKS % 2 == 0
            loop.witness = witness if logged else None
            tree.visitors[:] = [witness.times] if logged else []
            robot.advance()
            policy.advance(robot.now())
            process_s, began_s, began_cpu_s = time.process_time(), time.perf_counter(), time.thread_time()
            request = loop.tick()
            tick_cpu_s, tick_s = time.thread_time() - began_cpu_s, time.perf_counter() - began_s
            time.sleep(settings.tick_period_s / SPEED_UP)
            if count >= WARM_UP_TICKS:
                wall[logged].append(tick_s)
                cpu[logged].append(tick_cpu_s)
                others[logged] += time.process_time() - process_s - (time.thread_time() - began_cpu_s)
                if request.source is not Source.POLICY or request.twist.is_zero():
                    raise BenchError(f"tick {request.tick} was not driven by the policy: {loop.words}")
        log.close()
        status = log.status()
    if status.error:
        raise BenchError(status.error)
    logged_ticks = ticks + WARM_UP_TICKS / 2
    return LogCost(
        with_log=spread(wall[True]),
        without=spread(wall[False]),
        with_log_cpu=spread(cpu[True]),
        without_cpu=spread(cpu[False]),
        writer_cpu_s=(others[True] - others[False]) / max(1, len(wall[True])),
        bytes_per_hour=status.size / logged_ticks * 3600.0 / settings.tick_period_s,
        dropped=status.dropped,
    )
