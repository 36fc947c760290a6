"""Distributions and the state of the machine they were taken on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil


@dataclass(frozen=True)
class Spread:
    """A distribution of times.

    Attributes
    ----------
    n : int
        How many were measured.
    least, p50, p99, worst : float
        [s]. Below 100 values p99 is close to the worst; ``n`` tells.
    """

    n: int
    least: float
    p50: float
    p99: float
    worst: float

    def in_ms(self) -> dict[str, float | int]:
        """Return it for JSON [ms]."""
        names = ("least", "p50", "p99", "worst")
        return {"n": self.n, **{f"{name}_ms": round(1e3 * float(getattr(self, name)), 4) for name in names}}

    def __str__(self) -> str:
        return f"p50 {_ms(self.p50)}, p99 {_ms(self.p99)}, worst {_ms(self.worst)} (n {self.n})"


def spread(values: Sequence[float]) -> Spread:
    """Summarise times [s].

    Raises
    ------
    ValueError
        Without any value.
    """
    if not values:
        raise ValueError("nothing was measured")
    array = np.asarray(values, np.float64)
    middle, high = np.percentile(array, [50, 99])
    return Spread(len(values), float(array.min()), float(middle), float(high), float(array.max()))


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3f} ms" if seconds < 0.01 else f"{1e3 * seconds:.1f} ms"


class LoadMeter:
    """Tells how busy the machine was since this was made, everything on it included."""

    def __init__(self) -> None:
        self._before = psutil.cpu_times()

    def stop(self) -> dict[str, Any]:
        """Return ``cores``, ``cores_busy`` (mean over the measurement) and ``load_average`` (the last minute's)."""
        after, before = psutil.cpu_times(), self._before
        total = sum(after[:8]) - sum(before[:8])  # guest time is part of user time
        idle = (after.idle - before.idle) + (getattr(after, "iowait", 0.0) - getattr(before, "iowait", 0.0))
        cores = psutil.cpu_count() or 1
        busy = cores * (1.0 - idle / total) if total > 0 else 0.0
        return {"cores": cores, "cores_busy": round(busy, 2), "load_average": round(os.getloadavg()[0], 2)}


def load_words(load: dict[str, Any]) -> str:
    """Return a load for people."""
    return f"{load['cores_busy']:.1f} of {load['cores']} cores busy"
