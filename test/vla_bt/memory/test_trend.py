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
    assert 6.3 < found.low <= found.high == pytest.approx(7.0)  # less what a half block grows
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


@pytest.mark.parametrize("at_s", [400.0, 900.0, 1475.0])
@pytest.mark.parametrize("size", [0.7, -0.7, 40.0])
def test_one_jump_is_no_growth_and_steps_are(at_s: float, size: float) -> None:
    once = slope(TIMES_S, [39.6 + size * (time_s > at_s) for time_s in TIMES_S])
    assert once is not None
    assert once.low <= 0.0 <= once.high
    assert once.steady == pytest.approx(0.0, abs=1e-6)
    steps = slope(TIMES_S, [39.6 + size * (time_s // 300.0) for time_s in TIMES_S])
    assert steps is not None
    assert steps.sure == (size > 0.0)
    assert abs(steps.steady) < abs(steps.per_hour)
    assert steps.per_hour == pytest.approx(12.0 * size, rel=0.1)


def test_a_dip_hides_no_growth() -> None:
    found = slope(TIMES_S, [50.0 + 10.0 * time_s / 3600.0 - 5.0 * (800.0 < time_s < 830.0) for time_s in TIMES_S])
    assert found is not None
    assert found.steady == pytest.approx(10.0, rel=0.15)
    assert found.sure


def test_the_last_sample_alone_is_no_jump_that_lasted() -> None:
    values = [39.6 + 0.7 * (time_s > 700.0) for time_s in TIMES_S]
    found = slope(TIMES_S, [*values[:-1], values[-1] + 1.0])
    assert found is not None
    assert abs(found.steady) < 0.5
    assert found.low < 0.1


@pytest.mark.parametrize("seed", range(40))
def test_any_pieces_can_be_judged(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pieces, at_s = [], 0.0
    for length in rng.integers(1, 60, 4):
        rate, spike = rng.normal(0.0, 0.01), int(rng.integers(length))
        values = rate * np.arange(length) + 20.0 * (np.arange(length) == spike) + 0.1 * (seed % 2) * rng.standard_normal(length)
        pieces.append([(at_s + 5.0 * index, float(value)) for index, value in enumerate(values)])
        at_s += 5.0 * length + 60.0
    found = pooled_slope(pieces)
    assert found is None or found.low <= found.per_hour <= found.high
    opposed = pooled_slope([[(time_s, sign * time_s / 720.0) for time_s in TIMES_S[:60]] for sign in (5.0, -1.0, 5.0)])
    assert opposed is not None
    assert opposed.per_hour == pytest.approx(15.0)


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
