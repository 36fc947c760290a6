"""How long ticks and leaves took, as histograms that can be added up: for viewers, and for the run log.

Promises: a percentile is at most a quarter above the true one; memory does not depend on how much was counted.
"""

from __future__ import annotations

import bisect
import itertools
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

EDGES = tuple(1e-6 * 1.25**power for power in range(64))
"""Upper ends of the histogram's classes [s]: 1 us to 1.3 s in steps of a quarter; one class more has what is longer."""


class Histogram:
    """Times of one thing.

    Attributes
    ----------
    worst : float
        The longest [s].
    """

    def __init__(self) -> None:
        self._counts = [0] * (len(EDGES) + 1)
        self.worst = 0.0

    def add(self, seconds: float) -> None:
        """Count one; less than nothing counts as nothing."""
        self._counts[bisect.bisect_left(EDGES, seconds)] += 1
        if seconds > self.worst:
            self.worst = seconds

    @property
    def count(self) -> int:
        """How many were counted."""
        return sum(self._counts)

    def percentile(self, share: float) -> float:
        """Return a percentile [s]; 0 without any."""
        return _percentiles(self._counts, self.worst, share)[0]

    def merge(self, other: Histogram) -> None:
        """Add another's counts."""
        self._counts = list(map(operator.add, self._counts, other._counts))
        self.worst = max(self.worst, other.worst)

    def in_ms(self, *others: Histogram) -> list[float]:
        """Return p50, p99 and the longest [ms], together with others."""
        counts: Iterable[int] = self._counts
        for other in others:
            counts = map(operator.add, counts, other._counts)
        worst = max(self.worst, *(other.worst for other in others)) if others else self.worst
        return [round(1e3 * value, 4) for value in (*_percentiles(counts, worst, 0.5, 0.99), worst)]

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON can hold it: figures for people, and the counts of the classes that have any."""
        p50, p99, worst = self.in_ms()
        counts = {str(place): count for place, count in enumerate(self._counts) if count}
        return {"p50_ms": p50, "p99_ms": p99, "worst_ms": worst, "counts": counts}

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> Histogram:
        """Read :meth:`to_plain` back.

        Raises
        ------
        ValueError, KeyError, TypeError, IndexError
            When it is something else.
        """
        found = cls()
        for place, count in content["counts"].items():
            if not 0 <= int(place) <= len(EDGES) or int(count) < 0:
                raise ValueError("not a histogram")
            found._counts[int(place)] = int(count)
        found.worst = float(content["worst_ms"]) / 1e3
        return found


def _percentiles(counts: Iterable[int], worst: float, *shares: float) -> list[float]:
    seen = list(itertools.accumulate(counts))
    if not seen[-1]:
        return [0.0] * len(shares)
    places = (bisect.bisect_left(seen, share * seen[-1]) for share in shares)
    return [min(EDGES[place], worst) if place < len(EDGES) else worst for place in places]


@dataclass(frozen=True)
class Window:
    """Times of some seconds. Nothing in it changes afterwards.

    Attributes
    ----------
    leaves : tuple of (str, Histogram)
        Each leaf's own time, in tick order.
    tick, late : Histogram
        The tree's tick, and how late ticks began.
    missed : int
        Ticks since the start that were later than they may be.
    """

    leaves: tuple[tuple[str, Histogram], ...]
    tick: Histogram
    late: Histogram
    missed: int

    def to_plain(self) -> dict[str, Any]:
        """Return it as the run log holds it."""
        return {
            "missed": self.missed,
            "ticks": self.tick.count,
            "tick_time": self.tick.to_plain(),
            "lateness": self.late.to_plain(),
            "leaves": [{"name": name, "visits": times.count, **times.to_plain()} for name, times in self.leaves],
        }

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> Window:
        """Read :meth:`to_plain` back; raises what :meth:`Histogram.from_plain` does."""
        leaves = tuple((str(row["name"]), Histogram.from_plain(row)) for row in content["leaves"])
        tick, late = Histogram.from_plain(content["tick_time"]), Histogram.from_plain(content["lateness"])
        return cls(leaves, tick, late, int(content["missed"]))

    def leaf_rows(self) -> list[list[Any]]:
        """Return rows of (leaf, p50, p99, longest [ms]) in tick order."""
        return [[name, *times.in_ms()] for name, times in self.leaves]


def added_up(windows: Iterable[Window]) -> Window | None:
    """Return windows of one tree as one; None without any."""
    total: Window | None = None
    for window in windows:
        if total is None:
            total = Window(tuple((name, Histogram()) for name, _ in window.leaves), Histogram(), Histogram(), 0)
        for (_, mine), (_, more) in zip(total.leaves, window.leaves, strict=True):
            mine.merge(more)
        total.tick.merge(window.tick)
        total.late.merge(window.late)
        total = Window(total.leaves, total.tick, total.late, max(total.missed, window.missed))
    return total
