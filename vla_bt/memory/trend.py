"""Does a process grow? The slope of its memory over time with its confidence interval.

Samples that follow each other closely are alike, so each hides little that the others don't tell: an interval computed from all
of them as if they were independent would be far too narrow. The means of a few long blocks are nearly independent.

Memory grows in jumps, and one jump is no rate: a pool that once took another buffer looks like growth to any line. So the
interval reaches to where it would without the largest of them that lasted. A lasting drop hides growth, as it does from any line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

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
    steady : float
        Change an hour without the largest jump.
    """

    per_hour: float
    low: float
    high: float
    seconds: float
    steady: float

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
    fit = _fit(pieces, lengths, blocks)
    if fit is None:
        return None
    rate, margin = fit
    rest = _fit(_without_largest_jump(pieces, math.copysign(1.0, rate), blocks), lengths, blocks) or fit
    ends = [rate - margin, rate + margin, rest[0] - math.copysign(rest[1], rate)]
    return Slope(3600.0 * rate, 3600.0 * min(ends), 3600.0 * max(ends), total_s, 3600.0 * rest[0])


def _fit(pieces: Sequence[Sequence[tuple[float, float]]], lengths: Sequence[float], blocks: int) -> tuple[float, float] | None:
    """Return the common slope of block means and half its interval, a second."""
    centred: list[tuple[float, float]] = []
    freedom = -1
    for piece, length_s in zip(pieces, lengths, strict=True):
        points = _block_means(piece, max(2, round(blocks * length_s / sum(lengths)))) if length_s > 0.0 else []
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
    return rate, _T975[min(freedom, len(_T975)) - 1] * math.sqrt(residual / freedom / spread)


def _without_largest_jump(
    pieces: Sequence[Sequence[tuple[float, float]]], sign: float, blocks: int
) -> list[list[tuple[float, float]]]:
    """Take the jump that makes most of a slope's ``sign`` out of all that follows it in its piece, if there is any."""
    width = max(1, sum(map(len, pieces)) // (2 * blocks))
    found = [_largest_jump(piece, sign, width) for piece in pieces]
    where = max(range(len(pieces)), key=lambda number: found[number][0])
    share, jump, after = found[where]
    return [
        [
            (time_s, value - jump if share > 0.0 and number == where and index >= after else value)
            for index, (time_s, value) in enumerate(piece)
        ]
        for number, piece in enumerate(pieces)
    ]


def _largest_jump(piece: Sequence[tuple[float, float]], sign: float, width: int) -> tuple[float, float, int]:
    """Return what a jump makes of the slope (not normalised), its size, and its index.

    Levels are medians of ``width`` samples, so that what soon comes back is no jump; near an end it moves the line little.
    """
    if len(piece) < 2:
        return 0.0, 0.0, 0
    times, values = np.array(piece).T
    levels = np.median(sliding_window_view(np.pad(values, width, mode="edge"), width), axis=1)
    changes = levels[width + 1 : width + len(values)] - levels[1 : len(values)]
    shares = sign * changes * np.cumsum((times - times.mean())[::-1])[::-1][1:]
    most = float(np.max(shares))
    if most <= 0.0:
        return 0.0, 0.0, 0
    near = np.flatnonzero(shares >= 0.9 * most)
    at = int(near[np.argmax(sign * np.diff(values)[near])])
    return most, float(changes[at]), at + 1


def _block_means(piece: Sequence[tuple[float, float]], blocks: int) -> list[tuple[float, float]]:
    began_s, width_s = piece[0][0], (piece[-1][0] - piece[0][0]) / blocks
    sums = [[0.0, 0.0, 0.0] for _ in range(blocks)]
    for time_s, value in piece:
        block = sums[min(blocks - 1, int((time_s - began_s) / width_s))]
        block[0] += 1.0
        block[1] += time_s
        block[2] += value
    return [(time_s / count, value / count) for count, time_s, value in sums if count]
