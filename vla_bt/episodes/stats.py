"""What a set of episodes holds: how many of each kind, which actions, how balanced, and how well one can do without looking.

The baselines score what a model must beat. Each is the mean absolute error over frames and the three axes, in the actions' own
unit: ``constant``, each axis' median of all frames; ``hold_last``, the action of the frame before (zero before the first); and
``majority_key``, the most frequent direction at its median. ``without_first`` leaves frame 0 out, which the original format sets
to zero: counted, it makes every error look smaller. Files whose actions have different units are never mixed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_bt.episodes.format import columns_of
from vla_bt.episodes.opening import Content, read
from vla_bt.episodes.printable import printable
from vla_bt.episodes.schema import EpisodeError, trusted
from vla_bt.episodes.units import KEYS, SI, action_unit

AXES = ("linear_x", "linear_y", "angular_z")
KINDS = ("scenario", "pattern", "distance", "position", "origin", "source")
STILL = {SI: (0.02, 0.02, 0.05), KEYS: (0.5, 0.5, 0.5)}
"""Below this an axis counts as still [m/s, m/s, rad/s], or a key as not pressed."""

BINS = 25  # odd: standing has one of its own


@dataclass
class Collected:
    """What was read of all episodes.

    Attributes
    ----------
    kinds : dict
        For each of :data:`KINDS`, how many episodes (``source``: frames) have which word.
    actions : dict of str to list of ndarray
        For each unit, every episode's actions, float64, shape (n, 3); NaN where unknown.
    events : Counter
        Frames of each event type.
    episodes, frames : int
    """

    kinds: dict[str, Counter[str]] = field(default_factory=lambda: {kind: Counter() for kind in KINDS})
    actions: dict[str, list[NDArray[np.float64]]] = field(default_factory=lambda: defaultdict(list))
    cells: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    episodes: int = 0
    frames: int = 0
    duration_s: float = 0.0


def collect(paths: Iterable[Path], views: Iterable[Content] = (), refused: list[str] | None = None) -> Collected:
    """Read everything but the pictures; count the views of episodes, too.

    Parameters
    ----------
    refused : list of str, optional
        Takes a line for each file that is no episode, instead of raising.

    Raises
    ------
    EpisodeError
        At the first file that is no episode.
    """
    found = Collected()
    for path in paths:
        try:
            _add(found, read(path, images=False))
        except EpisodeError as error:
            if refused is None:
                raise
            refused.append(str(error))
    for view in views:
        _add(found, view)
    return found


def _add(found: Collected, content: Content) -> None:
    columns, _ = columns_of(content)
    actions, told = columns["actions"], trusted(content.attributes)
    for kind in KINDS[:-1]:
        found.kinds[kind][printable(told.get(kind) or "not told", 60)] += 1
    found.cells[tuple(printable(told.get(kind) or "not told", 60) for kind in KINDS[:3])] += 1  # type: ignore[index]
    for number in columns.get("source", ()):
        found.kinds["source"][_source_name(number)] += 1
    found.events.update(printable(event, 40) for event in columns["action_event_types"])
    found.actions[action_unit(content)].append(columns.get("commanded", actions).astype(np.float64))
    found.episodes += 1
    found.frames += len(actions)
    found.duration_s += told.get("total_duration", 0.0)


def _source_name(number: Any) -> str:
    from vla_bt.words import Source

    try:
        return Source(int(number)).name.lower()
    except ValueError:
        return "unknown"


def figures(found: Collected) -> dict[str, Any]:
    """Return all figures, ready for JSON."""
    return {
        "episodes": found.episodes,
        "frames": found.frames,
        "duration_s": round(found.duration_s, 3),
        "kinds": {kind: dict(sorted(counts.items())) for kind, counts in found.kinds.items() if counts},
        "cells": [{"scenario": a, "pattern": b, "distance": c, "episodes": n} for (a, b, c), n in sorted(found.cells.items())],
        "balance": {kind: _balance(counts) for kind, counts in found.kinds.items() if counts},
        "events": dict(sorted(found.events.items())),
        "actions": {unit: action_figures(unit, episodes) for unit, episodes in sorted(found.actions.items())},
    }


def _balance(counts: Counter[str]) -> float:
    """Return how evenly counts are spread: entropy over the greatest possible one, 1 for even, 0 for one kind alone."""
    shares = np.array([count for count in counts.values() if count]) / sum(counts.values())
    return round(float(-(shares * np.log(shares)).sum() / np.log(len(shares))), 3) if len(shares) > 1 else 0.0


def action_figures(unit: str, episodes: list[NDArray[np.float64]]) -> dict[str, Any]:
    """Return histogram, directions and baselines of actions of one unit.

    Parameters
    ----------
    unit : str
        One of :mod:`vla_bt.episodes.units`.
    episodes : list of ndarray, each of shape (n, 3)
        NaN where an action is unknown.
    """
    rows = np.concatenate(episodes)
    known = rows[np.isfinite(rows).all(axis=1)]
    directions = Counter(_directions(unit, known))
    result: dict[str, Any] = {"frames": len(rows), "known": len(known), "directions": dict(directions.most_common())}
    if not len(known):
        return result
    result["axes"] = {
        axis: {
            "mean": float(known[:, at].mean()),
            "deviation": float(known[:, at].std()),
            "least": float(known[:, at].min()),
            "greatest": float(known[:, at].max()),
            "still": float((np.abs(known[:, at]) < STILL.get(unit, STILL[SI])[at]).mean()),
            "histogram": _histogram(known[:, at]),
        }
        for at, axis in enumerate(AXES)
    }
    result["baselines"] = {
        name: {"mae": _error(unit, name, episodes, 0), "without_first": _error(unit, name, episodes, 1)}
        for name in ("constant", "hold_last", "majority_key")
    }
    return result


def _histogram(values: NDArray[np.float64]) -> dict[str, list[float]]:
    reach = float(max(np.abs(values).max(), 1e-3))
    counts, edges = np.histogram(values, BINS, (-reach, reach))
    return {"edges": [round(float(edge), 6) for edge in edges], "counts": [int(count) for count in counts]}


def _directions(unit: str, rows: NDArray[np.float64]) -> list[str]:
    """Name each action's direction as keys do: ``forward left``, ``turn right``, ``stand``."""
    words = (("forward", "back"), ("left", "right"), ("turn left", "turn right"))
    limits = STILL.get(unit, STILL[SI])
    names = []
    for row in rows:
        parts = [
            pair[0] if value > 0 else pair[1]
            for value, pair, limit in zip(row, words, limits, strict=True)
            if abs(value) >= limit
        ]
        names.append(" ".join(parts) or "stand")
    return names


def _error(unit: str, baseline: str, episodes: list[NDArray[np.float64]], first: int) -> float | None:
    """Return a baseline's mean absolute error over the frames from ``first`` of each episode on; None without any."""
    targets = np.concatenate([episode[first:] for episode in episodes])
    known = np.isfinite(targets).all(axis=1)
    if not known.any():
        return None
    if baseline == "hold_last":
        held = [np.vstack([np.zeros((1, 3)), np.nan_to_num(episode[:-1])])[: len(episode)] for episode in episodes]
        guesses = np.concatenate([rows[first:] for rows in held])[known]
    elif baseline == "constant":
        guesses = np.median(targets[known], axis=0)
    else:
        names = np.array(_directions(unit, targets[known]))
        most = Counter(names.tolist()).most_common(1)[0][0]
        guesses = np.median(targets[known][names == most], axis=0)
    return float(np.abs(targets[known] - guesses).mean())
