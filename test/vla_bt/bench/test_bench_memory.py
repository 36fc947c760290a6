"""The guard's cost is measured where it judges: each sample is a new one."""

from __future__ import annotations

import pytest

from vla_bt.bench import memory as bench
from vla_bt.bench.memory import measure_added, measure_branch
from vla_bt.memory.guard import MemoryGuard


def test_the_branch_is_timed_with_new_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = [0]
    judge = MemoryGuard.judge

    def counted(*arguments: object) -> object:
        judged[0] += 1
        return judge(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(MemoryGuard, "judge", counted)
    monkeypatch.setattr(bench, "WARM_UP_TICKS", 20)
    judging, fine, busy, whole = measure_branch(200)
    assert judging.n == 200 // 5 - 1
    assert (fine.n, busy.n) == (199, 199)
    assert whole.n > 400
    assert judged[0] > 2 * 200 // 5
    assert fine.least <= judging.p50 < 0.01


def test_what_the_guard_adds_is_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "WARM_UP_TICKS", 20)
    monkeypatch.setattr(bench, "TURNS", 1)
    mean_s, median_s = measure_added(100)
    assert abs(mean_s) < 0.005
    assert abs(median_s) < 0.005
