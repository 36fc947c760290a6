"""The episode file: one HDF5 file of at most 18 frames, each with what was seen, decided and done.

The first eight names are the original format's; everything else is additional.

==================== ============== =======================================================================
images               (n, h, w, 3)   uint8, RGB: the frame the decision was made on
actions              (n, 3)         the velocity asked for: linear_x, linear_y [m/s], angular_z [rad/s]; frame 0 is zero
action_event_types   (n,)           ``episode_start``, then ``start_action`` or ``stop_action``
attributes                          episode_name, scenario, action_chunk_size, num_frames, total_duration [s]
applied              (n, 3)         the velocity the gate applied last
source               (n,)           :class:`vla_bt.words.Source`
mode, goal_text      (n,)           text; empty for no goal
goal_id              (n,)           0 for no goal
frame_sequence       (n,)           the camera's count
exposure_s           (n,)           the camera header's own time [s]
receipt_s, decided_s (n,)           the robot's monotonic time of receipt and of decision [s]
odometry             (n, 6)         x, y, yaw in ``odom``, then velocity in ``base_link``; NaN without odometry
policy_latency_s     (n,)           NaN when no policy answered
weights_hash         (n,)           of the policy; empty without weights
==================== ============== =======================================================================

Promises: everything has a fixed size that is reserved on the disk when the file is made, so a full disk is noticed at the first
frame and not at the last; after each frame the file on disk is whole, with ``num_frames`` telling how far it got and ``complete``
false. Not compressed: compressing a 720p frame takes 13-60 ms of a core and saves half of a rendered and a quarter of a noisy
picture, writing it plainly takes 1-2 ms.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from vla_bt.port import Odometry
from vla_bt.words import Mode, Source, Twist

FRAMES = 18
SCHEMA_VERSION = 1
ACTION_CHUNK_SIZE = 8
START, MOVE, STAND = "episode_start", "start_action", "stop_action"
PART_SUFFIX = ".part"

_TEXT = {"goal_text": 512, "mode": 16, "weights_hash": 80, "action_event_types": 16}
_NUMBERS: dict[str, tuple[str, tuple[int, ...]]] = {
    "actions": ("f4", (3,)),
    "applied": ("f4", (3,)),
    "source": ("u1", ()),
    "goal_id": ("u8", ()),
    "frame_sequence": ("u8", ()),
    "exposure_s": ("f8", ()),
    "receipt_s": ("f8", ()),
    "decided_s": ("f8", ()),
    "odometry": ("f8", (6,)),
    "policy_latency_s": ("f8", ()),
}


class EpisodeError(ValueError):
    """A file that is no episode; the message is one line, fit for a user."""


@dataclass(frozen=True)
class FrameSample:
    """One frame as the tick hands it over.

    Attributes
    ----------
    image : ndarray of uint8, shape (height, width, 3), RGB
        The frame the decision was made on. Belongs to the recorder from now on: whoever hands it over keeps no hand on it.
    action : Twist
        The velocity asked for on this frame.
    applied : Twist
        The velocity the gate applied last.
    source, mode
        Who drove.
    frame_sequence, exposure_s, receipt_s
        Of the frame, see :class:`vla_bt.port.FrameInfo`.
    decided_s : float
        Port time of the decision [s].
    goal_text, goal_id
        What was being pursued; empty and 0 for nothing.
    odometry : Odometry or None
        As it was known at the decision.
    policy_latency_s : float or None
        Time of the policy's step the decision rests on [s].
    weights_hash : str
        Of the policy that was asked.
    """

    image: NDArray[np.uint8]
    action: Twist
    applied: Twist
    source: Source
    mode: Mode
    frame_sequence: int
    exposure_s: float
    receipt_s: float
    decided_s: float
    goal_text: str = ""
    goal_id: int = 0
    odometry: Odometry | None = None
    policy_latency_s: float | None = None
    weights_hash: str = ""


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


def safe_name(scenario: str) -> str:
    """Return the scenario fit for a file name: ASCII letters, digits, ``_`` and ``-``, at most 60."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", scenario).strip("-")[:60] or "free"


def episode_name(started: datetime, scenario: str) -> str:
    """Return ``episode_YYYYMMDD_HHMMSS_<scenario>``."""
    return f"episode_{started:%Y%m%d_%H%M%S}_{safe_name(scenario)}"


class EpisodeWriter:
    """Writes one episode into ``<name>.h5.part`` and gives it its name when it is finished. Use from one thread.

    Parameters
    ----------
    directory : Path
        Where; made if it isn't there.
    started : datetime
        For the name and the attribute ``started``; UTC.
    scenario : str
        What is being recorded.
    height, width : int
        Size of every frame [px].

    Raises
    ------
    OSError
        When the directory can't be written or lacks the room for the whole episode; nothing is left behind then.
    """

    def __init__(self, directory: Path, started: datetime, scenario: str, height: int, width: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.name = _free_name(directory, episode_name(started, scenario))
        self._directory = directory
        self._part = directory / f"{self.name}.h5{PART_SUFFIX}"
        self._count = 0
        self._first_s = 0.0
        self._file = h5py.File(self._part, "x")
        try:
            self._lay_out(height, width)
            self._file.attrs.update(
                episode_name=self.name,
                scenario=scenario,
                action_chunk_size=ACTION_CHUNK_SIZE,
                num_frames=0,
                total_duration=0.0,
                complete=False,
                schema_version=SCHEMA_VERSION,
                started=started.isoformat(timespec="seconds"),
                image_height=height,
                image_width=width,
                colour_order="RGB",
                units="actions and applied: linear_x, linear_y in m/s, angular_z in rad/s; times in s",
                frames="velocities in base_link (x forward, y left, anticlockwise positive); odometry pose in odom",
                source_names=",".join(f"{source.value}={source.name.lower()}" for source in Source),
            )
            self._file.flush()
            self._reserve()
        except BaseException:
            self.give_up()
            raise

    def _lay_out(self, height: int, width: int) -> None:
        """Create every dataset with all its room, without writing zeros into it."""
        shapes: dict[str, tuple[Any, tuple[int, ...]]] = {"images": ("u1", (height, width, 3)), **_NUMBERS}
        shapes |= {name: (h5py.string_dtype("utf-8", size), ()) for name, size in _TEXT.items()}
        for name, (kind, shape) in shapes.items():
            plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            if name == "images":
                plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            chunks = (1, *shape) if name == "images" else (FRAMES, *shape)
            full = (FRAMES, *shape)
            self._file.create_dataset(name, full, kind, chunks=chunks, maxshape=full, dcpl=plan)

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
        moving = not sample.action.is_zero()
        odometry = sample.odometry
        pose = (odometry.x, odometry.y, odometry.yaw, *odometry.twist) if odometry is not None else (math.nan,) * 6
        row: dict[str, Any] = {
            "images": sample.image,
            "actions": sample.action if at else Twist(),
            "action_event_types": START if at == 0 else MOVE if moving else STAND,
            "applied": sample.applied,
            "source": int(sample.source),
            "mode": sample.mode.value,
            "goal_text": _cut(sample.goal_text, _TEXT["goal_text"]),
            "goal_id": sample.goal_id,
            "frame_sequence": sample.frame_sequence,
            "exposure_s": sample.exposure_s,
            "receipt_s": sample.receipt_s,
            "decided_s": sample.decided_s,
            "odometry": pose,
            "policy_latency_s": math.nan if sample.policy_latency_s is None else sample.policy_latency_s,
            "weights_hash": _cut(sample.weights_hash, _TEXT["weights_hash"]),
        }
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


def _cut(text: str, size: int) -> str:
    """Cut to ``size`` bytes of UTF-8 without halving a letter."""
    return text.encode("utf-8", "replace")[:size].decode("utf-8", "ignore")


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
