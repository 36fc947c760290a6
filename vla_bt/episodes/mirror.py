"""Left and right swapped in all that an episode holds, so that its mirror image is as true as it is.

Promises: twice mirrored is as before, bit for bit, but that "counterclockwise" comes back as "anticlockwise". What is swapped:
the pictures; left and right, clockwise and anticlockwise in words; the side in the scenario's name, the position, the keys;
sideways and turning velocities, sideways place and yaw. Printing in the pictures reads backwards: that alone would give a mirror
image away.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

_OTHER = {"left": "right", "right": "left", "clockwise": "anticlockwise", "anticlockwise": "clockwise"}
_WORDS = re.compile(r"(?<![a-z])(left|right|(?:anti)?clockwise)(?![a-z])", re.IGNORECASE)
_WARDS = re.compile(r"(?<![a-z])(left|right)(?=wards?(?![a-z])|hand(?![a-z]))", re.IGNORECASE)
_KEYS = str.maketrans("adqezcrtADQEZCRT", "daeqcztrDAEQCZTR")
_TWIST = np.array((1.0, -1.0, -1.0), np.float32)
_POSE_AND_TWIST = np.array((1.0, -1.0, -1.0, 1.0, -1.0, -1.0))

VELOCITIES = ("actions", "commanded", "applied")
"""Columns of velocities, shape (n, 3)."""


def mirror_words(text: str) -> str:
    """Swap the sides in a sentence or a name.

    >>> mirror_words("Turn left, then pass the box on the right-hand side")
    'Turn right, then pass the box on the left-hand side'
    >>> mirror_words("2box_hori_left")
    '2box_hori_right'
    """
    text = re.sub(r"(?i)\bcounter-?(?=clockwise\b)", "anti", text)
    return _WARDS.sub(_swapped, _WORDS.sub(_swapped, text))


def _swapped(found: re.Match[str]) -> str:
    word = found.group()
    other = _OTHER[word.lower()]
    return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other


def mirror_keys(keys: str) -> str:
    """Swap the driving keys of a guide.

    >>> mirror_keys("w q r")
    'w e t'
    """
    return keys.translate(_KEYS)


def mirror_pictures(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a view of pictures (..., height, width, 3) with left and right swapped."""
    return images[..., ::-1, :]


def mirror_columns(columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return an episode's columns with the sides swapped."""
    mirrored = dict(columns)
    for name in VELOCITIES:
        if name in columns:
            mirrored[name] = columns[name] * _TWIST.astype(columns[name].dtype)
    for name in ("odometry", "seen_odometry"):
        if name in columns:
            mirrored[name] = columns[name] * _POSE_AND_TWIST
    for name in ("goal_text", "subgoal_text"):
        if name in columns:
            mirrored[name] = np.array([mirror_words(str(text)) for text in columns[name]], dtype=object)
    return mirrored
