"""Looking at a tree while it ticks: how long each leaf takes, and every change of a status.

Promises: a visitor of py_trees, to be added and removed between two ticks; costs some microseconds a tick, nothing while it is
not there; memory is bounded: times go into histograms that forget, changes that nobody takes are cut to the newest.
"""

from __future__ import annotations

import bisect
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from py_trees.behaviour import Behaviour
from py_trees.visitors import VisitorBase

from vla_bt.app.snapshot import MESSAGE_LIMIT

CHANGES_KEPT = 200
WINDOW = 600
"""Visits after which the older half of a leaf's times is forgotten."""

_EDGES = [1e-6 * 1.25**power for power in range(64)]  # 1 us to 1.3 s in steps of a quarter


def _in_tick_order(node: Behaviour) -> Iterator[Behaviour]:
    """Parents before their children; py_trees' own ``iterate`` goes the other way."""
    yield node
    for child in node.children:
        yield from _in_tick_order(child)


class LeafTimes:
    """Recent times of one leaf: a histogram of the last :data:`WINDOW` to twice as many."""

    def __init__(self) -> None:
        self._old, self._new = [0] * (len(_EDGES) + 1), [0] * (len(_EDGES) + 1)
        self._count = 0
        self._old_worst = self._new_worst = 0.0

    def add(self, seconds: float) -> None:
        """Count one visit."""
        self._new[bisect.bisect_left(_EDGES, seconds)] += 1
        self._new_worst = max(self._new_worst, seconds)
        self._count += 1
        if self._count >= WINDOW:
            self._old, self._new = self._new, [0] * (len(_EDGES) + 1)
            self._old_worst, self._new_worst = self._new_worst, 0.0
            self._count = 0

    @property
    def worst(self) -> float:
        """The longest [s]."""
        return max(self._old_worst, self._new_worst)

    def percentile(self, share: float) -> float:
        """Return a percentile [s], at most a quarter above the true one; 0 without any."""
        counts = [old + new for old, new in zip(self._old, self._new, strict=True)]
        wanted = share * sum(counts)
        seen = 0
        for edge, count in zip(_EDGES, counts, strict=False):
            seen += count
            if count and seen >= wanted:
                return min(edge, self.worst)
        return self.worst


class TreeWatch(VisitorBase):
    """Times leaves and notes changes of status.

    Parameters
    ----------
    root : Behaviour
        The tree; its shape must not change.
    tick_time_s : callable
        The time of the current tick [s], for the changes.
    clock : callable
        Seconds, for the leaves.
    """

    def __init__(self, root: Behaviour, tick_time_s: Callable[[], float], clock: Callable[[], float] = time.perf_counter) -> None:
        super().__init__(full=False)
        self._nodes = list(_in_tick_order(root))
        self._tick_time_s, self._clock = tick_time_s, clock
        self._times = {id(node): LeafTimes() for node in self._nodes if not node.children}
        self._before = [node.status for node in self._nodes]
        self._changes: deque[list[Any]] = deque(maxlen=CHANGES_KEPT)
        self._last_s = 0.0

    def begin(self) -> None:
        """Take the statuses as they are now: what changed while nobody watched is no change."""
        self._before = [node.status for node in self._nodes]
        self._changes.clear()

    def initialise(self) -> None:
        """Begin a tick."""
        self._last_s = self._clock()

    def run(self, behaviour: Behaviour) -> None:
        """Count the time since the last node: a leaf's own, with the way to it."""
        now_s = self._clock()
        times = self._times.get(id(behaviour))
        if times is not None:
            times.add(now_s - self._last_s)
        self._last_s = now_s

    def finalise(self) -> None:
        """Note what changed in this tick."""
        before = self._before
        for index, node in enumerate(self._nodes):
            status = node.status
            if status is not before[index]:
                row = [
                    round(self._tick_time_s(), 3),
                    node.name,
                    before[index].value,
                    status.value,
                    node.feedback_message[:MESSAGE_LIMIT],
                ]
                self._changes.append(row)
                before[index] = status

    def take_changes(self) -> list[list[Any]]:
        """Hand out the changes since the last call: rows of (time [s], node, before, after, message)."""
        rows = list(self._changes)
        self._changes.clear()
        return rows

    def leaf_rows(self) -> list[list[Any]]:
        """Return rows of (leaf, p50, p99, worst [ms]) in tick order."""
        rows = []
        for node in self._nodes:
            times = self._times.get(id(node))
            if times is not None:
                figures = (times.percentile(0.5), times.percentile(0.99), times.worst)
                rows.append([node.name, *(round(1e3 * value, 4) for value in figures)])
        return rows
