"""Looking at a tree while it ticks: how long each leaf takes, and every change of a status.

Promises: visitors of py_trees, to be added and removed between two ticks; each costs some microseconds a tick, nothing while it
is not there; memory is bounded: times go into histograms that forget, changes that nobody takes are cut to the newest.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from py_trees.behaviour import Behaviour
from py_trees.visitors import VisitorBase

from vla_bt.app.snapshot import MESSAGE_LIMIT
from vla_bt.resources import Resources
from vla_bt.runlog.times import Histogram, Window, added_up

CHANGES_KEPT = 200
TICKS_KEPT = 1200
WINDOW_S = 10.0
"""Of the tree's time; then a new window begins [s]."""

WINDOWS_KEPT = 3
"""So many whole windows, and the one that has begun, are what viewers see."""


def in_tick_order(node: Behaviour) -> Iterator[Behaviour]:
    """Parents before their children; py_trees' own ``iterate`` goes the other way."""
    yield node
    for child in node.children:
        yield from in_tick_order(child)


class TickTimes(VisitorBase):
    """Times the leaves, the tick, and how late ticks begin.

    Parameters
    ----------
    root : Behaviour
        The tree; its shape must not change.
    resources : Resources
        Gives the tick's time and lateness, and how late a tick may be.
    clock : callable
        Seconds, for the leaves.

    Attributes
    ----------
    tick_s, late_s : deque of float
        Of the last ticks: how long the tree took, and how late they began [s].
    missed : int
        Ticks that were later than they may be.
    """

    def __init__(self, root: Behaviour, resources: Resources, clock: Callable[[], float] = time.perf_counter) -> None:
        super().__init__(full=False)
        self._leaves = [node for node in in_tick_order(root) if not node.children]
        self._resources, self._clock = resources, clock
        self._closed: deque[Window] = deque(maxlen=WINDOWS_KEPT)
        self._ready: Window | None = None
        self._before: Window | None = None
        self._ends_s: float | None = None
        self._began_s = self._last_s = 0.0
        self.tick_s: deque[float] = deque(maxlen=TICKS_KEPT)
        self.late_s: deque[float] = deque(maxlen=TICKS_KEPT)
        self.missed = 0
        self._begin()

    def _begin(self) -> None:
        self._times = {id(node): Histogram() for node in self._leaves}
        self._tick, self._late = Histogram(), Histogram()

    def initialise(self) -> None:
        """Begin a tick."""
        self._began_s = self._last_s = self._clock()

    def run(self, behaviour: Behaviour) -> None:
        """Count the time since the last node: a leaf's own, with the way to it."""
        now_s = self._clock()
        times = self._times.get(id(behaviour))
        if times is not None:
            times.add(now_s - self._last_s)
        self._last_s = now_s

    def finalise(self) -> None:
        """Count the tick."""
        tick_s, late_s, now_s = self._clock() - self._began_s, self._resources.lateness_s, self._resources.tick_time_s
        self.tick_s.append(tick_s)
        self.late_s.append(late_s)
        self._tick.add(tick_s)
        self._late.add(late_s)
        if late_s > self._resources.settings.tick_overrun_s:
            self.missed += 1
        if self._ends_s is None:
            self._ends_s = now_s + WINDOW_S
        elif now_s >= self._ends_s:
            self._ends_s = now_s + WINDOW_S
            self._ready = self._window()
            self._closed.append(self._ready)
            self._before = added_up(self._closed)
            self._begin()

    def _window(self) -> Window:
        leaves = tuple((node.name, self._times[id(node)]) for node in self._leaves)
        return Window(leaves, self._tick, self._late, self.missed)

    def take_window(self) -> Window | None:
        """Hand out the window that has just ended, once."""
        window, self._ready = self._ready, None
        return window

    def last_window(self) -> Window | None:
        """Return the window that has begun, None if nothing was counted in it: for the end of a run."""
        return self._window() if self._tick.count else None

    def leaf_rows(self) -> list[list[Any]]:
        """Return rows of (leaf, p50, p99, worst [ms]) of the last half minute, in tick order."""
        now = self._window().leaves
        if self._before is None:
            return [[name, *times.in_ms()] for name, times in now]
        return [[name, *times.in_ms(before)] for (name, times), (_, before) in zip(now, self._before.leaves, strict=True)]


class TreeChanges(VisitorBase):
    """Notes changes of status.

    Parameters
    ----------
    root : Behaviour
        The tree; its shape must not change.
    tick_time_s : callable
        The time of the current tick [s].
    """

    def __init__(self, root: Behaviour, tick_time_s: Callable[[], float]) -> None:
        super().__init__(full=False)
        self._nodes = list(in_tick_order(root))
        self._tick_time_s = tick_time_s
        self._before = [node.status for node in self._nodes]
        self._changes: deque[list[Any]] = deque(maxlen=CHANGES_KEPT)

    def begin(self) -> None:
        """Take the statuses as they are now: what changed while nobody watched is no change."""
        self._before = [node.status for node in self._nodes]
        self._changes.clear()

    def run(self, behaviour: Behaviour) -> None:
        """Do nothing: all is told at the end of the tick."""

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
