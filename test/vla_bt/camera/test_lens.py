"""Lenses: what stands at an angle stands at one place, whatever the camera; what isn't known changes nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vla_bt.camera.lens import BORDER, UNKNOWN, Lens, Picture, framed, lens_of, scales, whole_size
from vla_bt.camera.ring import FrameRingReader, FrameRingWriter
from vla_bt.sim.scenes import HARD, Span, make_scene
from vla_bt.sim.world import SimWorld

WANTED = Picture(128, 72, 50.0)


def angles(lens: Lens, width: int, height: int) -> NDArray[np.uint8]:
    """Return a picture whose first two channels tell the tangent of the angle that each pixel looks at, sideways and up."""
    across = ((np.arange(width) + 0.5) / width * 2 - 1) * lens.x
    up = ((np.arange(height) + 0.5) / height * 2 - 1) * lens.y
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0] = np.clip(128 + 100 * across, 0, 255)[None, :]
    picture[..., 1] = np.clip(128 + 100 * up, 0, 255)[:, None]
    return picture


@given(st.floats(20.0, 110.0), st.floats(1.2, 2.0), st.floats(30.0, 80.0))
def test_a_thing_at_an_angle_stands_at_one_place(fovy: float, aspect: float, wanted: float) -> None:
    lens, picture = lens_of(fovy, round(900 * aspect), 900), Picture(160, 90, wanted)
    found = framed(angles(lens, 640, 360), lens, picture).astype(int)
    ideal = angles(lens_of(wanted, 160, 90), 160, 90).astype(int)
    inside = ~(found == BORDER).all(-1)
    pixel = 200 * lens_of(wanted, 160, 90).y / 90
    assert np.abs(found - ideal)[inside][:, :2].max() <= 2 * pixel + 3, "two pixels, and what rounding takes"
    across, up = (min(1.0, scale) for scale in scales(picture, lens))
    assert inside.mean() == pytest.approx(across * up, abs=0.04)


def test_a_wider_camera_is_cut_and_a_narrower_one_framed() -> None:
    wide = framed(np.full((720, 1280, 3), 9, np.uint8), lens_of(70.0, 1280, 720), WANTED)
    assert wide.shape == (72, 128, 3)
    assert (wide == 9).all()
    narrow = framed(np.full((720, 1280, 3), 9, np.uint8), lens_of(40.0, 1280, 720), WANTED)
    assert (narrow[36, 64] == 9).all()
    assert (narrow[[0, -1], 64] == BORDER).all()
    assert (narrow[36, [0, -1]] == BORDER).all()
    share = math.tan(math.radians(20)) / math.tan(math.radians(25))
    assert (narrow[:, 64] == 9).all(-1).sum() == pytest.approx(72 * share, abs=2)


@pytest.mark.parametrize("lens", [UNKNOWN, Lens(math.inf, 0.5), Lens(math.nan, 0.5), Lens(-1.0, 0.5)])
def test_a_camera_nobody_knows_is_left_as_it_is(lens: Lens) -> None:
    pixels = angles(lens_of(80.0, 128, 72), 128, 72)
    assert np.array_equal(framed(pixels, lens, WANTED), pixels)
    assert whole_size(WANTED, lens) == (128, 72)
    assert np.array_equal(framed(pixels, lens_of(80.0, 128, 72), Picture(128, 72)), pixels), "nor where any view will do"


@pytest.mark.sim
@pytest.mark.parametrize("fovy", [42.0, 50.0, 60.0])
def test_two_cameras_in_one_place_show_the_policy_the_same(fovy: float) -> None:
    ranges = {"pitch_deg": Span(5.0, 5.0), "brightness": Span(1.0, 1.0), "noise": Span(0.0, 0.0), "blur": Span(0.0, 0.0)}
    pictures = []
    for degrees in (fovy, 50.0):
        variation = replace(HARD, fov_deg=Span(degrees, degrees), **ranges)
        world = SimWorld(make_scene("1box_vert_left", seed=4, variation=variation))
        pictures.append(framed(world.render(*whole_size(WANTED, world.lens)), world.lens, WANTED).astype(int))
        world.close()
    mine, reference = pictures
    inside = ~(mine == BORDER).all(-1)
    assert inside.mean() > 0.6
    assert np.abs(mine - reference)[inside].mean() < 6.0
    if fovy > 50:
        assert inside.all()


def test_the_ring_carries_it(tmp_path: Path) -> None:
    writer = FrameRingWriter(tmp_path / "camera.ring", 64, 48)
    reader = FrameRingReader(tmp_path / "camera.ring")
    pixels = np.full((48, 64, 3), 3, np.uint8)
    for lens in (Lens(0.75, 0.5), UNKNOWN, Lens(0.5, 0.25)):
        info = writer.write(pixels, 1.0, 2.0, lens)
        found = reader.frame(info.sequence)
        assert found is not None
        assert found[0] == info
        assert found[0].lens == lens
    writer.close()
    reader.close()
