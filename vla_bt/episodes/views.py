"""Views: what a recipe makes of an episode, looking like any other episode.

Promises: the same source and recipe give the same view, bit for bit, at the same size; what the pictures undergo, the columns and
attributes undergo too; a view says what it is (``origin``), of what (``source_episode``, ``source_sha256``) and how (``recipe``).
Asked for at a smaller size, the source is shrunk first and the recipe scaled to it: much faster, and alike to the eye.

Actions stay as they were when a view is only scaled: speeds don't depend on the distance, but the bearing of what is seen grows
with the scale, so at the highest scales a view asks for less sideways motion than its picture would.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vla_bt.episodes.format import Episode
from vla_bt.episodes.mirror import mirror_columns, mirror_keys, mirror_pictures, mirror_words
from vla_bt.episodes.recipes import Recipe

NOISE_WIDTH = 1280
"""Width at which a recipe's noise holds [px]; shrinking averages noise away, so narrower pictures get less."""

_TIMES = ("exposure_s", "receipt_s", "decided_s", "commanded_s", "applied_s")
_COUNTED = ("frame_sequence", "frames_dropped_before")


def make_view(episode: Episode, recipe: Recipe, name: str, group: str, sha256: str) -> Episode:
    """Return the view of an episode.

    Parameters
    ----------
    episode : Episode
        The source, its images at full size or shrunk.
    recipe : Recipe
    name : str
        The view's own.
    group : str
        What its source belongs to when episodes are split (:func:`vla_bt.episodes.dataset.group_of`).
    sha256 : str
        Of the source's file.
    """
    images = change_pictures(episode.images, recipe)
    columns = change_columns(episode.columns, recipe)
    if "image_crc32" in columns:
        columns["image_crc32"] = np.array([zlib.crc32(np.ascontiguousarray(image)) for image in images], np.uint32)
    attributes = change_attributes(episode.attributes, recipe, name, group, sha256)
    return Episode(episode.path, attributes, columns, images, episode.action_unit)


def change_pictures(images: NDArray[np.uint8], recipe: Recipe) -> NDArray[np.uint8]:
    """Carry out a recipe on pictures, uint8, shape (n, height, width, 3), RGB; returns as many new ones."""
    if recipe.frames and len(images) == len(recipe.frames):
        images = images[list(recipe.frames)]
    if recipe.mirror:
        images = mirror_pictures(images)
    height, width = images.shape[1:3]
    gains = recipe.brightness * np.array(recipe.colour)
    table = np.clip(np.rint(np.arange(256)[:, None, None] * gains), 0, 255).astype(np.uint8).reshape(1, 256, 3)
    changed = np.empty(images.shape, np.uint8)
    for index, image in enumerate(images):
        picture: NDArray[np.uint8] = np.ascontiguousarray(image)
        if recipe.scale > 1.0:
            picture = _scaled(picture, recipe)
        if (gains != 1.0).any():
            picture = np.asarray(cv2.LUT(picture, table), np.uint8)
        if recipe.blur > 0.0:
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), max(0.05, 1e-3 * width * recipe.blur)), np.uint8)
        if recipe.noise > 0.0:
            grain = np.random.default_rng([recipe.seed, index]).standard_normal((height, width, 3), np.float32)
            grain *= recipe.noise * min(1.0, width / NOISE_WIDTH)
            grain += picture
            picture = np.clip(np.rint(grain), 0, 255).astype(np.uint8)
        changed[index] = picture
    return changed


def _scaled(picture: NDArray[np.uint8], recipe: Recipe) -> NDArray[np.uint8]:
    """Crop and scale up again; the crop's place is a share of the room it has."""
    height, width = picture.shape[:2]
    step = 1.0 / recipe.scale
    left, top = recipe.across * width * (1.0 - step), recipe.down * height * (1.0 - step)
    centre = 0.5 * step - 0.5  # pixels are counted from their centres
    back = np.array([[step, 0.0, left + centre], [0.0, step, top + centre]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(picture, back, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def change_columns(columns: dict[str, NDArray[Any]], recipe: Recipe) -> dict[str, NDArray[Any]]:
    """Carry out a recipe on an episode's columns.

    Where frames are left out, the others move up; each picture stays as old at its decision as it was.
    """
    changed = {name: np.array(values) for name, values in columns.items()}
    rows = list(recipe.frames)
    if rows and all(len(values) == len(rows) for values in columns.values()):
        changed = {name: values if name in _COUNTED else values[rows] for name, values in changed.items()}
        if "decided_s" in columns:
            shift = columns["decided_s"] - columns["decided_s"][rows]
            for name in _TIMES:
                if name in columns:
                    changed[name] = changed[name] + shift
    return mirror_columns(changed) if recipe.mirror else changed


def change_attributes(attributes: Mapping[str, Any], recipe: Recipe, name: str, group: str, sha256: str) -> dict[str, Any]:
    """Carry out a recipe on an episode's attributes, and say what it was made of and how."""
    changed = dict(attributes)
    if recipe.mirror:
        for word in ("scenario", "position"):
            if word in changed:
                changed[word] = mirror_words(str(changed[word]))
        if "key_pattern" in changed:
            changed["key_pattern"] = mirror_keys(str(changed["key_pattern"]))
    if recipe.distance:
        changed["distance"] = recipe.distance
    return changed | {
        "episode_name": name,
        "origin": "augmented",
        "source_episode": str(attributes.get("episode_name", "")),
        "source_sha256": sha256,
        "demonstration_id": name,
        "demonstration_index": 0,
        "previous_episode": "",
        "recipe": json.dumps({**recipe.to_dict(), "group": group}),
    }
