"""The figures that a LeRobotDataset tells of each feature: least, greatest, mean, deviation, count and five quantiles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
_EVERY = 4  # pixel in both directions


def of_columns(rows: dict[str, list[Any]]) -> dict[str, dict[str, Any]]:
    """Return the figures of each column, lists with one number for each component."""
    return {name: _of(np.asarray(values)) for name, values in rows.items()}


def _of(values: NDArray[Any]) -> dict[str, Any]:
    table = values.reshape(len(values), -1)
    numbers = table.astype(np.float64)
    figures: dict[str, Any] = {
        "min": table.min(axis=0).tolist(),
        "max": table.max(axis=0).tolist(),
        "mean": numbers.mean(axis=0).tolist(),
        "std": numbers.std(axis=0).tolist(),
        "count": [len(table)],
    }
    return figures | {name: np.quantile(numbers, share, axis=0).tolist() for name, share in QUANTILES.items()}


class ImageCounts:
    """How often each brightness occurs in each colour of the pictures seen so far; of every fourth pixel."""

    def __init__(self) -> None:
        self._counts = np.zeros((3, 256), np.int64)
        self._pictures = 0

    def add(self, images: NDArray[np.uint8]) -> None:
        """Count pictures, shape (n, height, width, 3)."""
        for channel in range(3):
            seen = images[:, ::_EVERY, ::_EVERY, channel].reshape(-1)
            self._counts[channel] += np.bincount(seen, minlength=256)
        self._pictures += len(images)

    def figures(self) -> dict[str, Any]:
        """Return the figures, brightness from 0 to 1, in the shape (3, 1, 1) that LeRobot gives pictures."""
        levels = np.arange(256) / 255.0
        share = self._counts / self._counts.sum(axis=1, keepdims=True)
        mean = share @ levels
        whole = np.cumsum(share, axis=1)
        found = {
            "min": [levels[np.flatnonzero(row)[0]] for row in self._counts],
            "max": [levels[np.flatnonzero(row)[-1]] for row in self._counts],
            "mean": mean,
            "std": np.sqrt(np.maximum(share @ levels**2 - mean**2, 0.0)),
        }
        found |= {name: [levels[np.searchsorted(row, at)] for row in whole] for name, at in QUANTILES.items()}
        shaped: dict[str, Any] = {name: [[[float(value)]] for value in values] for name, values in found.items()}
        return {**shaped, "count": [self._pictures]}
