"""What diagnostics say of memory: OK, WARN from level 1 and for growth, ERROR without a policy, STALE without fresh samples."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vla_bt.diagnosis import ERROR, OK, STALE, WARN, memory_rows
from vla_bt.memory import monitor
from vla_bt.memory.cgroup import Confinement
from vla_bt.memory.guard import MemoryState
from vla_bt.memory.ladder import Level
from vla_bt.memory.monitor import STALE_S, MemoryMonitor
from vla_bt.memory.system import SystemMemory
from vla_bt.memory.trend import Slope
from vla_bt.policy.port import PolicyStatus, WorkerMemory
from vla_bt.settings import TreeSettings

POLICY = PolicyStatus("ready", "", None, 0, 0, 0, 0.0)


class Clock:
    def __init__(self) -> None:
        self.now_s = 5.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory(clock: Clock) -> MemoryMonitor:
    made = MemoryMonitor(TreeSettings(), clock)
    made.state = MemoryState(made.sample(), words="level 0, fine")
    return made


def test_before_the_first_sample_nothing_is_known(clock: Clock) -> None:
    (row,) = memory_rows(MemoryMonitor(TreeSettings(), clock), POLICY)
    assert (row.what, row.level, row.message) == ("memory", STALE, "no sample yet")


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (Level.FINE, OK),
        (Level.CLEAR, WARN),
        (Level.SHORTEN, WARN),
        (Level.INT8, WARN),
        (Level.LAYERS, WARN),
        (Level.UNLOAD, ERROR),
    ],
)
def test_the_level_decides(memory: MemoryMonitor, level: Level, expected: int) -> None:
    assert memory.state is not None
    memory.state = replace(memory.state, level=level, words=level.words)
    whole, own = memory_rows(memory, POLICY)
    assert (whole.level, whole.message, whole.values["level"]) == (expected, level.words, level.number)
    assert (own.what, own.level) == ("memory of tree", OK)
    assert "MB resident" in own.message


def test_a_policy_that_was_given_up_is_an_error_with_its_cause(memory: MemoryMonitor) -> None:
    assert memory.state is not None
    memory.state = replace(memory.state, manual_only="3 times in a row: out of memory")
    row = memory_rows(memory, replace(POLICY, out_of_memory=3))[0]
    assert (row.level, row.message, row.values["out_of_memory"]) == (ERROR, "3 times in a row: out of memory", 3)


def test_growth_is_a_warning_with_its_figure(memory: MemoryMonitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(memory._slopes, "tree", Slope(25.0, 21.0, 29.0, 900.0))
    whole, own = memory_rows(memory, POLICY)
    assert (whole.level, own.level) == (WARN, WARN)
    assert "grows by 25.0 MB/h (95 %: 21.0 to 29.0)" in own.message


def test_when_sampling_has_stopped_every_row_is_stale(memory: MemoryMonitor, clock: Clock) -> None:
    clock.now_s += STALE_S
    assert {row.level for row in memory_rows(memory, POLICY)} == {OK}
    clock.now_s += 0.1
    assert {row.level for row in memory_rows(memory, POLICY)} == {STALE}


def test_a_limit_its_use_and_the_pressure_are_told(memory: MemoryMonitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "confinement", lambda: Confinement(2, 3_000_000_000, 2_100_000_000, 900_000_000))
    monkeypatch.setattr(monitor, "read_system", lambda: SystemMemory(9000.0, 16_000.0, 0.0, 12.5, 3.25))
    memory.sample()
    values = memory_rows(memory, POLICY)[0].values
    assert (values["limit_mb"], values["used_mb"], values["available_mb"]) == (3000.0, 2100.0, 900.0)
    assert (values["stalled_some_percent"], values["stalled_full_percent"]) == (12.5, 3.25)


def test_a_gpu_is_told_of_where_there_is_one(memory: MemoryMonitor) -> None:
    held = replace(POLICY, memory=WorkerMemory(900.0, gpu_allocated_mb=400.0, gpu_reserved_mb=512.04))
    values = memory_rows(memory, held)[0].values
    assert (values["gpu_allocated_mb"], values["gpu_reserved_mb"]) == (400.0, 512.0)
    assert "gpu_reserved_mb" not in memory_rows(memory, POLICY)[0].values
