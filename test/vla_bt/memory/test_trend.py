"""Growth is found when it is there, and not in noise; a replaced process counts piece by piece."""

from __future__ import annotations

import numpy as np
import pytest

from vla_bt.memory.trend import pooled_slope, slope

TIMES_S = [5.0 * index for index in range(360)]  # half an hour


def wandering(seed: int, step: float = 0.2) -> np.ndarray:
    """Noise whose neighbours are alike: it forgets within about a minute."""
    rng = np.random.default_rng(seed)
    values = np.zeros(len(TIMES_S))
    for index in range(1, len(values)):
        values[index] = 0.92 * values[index - 1] + step * rng.standard_normal()
    return values


def test_a_straight_line_is_found_exactly() -> None:
    found = slope(TIMES_S, [100.0 + time_s / 3600.0 * 7.0 for time_s in TIMES_S])
    assert found is not None
    assert found.per_hour == pytest.approx(7.0)
    assert found.low == pytest.approx(7.0)
    assert found.seconds == TIMES_S[-1]
    assert found.sure


def test_the_interval_covers_what_it_should() -> None:
    """Of 95 % intervals over noise with neighbours alike, most hold the truth; independent-samples intervals would hold half."""
    held = 0
    for seed in range(100):
        found = slope(TIMES_S, [float(value) for value in wandering(seed)])
        assert found is not None
        held += found.low <= 0.0 <= found.high
    assert held >= 85


def test_growth_in_noise_is_sure() -> None:
    values = wandering(1) + np.array(TIMES_S) / 3600.0 * 30.0
    found = slope(TIMES_S, [float(value) for value in values])
    assert found is not None
    assert found.sure
    assert 20.0 < found.per_hour < 40.0


def test_pieces_have_levels_of_their_own() -> None:
    pieces = [[(time_s, 50.0 + 2.0 * time_s / 3600.0) for time_s in TIMES_S[:150]]]
    pieces.append([(time_s, 900.0 + 2.0 * time_s / 3600.0) for time_s in TIMES_S[150:]])
    found = pooled_slope(pieces)
    assert found is not None
    assert found.per_hour == pytest.approx(2.0)


@pytest.mark.parametrize("count", [0, 1, 23])
def test_too_little_says_nothing(count: int) -> None:
    assert slope(TIMES_S[:count], [1.0] * count) is None


def test_no_time_passes_says_nothing() -> None:
    assert slope([1.0] * 50, [1.0] * 50) is None
