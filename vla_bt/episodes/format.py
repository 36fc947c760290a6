"""The episode file: one HDF5 file of at most 18 frames, each with what was seen, decided and done.

``images`` (n, h, w, 3), uint8, RGB, holds the pictures the decisions were made on; :mod:`vla_bt.episodes.schema` lists every
other dataset and attribute. ``images``, ``actions``, ``action_event_types`` and the attributes episode_name, scenario,
action_chunk_size, num_frames and total_duration are the original format's.

Promises: everything has a fixed size that is reserved on the disk when the file is made, so a full disk is noticed at the first
frame and not at the last. Not compressed: compressing a 720p frame takes 13-60 ms of a core and saves half of a rendered and a
quarter of a noisy picture, writing it plainly takes 1-2 ms.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from vla_bt.episodes.schema import (
    ACTION_CHUNK_SIZE,
    COLUMNS,
    FRAMES,
    SCHEMA_VERSION,
    EpisodeError,
    EpisodeInfo,
    FrameSample,
    episode_name,
    file_attributes,
    row_of,
    safe_name,
)

__all__ = [
    "ACTION_CHUNK_SIZE",
    "COLUMNS",
    "FRAMES",
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

PART_SUFFIX = ".part"


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
    """

    path: Path
    attributes: dict[str, Any]
    columns: dict[str, NDArray[Any]]
    images: NDArray[np.uint8]

    @property
    def frames(self) -> int:
        """How many frames it holds."""
        return len(self.images)


class EpisodeWriter:
    """Writes one episode into ``<name>.h5.part`` and gives it its name when it is finished. Use from one thread.

    Parameters
    ----------
    directory : Path
        Where; made if it isn't there.
    started : datetime
        For the name and the attribute ``started``; UTC.
    info : EpisodeInfo
        What is being recorded.
    height, width : int
        Size of every frame [px].

    Raises
    ------
    OSError
        When the directory can't be written or lacks the room for the whole episode; nothing is left behind then.
    """

    def __init__(self, directory: Path, started: datetime, info: EpisodeInfo, height: int, width: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.name = _free_name(directory, episode_name(started, info.scenario))
        self._directory = directory
        self._part = directory / f"{self.name}.h5{PART_SUFFIX}"
        self._count = 0
        self._first_s = 0.0
        self._file = h5py.File(self._part, "x")
        try:
            self._lay_out(height, width)
            self._file.attrs.update(file_attributes(info, self.name, started, height, width))
            self._file.flush()
            self._reserve()
        except BaseException:
            self.give_up()
            raise

    def _lay_out(self, height: int, width: int) -> None:
        """Create every dataset with all its room, without writing zeros into it."""
        for name in ("images", *COLUMNS):
            kind, shape = ("u1", (height, width, 3)) if name == "images" else (COLUMNS[name].dtype, COLUMNS[name].shape)
            plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            if name == "images":
                plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            chunks = (1, *shape) if name == "images" else (FRAMES, *shape)
            full = (FRAMES, *shape)
            dataset = self._file.create_dataset(name, full, kind, chunks=chunks, maxshape=full, dcpl=plan)
            if name in COLUMNS:
                dataset.attrs.update(units=COLUMNS[name].units, frame_of_reference=COLUMNS[name].frame)

    def _reserve(self) -> None:
        """Take the whole file's room from the disk now."""
        descriptor = os.open(self._part, os.O_RDWR)
        try:
            os.posix_fallocate(descriptor, 0, os.fstat(descriptor).st_size)
        finally:
            os.close(descriptor)

    @property
    def count(self) -> int:
        """Frames written so far."""
        return self._count

    def append(self, sample: FrameSample) -> None:
        """Write one frame and hand it to the operating system."""
        at, file = self._count, self._file
        row = row_of(sample, at, zlib.crc32(np.ascontiguousarray(sample.image)))
        file["images"][at] = sample.image
        for name, value in row.items():
            file[name][at] = value
        self._first_s = sample.decided_s if at == 0 else self._first_s
        self._count = at + 1
        file.attrs.modify("num_frames", self._count)
        file.attrs.modify("total_duration", sample.decided_s - self._first_s)
        file.flush()

    def finish(self) -> Path:
        """Give the file its name, ``..._partial.h5`` when frames are missing, once it is safe on the disk; returns it."""
        whole = self._count == FRAMES
        name = self.name if whole else f"{self.name}_partial"
        if whole:
            self._file.attrs.modify("complete", True)
        else:
            for dataset in self._file.values():
                dataset.resize(self._count, axis=0)
            self._file.attrs["episode_name"] = name
        self._file.close()
        target = self._directory / f"{name}.h5"
        _sync(self._part)
        os.replace(self._part, target)
        _sync(self._directory)
        return target

    def give_up(self) -> None:
        """Close after an error: what was written stays in the ``.part`` file, an empty one goes."""
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            self._file.close()
        if not self._count:
            with contextlib.suppress(OSError):
                self._part.unlink()


def _free_name(directory: Path, wanted: str) -> str:
    """Return ``wanted``, or with a number behind it when a file has that name."""
    name, number = wanted, 1
    while any((directory / f"{name}{end}").exists() for end in (".h5", f".h5{PART_SUFFIX}", "_partial.h5")):
        number += 1
        name = f"{wanted}_{number}"
    return name


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load(path: Path) -> Episode:
    """Read an episode; one that was cut short is read as far as it got.

    Raises
    ------
    EpisodeError
        When the file can't be read or is no episode.
    """
    try:
        with h5py.File(path, "r") as file:
            attributes = {name: _plain(value) for name, value in file.attrs.items()}
            count = min(int(attributes.get("num_frames", FRAMES)), len(file["images"]))
            images: NDArray[np.uint8] = file["images"][:count]
            columns = {name: _column(data, count) for name, data in file.items() if name != "images"}
    except OSError as error:
        raise EpisodeError(f"{path}: {os.strerror(error.errno) if error.errno else 'not a readable HDF5 file'}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise EpisodeError(f"{path}: not an episode ({str(error).strip(chr(34))})") from None
    problem = ""
    for name in ("actions", "action_event_types"):
        problem = problem or ("" if name in columns else f"lacks {name}")
    if not problem and (images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8):
        problem = f"images are {images.shape} {images.dtype}, expected (n, height, width, 3) uint8"
    if not problem and columns["actions"].shape != (count, 3):
        problem = f"actions are {columns['actions'].shape}, expected {(count, 3)}"
    if problem:
        raise EpisodeError(f"{path}: not an episode: {problem}")
    return Episode(path, attributes, columns, images)


def _column(data: h5py.Dataset, count: int) -> NDArray[Any]:
    if h5py.check_string_dtype(data.dtype) is None:
        return np.asarray(data[:count])
    texts = [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in data[:count]]
    return np.array(texts, dtype=object)


def _plain(value: Any) -> Any:
    """Turn an attribute into a plain Python value."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.item() if isinstance(value, np.generic) else value
