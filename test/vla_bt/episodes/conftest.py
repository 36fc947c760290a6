"""Frames to record, small so that a test costs little."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone

import numpy as np
import pytest

from vla_bt.episodes.format import FrameSample
from vla_bt.port import Odometry
from vla_bt.words import Mode, Source, Twist


@pytest.fixture
def at_noon() -> Callable[[], datetime]:
    return lambda: datetime(2026, 11, 22, 12, 0, 0, tzinfo=timezone.utc)


@pytest.fixture
def make_sample() -> Callable[..., FrameSample]:
    """Make the sample of frame ``index``; its picture tells the index in its first pixel, red, green and blue apart."""

    def make(index: int, height: int = 24, width: int = 32, **changes: object) -> FrameSample:
        image = np.zeros((height, width, 3), np.uint8)
        image[..., 0], image[..., 1], image[..., 2] = 200, 100, 50
        image[0, 0] = index
        values: dict[str, object] = {
            "image": image,
            "action": Twist(0.0, 0.0, 0.0) if index % 4 == 3 else Twist(0.2, 0.0, -0.1),
            "applied": Twist(0.15, 0.0, -0.05),
            "source": Source.POLICY,
            "mode": Mode.VLA,
            "frame_sequence": 100 + index,
            "exposure_s": 1e9 + index,
            "receipt_s": 50.0 + index,
            "decided_s": 50.01 + index,
            "goal_text": "go around the box on the left to the cup",
            "goal_id": 7,
            "odometry": Odometry(float(index), 0.5, 0.1, Twist(0.1, 0.0, 0.0), 50.0 + index),
            "policy_latency_s": 0.02,
            "weights_hash": "ab12",
        }
        return FrameSample(**{**values, **changes})  # type: ignore[arg-type]

    return make
