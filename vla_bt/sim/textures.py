"""The surfaces of the simulated room, painted from a seed: floors, wall paint, cardboard with prints, cup, soft shadows.

Promises: pure functions of their arguments; repeating textures tile without seams (all noise is made in the frequency domain,
which is periodic by nature); nothing is read from disk. Images are uint8, row 0 at the top.
"""

from __future__ import annotations

import colorsys
from functools import lru_cache
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Image8 = NDArray[np.uint8]

FLOORS = 12
"""Different floors that seeds choose from; few enough to keep them all."""

FLOOR_SIZE_M = 1.6
CUP_COLOURS = ((206, 62, 54), (38, 110, 178), (240, 174, 40), (20, 140, 128), (122, 72, 158), (232, 108, 50))
CUP_INSIDE, CUP_LINES = (244, 240, 230), (250, 246, 236)


def periodic_noise(rng: np.random.Generator, height: int, width: int, length_y: float, length_x: float) -> NDArray[np.float64]:
    """Return Gaussian-filtered noise, shape (height, width), zero mean, unit deviation, that repeats without a seam.

    ``length_y`` and ``length_x`` are the correlation lengths [px].
    """
    spectrum = np.fft.rfft2(rng.standard_normal((height, width)))
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    spectrum *= np.exp(-2 * np.pi**2 * ((fy * length_y) ** 2 + (fx * length_x) ** 2))
    noise = np.fft.irfft2(spectrum, s=(height, width))
    return np.asarray((noise - noise.mean()) / (noise.std() or 1.0))


def to_image(values: NDArray[np.float64]) -> Image8:
    """Round and clip to 0..255."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


@lru_cache(maxsize=FLOORS)
def floor(design: int) -> Image8:
    """Paint floor number ``design`` (0..FLOORS-1): planks mostly, tiles sometimes; 1024 x 1024 px for FLOOR_SIZE_M squared."""
    rng = np.random.default_rng([101, design])
    if design % 4 == 3:
        stone = np.array(colorsys.hsv_to_rgb(rng.uniform(0.04, 0.14), rng.uniform(0.06, 0.2), rng.uniform(0.6, 0.8))) * 255
        return tiles(rng, 1024, 4, stone)
    hue, value = rng.uniform(0.065, 0.10), rng.uniform(0.62, 0.86)
    return planks(rng, 1024, 13, (hue, rng.uniform(0.28, 0.45), value))


def planks(rng: np.random.Generator, size: int, rows: int, tone: tuple[float, float, float]) -> Image8:
    """Paint planks along x, with a wandering grain, each cut from another place of the same wood.

    Parameters
    ----------
    size : int
        Of the image [px].
    rows : int
        Planks beside each other.
    tone : (hue, saturation, value)
        Of the wood's light parts, each 0..1.
    """
    hue, saturation, value = tone
    light = np.array(colorsys.hsv_to_rgb(hue, saturation, value)) * 255
    dark = np.array(colorsys.hsv_to_rgb((hue - 0.012) % 1.0, 0.55, value * 0.62)) * 255
    fine = periodic_noise(rng, size, size, 1.2, 60.0)
    broad = periodic_noise(rng, size, size, 5.0, 160.0)
    rings = np.sin(5.0 * broad + 0.8 * periodic_noise(rng, size, size, 14.0, 220.0))
    grain = 0.42 + 0.08 * fine + 0.07 * rings + 0.05 * broad
    amount, gap = np.empty((size, size)), np.zeros((size, size))
    edges = np.rint(np.linspace(0, size, rows + 1)).astype(int)
    for top, bottom in pairwise(edges):
        cuts = np.sort((rng.integers(0, size) + np.array([0, int(size * rng.uniform(0.42, 0.58))])) % size)
        for left, right in ((cuts[0], cuts[1]), (cuts[1], cuts[0] + size)):
            columns = np.arange(left, right) % size
            wood = np.roll(grain, (int(rng.integers(size)), int(rng.integers(size))), (0, 1))[top:bottom]
            amount[top:bottom, columns] = wood[:, columns] + rng.normal(0.0, 0.13)
            gap[top:bottom, columns[:2]] = 1.0
        gap[top : top + 2] = 1.0
    amount = np.clip(amount, 0.0, 1.0)[..., None]
    colour = light * (1 - amount) + dark * amount
    seam = cv2.GaussianBlur(np.pad(gap, 4, mode="wrap"), (0, 0), 0.8)[4:-4, 4:-4, None]
    return to_image(colour * (1 - 0.55 * np.clip(seam, 0, 1)))


def tiles(rng: np.random.Generator, size: int, count: int, stone: NDArray[np.float64]) -> Image8:
    """Paint ``count`` x ``count`` square tiles of a stone's colour (0..255), with light grout and a faint marbling."""
    cloud = 6.0 * periodic_noise(rng, size, size, 24, 24) + 3.0 * periodic_noise(rng, size, size, 3, 3)
    edge = size // count
    shade = np.kron(rng.normal(0.0, 7.0, (count, count)), np.ones((edge, edge)))
    colour = stone + (cloud + shade)[..., None]
    place = np.arange(size) % edge
    away = np.minimum(place, edge - 1 - place)
    distance = np.minimum(away[:, None], away[None, :])
    grout = np.clip((5.0 - distance) / 2.0, 0.0, 1.0)[..., None]
    bevel = 1.0 - 0.12 * np.clip((9.0 - distance) / 5.0, 0.0, 1.0)[..., None]
    joint = np.clip(stone * 0.72, 0, 255) + periodic_noise(rng, size, size, 1, 1)[..., None] * 4.0
    return to_image(colour * bevel * (1 - grout) + joint * grout)


@lru_cache(maxsize=8)
def wall(design: int) -> Image8:
    """Paint for the walls, 256 x 256 px: repeats sideways, spans the height once (darker towards floor and ceiling)."""
    rng = np.random.default_rng([102, design])
    hue = (0.09, 0.12, 0.30, 0.47, 0.56, 0.60, 0.02, 0.75)[design % 8]
    paint = np.array(colorsys.hsv_to_rgb(hue, rng.uniform(0.05, 0.22), rng.uniform(0.84, 0.94))) * 255
    height = np.linspace(1.0, 0.0, 256)[:, None]  # 1 at the ceiling
    soft = 1.0 - 0.16 * np.exp(-height / 0.10) - 0.10 * np.exp(-(1 - height) / 0.10)
    rough = 1.0 + 0.004 * periodic_noise(rng, 256, 256, 1.0, 1.0) + 0.006 * periodic_noise(rng, 256, 256, 30, 40)
    return to_image(paint * (soft * rough)[..., None])


@lru_cache(maxsize=16)
def painting(design: int) -> Image8:
    """Paint an abstract picture for the wall, 256 x 320 px: hills under a sun."""
    rng = np.random.default_rng([103, design])
    hue = rng.uniform()
    image = Image.new("RGB", (640, 512), _rgb(hue, 0.14, 0.97))
    draw = ImageDraw.Draw(image)
    x, y, r = rng.uniform(120, 520), rng.uniform(90, 200), rng.uniform(40, 75)
    draw.ellipse([x - r, y - r, x + r, y + r], fill=_rgb(rng.uniform(0.02, 0.13), 0.7, 0.96))
    across = np.arange(0, 641, 8)
    for layer in range(4):
        base = 250 + 65 * layer
        line = (
            base + 45 * np.sin(across / rng.uniform(70, 150) + rng.uniform(0, 6)) + 15 * np.sin(across / 37 + rng.uniform(0, 6))
        )
        points = [(0, 512), *zip(across.tolist(), line.tolist(), strict=True), (640, 512)]
        draw.polygon(points, fill=_rgb(hue + 0.03 * layer, 0.25 + 0.13 * layer, 0.82 - 0.14 * layer))
    return np.asarray(image.resize((320, 256), Image.Resampling.LANCZOS))


@lru_cache(maxsize=2)
def window() -> Image8:
    """Daylight behind a window, 256 x 256 px: sky over a hazy line of trees."""
    rng = np.random.default_rng(104)
    down = np.linspace(0.0, 1.0, 256)[:, None, None]
    sky = np.array([168.0, 205.0, 240.0]) * (1 - down) + np.array([240.0, 246.0, 250.0]) * down
    cloud = np.clip(periodic_noise(rng, 256, 256, 12, 34), 0, 2)[..., None] * 14.0
    trees = 190 + 10 * periodic_noise(rng, 1, 256, 0.1, 9)[0] + 4 * periodic_noise(rng, 1, 256, 0.1, 2)[0]
    green = np.clip((np.arange(256)[:, None] - trees[None, :]) / 2.0, 0, 1)[..., None]
    return to_image((sky + cloud) * (1 - green) + np.array([140.0, 172.0, 128.0]) * green)


def _rgb(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    r, g, b = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return round(r * 255), round(g * 255), round(b * 255)


# ---------------------------------------------------------------------- cardboard

BOX_CELL = 384
"""Each face of a box is a square cell of the box's texture [px]; three cells across, two down."""

BOX_FACES = ("front", "back", "left", "right", "top", "bottom")
_INK = (92, 62, 40)
_PRINTS = (("FRAGILE", "glass"), ("THIS SIDE UP", "arrows"), ("KEEP DRY", "umbrella"), ("HANDLE WITH CARE", "glass"))


@lru_cache(maxsize=24)
def cardboard(
    design: int,
    size_x: float,
    size_y: float,
    size_z: float,
    board: tuple[float, ...] | None = None,
    band: tuple[float, ...] | None = None,
) -> Image8:
    """Paint a cardboard box of the given sizes [m]: a texture of six cells in the order of :data:`BOX_FACES`.

    Prints are upright and unstretched whatever the box's proportions; tape runs over the top and down front and back.

    Parameters
    ----------
    board : tuple of 3, optional
        Colour of the board, 0..255, instead of kraft.
    band : tuple of 3, optional
        Colour of a band printed around the four sides.
    """
    rng = np.random.default_rng([105, design])
    kraft = np.array([rng.uniform(184, 208), rng.uniform(142, 160), rng.uniform(96, 114)])
    kraft = kraft if board is None else np.array(board)
    print_index = int(rng.integers(len(_PRINTS)))
    sizes = {"front": (size_y, size_z), "back": (size_y, size_z), "left": (size_x, size_z), "right": (size_x, size_z)}
    atlas = np.empty((2 * BOX_CELL, 3 * BOX_CELL, 3), np.uint8)
    for index, face in enumerate(BOX_FACES):
        width, height = sizes.get(face, (size_y, size_x))
        cell = _face(rng, kraft, face, width, height, print_index)
        if band is not None and face in sizes:
            cell = cell.copy()
            cell[BOX_CELL // 3 : 2 * BOX_CELL // 3] = np.rint(band)
        row, column = divmod(index, 3)
        atlas[row * BOX_CELL : (row + 1) * BOX_CELL, column * BOX_CELL : (column + 1) * BOX_CELL] = cell
    return atlas


def _face(
    rng: np.random.Generator, kraft: NDArray[np.float64], face: str, width: float, height: float, print_index: int
) -> Image8:
    """Paint one face at its true proportions, then squeeze it into its cell."""
    scale = 800.0  # px per metre while painting
    w, h = round(width * scale), round(height * scale)
    fibre = 2.6 * periodic_noise(rng, h, w, 1.0, 2.0) + 2.2 * periodic_noise(rng, h, w, 22, 22)
    flutes = 1.6 * np.sin(2 * np.pi * np.arange(w) / (0.007 * scale))[None, :]
    base = kraft + (fibre + flutes)[..., None]
    image = Image.fromarray(to_image(base))
    draw = ImageDraw.Draw(image, "RGBA")
    tape_w = round(0.05 * scale)
    tape = (226, 196, 148, 150)
    if face in ("top", "bottom"):  # the tape runs from front to back, over the seam of the flaps
        draw.line([(w // 2, 0), (w // 2, h)], fill=(70, 48, 30, 255), width=3)
        _tape(draw, [w // 2 - tape_w // 2, 0, w // 2 + tape_w // 2, h], tape)
    elif face in ("front", "back"):
        drop = round(0.07 * scale)
        _tape(draw, [w // 2 - tape_w // 2, 0, w // 2 + tape_w // 2, drop], tape)
        _tape(draw, [w // 2 - tape_w // 2, h - drop, w // 2 + tape_w // 2, h], tape)
        _print(draw, w, h, *_PRINTS[print_index])
    else:
        _hand_hole(draw, w, h, scale)
        _label(draw, rng, w, h, scale)
    _edges(draw, w, h)
    return np.asarray(image.resize((BOX_CELL, BOX_CELL), Image.Resampling.LANCZOS))


def _tape(draw: ImageDraw.ImageDraw, area: list[int], colour: tuple[int, int, int, int]) -> None:
    draw.rectangle(area, fill=colour)
    x0, y0, x1, y1 = area
    draw.line([(x0, y0), (x0, y1)], fill=(160, 124, 84, 160), width=2)
    draw.line([(x1, y0), (x1, y1)], fill=(160, 124, 84, 160), width=2)
    draw.line([(x0 + 12, y0), (x0 + 12, y1)], fill=(255, 240, 214, 90), width=6)


def _edges(draw: ImageDraw.ImageDraw, w: int, h: int) -> None:
    """Draw a worn, slightly lighter edge and a soft darkening towards the floor."""
    for step in range(5):
        draw.rectangle([step, step, w - 1 - step, h - 1 - step], outline=(238, 206, 160, 90 - 16 * step))
    for step in range(40):
        draw.line([(0, h - 1 - step), (w, h - 1 - step)], fill=(40, 24, 10, max(0, 46 - step)))


def _print(draw: ImageDraw.ImageDraw, w: int, h: int, words: str, icon: str) -> None:
    """Words under an icon, in brown ink, in the middle of the face."""
    unit = min(w, h)
    size = round(min(0.15 * unit, 1.45 * w / len(words)))
    font = ImageFont.load_default(size)
    x, y = w / 2, h * 0.47
    _icon(draw, icon, x, y - 0.02 * unit, 0.42 * unit)
    draw.text((x, y + 0.31 * unit), words, font=font, fill=_INK, anchor="mm", stroke_width=max(1, size // 22), stroke_fill=_INK)
    draw.line([(x - 0.38 * w, y + 0.42 * unit), (x + 0.38 * w, y + 0.42 * unit)], fill=_INK, width=max(2, unit // 90))


def _icon(draw: ImageDraw.ImageDraw, icon: str, x: float, y: float, size: float) -> None:
    half = size / 2
    thick = max(3, round(size / 18))
    if icon == "arrows":
        for offset in (-0.3, 0.3):
            cx = x + offset * size
            head = [(cx, y - half), (cx + 0.2 * size, y - 0.15 * size), (cx - 0.2 * size, y - 0.15 * size)]
            draw.polygon(head, fill=_INK)
            draw.rectangle([cx - 0.075 * size, y - 0.16 * size, cx + 0.075 * size, y + 0.36 * size], fill=_INK)
        draw.rectangle([x - 0.55 * size, y + 0.41 * size, x + 0.55 * size, y + 0.48 * size], fill=_INK)
    elif icon == "glass":
        bowl = [(x - 0.26 * size, y - half), (x + 0.26 * size, y - half), (x + 0.2 * size, y - 0.1 * size)]
        bowl += [(x + 0.06 * size, y + 0.04 * size), (x - 0.06 * size, y + 0.04 * size), (x - 0.2 * size, y - 0.1 * size)]
        draw.polygon(bowl, fill=_INK)
        draw.rectangle([x - 0.035 * size, y, x + 0.035 * size, y + 0.4 * size], fill=_INK)
        draw.ellipse([x - 0.22 * size, y + 0.37 * size, x + 0.22 * size, y + 0.48 * size], fill=_INK)
    else:  # umbrella
        draw.pieslice([x - half, y - half, x + half, y + half], 180, 360, fill=_INK)
        draw.line([(x, y), (x, y + 0.38 * size)], fill=_INK, width=thick)
        draw.arc([x, y + 0.26 * size, x + 0.24 * size, y + 0.5 * size], 0, 180, fill=_INK, width=thick)


def _hand_hole(draw: ImageDraw.ImageDraw, w: int, h: int, scale: float) -> None:
    half_w, half_h, y = 0.045 * scale, 0.014 * scale, 0.24 * h
    draw.rounded_rectangle([w / 2 - half_w, y - half_h, w / 2 + half_w, y + half_h], radius=half_h, fill=(52, 34, 20, 255))


def _label(draw: ImageDraw.ImageDraw, rng: np.random.Generator, w: int, h: int, scale: float) -> None:
    """Draw a white shipping label with lines of print and a bar code."""
    lw, lh = min(0.11 * scale, 0.5 * w), min(0.075 * scale, 0.34 * h)
    x, y = 0.14 * w, 0.55 * h
    draw.rectangle([x, y, x + lw, y + lh], fill=(246, 244, 238, 255))
    for line in range(3):
        y_line = y + lh * (0.14 + 0.14 * line)
        draw.line([(x + 0.08 * lw, y_line), (x + lw * rng.uniform(0.5, 0.9), y_line)], fill=(70, 70, 70, 255), width=3)
    bar = x + 0.08 * lw
    while bar < x + 0.9 * lw:
        thick = float(rng.uniform(1.0, 4.5))
        draw.rectangle([bar, y + 0.55 * lh, bar + thick, y + 0.9 * lh], fill=(30, 30, 30, 255))
        bar += thick + float(rng.uniform(1.5, 4.5))


# ---------------------------------------------------------------------- cup and shadows


@lru_cache(maxsize=8)
def cup(colour: int) -> Image8:
    """Glaze of the cup in one of :data:`CUP_COLOURS`."""
    return glaze(np.array(CUP_COLOURS[colour % len(CUP_COLOURS)], float), np.array(CUP_INSIDE, float), np.array(CUP_LINES, float))


def glaze(body: NDArray[np.float64], inside: NDArray[np.float64], lines: NDArray[np.float64]) -> Image8:
    """Paint a cup's glaze, 256 x 256 px: u goes around; from bottom to top of the image: outside, rim, inside."""
    image = np.empty((256, 256, 3))
    image[:] = body
    image[:112] = inside
    image[112:122] = np.minimum(inside + np.array([6, 8, 12]), 255)  # rim
    around = np.arange(256)
    wave = 192 + 8 * np.sin(2 * np.pi * around * 8 / 256)
    rows = np.arange(256)[:, None]
    for offset, thick in ((0.0, 5.0), (-16.0, 1.8), (16.0, 1.8)):
        line = np.clip(thick - np.abs(rows - wave[None, :] - offset), 0, 1)[..., None]
        image = image * (1 - line) + lines * line
    return to_image(image)


def soft_shadow(polygon: NDArray[np.float64], half_size: float, away: tuple[float, float], pixels: int = 128) -> Image8:
    """Return a shadow on the floor, RGBA, for a footprint.

    Parameters
    ----------
    polygon : ndarray, shape (n, 2)
        Footprint [m], centred at the origin; +x to the right, +y up in the image.
    half_size : float
        The image spans -half_size..half_size [m].
    away : (float, float)
        Where the wide part of the shadow falls, as an offset [m].
    """
    scale = pixels / (2 * half_size)
    layers = []
    for offset, sigma in (((0.0, 0.0), 0.025), (away, 0.085)):
        corners = np.rint(((polygon + offset) * (1, -1) + half_size) * scale * 16).astype(np.int32)
        mask = np.zeros((pixels, pixels), np.uint8)
        cv2.fillPoly(mask, [corners], 255, lineType=cv2.LINE_AA, shift=4)
        layers.append(cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), sigma * scale))
    alpha = 1 - (1 - 0.45 * layers[0]) * (1 - 0.42 * layers[1])
    edge = np.minimum.outer(np.minimum(np.arange(pixels), pixels - 1 - np.arange(pixels)), np.full(pixels, pixels))
    fade = np.clip(np.minimum(edge, edge.T) / 8.0, 0, 1)
    image = np.zeros((pixels, pixels, 4), np.uint8)
    image[..., :3] = (18, 12, 8)
    image[..., 3] = np.rint(255 * np.clip(alpha * fade, 0, 1))
    return image


@lru_cache(maxsize=1)
def wall_shadow() -> Image8:
    """Paint the darkening of the floor along a wall, RGBA, 4 x 64 px: dark at the top, nothing in the lower quarter."""
    image = np.zeros((64, 4, 4), np.uint8)
    image[..., :3] = (18, 12, 8)
    image[:48, :, 3] = np.rint(255 * 0.34 * (np.exp(-np.linspace(0, 4, 48)) - np.exp(-4.0)))[:, None]
    return image
