"""The way around boxes: shortest, clear of everything, on the told side."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_bt.sim.check import side_passed
from vla_bt.sim.route import Points, distance_to_box, inflated, plan_route
from vla_bt.sim.truth import BoxTruth

ROOM = (-2.0, 6.0, -2.3, 2.3)
BOX = BoxTruth(2.0, 0.0, 0.2, 0.3, 0.0)


def sampled(way: Points) -> list[tuple[float, float]]:
    """Points along a polyline, 100 for each piece."""
    share = np.linspace(0, 1, 100)[:, None]
    pieces = [a + share * (b - a) for a, b in pairwise(way)]
    return [(float(x), float(y)) for x, y in np.concatenate(pieces)]


def length(way: Points) -> float:
    return float(np.linalg.norm(np.diff(way, axis=0), axis=1).sum())


def test_distance_to_a_turned_box() -> None:
    box = BoxTruth(1.0, 1.0, 0.5, 0.2, math.pi / 2)
    distance, x, y = distance_to_box(box, 2.0, 1.0)
    assert (distance, x, y) == pytest.approx((0.8, 1.0, 0.0))
    assert distance_to_box(box, 1.0, 2.0)[0] == pytest.approx(0.5)
    assert distance_to_box(box, 1.05, 1.1)[0] == 0.0


def test_inflated_keeps_the_clearance_and_hardly_more() -> None:
    for x, y in sampled(np.vstack([inflated(BOX, 0.4), inflated(BOX, 0.4)[:1]])):
        assert 0.4 - 1e-9 <= distance_to_box(BOX, x, y)[0] <= 0.4 / math.cos(math.pi / 8) + 1e-9


def test_a_free_way_is_straight() -> None:
    way = plan_route((0, 1.5), (4, 1.5), (BOX,), ROOM, None, 0.4, 0.3)
    assert way is not None
    assert way.tolist() == [[0, 1.5], [4, 1.5]]


def test_without_a_told_side_it_is_the_shorter_one() -> None:
    for y, side in ((0.2, "left"), (-0.2, "right")):
        way = plan_route((0, y), (4, y), (BOX,), ROOM, None, 0.4, 0.3)
        assert way is not None
        assert side_passed(sampled(way), BOX) == side


@pytest.mark.parametrize("side", ["left", "right"])
def test_told_side_holds_even_where_it_is_longer(side: str) -> None:
    for y in (-0.6, 0.0, 0.6):
        way = plan_route((0, y), (4, y), (BOX,), ROOM, side, 0.4, 0.3)
        assert way is not None
        assert side_passed(sampled(way), BOX) == side


def test_no_way_is_none() -> None:
    across = BoxTruth(2.0, 0.0, 0.2, 2.2, 0.0)
    assert plan_route((0, 0), (4, 0), (across,), ROOM, None, 0.4, 0.3) is None


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.builds(
            BoxTruth,
            st.floats(1.4, 2.8),
            st.floats(-0.5, 0.5),
            st.floats(0.1, 0.25),
            st.floats(0.1, 0.35),
            st.floats(-0.7, 0.7),
        ),
        min_size=1,
        max_size=2,
    ),
    st.sampled_from(["left", "right", None]),
    st.floats(-1.0, 1.0),
    st.floats(-1.0, 1.0),
)
def test_every_way_is_clear_and_on_the_told_side(boxes: list[BoxTruth], side: str | None, start_y: float, goal_y: float) -> None:
    start, goal, boxes_ = (0.0, start_y), (4.2, goal_y), tuple(boxes)
    way = plan_route(start, goal, boxes_, ROOM, side, 0.4, 0.3)
    assert way is not None
    points = sampled(way)
    for box in boxes_:
        assert min(distance_to_box(box, *point)[0] for point in points) > 0.4 - 1e-3
        if side is not None:
            assert side_passed(points, box) == side
    if side is not None:
        shortest = plan_route(start, goal, boxes_, ROOM, None, 0.4, 0.3)
        assert shortest is not None
        assert length(shortest) <= length(way) + 1e-9


@settings(max_examples=60, deadline=None)
@given(st.floats(-math.pi, math.pi), st.floats(0.21, 0.6), st.sampled_from(["left", "right", None]))
def test_it_finds_a_way_from_close_to_a_box(bearing: float, gap: float, side: str | None) -> None:
    start = (BOX.x + (0.37 + gap) * math.cos(bearing), BOX.y + (0.37 + gap) * math.sin(bearing))
    way = plan_route(start, (4.2, 0.3), (BOX,), ROOM, side, 0.48, 0.3)
    assert way is not None
    here = distance_to_box(BOX, *start)[0]
    assert min(distance_to_box(BOX, *point)[0] for point in sampled(way)) > min(here * 0.9, 0.48) - 0.01
