"""What can be said from k successes in n runs."""

from __future__ import annotations

import math

Z95 = 1.959963984540054
"""Quantile of the normal distribution for an interval of 95 %."""


def wilson(successes: int, runs: int, z: float = Z95) -> tuple[float, float]:
    """Return Wilson's score interval of a share.

    Unlike the textbook's interval it is right for shares near 0 and 1 (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927).

    >>> [round(end, 3) for end in wilson(97, 100)]
    [0.915, 0.99]
    """
    if not 0 <= successes <= runs:
        raise ValueError(f"{successes} successes in {runs} runs")
    if runs == 0:
        return 0.0, 1.0
    share = successes / runs
    spread = z * math.sqrt(share * (1 - share) / runs + z * z / (4 * runs * runs))
    centre = share + z * z / (2 * runs)
    scale = 1 + z * z / runs
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
