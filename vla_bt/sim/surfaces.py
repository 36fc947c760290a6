"""Which surfaces a room has: those of one house, any that practice may draw, or patterns that are kept apart from practice.

Promises: a surface depends on its kind and seed alone. No pattern of ``apart`` is ever painted for the others: regular
checkers, stripes and dots on floors, bars and dots on walls, bands around boxes, stripes down cups. Colours are free in ``wide``
and ``apart``; what ``wide`` has of patterns is irregular: mosaics, blotches, ellipses and strokes, on cups too, and rings around
cups.
"""

from __future__ import annotations

import colorsys
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vla_bt.sim import textures
from vla_bt.sim.scenes import APART, HOUSE, SURFACES, WIDE
from vla_bt.sim.textures import Image8, periodic_noise, to_image

_SIZE = 512
_OUTSIDE = 122
"""Row of a cup's glaze from which on it is the outside."""
Colour = NDArray[np.float64]


def floor(surfaces: str, seed: int) -> Image8:
    """Paint a floor; the image spans :data:`vla_bt.sim.textures.FLOOR_SIZE_M` squared and repeats without a seam."""
    return textures.floor(seed % textures.FLOORS) if surfaces == HOUSE else _floor(surfaces, seed)


@lru_cache(maxsize=4)
def _floor(surfaces: str, seed: int) -> Image8:
    rng = _generator(surfaces, "floor", seed)
    if surfaces == APART:
        return _pattern(rng, _SIZE, str(rng.choice(["checkers", "stripes", "dots"])), int(rng.choice([2, 4, 8])))
    kind = rng.choice(["planks", "tiles", "carpet", "patches", "motley"], p=[0.19, 0.16, 0.16, 0.12, 0.37])
    if kind == "planks":
        hue = rng.uniform() if rng.random() < 0.3 else rng.uniform(0.04, 0.12)
        return textures.planks(rng, _SIZE, int(rng.integers(6, 20)), (hue, rng.uniform(0.05, 0.5), rng.uniform(0.3, 0.9)))
    if kind == "tiles":
        colour = _colour(rng, 0.4, (0.25, 0.95))
        return textures.tiles(rng, _SIZE, int(rng.choice([2, 4, 8])), colour)
    if kind == "motley":
        return _motley(rng, _SIZE, np.array([_colour(rng, 0.6, (0.2, 0.95)) for _ in range(int(rng.integers(2, 6)))]))
    first, second = _colour(rng, 0.6, (0.2, 0.95)), _colour(rng, 0.6, (0.2, 0.95))
    if kind == "carpet":
        deep = rng.uniform(3.0, 14.0)
        grain = deep * periodic_noise(rng, _SIZE, _SIZE, 1.0, 1.0) + deep * periodic_noise(rng, _SIZE, _SIZE, 25, 25)
        return to_image(first + grain[..., None])
    length = rng.uniform(8.0, 60.0, 2)
    share = np.clip(0.5 + rng.uniform(0.3, 3.0) * periodic_noise(rng, _SIZE, _SIZE, *length), 0.0, 1.0)[..., None]
    return to_image(first * share + second * (1 - share))


@lru_cache(maxsize=4)
def _wall(surfaces: str, seed: int) -> Image8:
    rng = _generator(surfaces, "wall", seed)
    if surfaces == APART:
        return _pattern(rng, 256, str(rng.choice(["bars", "dots"])), int(rng.choice([4, 8])))
    if rng.random() < 0.3:
        return _motley(rng, 256, np.array([_colour(rng, 0.5, (0.3, 0.97)) for _ in range(int(rng.integers(2, 4)))]))
    paint = np.broadcast_to(_colour(rng, 0.5, (0.35, 0.97)), (256, 256, 3)).copy()
    if rng.random() < 0.3:  # another paint up to somewhere
        paint[int(rng.integers(100, 256)) :] = _colour(rng, 0.5, (0.3, 0.97))
    rough = 1.0 + rng.uniform(0.0, 0.04) * periodic_noise(rng, 256, 256, 20, 30)
    return to_image(paint * rough[..., None])


def wall(surfaces: str, seed: int) -> Image8:
    """Paint a wall, 256 x 256 px: repeats sideways, spans the height once."""
    return textures.wall(seed % 8) if surfaces == HOUSE else _wall(surfaces, seed)


def painting(surfaces: str, seed: int) -> Image8:
    """Paint what hangs on the wall."""
    return textures.painting(seed % 16 if surfaces == HOUSE else 16 + (seed % 4096) + 4096 * (surfaces == APART))


def cardboard(surfaces: str, seed: int, sizes: tuple[float, float, float]) -> Image8:
    """Paint a box of ``sizes`` [m]; see :func:`vla_bt.sim.textures.cardboard`."""
    if surfaces == HOUSE:
        return textures.cardboard(seed % 16, *sizes)
    rng = _generator(surfaces, "cardboard", seed)
    brown = _rgb(rng.uniform(0.05, 0.11), rng.uniform(0.2, 0.6), rng.uniform(0.4, 0.95))
    board = brown if rng.random() < 0.6 else _colour(rng, 0.8, (0.25, 0.95))
    band = tuple(_colour(rng, 0.9, (0.2, 0.95)).tolist()) if surfaces == APART else None
    image = textures.cardboard(seed, *sizes, board=tuple(board.tolist()), band=band)
    if surfaces == WIDE and rng.random() < 0.35:
        image = image.copy()
        printed = periodic_noise(rng, *image.shape[:2], *rng.uniform(8.0, 60.0, 2)) > rng.uniform(0.0, 1.2)
        image[printed] = np.rint(_colour(rng, 0.9, (0.2, 0.95)))
    return image


@lru_cache(maxsize=8)
def _cup(surfaces: str, seed: int) -> Image8:
    rng = _generator(surfaces, "cup", seed)
    body, inside, line = (_colour(rng, 0.95, (0.15, 0.98)) for _ in range(3))
    if rng.random() < 0.5:
        inside = np.array(textures.CUP_INSIDE, float)
    if surfaces == WIDE:
        image = textures.glaze(body, inside, line if rng.random() < 0.6 else body).copy()
        kind = rng.random()
        if kind < 0.35:
            glazes = np.array([body, line, *(_colour(rng, 0.95, (0.15, 0.98)) for _ in range(int(rng.integers(0, 3))))])
            image[_OUTSIDE:] = _motley(rng, 256, glazes)[_OUTSIDE:]
        elif kind < 0.45:
            image[_OUTSIDE:][periodic_noise(rng, 256 - _OUTSIDE, 256, *rng.uniform(5.0, 20.0, 2)) > rng.uniform(-0.5, 1.0)] = line
        elif kind < 0.6:
            for top in rng.integers(_OUTSIDE, 246, int(rng.integers(1, 4))):
                image[top : top + int(rng.integers(8, 40))] = line
        return image
    image = textures.glaze(body, inside, body).copy()
    stripes = (np.arange(256) * int(rng.choice([6, 10, 16])) // 256) % 2 == 1
    image[_OUTSIDE:, stripes] = np.rint(line)
    return image


def cup(surfaces: str, seed: int) -> Image8:
    """Paint the cup's glaze; see :func:`vla_bt.sim.textures.glaze`."""
    return textures.cup(seed) if surfaces == HOUSE else _cup(surfaces, seed)


def _generator(surfaces: str, what: str, seed: int) -> np.random.Generator:
    return np.random.default_rng([107, SURFACES.index(surfaces), *what.encode(), seed])


def _rgb(hue: float, saturation: float, value: float) -> Colour:
    return 255.0 * np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value))


def _colour(rng: np.random.Generator, most_saturation: float, value: tuple[float, float]) -> Colour:
    """Draw any colour, 0..255."""
    return _rgb(rng.uniform(), rng.uniform(0.0, most_saturation), rng.uniform(*value))


def _motley(rng: np.random.Generator, size: int, colours: Colour) -> Image8:
    """Paint cells, blotches or scattered ellipses and strokes in some colours (n, 3), with hard edges, without a seam."""
    kind = str(rng.choice(["cells", "blotches", "scattered"]))
    index = {"cells": _cells, "blotches": _blotches, "scattered": _scattered}[kind](rng, size, len(colours))
    return to_image(colours[index] + 4.0 * periodic_noise(rng, size, size, 3.0, 3.0)[..., None])


def _cells(rng: np.random.Generator, size: int, colours: int) -> NDArray[np.intp]:
    """Number the colours of a mosaic: each place has that of the nearest of some points."""
    count = int(rng.integers(6, 90))
    place = (np.arange(size // 2) + 0.5) * 2 / size
    away = [np.abs(place[:, None] - rng.random(count)) for _ in range(2)]
    down, across = (np.minimum(one, 1 - one) ** 2 for one in away)
    nearest = np.argmin(down[:, None] + across[None], axis=2)
    return np.asarray(np.kron(rng.integers(0, colours, count)[nearest], np.ones((2, 2), np.intp)), np.intp)


def _blotches(rng: np.random.Generator, size: int, colours: int) -> NDArray[np.intp]:
    """Number the colours of a map with heights."""
    height = periodic_noise(rng, size, size, *rng.uniform(4.0, 50.0, 2))
    return np.digitize(height, np.sort(rng.normal(0.0, 0.8, colours - 1)))


def _scattered(rng: np.random.Generator, size: int, colours: int) -> NDArray[np.intp]:
    """Number the colours of ellipses of any size and strokes in any direction, one over the other."""
    image = np.zeros((size, size), np.uint8)
    for _ in range(int(rng.integers(5, 70))):
        x, y = (int(value) for value in rng.integers(0, size, 2))
        long, wide = (int(value) for value in size * rng.uniform(0.01, 0.12, 2))
        turn, colour = float(rng.uniform(0, 360)), int(rng.integers(0, colours))
        stroke = rng.random() < 0.4
        for shift in np.ndindex(3, 3):
            centre = (x + (shift[0] - 1) * size, y + (shift[1] - 1) * size)
            if stroke:
                reach = (4 * long * np.cos(np.radians(turn)), 4 * long * np.sin(np.radians(turn)))
                end = (round(centre[0] + reach[0]), round(centre[1] + reach[1]))
                cv2.line(image, centre, end, colour, max(2, wide // 3))
            else:
                cv2.ellipse(image, centre, (max(2, long), max(2, wide)), turn, 0, 360, colour, -1)
    return image.astype(np.intp)


def _pattern(rng: np.random.Generator, size: int, kind: str, count: int) -> Image8:
    """Paint two colours in a pattern that repeats ``count`` times; ``bars`` stand upright, ``stripes`` lie along x."""
    first, second = _colour(rng, 0.5, (0.25, 0.95)), _colour(rng, 0.5, (0.25, 0.95))
    phase = (np.arange(size) * count / size) % 1.0
    half = phase < 0.5
    across = {
        "checkers": half[:, None] ^ half[None, :],
        "stripes": np.broadcast_to(half[:, None], (size, size)),
        "bars": np.broadcast_to(half[None, :], (size, size)),
        "dots": np.hypot(phase[:, None] - 0.5, phase[None, :] - 0.5) < 0.3,
    }[kind]
    cloud = 4.0 * periodic_noise(rng, size, size, 3.0, 3.0)[..., None]
    return to_image(np.where(across[..., None], first, second) + cloud)
