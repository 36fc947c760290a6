"""What a viewer learns of the ticks: every change of a status, and how long each leaf takes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from py_trees.behaviours import StatusQueue
from py_trees.common import Status
from py_trees.composites import Selector
from py_trees.trees import BehaviourTree

from vla_bt.app.watching import CHANGES_KEPT, WINDOW, LeafTimes, TreeWatch


def watched(*statuses: Status) -> tuple[BehaviourTree, TreeWatch]:
    root = Selector("root", memory=False)
    root.add_children(
        [StatusQueue("first", list(statuses), eventually=Status.FAILURE), StatusQueue("last", [], eventually=Status.RUNNING)]
    )
    tree = BehaviourTree(root)
    watch = TreeWatch(root, lambda: float(tree.count), itertools.count(step=0.001).__next__)
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


def test_leaves_are_timed_in_tick_order_and_composites_are_not() -> None:
    tree, watch = watched(*[Status.FAILURE] * 5)
    for _ in range(5):
        tree.tick()
    rows = watch.leaf_rows()
    assert [row[0] for row in rows] == ["first", "last"]
    for _, p50, p99, worst in rows:
        assert p50 == p99 == worst == pytest.approx(1.0)  # the clock goes on by a millisecond each time it is asked


@given(st.lists(st.floats(1e-7, 1.0), min_size=1, max_size=WINDOW))
def test_percentiles_are_at_most_a_quarter_above_the_true_ones(values: list[float]) -> None:
    times = LeafTimes()
    for value in values:
        times.add(value)
    assert times.worst == max(values)
    for share in (0.5, 0.99):
        true = float(np.quantile(values, share, method="inverted_cdf"))
        assert true <= times.percentile(share) <= max(1.25 * true, 1e-6)


def test_old_times_are_forgotten() -> None:
    times = LeafTimes()
    assert times.percentile(0.5) == 0.0
    times.add(1.0)
    for _ in range(2 * WINDOW):
        times.add(0.001)
    assert times.worst == 0.001
