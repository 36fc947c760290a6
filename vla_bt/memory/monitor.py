"""How much memory is left and who holds it, sampled off the tick, and the place where the guard and the outside meet.

Promises: :meth:`MemoryMonitor.reading` and every wish return at once; sampling, clearing and writing happen in one thread of
their own, which costs at most 1 % of a CPU (``vla-bt bench memory``). Where the GPU shares the memory, MemAvailable is the truth.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_bt.memory.cgroup import confinement
from vla_bt.memory.clearing import release
from vla_bt.memory.ladder import Level
from vla_bt.memory.processes import ProcessMemory, ProcessWatch
from vla_bt.memory.system import Gpu, GpuMemory, SystemMemory, read_system
from vla_bt.memory.trend import Slope, slope
from vla_bt.settings import TreeSettings

if TYPE_CHECKING:
    from vla_bt.memory.guard import MemoryState

SAMPLE_PERIOD_S = 0.25
CLEAR_PERIOD_S = 5.0
"""Clearing more often than this gains nothing."""

COMPLAINT_PERIOD_S = 30.0
"""What goes wrong in the sampler's thread is said at most this often [s]."""

RING_SAMPLES = 2400
"""Ten minutes."""

REPORT_PERIOD_S = 1.0
REPORT_FILE = "memory.json"
REPORT_LIMIT_S = 5.0
"""An older report is a leftover [s]."""

SPARK_POINTS = 60
SETTLE_S = 60.0
"""What a process takes in its first minute, or in the minute after a step, is no growth [s]."""

TREND_PERIOD_S = 10.0
TREND_SAMPLE_S = 5.0
STALE_S = 2.0
"""An older reading is no reading [s]."""


@dataclass(frozen=True)
class MemoryReading:
    """One sample.

    Attributes
    ----------
    available_mb : float
        What can still be had: the lesser of MemAvailable and what the container's limit leaves [MB].
    sampled_s : float
        When [s].
    system : SystemMemory
        The machine.
    confined : bool
        The container's limit is the nearer one.
    limit_mb, used_mb : float or None
        That limit, nearer or not, and what the group takes, page cache included [MB].
    processes : dict
        Role -> what it holds.
    gpu : GpuMemory or None
        The GPU's own memory, None without one.
    """

    available_mb: float
    sampled_s: float
    system: SystemMemory
    confined: bool = False
    limit_mb: float | None = None
    used_mb: float | None = None
    processes: dict[str, ProcessMemory] = field(default_factory=dict)
    gpu: GpuMemory | None = None


@dataclass(frozen=True)
class MemoryEvent:
    """Something the guard did or met; ``freed_mb`` is measured, None where nothing was to be freed."""

    number: int
    at_s: float
    level: int
    words: str
    freed_mb: float | None = None

    def __str__(self) -> str:
        freed = "" if self.freed_mb is None else f": freed {self.freed_mb:.1f} MB"
        return f"level {self.level}: {self.words}{freed}"


class NumberRing:
    """The newest rows of numbers, in room that is taken at once: a ring that fills for ten minutes would look like a leak.

    Parameters
    ----------
    size : int
        Rows it holds.
    columns : int
        Numbers of each.

    Attributes
    ----------
    taken : int
        Rows so far, those included that were overwritten.
    """

    def __init__(self, size: int, columns: int) -> None:
        self._size, self._columns = size, columns
        self._values = array("d", bytes(8 * columns * size))
        self.taken = 0

    def append(self, *row: float) -> None:
        """Take a row; the oldest goes when there is no more room.

        Raises
        ------
        ValueError
            When it has another number of columns.
        """
        if len(row) != self._columns:
            raise ValueError(f"{len(row)} numbers instead of {self._columns}")
        place = self._columns * (self.taken % self._size)
        self._values[place : place + self._columns] = array("d", row)
        self.taken += 1

    def __len__(self) -> int:
        return min(self.taken, self._size)

    def __iter__(self) -> Iterator[tuple[float, ...]]:
        """Oldest first."""
        for number in range(self.taken - len(self), self.taken):
            place = self._columns * (number % self._size)
            yield tuple(self._values[place : place + self._columns])


@dataclass
class _Trend:
    """What a process has written to, over time: its points (time [s], written [MB]), and when the next one is due [s]."""

    pid: int
    due_s: float
    points: NumberRing


class MemoryMonitor:
    """Samples memory four times a second in a thread of its own once :meth:`start` was called.

    Parameters
    ----------
    settings : TreeSettings
        What counts as growth.
    clock : callable
        Monotonic seconds.
    role : str
        What this process is.
    directory : Path or None
        The runtime directory: its processes are watched, too, and a report is left there for ``vla-bt memory``.
    """

    def __init__(
        self,
        settings: TreeSettings,
        clock: Callable[[], float] = time.monotonic,
        role: str = "tree",
        directory: Path | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._role = role
        self._directory = directory
        self._watch = ProcessWatch(role, str(directory) if directory is not None else "", clock)
        self._gpu = Gpu()
        self._lock = threading.Lock()
        self._reading: MemoryReading | None = None
        self._trends: dict[str, _Trend] = {}
        self._slopes: dict[str, Slope] = {}
        self._slopes_due_s = 0.0
        self._report_due_s = 0.0
        self._clear_wanted = False
        self._cleared_s = -CLEAR_PERIOD_S
        self._complained_s = -COMPLAINT_PERIOD_S
        self._clear_asked = self._release_asked = False
        self._number = 0
        self._wake = threading.Event()
        self._ended = False
        self._thread: threading.Thread | None = None
        self.ring = NumberRing(RING_SAMPLES, 3)
        """Time [s], available [MB], level number of each sample, for plots."""
        self.events: deque[MemoryEvent] = deque(maxlen=200)
        self.state: MemoryState | None = None
        self.least = Level.FINE
        self.clears = 0

    # ------------------------------------------------------------------ sampling

    def start(self) -> None:
        """Take a first sample and begin to sample."""
        if self._thread is None:
            self.sample()
            self._thread = threading.Thread(target=self._run, name="memory monitor", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread and remove the report."""
        self._ended = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(2.0)
            self._thread = None
        if self._directory is not None:
            (self._directory / REPORT_FILE).unlink(missing_ok=True)

    def silence_s(self) -> float:
        """Return the age of the newest sample [s]; 0 for a monitor that doesn't sample by itself."""
        reading = self._reading
        return self._clock() - reading.sampled_s if self._thread is not None and reading is not None else 0.0

    def watch(self, role: str, pid: int) -> None:
        """Watch one more process, which isn't found by its command line."""
        self._watch.extra(role, pid)

    def reading(self) -> MemoryReading | None:
        """Return the newest sample, None before the first."""
        return self._reading

    def sample(self) -> MemoryReading:
        """Take a sample now. The thread calls it; so may who has no thread."""
        now_s, system, limited = self._clock(), read_system(), confinement()
        left_mb = limited.available / 1e6 if limited is not None else system.available_mb
        confined = limited is not None and left_mb < system.available_mb
        self._reading = reading = MemoryReading(
            available_mb=min(left_mb, system.available_mb),
            sampled_s=now_s,
            system=system,
            confined=confined,
            limit_mb=limited.limit / 1e6 if limited is not None else None,
            used_mb=limited.usage / 1e6 if limited is not None else None,
            processes=self._watch.read(),
            gpu=self._gpu.read(),
        )
        self.ring.append(now_s, reading.available_mb, self.state.level.number if self.state is not None else 0)
        self._judge_growth(reading)
        return reading

    def _run(self) -> None:
        while not self._ended:
            self._wake.wait(SAMPLE_PERIOD_S)
            for step in (self.sample, self._clear_if_due, self._report_if_due):
                try:
                    step()
                except Exception as error:  # no room for a list, or a process that is gone: the next look may do better
                    with contextlib.suppress(Exception):
                        self._complain(error)

    def _complain(self, error: Exception) -> None:
        """Say what went wrong, not too often; that it goes on the reading's age tells."""
        if self._clock() - self._complained_s >= COMPLAINT_PERIOD_S:
            self._complained_s = self._clock()
            self.note(f"watching memory failed: {type(error).__name__}: {error}")

    def _clear_if_due(self) -> None:
        """Clear, if somebody wants it; a wish soon after the last clearing waits for its turn."""
        if self._clear_wanted and self._clock() - self._cleared_s >= CLEAR_PERIOD_S:
            self._clear_wanted = False
            self._cleared_s = self._clock()
            freed_mb = release()
            self.clears += 1
            self.note(f"cleared the {self._role}'s caches", freed_mb)

    def _report_if_due(self) -> None:
        if self._directory is not None and self._clock() >= self._report_due_s and not self._ended:
            self._report_due_s = self._clock() + REPORT_PERIOD_S
            with contextlib.suppress(OSError):
                self._write_report(self._directory / REPORT_FILE)

    # ------------------------------------------------------------------ growth

    def _judge_growth(self, reading: MemoryReading) -> None:
        now_s = reading.sampled_s
        for role, process in reading.processes.items():
            known = self._trends.get(role)
            if known is None or known.pid != process.pid:
                room = int(self._settings.memory_leak_window_s / TREND_SAMPLE_S) + 1
                known = self._trends[role] = _Trend(process.pid, now_s + SETTLE_S, NumberRing(room, 2))
                self._slopes.pop(role, None)
            if process.written_mb is not None and now_s >= known.due_s:
                known.due_s = now_s + TREND_SAMPLE_S
                known.points.append(now_s, process.written_mb)
        if now_s < self._slopes_due_s:
            return
        self._slopes_due_s = now_s + TREND_PERIOD_S
        for role, known in self._trends.items():
            window = [point for point in known.points if now_s - point[0] <= self._settings.memory_leak_window_s]
            found = slope([at_s for at_s, _ in window], [written_mb for _, written_mb in window])
            if role not in reading.processes:
                self._slopes.pop(role, None)
            elif found is not None and found.seconds >= self._settings.memory_leak_window_s / 2.0:
                before = self._slopes.get(role)
                self._slopes[role] = found
                if self.leaking(role) and (before is None or before.low <= self._settings.memory_leak_mb_h):
                    self.note(f"the {role} process grows by {_slope_words(found)}")

    def slopes(self) -> dict[str, Slope]:
        """Return role -> growth of what a process has written to [MB/h], for those watched for long enough."""
        return dict(self._slopes)

    def leaking(self, role: str) -> bool:
        """Tell whether a process surely grows faster than it may."""
        found = self._slopes.get(role)
        return found is not None and found.low > self._settings.memory_leak_mb_h

    def forget_growth(self) -> None:
        """Begin to watch growth anew, as after a step that changed what is held."""
        self._trends, self._slopes = {}, {}

    # ------------------------------------------------------------------ wishes and words

    def request_clear(self) -> None:
        """Ask for this process's caches to be cleared: now, or :data:`CLEAR_PERIOD_S` after they were cleared last."""
        self._clear_wanted = True

    def ask_clear(self) -> float:
        """A person asks for all caches to be cleared; returns in how many seconds this process's are, 0 for now."""
        self._clear_asked = True
        return max(0.0, CLEAR_PERIOD_S - (self._clock() - self._cleared_s))

    def ask_next_level(self) -> Level:
        """A person asks for the next level, held until :meth:`ask_release`; returns it."""
        now = self.state.level if self.state is not None else Level.FINE
        self.least = Level(min(Level.UNLOAD, now + 1))
        return self.least

    def ask_release(self) -> None:
        """A person lets the guard decide alone again, and forgives a policy that was given up."""
        self.least, self._release_asked = Level.FINE, True

    @property
    def asked(self) -> bool:
        """A person asked for something that was not taken yet."""
        return self._clear_asked or self._release_asked

    def take_asked(self) -> tuple[bool, bool]:
        """Return whether clearing, and forgiving, was asked for; once."""
        taken = (self._clear_asked, self._release_asked)
        self._clear_asked = self._release_asked = False
        return taken

    def note(self, words: str, freed_mb: float | None = None) -> None:
        """Enter an event; whoever logs picks it up."""
        with self._lock:
            self._number += 1
            number = self.state.level.number if self.state is not None else 0
            self.events.append(MemoryEvent(self._number, self._clock(), number, words, freed_mb))

    def events_since(self, number: int) -> list[MemoryEvent]:
        """Return the events after the ``number``-th."""
        with self._lock:
            return [event for event in self.events if event.number > number]

    def report(self) -> dict[str, Any]:
        """Return everything for people, as plain data. MB, s, MB/h."""
        reading, state, now_s = self._reading, self.state, self._clock()
        if reading is None:
            return {}
        level = state.level if state is not None else Level.FINE
        gpu, own = reading.gpu, reading.processes.get(self._role)
        return {
            "level": level.number,
            "step": level.name.lower(),
            "words": state.words if state is not None else "no guard",
            "manual_only": state.manual_only if state is not None else "",
            "grade": state.policy_grade.name.lower() if state is not None else "",
            "out_of_memory": state.out_of_memory if state is not None else 0,
            "available_mb": round(reading.available_mb, 1),
            "rss_mb": round(own.rss_mb, 1) if own is not None else None,
            "total_mb": round(reading.system.total_mb, 1),
            "limit_mb": None if reading.limit_mb is None else round(reading.limit_mb, 1),
            "used_mb": None if reading.used_mb is None else round(reading.used_mb, 1),
            "confined": reading.confined,
            "swap_used_mb": round(reading.system.swap_used_mb, 1),
            "stalled_some_percent": reading.system.stalled_some,
            "stalled_full_percent": reading.system.stalled_full,
            "gpu": None if gpu is None else {"total_mb": gpu.total_mb, "used_mb": gpu.used_mb, "free_mb": gpu.free_mb},
            "age_s": round(now_s - reading.sampled_s, 2),
            "processes": {role: self._row(role, process) for role, process in reading.processes.items()},
            "events": [
                {
                    "number": event.number,
                    "ago_s": round(now_s - event.at_s, 1),
                    "level": event.level,
                    "words": event.words,
                    "freed_mb": event.freed_mb,
                }
                for event in self.events_since(self._number - 8)
            ],
        }

    def _row(self, role: str, process: ProcessMemory) -> dict[str, Any]:
        found = self._slopes.get(role)
        return {
            "pid": process.pid,
            "rss_mb": round(process.rss_mb, 1),
            "uss_mb": None if process.uss_mb is None else round(process.uss_mb, 1),
            "pss_mb": None if process.pss_mb is None else round(process.pss_mb, 1),
            "growth_mb_h": None if found is None else [round(number, 2) for number in (found.per_hour, found.low, found.high)],
            "leaking": self.leaking(role),
        }

    def _write_report(self, path: Path) -> None:
        step = max(1, -(-len(self.ring) // SPARK_POINTS))  # rounded up: never more than SPARK_POINTS
        points = islice(self.ring, 0, None, step)  # a list of them all would be thousands of small objects, each second
        recent = {"available_mb": [round(point[1], 1) for point in points], "period_s": step * SAMPLE_PERIOD_S}
        content = {"written_s": time.time(), "pid": os.getpid(), **self.report(), "recent": recent}
        fresh = path.with_suffix(".fresh")
        fresh.write_text(json.dumps(content), encoding="utf-8")
        fresh.replace(path)


def _slope_words(found: Slope) -> str:
    return f"{found.per_hour:.1f} MB/h (95 %: {found.low:.1f} to {found.high:.1f}) over {found.seconds / 60:.0f} min"


def read_report(directory: Path) -> dict[str, Any] | None:
    """Return what the tree that runs in ``directory`` last said, None when none does."""
    try:
        report = json.loads((directory / REPORT_FILE).read_text(encoding="utf-8"))
        fresh = 0.0 <= time.time() - report["written_s"] < REPORT_LIMIT_S
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return report if fresh and isinstance(report, dict) else None
