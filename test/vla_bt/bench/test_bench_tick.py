"""What the tick benchmark compares is comparable, and what it prints is what it measured."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from py_trees.common import Status

from vla_bt.bench.figures import LoadMeter, Spread, spread
from vla_bt.bench.lateness import measure_lateness
from vla_bt.bench.memory_world import MemoryPolicy, MemoryRobot
from vla_bt.bench.ring import measure_ring
from vla_bt.bench.tick import BenchError, Stopwatch, Twin, application, bench_settings, measure_tick
from vla_bt.trees.root import create_root
from vla_bt.words import Source


def test_a_spread_is_what_was_measured() -> None:
    assert spread([0.001 * value for value in range(101)]) == pytest.approx(Spread(101, 0.0, 0.05, 0.099, 0.1))
    assert spread([0.5]) == Spread(1, 0.5, 0.5, 0.5, 0.5)
    assert spread([0.5]).in_ms() == {"n": 1, "least_ms": 500.0, "p50_ms": 500.0, "p99_ms": 500.0, "worst_ms": 500.0}
    with pytest.raises(ValueError, match="nothing was measured"):
        spread([])


def test_a_load_is_a_number_of_cores() -> None:
    load = LoadMeter().stop()
    assert 0.0 <= load["cores_busy"] <= load["cores"] == os.cpu_count()


def test_the_stopwatch_tells_work_from_waiting() -> None:
    import time

    watch = Stopwatch()
    with watch:
        time.sleep(0.05)
    with watch:
        total = sum(range(200_000))
    assert total > 0
    assert watch.wall_s[0] >= 0.05 > 0.02 > watch.cpu_s[0]
    assert watch.cpu_s[1] > 0.0005


def test_the_twin_walks_the_same_way_with_leaves_that_do_nothing() -> None:
    settings = bench_settings()
    robot, policy = MemoryRobot(settings.tick_period_s), MemoryPolicy()
    with application(robot, policy, settings) as (loop, tree):
        twin = Twin(tree.root)
        assert twin.nodes == len(list(create_root().iterate()))
        robot.set_mode("vla")
        robot.give_goal("go to the cup")
        sources = []
        for _ in range(20):
            robot.advance()
            policy.advance(robot.now())
            sources.append(loop.tick().source)
            twin.learn()
            twin.tree.tick()
            twin.check()
        assert sources[-10:] == [Source.POLICY] * 10
        assert policy.steps > 10
        assert 20 < twin.visited < twin.nodes
        kinds = {type(leaf).__name__ for leaf in tree.root.iterate() if not leaf.children}
        assert {type(leaf).__name__ for leaf in twin.tree.root.iterate() if not leaf.children} == {
            f"Plain{kind}" for kind in kinds
        }
        leaf = next(leaf for leaf in twin.tree.root.iterate() if leaf.name == "Goal active?")
        leaf.update = lambda: Status.FAILURE  # type: ignore[method-assign]
        twin.tree.tick()
        with pytest.raises(BenchError, match="the plain tree differs at"):
            twin.check()


def test_a_measured_tick_has_all_its_figures() -> None:
    frozen = gc.get_freeze_count()
    cost = measure_tick(200)
    assert cost.tree.n == cost.plain.n == cost.whole.n == cost.wall.n == 200
    assert 0.0 < cost.plain.p50 < cost.tree.p50 < cost.whole.p50
    assert cost.ratio == cost.tree.p50 / cost.plain.p50
    assert gc.get_freeze_count() <= frozen


def test_a_tree_that_is_not_driven_by_its_policy_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryPolicy, "poll", lambda self: None)
    with pytest.raises(BenchError, match=r"was not driven by the policy: .*waiting for the policy"):
        measure_tick(100)


def test_the_ring_is_measured_beside_plain_copies() -> None:
    cost = measure_ring(5)
    assert cost.bytes == 720 * 1280 * 3
    for part in (cost.write, cost.plain_write, cost.copy, cost.plain_copy, cost.latest):
        assert part.n == 5
        assert 0.0 < part.p50 < 1.0
    assert cost.latest.least < cost.copy.least


def test_an_unknown_policy_is_one_line_and_leaves_nothing() -> None:
    with pytest.raises(BenchError, match=r"the policy worker is not ready: .*no_such"):
        measure_lateness("no_such", 1.0)
    assert not Path(f"/dev/shm/vla_bt-{os.getuid()}-bench-{os.getpid()}").exists()


@pytest.mark.ros
@pytest.mark.slow
def test_the_benchmark_prints_its_figures_as_json() -> None:
    command = [sys.executable, "-m", "vla_bt.cli.main", "bench", "tick", "--ticks", "250", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    result, timing = report["result"], report["timing"]
    assert result["nodes"] == len(list(create_root().iterate()))
    assert (result["ticks"], result["policy"], result["policy_label"]) == (250, "hybrid@tiny", "untrained")
    assert done.returncode == (0 if all(timing["aims_met"].values()) else 1)
    assert timing["aims_met"]["ratio"] == (timing["tick"]["ratio"] <= result["aims"]["ratio"])
    lateness = timing["lateness"]
    assert lateness["policy_busy"]["n"] == lateness["policy_at_rest"]["n"] == 20
    assert 0.0 < lateness["worker_busy"] < 1.0
    assert lateness["frames_handed"] - lateness["steps_taken"] in (0, 1)
    assert lateness["camera_to_request"]["n"] > 5
    assert lateness["camera_to_request"]["least_ms"] > 1.0
    assert timing["ring"]["ros_snapshot"]["n"] == 300
    for part in (timing["tick"], timing["ring"], lateness):
        assert part["machine"]["cores"] == os.cpu_count()


@pytest.mark.parametrize("ticks", ["0", "99", "1e9", "many"])
def test_a_bad_number_of_ticks_is_refused_in_a_line(ticks: str, capsys: pytest.CaptureFixture[str]) -> None:
    from vla_bt.cli.main import main

    with pytest.raises(SystemExit) as ended:
        main(["bench", "tick", "--ticks", ticks])
    assert ended.value.code == 2
    assert f"'{ticks}' is not a whole number from 100 to 50000" in capsys.readouterr().err
