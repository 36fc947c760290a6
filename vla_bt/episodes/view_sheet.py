"""One picture of many views: of each the same frame of its source (left) and of itself, with what was done to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

COLUMNS = 3
TILE = (320, 180)  # width, height of one picture [px]
CAPTION = 40
GAP, SEAM = 12, 4
FRAME = 1
"""Which frame is shown: the robot has just begun to drive."""


def tile(source: NDArray[np.uint8], view: NDArray[np.uint8], attributes: dict[str, Any]) -> NDArray[np.uint8]:
    """Draw one pair with its caption.

    Parameters
    ----------
    source, view : ndarray of uint8, shape (height, width, 3), RGB
    attributes : dict
        Of the view.
    """
    width, height = TILE
    drawn = np.full((height + CAPTION, 2 * width + SEAM, 3), 255, np.uint8)
    for at, picture in enumerate((source, view)):
        left = at * (width + SEAM)
        drawn[:height, left : left + width] = cv2.resize(picture, TILE, interpolation=cv2.INTER_AREA)
    number = str(attributes["episode_name"]).rpartition("_")[2]
    words = f"{number}: {attributes.get('scenario', '')} {attributes.get('distance', '')} {attributes.get('position', '')}"
    for line, text in enumerate((words, done_in_words(json.loads(attributes["recipe"])))):
        place = (4, height + 16 + 17 * line)
        cv2.putText(drawn, text[:95], place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (30, 30, 30), 1, cv2.LINE_AA)
    return drawn


def done_in_words(recipe: dict[str, Any]) -> str:
    """Say what a recipe does.

    >>> done_in_words({"kind": "general", "mirror": True, "brightness": 0.7, "noise": 4.0})
    'mirrored, brightness 0.7, noise 4'
    """
    words = ["mirrored"] if recipe.get("mirror") else []
    for name in ("scale", "brightness", "blur", "noise"):
        words += [f"{name} {recipe[name]:.3g}"] if name in recipe else []
    words += ["colour " + "/".join(f"{gain:.2f}" for gain in recipe["colour"])] if "colour" in recipe else []
    words += ["time jitter"] if recipe.get("frames") else []
    return ", ".join(words)


def write_sheet(tiles: list[NDArray[np.uint8]], path: Path) -> Path:
    """Write the tiles as one picture.

    Raises
    ------
    OSError
        When it can't be written.
    """
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // COLUMNS)
    sheet = np.full((rows * (height + GAP) + GAP, COLUMNS * (width + GAP) + GAP, 3), 235, np.uint8)
    for index, drawn in enumerate(tiles):
        row, column = divmod(index, COLUMNS)
        top, left = GAP + row * (height + GAP), GAP + column * (width + GAP)
        sheet[top : top + height, left : left + width] = drawn
    done, data = cv2.imencode(path.suffix, cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not done:
        raise OSError(f"{path}: the picture can't be encoded")
    path.write_bytes(data.tobytes())
    return path
