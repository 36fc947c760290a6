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

from vla_bt.episodes.opening import Content, read
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
    trusted,
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
    "as_told",
    "columns_of",
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
    part = content.parts.get("images")
    problem = "lacks images" if part is None else f"images {part.why}" if part.why else ""
    if problem or content.images is None:
        raise EpisodeError(f"{printable(path)}: not an episode: {problem}")
    columns, count = columns_of(content)
    return Episode(path, trusted(content.attributes), columns, content.images[:count], action_unit(content))


def columns_of(content: Content) -> tuple[dict[str, NDArray[Any]], int]:
    """Return the columns of an episode as the format says they are, cut to its frames, and how many these are.

    Raises
    ------
    EpisodeError
        When one that every episode has is missing, or one has another shape or kind.
    """
    start = f"{printable(content.path)}: not an episode"
    for name in ("actions", "action_event_types"):
        part = content.parts.get(name)
        problem = f"lacks {name}" if part is None else f"{name} {part.why}" if part.why else ""
        if problem:
            raise EpisodeError(f"{start}: {problem}")
    told = content.attributes.get("num_frames", FRAMES)
    if isinstance(told, bool) or not isinstance(told, int) or told < 0:
        raise EpisodeError(f"{start}: num_frames is {printable(repr(told))}, expected a whole number")
    images = content.parts.get("images")
    stored = images.shape[0] if images is not None and images.shape else len(content.columns["actions"])
    count = min(told, stored)
    columns = {}
    for name, values in content.columns.items():
        fitting = as_told(name, values, count)
        if fitting is None:
            kind, shape = COLUMNS[name].kind.partition(":")[0], (count, *COLUMNS[name].shape)
            raise EpisodeError(f"{start}: {name} are {values.shape} {values.dtype}, expected {shape} {kind}")
        columns[name] = fitting
    return columns, count


def as_told(name: str, values: NDArray[Any], count: int) -> NDArray[Any] | None:
    """Return a column in the format's own kind, None when it has another shape or holds what that kind can't."""
    column = COLUMNS.get(name)
    if column is None:
        return values[:count]
    if len(values) < count or values.shape[1:] != column.shape or (values.dtype == object) != bool(column.text_bytes):
        return None
    values = values[:count]
    if column.text_bytes:
        return values
    with np.errstate(all="ignore"):
        same = values.astype(column.kind)
    lost = np.isfinite(values) & ~np.isfinite(same) if same.dtype.kind == "f" else same != values
    return None if lost.any() else same
