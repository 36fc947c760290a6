"""Pictures: the same bits for the same state, upright and unmirrored, and where geometry says things are."""

import dataclasses
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vla_bt.sim import textures
from vla_bt.sim.engine import EGL_PACKAGES
from vla_bt.sim.scenes import Box, Cup, Pose, Scene, Span, Variation, make_scene
from vla_bt.sim.world import SimWorld
from vla_bt.words import Twist

pytestmark = pytest.mark.sim

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def world() -> Iterator[SimWorld]:
    world = SimWorld(make_scene("2box_vert_left", seed=1))
    yield world
    world.close()


def picture_of(scene: Scene, width: int = 320, height: int = 180) -> Picture:
    world = SimWorld(scene)
    frame = world.render(width, height)
    world.close()
    return frame


def with_cup(x: float, y: float) -> Scene:
    """A scene without boxes, the robot at the origin, the cup where asked."""
    scene = make_scene("1box_vert_left")
    return dataclasses.replace(scene, boxes=(), start=Pose(0.0, 0.0, 0.0), cup=Cup(x, y, 0.0, 0))


def test_default_frame_is_720p_rgb(world: SimWorld) -> None:
    frame = world.render()
    assert frame.shape == (720, 1280, 3)
    assert frame.dtype == np.uint8
    assert frame.flags.c_contiguous
    assert frame.std() > 15


def test_same_state_same_bits_in_any_world_and_order(world: SimWorld) -> None:
    other = SimWorld(world.scene)
    sizes = [(128, 72), (640, 360), (1600, 900), (128, 72), (31, 17)]
    here = [world.render(*size) for size in sizes]
    there = [other.render(*size) for size in reversed(sizes)][::-1]
    other.close()
    for size, one, two in zip(sizes, here, there, strict=True):
        assert one.shape == (size[1], size[0], 3)
        assert np.array_equal(one, two)


def test_rendering_does_not_change_the_motion() -> None:
    states = []
    for looking in (False, True):
        world = SimWorld(make_scene("1box_hori_left", seed=2))
        for _ in range(10):
            world.command(Twist(0.3, 0.1, 0.2))
            world.advance(0.1)
            if looking:
                world.render(64, 36)
        states.append(world.truth())
        world.close()
    assert states[0] == states[1]


def test_seeds_differ_and_sides_do_not() -> None:
    frames = [picture_of(make_scene("1box_hori_left", seed=seed)).astype(int) for seed in range(3)]
    assert all(np.abs(frames[a] - frames[b]).mean() > 4 for a, b in ((0, 1), (0, 2), (1, 2)))
    assert np.array_equal(frames[0], picture_of(make_scene("1box_hori_right", seed=0)))


def test_a_pose_of_the_past_is_drawn_as_it_was() -> None:
    world = SimWorld(make_scene("1box_vert_left", seed=5))
    before, pose = world.render(160, 90), world.pose()
    world.command(Twist(0.4, 0.0, 0.5))
    world.advance(0.5)
    assert not np.array_equal(world.render(160, 90), before)
    assert np.array_equal(world.render(160, 90, pose=pose), before)
    world.close()


@pytest.mark.parametrize("x, y", [(1.2, 0.35), (1.2, -0.35), (2.0, 0.5), (0.8, 0.0)])
def test_the_cup_appears_where_a_pinhole_camera_sees_it(x: float, y: float) -> None:
    scene = with_cup(x, y)
    changed = np.abs(picture_of(scene, 640, 360).astype(int) - picture_of(with_cup(-1.0, 0.0), 640, 360)).sum(axis=2) > 60
    rows, columns = np.nonzero(changed)
    pitch, focal = scene.camera.pitch, 180 / math.tan(math.radians(scene.camera.fovy_deg) / 2)
    dx, dz = x - scene.camera.x, 0.08 - scene.camera.z
    depth, down = dx * math.cos(pitch) - dz * math.sin(pitch), -dx * math.sin(pitch) - dz * math.cos(pitch)
    expected = 320 - focal * y / depth, 180 + focal * down / depth
    assert (np.median(columns), np.median(rows)) == pytest.approx(expected, abs=0.03 * focal / depth)
    if y:
        assert (np.median(columns) < 320) == (y > 0)  # left is left


def test_prints_are_upright_and_not_mirrored() -> None:
    scene = make_scene("1box_vert_left")
    box = Box(x=1.0, y=0.0, half_x=0.2, half_y=0.2, half_z=0.3, yaw=0.0, texture_seed=2)
    camera = dataclasses.replace(scene.camera, pitch=0.0, z=0.3, fovy_deg=60.0)
    start = Pose(0.0, 0.0, 0.0)
    world = SimWorld(dataclasses.replace(scene, boxes=(box,), start=start, camera=camera, cup=Cup(-1.0, 1.5, 0.0, 0)))
    # head on, at 0.8 m, the front face is 0.4 x 0.6 m around the middle of the picture
    for pose, face in (((0.0, 0.0, 0.0), "front"), ((2.0, 0.0, math.pi), "back"), ((1.0, 1.0, -math.pi / 2), "left")):
        frame = world.render(960, 720, pose=pose)
        focal = 360 / math.tan(math.radians(30))
        half_w, half_h = round(focal * 0.2 / 0.8), round(focal * 0.3 / 0.8)
        seen = cv2.cvtColor(frame[360 - half_h : 360 + half_h, 480 - half_w : 480 + half_w], cv2.COLOR_RGB2GRAY)
        cell = textures.BOX_CELL
        row, column = divmod(textures.BOX_FACES.index(face), 3)
        painted = textures.cardboard(2, 0.4, 0.4, 0.6)[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
        wanted = cv2.resize(cv2.cvtColor(painted, cv2.COLOR_RGB2GRAY), seen.shape[::-1])

        def likeness(image: NDArray[Any], other: NDArray[Any] = seen) -> float:
            return float(np.corrcoef(image[5:-5, 5:-5].ravel(), other[5:-5, 5:-5].ravel())[0, 1])

        assert likeness(wanted) > 0.9
        assert likeness(wanted) > likeness(wanted[:, ::-1]) + 0.1
        assert likeness(wanted) > likeness(wanted[::-1]) + 0.1
    world.close()


def test_textures_that_repeat_have_no_seam() -> None:
    for design in (0, 3):
        image = textures.floor(design).astype(float)
        for axis in (0, 1):
            steps = np.abs(np.diff(image, axis=axis)).mean(axis=(1 - axis, 2))
            seam = np.abs(np.take(image, 0, axis) - np.take(image, -1, axis)).mean()
            assert seam <= steps.max() * 1.05


def test_overhead_picture_shows_things_where_its_map_says() -> None:
    scene = dataclasses.replace(make_scene("1box_vert_left", seed=3), start=Pose(0.2, 0.6, 1.0))
    world = SimWorld(scene)
    picture, to_pixel = world.render_overhead(800, 600)
    away, _ = SimWorld(dataclasses.replace(scene, start=Pose(-0.6, -1.2, 0.0))).render_overhead(800, 600)
    world.close()
    assert picture.shape == (600, 800, 3)
    rows, columns = np.nonzero(np.abs(picture.astype(int) - away).sum(axis=2) > 60)
    old_x, old_y = to_pixel(-0.6, -1.2)
    new = np.hypot(columns - old_x, rows - old_y) > 0.4 * to_pixel.pixels_per_m
    middle = (columns[new].min() + columns[new].max() + 1) / 2, (rows[new].min() + rows[new].max() + 1) / 2
    assert middle == pytest.approx(to_pixel(0.2, 0.6), abs=2)
    assert np.ptp(columns[new]) + 1 == pytest.approx(0.4 * to_pixel.pixels_per_m, abs=4)  # as wide as the robot


def test_pixel_noise_is_asked_for_and_repeats() -> None:
    scene = make_scene("1box_vert_left", seed=6)
    noisy = dataclasses.replace(scene, camera=dataclasses.replace(scene.camera, noise=8.0))
    clean, one, two = picture_of(scene), picture_of(noisy), picture_of(noisy)
    assert np.array_equal(one, two)
    assert 4 < (one.astype(int) - clean).std() < 9


def test_a_frame_size_out_of_range_is_refused(world: SimWorld) -> None:
    with pytest.raises(ValueError, match="frame size is 0x10; expected 1 to 8192"):
        world.render(0, 10)


def test_missing_egl_is_one_line_with_the_packages(tmp_path: Path) -> None:
    fake = tmp_path / "OpenGL"
    fake.mkdir()
    (fake / "__init__.py").write_text("raise ImportError('Unable to load EGL library')\n")
    code = (
        "from vla_bt.sim.scenes import make_scene; from vla_bt.sim.world import SimWorld;"
        "SimWorld(make_scene('1box_vert_left')).render(64, 36)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "MUJOCO_GL": "egl"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert "SimulatorError" in last
    assert f"apt-get install {EGL_PACKAGES}" in last


def test_frames_leave_nothing_behind_at_exit() -> None:
    code = (
        "from vla_bt.sim.scenes import make_scene; from vla_bt.sim.world import SimWorld;"
        "print(SimWorld(make_scene('1box_vert_left')).render(64, 36).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(36, 64, 3)"
    assert done.stderr == ""


def test_blur_softens_the_picture_and_leaves_the_scene_alone() -> None:
    sharp = make_scene("1box_vert_left", seed=2)
    soft = make_scene("1box_vert_left", seed=2, variation=Variation(blur=Span(10.0, 10.0)))
    assert dataclasses.replace(soft, camera=sharp.camera) == sharp
    pictures = []
    for scene in (sharp, soft):
        world = SimWorld(scene)
        pictures.append(world.render(128, 72).astype(float))
        world.close()
    edges = [np.abs(np.diff(picture, axis=1)).mean() for picture in pictures]
    assert edges[1] < 0.8 * edges[0]
    assert abs(pictures[0].mean() - pictures[1].mean()) < 1.0
