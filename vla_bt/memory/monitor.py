"""How much memory is left, sampled off the tick: MemAvailable, a container's limit, this process's own share.

Promises: :meth:`MemoryMonitor.reading` and :meth:`MemoryMonitor.request_clear` return at once; sampling and clearing happen in
one thread of their own. The level is a pure rule with hysteresis. Where the GPU shares the memory, MemAvailable is the truth.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import psutil

from vla_bt.memory.cgroup import cgroup_available
from vla_bt.settings import TreeSettings

SAMPLE_PERIOD_S = 0.5
CLEAR_PERIOD_S = 5.0
"""Clearing more often than this gains nothing."""

HYSTERESIS = 1.15
"""A level is left only above its limit times this."""


class Level(str, Enum):
    """What the memory left calls for."""

    OK = "ok"
    CLEAR = "clear"  # caches should go
    CRITICAL = "critical"  # autonomy stops


@dataclass(frozen=True)
class MemoryReading:
    """One sample.

    Attributes
    ----------
    available_mb : float
        What can still be had: the lesser of MemAvailable and what the container's limit leaves [MB].
    rss_mb : float
        Resident memory of this process [MB].
    confined : bool
        The container's limit is the nearer one.
    level : Level
        What that calls for.
    sampled_s : float
        When [s].
    """

    available_mb: float
    rss_mb: float
    confined: bool
    level: Level
    sampled_s: float


def level(available_mb: float, before: Level, settings: TreeSettings) -> Level:
    """Judge what is left: below a limit its level holds, and it is left only ``HYSTERESIS`` times above the limit."""
    critical, warn = settings.memory_critical_mb, max(settings.memory_warn_mb, settings.memory_critical_mb)
    if available_mb < critical * (HYSTERESIS if before is Level.CRITICAL else 1.0):
        return Level.CRITICAL
    if available_mb < warn * (1.0 if before is Level.OK else HYSTERESIS):
        return Level.CLEAR
    return Level.OK


def clear_caches() -> bool:
    """Give memory the C allocator holds but doesn't use back to the system; False where there is no glibc.

    ``malloc_trim`` runs beside the interpreter (about 0.2 ms for each MB given back). Python's own garbage collection is left to
    its schedule: a full one holds the interpreter for tens of milliseconds, and so the tick.
    """
    try:
        return bool(ctypes.CDLL("libc.so.6").malloc_trim(0))
    except (OSError, AttributeError):
        return False


class MemoryMonitor:
    """Samples memory twice a second in a thread of its own once :meth:`start` was called.

    Parameters
    ----------
    settings : TreeSettings
        Limits.
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, settings: TreeSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._process = psutil.Process()
        self._reading: MemoryReading | None = None
        self._clear_wanted = False
        self._cleared_s = -CLEAR_PERIOD_S
        self.clears = 0
        self._wake = threading.Event()
        self._ended = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Take a first sample and begin to sample."""
        if self._thread is None:
            self.sample()
            self._thread = threading.Thread(target=self._run, name="memory monitor", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._ended = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(2.0)
            self._thread = None

    def reading(self) -> MemoryReading | None:
        """Return the newest sample, None before the first."""
        return self._reading

    def request_clear(self) -> None:
        """Ask for the caches to be cleared soon; asking again meanwhile changes nothing."""
        self._clear_wanted = True

    def sample(self) -> MemoryReading:
        """Take a sample now. The thread calls it; so may who has no thread."""
        available, limited = psutil.virtual_memory().available, cgroup_available()
        confined = limited is not None and limited < available
        available_mb = (limited if limited is not None and confined else available) / 1e6
        before = self._reading.level if self._reading is not None else Level.OK
        self._reading = MemoryReading(
            available_mb,
            self._process.memory_info().rss / 1e6,
            confined,
            level(available_mb, before, self._settings),
            self._clock(),
        )
        return self._reading

    def _run(self) -> None:
        while not self._ended:
            self._wake.wait(SAMPLE_PERIOD_S)
            with contextlib.suppress(OSError, psutil.Error):  # the reading's age tells that it has ended
                self.sample()
            if self._clear_wanted:
                self._clear_wanted = False
                if self._clock() - self._cleared_s >= CLEAR_PERIOD_S:
                    self._cleared_s = self._clock()
                    clear_caches()
                    self.clears += 1
