"""A policy beside its shrunk selves, on the same frames: what the actions drift, what a step costs, what the weights take.

Promises: one of them is in memory at a time; drift is measured against the policy as stored, in the actions' own units, before
they are limited; frames are pictures with structure, made from a seed, not noise.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vla_bt.policy.config import PolicyConfig
from vla_bt.policy.factory import make_network_policy
from vla_bt.policy.runtime import NetworkPolicy
from vla_bt.policy.shrinking import Shrink, held_bytes
from vla_bt.words import ZERO


@dataclass(frozen=True)
class Request:
    """Which policy on which frames."""

    name: str
    config: PolicyConfig | None
    goal: str
    frames: int
    allow_missing: bool = False


def pictures(count: int, height: int, width: int, seed: int = 0) -> list[NDArray[np.uint8]]:
    """Make frames as a camera might see them: a floor, a wall and a box that grows nearer, with a little noise."""
    rng = np.random.default_rng(seed)
    found = []
    for index in range(count):
        frame = np.zeros((height, width, 3), np.uint8)
        frame[: height // 2] = rng.integers(150, 220, 3)
        frame[height // 2 :] = rng.integers(60, 120, 3)
        side = int(height * (0.2 + 0.5 * index / max(count, 1)))
        left, top = int(width * 0.55) - side // 2, int(height * 0.6) - side // 2
        cv2.rectangle(frame, (left, top), (left + side, top + side), (139, 101, 60), -1)
        cv2.circle(frame, (int(width * 0.3), int(height * 0.55)), max(2, height // 30), (200, 40, 40), -1)
        noise = rng.integers(-6, 7, frame.shape)
        found.append(np.clip(frame + noise, 0, 255).astype(np.uint8))
    return found


def run(policy: NetworkPolicy, goal: str, frames: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], float, float]:
    """Return the actions before limiting, (frames, chunk, 3), and a step's median time by the clock and on processors [s]."""
    policy.warm_up()
    policy.reset(goal)
    actions, times, busy = [], [], []
    for index, frame in enumerate(frames):
        started, worked = time.perf_counter(), time.process_time()
        actions.append(policy.step(frame, 0.2 * index, ZERO).raw_actions)
        times.append(time.perf_counter() - started)
        busy.append(time.process_time() - worked)
    return np.stack(actions), float(np.median(times)), float(np.median(busy))


def rows(request: Request, ways: Sequence[str]) -> list[dict[str, Any]]:
    """Measure the policy as stored, then each way to shrink it."""
    for way in ways:
        Shrink.parse(way)
    found: list[dict[str, Any]] = []
    frames: list[NDArray[np.uint8]] = []
    reference: NDArray[np.float32] | None = None
    for way in ("", *ways):
        policy = make_network_policy(request.name, how=way, config=request.config, allow_missing=request.allow_missing)
        frames = frames or pictures(request.frames, policy.info.frame_height, policy.info.frame_width)
        actions, seconds, worked = run(policy, request.goal, frames)
        reference = actions if reference is None else reference
        difference = np.abs(actions - reference)
        found.append(
            {
                "how": way or "as stored",
                "drift_mean": float(difference.mean()),
                "drift_max": float(difference.max()),
                "finite": bool(np.isfinite(actions).all()),
                "weights_mb": held_bytes(policy.network) / 1e6,
                "latency_ms": 1e3 * seconds,
                "processor_ms": 1e3 * worked,
            }
        )
        del policy
        gc.collect()
    spread = float(np.ptp(reference)) if reference is not None else 0.0
    for row in found:
        row["spread"] = spread
    return found


def table(name: str, found: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a person reads them."""
    lines = [f"{name}: actions spread over {found[0]['spread']:.4f} (m/s or rad/s) on these frames"]
    lines.append(f"{'':<16}{'drift mean':>12}{'drift max':>12}{'latency':>12}{'processor':>12}{'weights':>12}")
    for row in found:
        odd = "" if row["finite"] else "  NOT FINITE"
        lines.append(
            f"{row['how']:<16}{row['drift_mean']:>12.5f}{row['drift_max']:>12.5f}{row['latency_ms']:>9.1f} ms"
            f"{row['processor_ms']:>9.1f} ms"
            f"{row['weights_mb']:>9.1f} MB{odd}"
        )
    lines.append(
        "drift: against the policy as stored, before limits; latency: median of a step; processor: its own work in it; "
        "untrained weights drift differently"
    )
    return "\n".join(lines)
