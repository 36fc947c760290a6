"""Memory is judged by what is left, in a thread that the tick never waits for."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from vla_bt.memory import monitor
from vla_bt.memory.cgroup import Confinement
from vla_bt.memory.clearing import clear_caches, release, resident_mb
from vla_bt.memory.ladder import Level
from vla_bt.memory.monitor import REPORT_FILE, MemoryMonitor, NumberRing, read_report
from vla_bt.memory.processes import ProcessMemory
from vla_bt.memory.system import SystemMemory
from vla_bt.settings import TreeSettings

SETTINGS = TreeSettings(memory_leak_window_s=120.0, memory_leak_mb_h=20.0)


def test_a_sample_is_what_the_system_says() -> None:
    memory = MemoryMonitor(SETTINGS, clock=lambda: 42.0)
    assert memory.reading() is None
    assert memory.report() == {}
    reading = memory.sample()
    assert memory.reading() is reading
    assert reading.sampled_s == 42.0
    assert 0.0 < reading.available_mb <= psutil.virtual_memory().total / 1e6
    own = reading.processes["tree"]
    assert own.pid == os.getpid()
    assert own.rss_mb == pytest.approx(psutil.Process().memory_info().rss / 1e6, rel=0.1)
    assert own.uss_mb is not None
    assert own.pss_mb is not None
    assert 0.0 < own.uss_mb <= own.pss_mb <= own.rss_mb * 1.05
    assert own.uss_mb == pytest.approx(psutil.Process().memory_full_info().uss / 1e6, rel=0.1)


def test_the_ring_keeps_the_newest_and_takes_no_more_room() -> None:
    ring = NumberRing(3, 3)
    assert list(ring) == []
    held = sys.getsizeof(ring._values)
    for number in range(5):
        ring.append(float(number), 100.0 * number, number)
        assert len(ring) == min(3, number + 1)
    assert list(ring) == [(2.0, 200.0, 2), (3.0, 300.0, 3), (4.0, 400.0, 4)]
    assert ring.taken == 5
    assert sys.getsizeof(ring._values) == held
    with pytest.raises(ValueError, match="2 numbers instead of 3"):
        ring.append(1.0, 2.0)


def test_a_nearer_container_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "confinement", lambda: Confinement(1, 400_000_000, 100_000_000, 300_000_000))
    reading = MemoryMonitor(SETTINGS).sample()
    assert (reading.available_mb, reading.confined, reading.limit_mb, reading.used_mb) == (300.0, True, 400.0, 100.0)
    monkeypatch.setattr(monitor, "confinement", lambda: Confinement(2, 1 << 55, 0, 1 << 55))
    assert not MemoryMonitor(SETTINGS).sample().confined


def test_it_samples_and_clears_in_its_own_thread_and_asking_never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "SAMPLE_PERIOD_S", 0.02)
    begun, go_on, cleared = threading.Event(), threading.Event(), threading.Event()
    cleared_in = []

    def slow_release() -> float:
        cleared_in.append(threading.current_thread().name)
        begun.set()
        go_on.wait(30.0)
        cleared.set()
        return 12.5

    monkeypatch.setattr(monitor, "release", slow_release)
    memory = MemoryMonitor(SETTINGS)
    memory.start()
    try:
        memory.request_clear()
        assert begun.wait(5.0)
        for _ in range(1000):
            memory.request_clear()
            memory.reading()
        assert not cleared.is_set(), "asking returned while caches were being cleared"
        go_on.set()
        assert cleared.wait(5.0)
        first = memory.reading()
        end = time.monotonic() + 5.0
        while memory.reading() is first and time.monotonic() < end:
            time.sleep(0.01)
        assert memory.reading() is not first
    finally:
        go_on.set()
        memory.stop()
    assert cleared_in == ["memory monitor"]
    assert memory.clears == 1
    assert [str(event) for event in memory.events_since(0)] == ["level 0: cleared the tree's caches: freed 12.5 MB"]
    assert memory.events_since(1) == []


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("can't start new thread"), KeyError(b"MemAvailable"), OSError(24, "x")]
)
def test_whatever_goes_wrong_in_a_sample_the_thread_goes_on_and_says_so_once(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "SAMPLE_PERIOD_S", 0.01)
    memory = MemoryMonitor(SETTINGS)
    memory.start()
    failures = [0]
    try:
        read = monitor.read_system

        def failing() -> SystemMemory:
            failures[0] += 1
            raise error

        monkeypatch.setattr(monitor, "read_system", failing)
        until(lambda: failures[0] > 5)
        assert memory.silence_s() > 0.0
        monkeypatch.setattr(monitor, "read_system", read)
        last = memory.reading()
        until(lambda: memory.reading() is not last)
        assert memory.silence_s() < monitor.STALE_S
    finally:
        memory.stop()
    words = [event.words for event in memory.events_since(0)]
    assert words == [f"watching memory failed: {type(error).__name__}: {error}"]


def test_a_monitor_that_does_not_sample_by_itself_is_never_late() -> None:
    now_s = [0.0]
    memory = MemoryMonitor(SETTINGS, clock=lambda: now_s[0])
    assert memory.silence_s() == 0.0
    memory.sample()
    now_s[0] = 60.0
    assert memory.silence_s() == 0.0


def test_a_wish_to_clear_soon_after_a_clearing_waits_and_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "SAMPLE_PERIOD_S", 0.01)
    monkeypatch.setattr(monitor, "CLEAR_PERIOD_S", 0.4)
    monkeypatch.setattr(monitor, "release", lambda: 1.0)
    memory = MemoryMonitor(SETTINGS)
    assert memory.ask_clear() == 0.0
    memory.start()
    try:
        memory.request_clear()
        until(lambda: memory.clears == 1)
        assert 0.0 < memory.ask_clear() <= 0.4
        memory.request_clear()
        until(lambda: memory.clears == 2)
    finally:
        memory.stop()
    first, second = (event.at_s for event in memory.events_since(0))
    assert second - first >= 0.4


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20.0
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's allocator")
def test_clearing_gives_memory_back_and_says_how_much() -> None:
    held = [bytes(1000) for _ in range(100_000)]
    kept = [bytes(1000) for _ in range(10)]  # keeps the heap's top from being given back by itself
    full = resident_mb()
    del held
    freed_mb = release()
    assert freed_mb > 50.0
    assert resident_mb() < full - 50.0
    assert len(kept) == 10
    assert isinstance(clear_caches(), bool)


def test_peoples_wishes_are_taken_once() -> None:
    memory = MemoryMonitor(SETTINGS)
    assert not memory.asked
    memory.ask_clear()
    memory.ask_release()
    assert memory.asked
    assert memory.take_asked() == (True, True)
    assert memory.take_asked() == (False, False)
    assert memory.ask_next_level() is Level.CLEAR
    assert memory.least is Level.CLEAR
    memory.ask_release()
    assert memory.least is Level.FINE


def grow(monkeypatch: pytest.MonkeyPatch, rate_mb_h: float, pids: list[int], seconds: int = 400) -> MemoryMonitor:
    now_s, count = [0.0], [0]

    class Watch:
        def read(self) -> dict[str, ProcessMemory]:
            pid = pids[min(len(pids) - 1, int(len(pids) * now_s[0] / seconds))]
            noise = 0.3 * (count[0] % 3)
            count[0] += 1
            return {"policy": ProcessMemory(pid, 500.0, 450.0, 460.0, 400.0 + rate_mb_h * now_s[0] / 3600.0 + noise)}

    memory = MemoryMonitor(SETTINGS, clock=lambda: now_s[0])
    monkeypatch.setattr(memory, "_watch", Watch())
    for _ in range(seconds):
        now_s[0] += 1.0
        memory.sample()
    return memory


def test_a_process_that_grows_is_named_with_the_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = grow(monkeypatch, 300.0, [7])
    assert memory.leaking("policy")
    assert 250.0 < memory.slopes()["policy"].per_hour < 350.0
    words = [event.words for event in memory.events_since(0)]
    assert len(words) == 1, "it is said once"
    assert words[0].startswith("the policy process grows by ")
    assert "MB/h (95 %: " in words[0]
    assert memory.report()["processes"]["policy"]["leaking"]


def test_a_process_that_does_not_grow_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = grow(monkeypatch, 0.0, [7])
    assert "policy" in memory.slopes()
    assert not memory.leaking("policy")
    assert not memory.events_since(0)


def test_a_replaced_process_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "policy" not in grow(monkeypatch, 300.0, [7, 8, 9, 10, 11]).slopes()


def test_the_report_is_left_for_others_and_taken_away_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(monitor, "SAMPLE_PERIOD_S", 0.02)
    assert read_report(tmp_path) is None
    memory = MemoryMonitor(SETTINGS, directory=tmp_path)
    memory.start()
    end = time.monotonic() + 5.0
    while (report := read_report(tmp_path)) is None and time.monotonic() < end:
        time.sleep(0.01)
    memory.stop()
    assert report is not None
    assert report["processes"]["tree"]["pid"] == os.getpid()
    assert report["recent"]["available_mb"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("samples", [1, 59, 61, 119, 2400, 3000])
def test_the_report_holds_few_points_however_many_samples_there_are(tmp_path: Path, samples: int) -> None:
    memory = MemoryMonitor(SETTINGS, directory=tmp_path)
    memory.sample()
    for number in range(samples - 1):
        memory.ring.append(float(number), 1000.0 + number, 0)
    memory._write_report(tmp_path / REPORT_FILE)
    report = read_report(tmp_path)
    assert report is not None
    assert min(samples, monitor.SPARK_POINTS // 2) <= len(report["recent"]["available_mb"]) <= monitor.SPARK_POINTS


def test_a_report_takes_no_room_for_all_samples(tmp_path: Path) -> None:
    memory = MemoryMonitor(SETTINGS, directory=tmp_path)
    memory.sample()
    for number in range(monitor.RING_SAMPLES):
        memory.ring.append(float(number), 1000.0 + number, 0)
    memory._write_report(tmp_path / REPORT_FILE)
    tracemalloc.start()
    memory._write_report(tmp_path / REPORT_FILE)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 100_000, "bytes; as a list they took 170,000 and more, each second"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"written_s": "x"}', json.dumps({"written_s": 0.0})])
def test_a_leftover_or_damaged_report_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / REPORT_FILE).write_text(text)
    assert read_report(tmp_path) is None


def test_the_processes_of_the_directory_are_found(tmp_path: Path) -> None:
    program = "import sys, time; print(1, flush=True); time.sleep(60)"
    command = [sys.executable, "-c", program, "-m", "vla_bt.policy.worker", "--runtime-dir", str(tmp_path)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        processes = MemoryMonitor(SETTINGS, directory=tmp_path).sample().processes
        assert processes["policy"].pid == child.pid
        assert processes["tree"].pid == os.getpid()
        assert "policy" not in MemoryMonitor(SETTINGS, directory=tmp_path / "other").sample().processes
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()
