from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_bt.eval.stats import wilson


@pytest.mark.parametrize(
    ("successes", "runs", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (190, 200, 0.9104, 0.9726)],
)
def test_known_intervals(successes: int, runs: int, low: float, high: float) -> None:
    assert wilson(successes, runs) == pytest.approx((low, high), abs=1e-4)


@given(st.integers(1, 500).flatmap(lambda runs: st.tuples(st.integers(0, runs), st.just(runs))))
def test_the_share_lies_inside_and_more_runs_say_more(counts: tuple[int, int]) -> None:
    successes, runs = counts
    low, high = wilson(successes, runs)
    assert 0.0 <= low <= successes / runs + 1e-12
    assert successes / runs - 1e-12 <= high <= 1.0
    tenfold = wilson(10 * successes, 10 * runs)
    assert tenfold[1] - tenfold[0] < high - low


def test_without_runs_nothing_is_known() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="3 successes in 2 runs"):
        wilson(3, 2)
