"""The episode file: one HDF5 file of at most 18 frames, each with what was seen, decided and done.

``images`` (n, h, w, 3), uint8, RGB, holds the pictures the decisions were made on; :mod:`vla_bt.episodes.schema` lists every
other dataset and attribute. ``images``, ``actions``, ``action_event_types`` and the attributes episode_name, scenario,
action_chunk_size, num_frames and total_duration are the original format's.

This is the door for everybody else: :func:`load` reads, :class:`EpisodeWriter` (:mod:`vla_bt.episodes.writer`) writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_bt.episodes.opening import read
from vla_bt.episodes.printable import printable
from vla_bt.episodes.schema import (
    ACTION_CHUNK_SIZE,
    COLUMNS,
    FRAMES,
    SCHEMA_VERSION,
    EpisodeError,
    EpisodeInfo,
    FrameSample,
    episode_name,
    safe_name,
)
from vla_bt.episodes.units import SI, action_unit
from vla_bt.episodes.writer import PART_SUFFIX, EpisodeWriter

__all__ = [
    "ACTION_CHUNK_SIZE",
    "COLUMNS",
    "FRAMES",
    "PART_SUFFIX",
    "SCHEMA_VERSION",
    "Episode",
    "EpisodeError",
    "EpisodeInfo",
    "EpisodeWriter",
    "FrameSample",
    "episode_name",
    "load",
    "safe_name",
]


@dataclass(frozen=True)
class Episode:
    """An episode as read from its file.

    Attributes
    ----------
    path : Path
        The file.
    attributes : dict
        Plain numbers, texts and truth values.
    columns : dict of str to ndarray
        Every dataset but the images, cut to ``frames``; texts as arrays of str.
    images : ndarray of uint8, shape (frames, height, width, 3), RGB
    action_unit : str
        What ``actions`` are, see :mod:`vla_bt.episodes.units`.
    """

    path: Path
    attributes: dict[str, Any]
    columns: dict[str, NDArray[Any]]
    images: NDArray[np.uint8]
    action_unit: str = SI

    @property
    def frames(self) -> int:
        """How many frames it holds."""
        return len(self.images)


def load(path: Path) -> Episode:
    """Read an episode; one that was cut short is read as far as it got.

    Raises
    ------
    EpisodeError
        When the file can't be read or is no episode.
    """
    content = read(path)
    for name in ("images", "actions", "action_event_types"):
        part = content.parts.get(name)
        problem = f"lacks {name}" if part is None else f"{name} {part.why}" if part.why else ""
        if problem:
            raise EpisodeError(f"{printable(path)}: not an episode: {problem}")
    images, columns = content.images, content.columns
    told = content.attributes.get("num_frames", FRAMES)
    if isinstance(told, bool) or not isinstance(told, int) or told < 0 or images is None:
        raise EpisodeError(f"{printable(path)}: not an episode: num_frames is {printable(repr(told))}, expected a whole number")
    count = min(told, len(images))
    if columns["actions"].shape[1:] != (3,) or len(columns["actions"]) < count:
        shape = (count, 3)
        raise EpisodeError(f"{printable(path)}: not an episode: actions are {columns['actions'].shape}, expected {shape}")
    rows = {name: column[:count] for name, column in columns.items()}
    return Episode(path, content.attributes, rows, images[:count], action_unit(content))
