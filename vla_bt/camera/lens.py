"""How much of the world a camera sees, and pictures brought to the field of view a policy learned with.

Promises: what stands at an angle stands at one place of the picture, whatever the camera: a wider camera's picture is cut, a
narrower one's gets a border of one colour. The axis is taken to be at the centre; distortion is left as it is. Of a camera
that nobody knows, the whole picture is resized.

Why: how large a thing looks is as much the lens as the distance, so who isn't told the lens can't tell the distance.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BORDER = (123, 117, 104)
"""Mean colour of CLIP's pictures: to the encoders it is nothing."""
_LARGEST_RENDERING = 2.5  # of the wanted size: what is cut from a wider view than that may be coarser
_SNAP_PX = 2  # what :func:`whole_size` names needs no resizing, and rounding must not bring it back


class Lens(NamedTuple):
    """Half of what a camera sees to the side and upwards, one metre away [m]: tangents of half its fields of view; 0: unknown."""

    x: float = 0.0
    y: float = 0.0

    @property
    def known(self) -> bool:
        """Both are possible."""
        return 0.0 < self.x < math.inf and 0.0 < self.y < math.inf


UNKNOWN = Lens()


class Picture(NamedTuple):
    """What a policy wants to see: size [px], and vertical field of view [deg]; 0: the camera's own."""

    width: int
    height: int
    fovy_deg: float = 0.0


def lens_of(fovy_deg: float, width: int, height: int) -> Lens:
    """Return the lens of square pixels with a vertical field of view [deg]; unknown for 0."""
    tangent = math.tan(math.radians(fovy_deg) / 2)
    return Lens(tangent * width / height, tangent)


def scales(picture: Picture, lens: Lens) -> tuple[float, float]:
    """Return how much wider and taller the camera sees than is wanted; ones where either isn't known."""
    wanted = lens_of(picture.fovy_deg, picture.width, picture.height)
    return (lens.x / wanted.x, lens.y / wanted.y) if lens.known and wanted.known else (1.0, 1.0)


def whole_size(picture: Picture, lens: Lens) -> tuple[int, int]:
    """Return the size [px] of the camera's whole picture in which :func:`framed` finds its part without resizing it."""
    across, up = (min(scale, _LARGEST_RENDERING) for scale in scales(picture, lens))
    return _scaled(picture.width, across), _scaled(picture.height, up)


def framed(pixels: NDArray[np.uint8], lens: Lens, picture: Picture) -> NDArray[np.uint8]:
    """Bring a camera's picture to what a policy wants.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        All that the camera sees.
    lens : Lens
        The camera's.

    Returns
    -------
    ndarray of uint8, shape (picture.height, picture.width, 3)
        ``pixels`` itself where nothing is to be done.
    """
    across, up = scales(picture, lens)
    left, part_wide, wide = _cut(pixels.shape[1], picture.width, across)
    top, part_tall, tall = _cut(pixels.shape[0], picture.height, up)
    part = pixels[top : top + part_tall, left : left + part_wide]
    if part.shape[:2] != (tall, wide):
        import cv2  # whoever only names sizes needn't load it

        part = np.asarray(cv2.resize(part, (wide, tall), interpolation=cv2.INTER_AREA), np.uint8)
    if (tall, wide) == (picture.height, picture.width):
        return np.ascontiguousarray(part)
    whole = np.empty((picture.height, picture.width, 3), np.uint8)
    whole[:] = BORDER
    top, left = (picture.height - tall) // 2, (picture.width - wide) // 2
    whole[top : top + tall, left : left + wide] = part
    return whole


def _scaled(size: int, scale: float) -> int:
    """Return a size times a scale, even where ``size`` is and odd where it is: so both have one centre."""
    return max(2 - size % 2, size + 2 * round(size * (scale - 1) / 2))


def _cut(there: int, wanted: int, scale: float) -> tuple[int, int, int]:
    """Return where the used part of ``there`` pixels begins, how long it is, and how many of ``wanted`` it fills."""
    if scale <= 1.0:
        return 0, there, _scaled(wanted, scale)
    part = max(1, round(there / scale))
    if there >= wanted and abs(part - wanted) <= _SNAP_PX:
        part = wanted
    return (there - part) // 2, part, wanted
