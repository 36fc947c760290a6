"""What a viewer learns of the ticks: every change of a status, and how long each leaf takes."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from py_trees.behaviours import StatusQueue
from py_trees.common import Status
from py_trees.composites import Selector
from py_trees.trees import BehaviourTree

from vla_bt.app.watching import CHANGES_KEPT, WINDOW_S, WINDOWS_KEPT, TickTimes, TreeChanges
from vla_bt.runlog.times import Histogram, Window, added_up
from vla_bt.settings import TreeSettings

if TYPE_CHECKING:
    from vla_bt.resources import Resources


def watched(*statuses: Status) -> tuple[BehaviourTree, TreeChanges]:
    root = Selector("root", memory=False)
    root.add_children(
        [StatusQueue("first", list(statuses), eventually=Status.FAILURE), StatusQueue("last", [], eventually=Status.RUNNING)]
    )
    tree = BehaviourTree(root)
    watch = TreeChanges(root, lambda: float(tree.count))
    tree.visitors.append(watch)
    return tree, watch


def test_every_change_is_told_once_with_its_time() -> None:
    tree, watch = watched(Status.FAILURE, Status.SUCCESS, Status.SUCCESS)
    tree.tick()
    assert [row[:4] for row in watch.take_changes()] == [
        [0.0, "root", "INVALID", "RUNNING"],
        [0.0, "first", "INVALID", "FAILURE"],
        [0.0, "last", "INVALID", "RUNNING"],
    ]
    tree.tick()  # the loser was not visited in this tick, and is told all the same
    assert [row[:4] for row in watch.take_changes()] == [
        [1.0, "root", "RUNNING", "SUCCESS"],
        [1.0, "first", "FAILURE", "SUCCESS"],
        [1.0, "last", "RUNNING", "INVALID"],
    ]
    tree.tick()
    assert watch.take_changes() == []


def test_what_changed_while_nobody_watched_is_no_change() -> None:
    tree, watch = watched(Status.FAILURE, Status.SUCCESS, Status.SUCCESS)
    tree.tick()
    tree.visitors.remove(watch)
    tree.tick()
    tree.visitors.append(watch)
    watch.begin()
    tree.tick()
    assert watch.take_changes() == []


def test_changes_that_nobody_takes_are_cut_to_the_newest() -> None:
    tree, watch = watched(*[Status.SUCCESS, Status.FAILURE] * CHANGES_KEPT)
    for _ in range(2 * CHANGES_KEPT):
        tree.tick()
    rows = watch.take_changes()
    assert len(rows) == CHANGES_KEPT
    assert rows[-1][0] == 2 * CHANGES_KEPT - 1


def timed(tick_period_s: float = 0.05, late_s: float = 0.0) -> tuple[BehaviourTree, TickTimes, Any]:
    tree, _ = watched()
    tree.visitors.clear()
    resources = SimpleNamespace(tick_time_s=0.0, lateness_s=late_s, settings=TreeSettings())
    times = TickTimes(tree.root, cast("Resources", resources), itertools.count(step=0.001).__next__)
    tree.visitors.append(times)
    tree.add_pre_tick_handler(lambda _: setattr(resources, "tick_time_s", resources.tick_time_s + tick_period_s))
    return tree, times, resources


def test_leaves_are_timed_in_tick_order_and_composites_are_not() -> None:
    tree, times, _ = timed()
    for _ in range(5):
        tree.tick()
    rows = times.leaf_rows()
    assert [row[0] for row in rows] == ["first", "last"]
    for _, p50, p99, worst in rows:
        assert p50 == p99 == worst == pytest.approx(1.0)  # the clock goes on by a millisecond each time it is asked
    assert list(times.tick_s) == pytest.approx([0.004] * 5)


def test_each_window_is_handed_out_once_and_viewers_see_the_last_ones() -> None:
    tree, times, _ = timed(tick_period_s=1.0)
    windows = []
    for _ in range(int(WINDOW_S) * (WINDOWS_KEPT + 3) + 4):
        tree.tick()
        window = times.take_window()
        assert times.take_window() is None
        if window is not None:
            windows.append(window)
    assert len(windows) == WINDOWS_KEPT + 3
    assert [window.tick.count for window in windows[1:]] == [WINDOW_S] * (WINDOWS_KEPT + 2)
    rest = times.last_window()
    assert rest is not None
    assert rest.tick.count == 3
    whole = added_up([*windows, rest])
    assert whole is not None
    assert [each.count for _, each in whole.leaves] == [tree.count] * 2


def test_late_ticks_are_counted_as_missed_deadlines() -> None:
    tree, times, resources = timed()
    limit_s = TreeSettings().tick_overrun_s
    for late_s in (0.0, limit_s, limit_s + 0.001, 1.0):
        resources.lateness_s = late_s
        tree.tick()
    assert times.missed == 2
    assert list(times.late_s) == [0.0, limit_s, limit_s + 0.001, 1.0]


@given(st.lists(st.floats(1e-7, 1.0), min_size=1, max_size=600))
def test_percentiles_are_at_most_a_quarter_above_the_true_ones(values: list[float]) -> None:
    times = Histogram()
    for value in values:
        times.add(value)
    assert times.worst == max(values)
    assert times.count == len(values)
    for share in (0.5, 0.99):
        true = float(np.quantile(values, share, method="inverted_cdf"))
        assert true <= times.percentile(share) <= max(1.25 * true, 1e-6)


seconds = st.floats(0.0, 5.0)


@given(st.lists(st.lists(seconds, max_size=20), min_size=1, max_size=5))
def test_windows_add_up_and_survive_json(parts: list[list[float]]) -> None:
    whole = Histogram()
    windows: list[Window] = []
    for part in parts:
        histogram = Histogram()
        for value in part:
            histogram.add(value)
            whole.add(value)
        window = Window((("leaf", histogram),), histogram, histogram, len(windows))
        windows.append(Window.from_plain(json.loads(json.dumps(window.to_plain()))))
    total = added_up(windows)
    assert total is not None
    assert total.missed == len(parts) - 1
    assert total.tick.count == whole.count
    assert total.leaf_rows() == [["leaf", *(pytest.approx(value, abs=1e-4) for value in whole.in_ms())]]
    assert added_up([]) is None


@pytest.mark.parametrize("counts", [{"-1": 1}, {"65": 1}, {"x": 1}, {"3": -1}, {"3": "x"}, None])
def test_what_is_no_histogram_is_refused(counts: Any) -> None:
    with pytest.raises((ValueError, TypeError, AttributeError)):
        Histogram.from_plain({"counts": counts, "worst_ms": 1.0})
