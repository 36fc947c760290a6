"""The robot in its room: time, motion, time-out, contacts, odometry and scan, against known geometry."""

import dataclasses
import math

import numpy as np
import pytest

from vla_bt.sim.scenes import Pose, Room, Scene, make_scene
from vla_bt.sim.truth import Truth
from vla_bt.sim.world import CUP_HEIGHT_M, SCAN_HEIGHT_M, SimWorld
from vla_bt.words import ZERO, Twist

FORWARD = Twist(0.4, 0.0, 0.0)


def empty_room(x: float = 0.0, y: float = 0.0, yaw: float = 0.0) -> Scene:
    """A room of 4 x 3 m without boxes, the cup in a corner."""
    scene = make_scene("1box_vert_left")
    cup = dataclasses.replace(scene.cup, x=1.7, y=1.2)
    return dataclasses.replace(scene, boxes=(), start=Pose(x, y, yaw), cup=cup, room=Room(-2.0, 2.0, -1.5, 1.5, 2.6))


def hold(world: SimWorld, twist: Twist, duration_s: float) -> Truth:
    """Command one velocity at 20 Hz."""
    for _ in range(round(duration_s / 0.05)):
        world.command(twist)
        world.advance(0.05)
    return world.truth()


def wander(seed: int) -> list[float]:
    world = SimWorld(make_scene("2box_vert_left", seed=seed))
    rng = np.random.default_rng(5)
    values: list[float] = []
    for _ in range(60):
        world.command(Twist(*(rng.uniform(-0.5, 0.5, 3))))
        world.advance(0.07)
        truth = world.truth()
        values += [truth.x, truth.y, truth.yaw, *truth.twist, *world.scan(0.0).ranges.tolist()]
    return values


def test_same_scene_and_commands_same_bits() -> None:
    assert wander(1) == wander(1)
    assert wander(1) != wander(2)


def test_time_is_simulated_and_fractions_of_a_step_are_not_lost() -> None:
    world = SimWorld(empty_room())
    for _ in range(300):
        world.advance(0.001)
    assert world.time_s == pytest.approx(0.3)
    for _ in range(30):
        world.advance(1 / 30)
    assert world.time_s == pytest.approx(1.3)
    with pytest.raises(ValueError, match="expected a finite number of seconds"):
        world.advance(-0.1)


@pytest.mark.parametrize(
    "twist, to",
    [
        (Twist(0.4, 0.0, 0.0), (0.0, 1.0)),
        (Twist(0.0, 0.3, 0.0), (-1.0, 0.0)),
        (Twist(-0.2, 0.0, 0.0), (0.0, -1.0)),
    ],
)
def test_commands_are_in_the_robots_own_frame(twist: Twist, to: tuple[float, float]) -> None:
    world = SimWorld(empty_room(yaw=math.pi / 2))
    truth = hold(world, twist, 1.5)
    speed = twist.speed
    assert (truth.x, truth.y) == pytest.approx((to[0] * speed * 1.4, to[1] * speed * 1.4), abs=0.02)
    assert tuple(truth.twist) == pytest.approx(tuple(twist), abs=0.005)


def test_driving_and_turning_at_once_is_a_circle() -> None:
    world = SimWorld(empty_room())
    hold(world, Twist(0.3, 0.0, 0.6), 2.0)
    began = world.truth()
    centre = began.x - 0.5 * math.sin(began.yaw), began.y + 0.5 * math.cos(began.yaw)
    for _ in range(10):
        truth = hold(world, Twist(0.3, 0.0, 0.6), 0.5)
        assert math.hypot(truth.x - centre[0], truth.y - centre[1]) == pytest.approx(0.5, abs=0.05)
    odometry = world.odometry(9.0)
    assert (odometry.x, odometry.y, odometry.yaw) == pytest.approx((truth.x, truth.y, truth.yaw))
    assert odometry.received_s == 9.0


def test_odometry_starts_at_zero_wherever_the_robot_stands() -> None:
    world = SimWorld(empty_room(x=0.5, y=-0.4, yaw=2.0))
    assert tuple(world.odometry(0.0).twist) == tuple(ZERO)
    assert (world.odometry(0.0).x, world.odometry(0.0).y, world.odometry(0.0).yaw) == (0.0, 0.0, 0.0)
    hold(world, FORWARD, 1.0)
    odometry = world.odometry(0.0)
    assert odometry.x > 0.3
    assert abs(odometry.y) < 0.01


def test_silence_stops_the_base_after_half_a_second() -> None:
    world = SimWorld(empty_room())
    hold(world, FORWARD, 0.5)
    world.command(FORWARD)
    world.advance(0.495)
    assert world.truth().twist.linear_x == pytest.approx(0.4, abs=0.01)
    world.advance(0.5)
    assert world.truth().twist.speed < 0.01
    rest = world.truth().x
    world.advance(1.0)
    assert world.truth().x == pytest.approx(rest, abs=0.002)


def test_a_command_that_is_not_finite_is_refused() -> None:
    world = SimWorld(empty_room())
    with pytest.raises(ValueError, match="not finite"):
        world.command(Twist(math.nan, 0.0, 0.0))
    world.advance(0.1)
    assert world.truth().twist.is_zero()


@pytest.mark.parametrize(
    "yaw, wall", [(0.0, "wall_front"), (math.pi / 2, "wall_left"), (-math.pi / 2, "wall_right"), (3.1, "wall_back")]
)
def test_walls_stop_the_base_and_the_first_contact_is_latched(yaw: float, wall: str) -> None:
    world = SimWorld(empty_room(yaw=yaw))
    truth = hold(world, FORWARD, 7.0)
    assert abs(truth.x) < 2.0 - 0.19
    assert abs(truth.y) < 1.5 - 0.19
    assert truth.touching
    first = world.first_contact
    assert first is not None
    assert set(first.geoms) == {"robot", wall}
    contact = world.contact(3.0)
    assert contact is not None
    assert (contact.x, contact.y, contact.received_s) == pytest.approx((1.0, 0.0, 3.0), abs=0.1)
    truth = hold(world, Twist(-0.3, 0.0, 0.0), 1.0)
    assert not truth.touching
    assert truth.touched
    assert world.contact(4.0) is None
    assert world.first_contact is first


def test_contact_direction_is_in_base_link() -> None:
    world = SimWorld(empty_room(y=1.0))
    hold(world, Twist(0.0, 0.3, 0.0), 2.0)
    contact = world.contact(0.0)
    assert contact is not None
    assert (contact.x, contact.y) == pytest.approx((0.0, 1.0), abs=0.05)


def test_boxes_and_cup_are_solid() -> None:
    scene = make_scene("1box_vert_left")
    world = SimWorld(scene)
    hold(world, FORWARD, 6.0)
    assert world.first_contact is not None
    assert set(world.first_contact.geoms) == {"robot", "box_1"}
    world = SimWorld(dataclasses.replace(empty_room(y=0.4), cup=dataclasses.replace(scene.cup, x=1.0, y=0.4)))
    hold(world, FORWARD, 4.0)
    assert world.first_contact is not None
    assert set(world.first_contact.geoms) == {"robot", "cup"}


def test_scan_measures_the_room() -> None:
    world = SimWorld(empty_room(x=0.3, y=-0.2, yaw=0.7))
    scan = world.scan(5.0)
    angles = scan.angle_min + scan.angle_increment * np.arange(len(scan.ranges)) + 0.7
    with np.errstate(divide="ignore"):
        along_x = np.where(np.cos(angles) > 0, 2.0 - 0.3, 2.0 + 0.3) / np.abs(np.cos(angles))
        along_y = np.where(np.sin(angles) > 0, 1.5 + 0.2, 1.5 - 0.2) / np.abs(np.sin(angles))
    np.testing.assert_allclose(scan.ranges, np.minimum(along_x, along_y), rtol=1e-5)
    assert len(scan.ranges) >= 180
    assert scan.ranges.dtype == np.float32
    assert scan.received_s == 5.0


def test_scan_sees_a_box_and_passes_over_the_cup() -> None:
    scene = make_scene("1box_hori_left")
    box = dataclasses.replace(scene.boxes[0], x=1.0, y=0.0, half_x=0.2, half_y=0.3, yaw=0.0)
    world = SimWorld(dataclasses.replace(empty_room(), boxes=(box,)))
    scan = world.scan(0.0)
    ahead = len(scan.ranges) // 2
    assert scan.angle_min + ahead * scan.angle_increment == pytest.approx(0.0, abs=1e-9)
    assert scan.ranges[ahead] == pytest.approx(0.8, abs=1e-4)
    assert CUP_HEIGHT_M < SCAN_HEIGHT_M
    cup = dataclasses.replace(scene.cup, x=1.0, y=0.0)
    assert SimWorld(dataclasses.replace(empty_room(), cup=cup)).scan(0.0).ranges[ahead] == pytest.approx(2.0, abs=1e-4)


def test_a_push_moves_the_robot_and_ends() -> None:
    world = SimWorld(empty_room())
    world.push(0.0, 250.0, duration_s=0.2)
    world.advance(0.2)
    assert world.truth().twist.linear_y > 0.3
    world.advance(1.0)
    truth = world.truth()
    assert truth.y > 0.1
    assert truth.twist.speed < 0.01


def test_a_restarted_world_is_as_a_fresh_one() -> None:
    scene = make_scene("2box_vert_left", seed=5)
    fresh, used = SimWorld(scene), SimWorld(scene)
    used.push(60.0, 20.0, 1.0, 1.0)
    used.command(Twist(0.5, 0.1, 0.4))
    used.advance(1.37)
    used.restart()
    for world in (fresh, used):
        world.command(Twist(0.3, -0.1, 0.2))
        world.advance(1.11)
    assert used.pose() == fresh.pose()
    assert used.time_s == fresh.time_s
    assert used.first_contact is None


def test_a_moved_cup_is_felt_seen_and_put_back() -> None:
    scene = make_scene("1box_vert_left", seed=3)
    world = SimWorld(scene)
    before = world.render(160, 90)
    x, y = scene.start.x + 0.9, scene.start.y
    world.move_cup(x, y)
    assert (world.truth().cup_x, world.truth().cup_y) == (x, y)
    moved = world.render(160, 90)
    late = SimWorld(scene)  # its renderer is set up after the move
    late.move_cup(x, y)
    assert (late.render(160, 90) == moved).all()
    assert not (moved == before).all()
    for _ in range(20):
        world.command(Twist(0.5, 0.0, 0.0))
        world.advance(0.2)
    assert world.first_contact is not None
    assert set(world.first_contact.geoms) == {"robot", "cup"}
    world.restart()
    assert world.truth().cup_x == scene.cup.x
    assert (world.render(160, 90) == before).all()
    late.close()
    world.close()
