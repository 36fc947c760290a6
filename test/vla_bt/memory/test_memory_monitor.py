"""Memory is judged by what is left, in a thread that the tick never waits for."""

from __future__ import annotations

import platform
import threading
import time

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_bt.memory import monitor
from vla_bt.memory.monitor import Level, MemoryMonitor, clear_caches, level
from vla_bt.settings import TreeSettings

SETTINGS = TreeSettings(memory_warn_mb=1000.0, memory_critical_mb=400.0)


@pytest.mark.parametrize(
    "available_mb, before, expected",
    [
        (2000, Level.OK, Level.OK),
        (1000, Level.OK, Level.OK),
        (999, Level.OK, Level.CLEAR),
        (399, Level.OK, Level.CRITICAL),
        (1149, Level.CLEAR, Level.CLEAR),
        (1151, Level.CLEAR, Level.OK),
        (459, Level.CRITICAL, Level.CRITICAL),
        (461, Level.CRITICAL, Level.CLEAR),
        (1151, Level.CRITICAL, Level.OK),
        (401, Level.CLEAR, Level.CLEAR),
    ],
)
def test_levels_and_their_hysteresis(available_mb: float, before: Level, expected: Level) -> None:
    assert level(available_mb, before, SETTINGS) is expected


@given(st.floats(0, 1e6), st.sampled_from(Level))
def test_a_level_is_stable_while_nothing_changes(available_mb: float, before: Level) -> None:
    first = level(available_mb, before, SETTINGS)
    assert level(available_mb, first, SETTINGS) is first


def test_a_critical_limit_above_the_warning_still_holds() -> None:
    odd = TreeSettings(memory_warn_mb=100.0, memory_critical_mb=400.0)
    assert level(399.0, Level.OK, odd) is Level.CRITICAL


def test_a_sample_is_what_the_system_says() -> None:
    memory = MemoryMonitor(SETTINGS, clock=lambda: 42.0)
    assert memory.reading() is None
    reading = memory.sample()
    assert memory.reading() is reading
    assert reading.sampled_s == 42.0
    assert 0.0 < reading.available_mb <= psutil.virtual_memory().total / 1e6
    assert 5.0 < reading.rss_mb < 100_000.0


def test_a_nearer_container_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "cgroup_available", lambda: 300_000_000)
    reading = MemoryMonitor(SETTINGS).sample()
    assert (reading.available_mb, reading.confined, reading.level) == (300.0, True, Level.CRITICAL)
    monkeypatch.setattr(monitor, "cgroup_available", lambda: 1 << 55)
    assert not MemoryMonitor(SETTINGS).sample().confined


def test_it_samples_and_clears_in_its_own_thread_and_asking_never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "SAMPLE_PERIOD_S", 0.02)
    begun, release, cleared = threading.Event(), threading.Event(), threading.Event()
    cleared_in = []

    def slow_clear() -> bool:
        cleared_in.append(threading.current_thread().name)
        begun.set()
        release.wait(30.0)
        cleared.set()
        return True

    monkeypatch.setattr(monitor, "clear_caches", slow_clear)
    memory = MemoryMonitor(SETTINGS)
    memory.start()
    try:
        memory.request_clear()
        assert begun.wait(5.0)
        for _ in range(1000):
            memory.request_clear()
            memory.reading()
        assert not cleared.is_set(), "asking returned while caches were being cleared"
        release.set()
        assert cleared.wait(5.0)
        first = memory.reading()
        assert first is not None
        end = time.monotonic() + 5.0
        while memory.reading() is first and time.monotonic() < end:
            time.sleep(0.01)
        assert memory.reading() is not first
    finally:
        release.set()
        memory.stop()
    assert cleared_in == ["memory monitor"]
    assert memory.clears == 1


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's allocator")
def test_clearing_gives_memory_back() -> None:
    process = psutil.Process()
    held = [bytes(1000) for _ in range(100_000)]
    kept = [bytes(1000) for _ in range(10)]  # keeps the heap's top from being given back by itself
    full = process.memory_info().rss
    del held
    clear_caches()
    assert process.memory_info().rss < full - 50e6
    assert len(kept) == 10
