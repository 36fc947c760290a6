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
    return pooled_slope([list(zip(times_s, values, strict=True))], blocks)


def pooled_slope(pieces: Sequence[Sequence[tuple[float, float]]], blocks: int = BLOCKS) -> Slope | None:
    """Fit lines of one slope, each piece with a level of its own; ``blocks`` are shared out by the pieces' lengths.

    Parameters
    ----------
    pieces : sequence of sequences of (time [s], value)
        Such as the lives of a process that was replaced.
    """
    lengths = [piece[-1][0] - piece[0][0] if len(piece) > 1 else 0.0 for piece in pieces]
    total_s = sum(lengths)
    if total_s <= 0.0 or sum(map(len, pieces)) < 2 * blocks:
        return None
    centred: list[tuple[float, float]] = []
    freedom = -1
    for piece, length_s in zip(pieces, lengths, strict=True):
        points = _block_means(piece, max(2, round(blocks * length_s / total_s))) if length_s > 0.0 else []
        if len(points) < 2:
            continue
        middle_s, mean = (sum(column) / len(points) for column in zip(*points, strict=True))
        centred += [(time_s - middle_s, value - mean) for time_s, value in points]
        freedom += len(points) - 1
    if freedom < 1:
        return None
    spread = sum(time_s**2 for time_s, _ in centred)
    rate = sum(time_s * value for time_s, value in centred) / spread
    residual = sum((value - rate * time_s) ** 2 for time_s, value in centred)
    margin = _T975[min(freedom, len(_T975)) - 1] * math.sqrt(residual / freedom / spread)
    return Slope(3600.0 * rate, 3600.0 * (rate - margin), 3600.0 * (rate + margin), total_s)


def _block_means(piece: Sequence[tuple[float, float]], blocks: int) -> list[tuple[float, float]]:
    began_s, width_s = piece[0][0], (piece[-1][0] - piece[0][0]) / blocks
    sums = [[0.0, 0.0, 0.0] for _ in range(blocks)]
    for time_s, value in piece:
        block = sums[min(blocks - 1, int((time_s - began_s) / width_s))]
        block[0] += 1.0
        block[1] += time_s
        block[2] += value
    return [(time_s / count, value / count) for count, time_s, value in sums if count]
