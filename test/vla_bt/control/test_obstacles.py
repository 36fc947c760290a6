"""Only the part of a velocity that leads into an obstacle is taken away."""

import math
import timeit

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vla_bt.control.obstacles import NOTHING, blocked, limit, sector, slowed
from vla_bt.port import Contact, Scan
from vla_bt.words import Twist

RADIUS, DISTANCE = 0.2, 0.12
COUNT = 360
ANGLES = -math.pi + np.arange(COUNT) * (2 * math.pi / COUNT)


def scan(ranges: NDArray[np.floating]) -> Scan:
    return Scan(np.asarray(ranges, np.float32), -math.pi, 2 * math.pi / COUNT, 0.0)


def wall(distance: float, at: float) -> NDArray[np.floating]:
    """Ranges to a straight wall whose nearest point lies ``distance`` away in direction ``at``."""
    facing = np.cos(ANGLES - at)
    return np.where(facing > 0.01, distance / np.maximum(facing, 0.01), np.inf)


def post(distance: float, at: float) -> NDArray[np.floating]:
    """Ranges with a single near ray in direction ``at``."""
    ranges = np.full(COUNT, np.inf)
    ranges[round((at + math.pi) / (2 * math.pi / COUNT)) % COUNT] = distance
    return ranges


def heading(angle: float, speed: float = 0.3, turn: float = 0.0) -> Twist:
    return Twist(speed * math.cos(angle), speed * math.sin(angle), turn)


def limited(twist: Twist, ranges: NDArray[np.floating], contact: Contact | None = None) -> Twist:
    return limit(twist, blocked(scan(ranges), contact, RADIUS, DISTANCE))[0]


def test_free_space_changes_nothing() -> None:
    around = blocked(scan(np.full(COUNT, 3.0)), None, RADIUS, DISTANCE)
    assert around is NOTHING
    assert limit(heading(0.3), around) == (heading(0.3), "")
    assert blocked(None, None, RADIUS, DISTANCE) is NOTHING


@pytest.mark.parametrize("at", [0.0, 1.0, math.pi / 2, 3.0, -2.0])
def test_a_wall_blocks_its_side_only(at: float) -> None:
    ranges = wall(0.27, at)
    assert limited(heading(at, turn=0.5), ranges) == Twist(0.0, 0.0, 0.5)
    assert limited(heading(at + math.pi), ranges) == heading(at + math.pi)
    # along the wall, within the angle between two rays
    for side in (math.pi / 2, -math.pi / 2):
        along = limited(heading(at + side), ranges)
        assert along == pytest.approx(heading(at + side), abs=0.3 * 2 * math.pi / COUNT)


def test_a_slanting_velocity_slides_along_the_wall_with_its_own_part() -> None:
    slid = limited(heading(math.radians(40)), wall(0.27, 0.0))
    assert slid == pytest.approx((0.0, 0.3 * math.sin(math.radians(40)), 0.0), abs=1e-3)


def test_the_words_name_the_side() -> None:
    around = blocked(scan(wall(0.27, math.pi / 2)), Contact(-1.0, 0.0, 0.0), RADIUS, DISTANCE)
    assert around.scan_words == "0.07 m left"
    assert around.contact_words == "behind"
    assert limit(heading(math.pi / 4), blocked(scan(wall(0.27, 0.0)), None, RADIUS, DISTANCE))[1] == (
        "ahead left is blocked, slides to its left"
    )
    assert limit(heading(0.0), blocked(scan(wall(0.27, 0.0)), None, RADIUS, DISTANCE))[1] == "no way ahead"


@pytest.mark.parametrize(
    ("angle", "words"),
    [(0, "ahead"), (45, "ahead left"), (91, "left"), (180, "behind"), (-180, "behind"), (-90, "right"), (-130, "behind right")],
)
def test_sectors_have_names(angle: float, words: str) -> None:
    assert sector(math.radians(angle)) == words


def test_a_corridor_is_passed_and_its_end_is_not() -> None:
    corridor = np.minimum(wall(0.25, math.pi / 2), wall(0.25, -math.pi / 2))
    assert limited(heading(0.0), corridor) == pytest.approx(heading(0.0), abs=1e-3)
    slanted = limited(heading(0.2), corridor)
    assert slanted == pytest.approx((0.3 * math.cos(0.2), 0.0, 0.0), abs=1e-3)
    end = np.minimum(corridor, wall(0.25, 0.0))
    assert limited(heading(0.0), end) == Twist(0.0, 0.0, 0.0)
    assert limited(heading(math.pi), end) == pytest.approx(heading(math.pi), abs=1e-3)


def test_all_around_blocked_leaves_turning() -> None:
    assert limited(heading(1.0, turn=-0.4), np.full(COUNT, 0.22)) == Twist(0.0, 0.0, -0.4)


def test_a_contact_blocks_without_a_scan() -> None:
    around = blocked(None, Contact(1.0, 0.0, 0.0), RADIUS, DISTANCE)
    assert limit(heading(0.0), around)[0] == Twist(0.0, 0.0, 0.0)
    assert limit(heading(math.pi), around)[0] == heading(math.pi)
    assert limit(heading(math.pi / 2), around)[0] == heading(math.pi / 2)


def test_what_a_range_means() -> None:
    for free in (np.inf, np.nan, 0.0, -1.0):
        assert blocked(scan(np.full(COUNT, free)), None, RADIUS, DISTANCE) is NOTHING
    too_near = post(-np.inf, 0.0)
    assert limited(heading(0.0), too_near) == Twist(0.0, 0.0, 0.0)
    assert limited(heading(math.pi), too_near) == heading(math.pi)


@given(
    st.lists(st.tuples(st.integers(0, COUNT - 1), st.floats(0.05, 0.6)), max_size=25),
    st.one_of(st.none(), st.floats(-math.pi, math.pi)),
    st.floats(-math.pi, math.pi),
    st.floats(1e-6, 2.0),
)
def test_never_faster_never_nearer(points: list[tuple[int, float]], touch: float | None, angle: float, speed: float) -> None:
    ranges = np.full(COUNT, np.inf)
    for index, distance in points:
        ranges[index] = distance
    contact = None if touch is None else Contact(math.cos(touch), math.sin(touch), 0.0)
    wanted = heading(angle, speed, 0.7)
    slid = limited(wanted, ranges, contact)
    assert slid.angular_z == 0.7
    assert slid.speed <= speed + 1e-12
    # what is left is a projection: it never points against what was asked
    assert slid.linear_x * wanted.linear_x + slid.linear_y * wanted.linear_y >= -1e-12
    # and a small move along it leaves the clearance to every blocked point no smaller than the smallest was
    points_at = [(max(r, RADIUS), ANGLES[i]) for i, r in enumerate(ranges) if r < RADIUS + DISTANCE]
    points_at += [] if touch is None else [(RADIUS, touch)]
    if slid.speed > 0.0 and points_at:
        smallest = min(r for r, _ in points_at)
        way = math.atan2(slid.linear_y, slid.linear_x)
        for r, at in points_at:
            ahead = r * math.cos(at - way)
            nearest = abs(r * math.sin(at - way)) if ahead > 0.0 else r
            assert nearest >= smallest - 2e-3 * r


@given(st.integers(0, COUNT - 1), st.floats(0.05, 0.31), st.floats(-math.pi / 2, math.pi / 2))
def test_backing_away_from_one_obstacle_is_always_possible(index: int, distance: float, off: float) -> None:
    ranges = np.full(COUNT, np.inf)
    ranges[index] = distance
    away = heading(float(ANGLES[index]) + math.pi + off)
    assert limited(away, ranges) == away


def test_360_near_rays_are_weighed_without_a_python_loop() -> None:
    full = scan(np.minimum(wall(0.25, 0.3), np.full(COUNT, 0.31)))
    assert bool((full.ranges < RADIUS + DISTANCE).all())

    def ray_by_ray() -> float:
        return min(r * math.cos(a) + r * math.sin(a) for r, a in zip(ranges, angles, strict=True))

    ranges, angles = full.ranges.tolist(), np.linspace(-math.pi, math.pi, COUNT).tolist()
    own_s, loop_s = (
        min(timeit.repeat(work, number=50, repeat=10))
        for work in (lambda: limit(heading(0.5), blocked(full, None, RADIUS, DISTANCE)), ray_by_ray)
    )
    assert own_s < 10 * loop_s  # twice on a quiet core; rules written ray by ray would take some twenty looks each


BRAKING, REACTION = 1.0, 0.5


def braked(twist: Twist, ranges: NDArray[np.floating]) -> Twist:
    return slowed(twist, blocked(scan(ranges), None, RADIUS, DISTANCE), RADIUS, DISTANCE, BRAKING, REACTION)[0]


@pytest.mark.parametrize("at", [0.0, 1.2, -2.5])
def test_a_robot_that_drives_at_a_wall_stands_before_its_clearance(at: float) -> None:
    gap, speed, under_way = 1.5, 0.5, [heading(at, 0.5)] * 4  # what was asked takes effect, and holds, 0.25 s later
    for _ in range(400):
        under_way.append(braked(heading(at, 0.5), wall(RADIUS + gap, at)))
        wanted = under_way.pop(0).speed
        speed = max(wanted, speed - BRAKING * 0.05)
        gap -= speed * 0.05
    assert DISTANCE - 0.01 <= gap <= DISTANCE + 0.02


def test_what_is_beside_the_way_is_not_braked_for() -> None:
    assert braked(heading(0.0, 0.5), wall(RADIUS + 0.02, math.pi / 2)) == heading(0.0, 0.5)
    assert braked(heading(0.0, 0.5, 0.4), post(0.5, 0.6)) == heading(0.0, 0.5, 0.4)
    slow = braked(heading(0.0, 0.5, 0.4), post(0.5, 0.1))
    assert 0.1 < slow.linear_x < 0.45
    assert slow.angular_z == 0.4
    assert braked(heading(math.pi, 0.5), post(0.5, 0.1)) == heading(math.pi, 0.5)


@given(st.floats(0.0, 3.0), st.floats(-math.pi, math.pi), st.floats(0.0, 2.0), st.floats(-math.pi, math.pi))
def test_slowing_keeps_the_direction_and_leaves_room_to_brake(gap: float, at: float, speed: float, way: float) -> None:
    ranges = post(RADIUS + gap, at)
    slow = braked(heading(way, speed), ranges)
    assert slow.speed <= speed + 1e-12
    assert abs(slow.linear_x * math.sin(way) - slow.linear_y * math.cos(way)) < 1e-9
    ray = float(ANGLES[round((at + math.pi) / (2 * math.pi / COUNT)) % COUNT])
    ahead, aside = (RADIUS + gap) * math.cos(ray - way), (RADIUS + gap) * math.sin(ray - way)
    if ahead > 0.0 and abs(aside) < RADIUS - 1e-6 and gap < 1.5:
        free = max(0.0, ahead - math.sqrt(RADIUS**2 - aside**2) - DISTANCE)
        assert slow.speed * REACTION + slow.speed**2 / (2 * BRAKING) <= free + 1e-5
