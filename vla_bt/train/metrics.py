"""How near predicted chunks are to the expert's, beside what needs no learning at all.

Promises: an error means nothing without its baselines, so they are computed on the same frames: the constant median, holding the
last velocity, and the mean for the goal. Normalised means in units of the declared range of each axis.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vla_bt.policy.runtime import NetworkPolicy
from vla_bt.train.data import Sequence
from vla_bt.train.sentences import draw_sentence
from vla_bt.words import Twist

WITHIN = (0.3, 0.2, 0.15, 0.1)
AXES = ("linear_x", "linear_y", "angular_z")

Floats = NDArray[np.float64]


def predictions(policy: NetworkPolicy, sequences: list[Sequence], seed: int = 0) -> list[Floats]:
    """Step a policy through recorded drives, one frame at a time as it drives: arrays (frames, chunk, 3)."""
    rng = np.random.default_rng([seed, 229])
    found = []
    torch.set_num_threads(1)
    for sequence in sequences:
        policy.reset(draw_sentence(rng, sequence.side, sequence.boxes, "validation"))
        rows = [
            policy.step(np.array(frame), float(time_s), Twist(*map(float, twist))).actions
            for frame, time_s, twist in zip(sequence.frames, np.cumsum(sequence.elapsed), sequence.twist, strict=True)
        ]
        found.append(np.array(rows, np.float64))
    return found


def baselines(train: list[Sequence], test: list[Sequence]) -> dict[str, list[Floats]]:
    """Predict ``test`` without learning.

    ``hold_last`` keeps the measured velocity; ``goal_mean`` is the mean of the training chunks of the same side and boxes.
    """
    chunks = np.concatenate([sequence.actions for sequence in train]).astype(np.float64)
    median = np.median(chunks, axis=(0, 1))
    groups: dict[tuple[str, int], Floats] = {}
    for key in {(sequence.side, sequence.boxes) for sequence in train}:
        same = [sequence.actions for sequence in train if (sequence.side, sequence.boxes) == key]
        groups[key] = np.concatenate(same).astype(np.float64).mean(axis=0)
    mean = chunks.mean(axis=0)

    def each(make: Callable[[Sequence], Floats]) -> list[Floats]:
        return [np.broadcast_to(make(sequence), sequence.actions.shape).astype(np.float64) for sequence in test]

    return {
        "constant_median": each(lambda sequence: median),
        "hold_last": each(lambda sequence: sequence.twist[:, None].astype(np.float64)),
        "goal_mean": each(lambda sequence: groups.get((sequence.side, sequence.boxes), mean)),
    }


def compare(predicted: list[Floats], wanted: list[Floats], scale: Floats) -> dict[str, Any]:
    """Measure predictions against labels.

    Parameters
    ----------
    predicted, wanted : list of ndarray, shape (frames, chunk, 3)
        [m/s, m/s, rad/s]; one entry a drive.
    scale : ndarray, shape (3,)
        The declared range.

    Returns
    -------
    dict
        ``mae`` normalised, ``mae_raw``, ``mae_without_first`` (frame 0 left out), ``within`` (share of normalised errors below
        each limit), ``r2`` and ``correlation`` of each axis (None where the labels do not vary).
    """
    limits = np.asarray(scale, np.float64)
    cut = [np.clip(labels, -limits, limits) for labels in wanted]
    errors = np.concatenate([guess - labels for guess, labels in zip(predicted, cut, strict=True)])
    later = np.concatenate([guess[1:] - labels[1:] for guess, labels in zip(predicted, cut, strict=True)])
    normal = np.abs(errors) / limits
    guesses, labels = np.concatenate(predicted).reshape(-1, 3), np.concatenate(cut).reshape(-1, 3)
    spread = labels.var(axis=0)
    r2 = {}
    correlation = {}
    for index, axis in enumerate(AXES):
        varies = spread[index] > 1e-12
        r2[axis] = float(1 - ((guesses - labels)[:, index] ** 2).mean() / spread[index]) if varies else None
        both = varies and guesses[:, index].std() > 1e-9
        correlation[axis] = float(np.corrcoef(guesses[:, index], labels[:, index])[0, 1]) if both else None
    return {
        "mae": float(normal.mean()),
        "mae_raw": float(np.abs(errors).mean()),
        "mae_without_first": float((np.abs(later) / limits).mean()),
        "within": {f"{limit:g}": float((normal < limit).mean()) for limit in WITHIN},
        "r2": r2,
        "correlation": correlation,
    }


def table(policy: NetworkPolicy, train: list[Sequence], test: list[Sequence]) -> dict[str, Any]:
    """Return :func:`compare` of the policy and of every baseline on ``test``, frames within the declared range."""
    scale = np.array(policy.config.head.scale, np.float64)
    wanted = [sequence.actions.astype(np.float64) for sequence in test]
    rows = {"policy": compare(predictions(policy, test), wanted, scale)}
    for name, guesses in baselines(train, test).items():
        rows[name] = compare(guesses, wanted, scale)
    return rows
