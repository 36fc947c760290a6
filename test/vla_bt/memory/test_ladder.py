"""The ladder never stands lower than the memory calls for, never flaps, and takes back only what there is room for."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_bt.memory.ladder import LONGEST_HOLD, NAMES, Ladder, Level, Limits, after_out_of_memory, climb, hold_s, limits_of, needed
from vla_bt.settings import SettingsError, TreeSettings, build

LIMITS = Limits((1500.0, 1200.0, 900.0, 700.0, 500.0), room_factor=1.15, hold_s=10.0)
PERIOD_S = 0.25

falling = st.lists(st.floats(0.0, 5000.0), min_size=5, max_size=5).map(lambda values: tuple(sorted(values, reverse=True)))
limits = st.builds(Limits, falling, st.floats(1.0, 2.0), st.floats(0.25, 30.0))
traces = st.lists(st.tuples(st.floats(0.0, 6000.0), st.integers(1, 60)), min_size=1, max_size=40)
"""Available memory [MB], and for how many samples it stays."""


def samples(trace: list[tuple[float, int]]) -> list[float]:
    return [available_mb for available_mb, count in trace for _ in range(count)]


@pytest.mark.parametrize(
    ("available_mb", "level"),
    [
        (1500, 0),
        (1499, 1),
        (1200, 1),
        (1199, 2),
        (900, 2),
        (899, 3),
        (700, 3),
        (699, 4),
        (500, 4),
        (499, 5),
        (0, 5),
        (math.nan, 0),
    ],
)
def test_what_is_left_calls_for_a_level(available_mb: float, level: int) -> None:
    assert needed(available_mb, LIMITS) == level


@given(limits, st.floats(0.0, 6000.0), st.floats(0.0, 6000.0))
def test_less_memory_never_calls_for_a_lower_level(numbers: Limits, one: float, other: float) -> None:
    assert needed(min(one, other), numbers) >= needed(max(one, other), numbers)


@settings(deadline=None)
@given(limits, traces, st.floats(0.0, 2000.0), st.booleans())
def test_never_lower_than_the_memory_calls_for_and_back_one_step_at_a_time(
    numbers: Limits, trace: list[tuple[float, int]], cost_mb: float, settled: bool
) -> None:
    ladder, now_s = Ladder(), 0.0
    for available_mb in samples(trace):
        before, now_s = ladder, now_s + PERIOD_S
        ladder = climb(ladder, available_mb, now_s, numbers, cost_mb, settled)
        assert ladder.level >= needed(available_mb, numbers)
        assert ladder.level >= before.level - 1
        if ladder.level < before.level:
            assert settled
            assert available_mb - cost_mb > numbers.limit_mb(before.level) * numbers.room_factor


@settings(deadline=None)
@given(limits, traces)
def test_no_return_without_room_for_the_whole_hold(numbers: Limits, trace: list[tuple[float, int]]) -> None:
    ladder, now_s = Ladder(), 0.0
    history: list[tuple[float, float]] = []
    for available_mb in samples(trace):
        before, now_s = ladder, now_s + PERIOD_S
        history.append((now_s, available_mb))
        ladder = climb(ladder, available_mb, now_s, numbers)
        if ladder.level < before.level:
            needed_mb = numbers.limit_mb(before.level) * numbers.room_factor
            since_s = now_s - hold_s(before, numbers)
            assert all(mb > needed_mb for at_s, mb in history if at_s >= since_s - 1e-6)
            assert now_s - before.since_s >= hold_s(before, numbers) - 1e-6


@settings(deadline=None)
@given(limits, traces, st.floats(10.0, 3000.0))
def test_no_flapping_however_the_memory_moves(numbers: Limits, trace: list[tuple[float, int]], cost_mb: float) -> None:
    """At most one return a hold, and after a relapse half as many."""
    ladder, now_s, returns = Ladder(), 0.0, 0
    for available_mb in samples(trace):
        before, now_s = ladder, now_s + PERIOD_S
        ladder = climb(ladder, available_mb, now_s, numbers, cost_mb)
        returns += ladder.level < before.level
        if ladder.level > before.level and now_s - before.returned_s < numbers.hold_s:
            assert ladder.relapses == before.relapses + 1
            assert hold_s(ladder, numbers) == min(LONGEST_HOLD, 2**ladder.relapses) * numbers.hold_s
    assert returns <= now_s / numbers.hold_s


@settings(max_examples=40, deadline=None)
@given(
    st.floats(0.0, 4000.0),
    st.lists(st.floats(0.0, 800.0), min_size=5, max_size=5),
)
def test_with_a_steady_hog_the_ladder_comes_to_rest(hog_mb: float, frees_mb: list[float]) -> None:
    """The loop closed: each level frees what it frees, and taking it back costs just that."""
    ladder, now_s, changes_s = Ladder(), 0.0, []
    for _ in range(4 * 60 * 12):
        now_s += PERIOD_S
        available_mb = max(0.0, 4000.0 - hog_mb - 1500.0 + sum(frees_mb[: ladder.level]))
        cost_mb = frees_mb[ladder.level - 1] if ladder.level else 0.0
        before = ladder
        ladder = climb(ladder, available_mb, now_s, LIMITS, cost_mb)
        if ladder.level is not before.level:
            changes_s.append(now_s)
    assert len(changes_s) <= 10
    assert not changes_s or changes_s[-1] < 600.0


def test_a_step_that_would_not_fit_again_is_not_taken_back() -> None:
    ladder = Ladder(Level.UNLOAD, 0.0)
    for tick in range(400):
        ladder = climb(ladder, 1400.0, PERIOD_S * tick, LIMITS, cost_mb=900.0)
    assert ladder.level is Level.UNLOAD
    for tick in range(400, 480):
        ladder = climb(ladder, 1500.0, PERIOD_S * tick, LIMITS, cost_mb=900.0)
    assert ladder.level is Level.LAYERS


def test_a_relapse_doubles_the_hold_and_calm_forgets_it() -> None:
    ladder, now_s = Ladder(), 0.0
    for expected in (1, 2, 3):
        ladder = climb(ladder, 1400.0, now_s, LIMITS)
        while ladder.level:
            now_s += PERIOD_S
            ladder = climb(ladder, 3000.0, now_s, LIMITS)
        assert ladder.relapses == expected - 1
    assert hold_s(ladder, LIMITS) == 40.0
    ladder = climb(ladder, 3000.0, now_s + 401.0, LIMITS)
    assert ladder.relapses == 0


def test_what_is_asked_for_holds_until_it_is_released() -> None:
    ladder = climb(Ladder(), 4000.0, 0.0, LIMITS, least=Level.SHORTEN)
    for tick in range(1, 400):
        ladder = climb(ladder, 4000.0, PERIOD_S * tick, LIMITS, least=Level.SHORTEN)
    assert ladder.level is Level.SHORTEN
    for tick in range(400, 800):
        ladder = climb(ladder, 4000.0, PERIOD_S * tick, LIMITS)
    assert ladder.level is Level.FINE


def test_running_out_goes_up_although_much_seems_left() -> None:
    ladder = after_out_of_memory(Ladder(), Level.INT8, 5.0, LIMITS)
    assert (ladder.level, ladder.relapses) == (Level.INT8, 1)
    again = after_out_of_memory(ladder, Level.INT8, 6.0, LIMITS)
    assert (again.level, again.relapses) == (Level.INT8, 2)
    assert climb(ladder, 4000.0, 6.0, LIMITS).level is Level.INT8


def test_the_settings_give_falling_limits_and_others_are_refused() -> None:
    shipped = limits_of(TreeSettings())
    assert list(shipped.below_mb) == sorted(shipped.below_mb, reverse=True)
    with pytest.raises(SettingsError, match="memory_int8_mb is 1300; expected at most memory_shorten_mb, 1200"):
        limits_of(replace(TreeSettings(), memory_int8_mb=1300.0))
    assert limits_of(build(TreeSettings, dict.fromkeys(NAMES, 5.0), "test")).below_mb == (5.0,) * 5


def test_people_are_told_five_levels() -> None:
    assert [level.number for level in Level] == [0, 1, 2, 3, 3, 4]
    assert all(level.words for level in Level)
