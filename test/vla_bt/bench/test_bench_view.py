"""``vla-bt bench view``, short: every part measures something on real processes, and a missed aim is told."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
from vla_bt.app.processes import ProcessGroup, left_behind
from vla_bt.bench import view
from vla_bt.bench.browser import browser_path
from vla_bt.bench.figures import spread
from vla_bt.bench.view import Browsed, Watched
from vla_bt.cli import bench_view

pytestmark = [pytest.mark.ros, pytest.mark.sim]

NODES = 60
LOAD = {"cores": 2, "cores_busy": 0.4, "load_average": 0.3}


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcessGroup]:
    if not browser_path():
        if os.environ.get("CI"):
            pytest.fail("chromium is missing, and in CI that is a failure: tools/browser.sh installs it")
        pytest.skip("chromium is missing: tools/browser.sh says how to get it")
    from vla_bt.ros.environment import prepare

    domain = 1 + (os.getpid() + 75) % 100
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    prepare()
    monkeypatch.setattr(view, "SETTLE_S", 0.5)
    monkeypatch.setattr(view, "PAGES", (0, 2))
    monkeypatch.setattr(view, "STEADY_S", 0.15)  # a busy machine holds a page up for longer than that now and then
    monkeypatch.setattr(view, "STEADY_ATTEMPTS", 60)
    directory = Path(tempfile.mkdtemp(prefix="vla_bt-view-", dir="/dev/shm"))
    started = ProcessGroup(directory, tmp_path / "logs", domain)
    yield started
    started.close()
    assert left_behind(directory) == []


@pytest.mark.timeout(300)  # on a busy machine
def test_each_part_measures_real_processes(group: ProcessGroup) -> None:
    said: list[str] = []

    async def measure() -> None:
        without, nobody, kept, two = await view.measure_viewers(group, NODES, 1.0, said.append)
        assert [row.what for row in (without, nobody, kept, two)] == [view.NO_STREAM, view.NOBODY, "0", "2"]
        assert all((row.bytes_per_s, row.updates_per_s) == (0.0, 0.0) for row in (without, nobody, kept))
        assert not without.own
        assert nobody.own["p50_ms"] < kept.own["p50_ms"]  # a dashboard looks, whether a page is open or not
        assert two.updates_per_s > 1.0
        assert two.bytes_per_s > 2 * two.updates_per_s * NODES * 20  # each of the two gets its own
        assert min(row.cpu["n"] for row in (without, nobody, kept, two)) > 5
        browsed = await view.measure_browser(group, NODES, 1.5, said.append)
        assert browsed.updates_per_s > 0.5
        assert browsed.samples[-1]["nodes"] > NODES
        lost = await view.measure_losses(group, 1, said.append)
        assert set(lost) == {"killed", "hung"}
        assert all(0.0 < times.worst < view.STOP_S for times in lost.values())

    asyncio.run(measure())
    assert len(said) >= 5


def test_a_missed_aim_is_told() -> None:
    times, own = {"p50_ms": 0.5, "p99_ms": 0.9}, {"p50_ms": 0.01, "p99_ms": 0.02}
    rows = [
        Watched(view.NO_STREAM, times, {}),
        Watched(view.NOBODY, times, own),
        *(Watched(str(count), times, own, 5e4 * count, 12.0 if count else 0.0) for count in view.PAGES),
    ]
    samples = [{"at_s": 10.0 * count, "heap_mb": 3.0 + count, "nodes": 900.0, "listeners": 60.0} for count in range(9)]
    browsed = Browsed(90.0, 12.4, 10.0, samples)
    assert browsed.growth_mb == pytest.approx(3.0)
    lost = {"killed": spread([0.2, 0.25]), "hung": spread([0.21, 0.31])}
    aims = bench_view.judge(rows, browsed, lost)
    assert aims == {"nobody": True, "cost": True, "updates": True, "memory": False, "stop": False}
    slow = bench_view.judge(rows, replace(browsed, slowest_updates_per_s=9.9), lost)
    assert not slow["updates"]  # whatever the average is
    dear = [*rows[:4], replace(rows[4], cpu={"p50_ms": 0.6, "p99_ms": 3.0})]
    assert not bench_view.judge(dear, browsed, lost)["cost"]  # five pages are judged, too
    busy = [rows[0], replace(rows[1], own={"p50_ms": 0.2, "p99_ms": 0.4}), *rows[2:]]
    assert not bench_view.judge(busy, browsed, lost)["nobody"]
    table = bench_view._table(rows, browsed, lost, LOAD, aims)
    assert table.count("MISSED") == 2
    assert "tab hung -> zero" in table
    report = bench_view._report(rows, browsed, lost, LOAD, aims)
    assert report["result"]["aims"] == aims
    assert report["timing"]["tab_lost_to_zero"]["killed"]["n"] == 2
