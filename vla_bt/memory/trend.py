"""Does a process grow? The slope of its memory over time with its confidence interval.

Samples that follow each other closely are alike, so each hides little that the others don't tell: an interval computed from all
of them as if they were independent would be far too narrow. The means of a few long blocks are nearly independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

BLOCKS = 12
_T975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Quantiles of Student's t at 97.5 % for 1 to 10 degrees of freedom (any table)."""


class Slope(NamedTuple):
    """Growth of something over time, with its interval of 95 %.

    Attributes
    ----------
    per_hour, low, high : float
        Change an hour, and the interval it lies in.
    seconds : float
        Time it was judged over [s].
    """

    per_hour: float
    low: float
    high: float
    seconds: float

    @property
    def sure(self) -> bool:
        """It surely grows."""
        return self.low > 0.0


def slope(times_s: Sequence[float], values: Sequence[float], blocks: int = BLOCKS) -> Slope | None:
    """Fit a line through block means by least squares; None with fewer than two samples a block.

    Parameters
    ----------
    times_s : sequence of float
        Rising [s].
    values : sequence of float
        One for each time.
    blocks : int
        3 to 12.
    """
    if len(times_s) < 2 * blocks:
        return None
    began_s, ended_s = times_s[0], times_s[-1]
    width_s = (ended_s - began_s) / blocks
    if width_s <= 0.0:
        return None
    sums = [[0.0, 0.0, 0.0] for _ in range(blocks)]
    for time_s, value in zip(times_s, values, strict=True):
        block = sums[min(blocks - 1, int((time_s - began_s) / width_s))]
        block[0] += 1.0
        block[1] += time_s - began_s
        block[2] += value
    points = [(time / count, value / count) for count, time, value in sums if count]
    if len(points) < 3:
        return None
    middle_s, mean = (sum(column) / len(points) for column in zip(*points, strict=True))
    spread = sum((time - middle_s) ** 2 for time, _ in points)
    rate = sum((time - middle_s) * (value - mean) for time, value in points) / spread
    residual = sum((value - mean - rate * (time - middle_s)) ** 2 for time, value in points)
    freedom = len(points) - 2
    margin = _T975[min(freedom, len(_T975)) - 1] * math.sqrt(residual / freedom / spread)
    return Slope(3600.0 * rate, 3600.0 * (rate - margin), 3600.0 * (rate + margin), ended_s - began_s)
