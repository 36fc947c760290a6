"""What an episode holds: the names, kinds, units and frames of reference of everything in its file. The only list of them.

Promises: the first names of :data:`COLUMNS` and :class:`EpisodeInfo` are the original format's, whose readers go on working; a
later schema version may add names and never changes one. Nothing here touches a disk.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from vla_bt.port import Odometry
from vla_bt.words import Mode, Source, Twist

FRAMES = 18
SCHEMA_VERSION = 3
ACTION_CHUNK_SIZE = 8
START, MOVE, STAND = "episode_start", "start_action", "stop_action"
EVENT_TYPES = (START, MOVE, STAND)

PATTERNS = ("core", "variant")
DISTANCES = ("close", "medium", "far")
POSITIONS = ("left", "center", "right")
ORIGINS = ("recorded", "simulated", "imported", "augmented")
RAW, JPEG = "raw", "jpeg"
STORAGES = (RAW, JPEG)
"""How pictures are kept: as ``images``, or as ``images_jpeg`` (all JPEGs in a row) with ``images_jpeg_ends`` (n,)."""


class EpisodeError(ValueError):
    """A file that is no episode; the message is one line, fit for a user."""


class Column(NamedTuple):
    """One dataset of the file, with a row for each frame.

    Attributes
    ----------
    kind : str
        numpy's kind of number, or ``text:N`` for UTF-8 of at most N bytes.
    shape : tuple of int
        Of one row.
    units, frame : str
        Units of each component, and the frame of reference they are told in; both stand as attributes of the dataset.
    meaning : str
        In a few words.
    """

    kind: str
    shape: tuple[int, ...]
    units: str
    frame: str
    meaning: str

    @property
    def dtype(self) -> Any:
        """The dataset's type."""
        return h5py.string_dtype("utf-8", self.text_bytes) if self.text_bytes else np.dtype(self.kind)

    @property
    def text_bytes(self) -> int:
        """Room of a text [bytes]; 0 for numbers."""
        return int(self.kind[5:]) if self.kind.startswith("text:") else 0


_VELOCITY = "m/s, m/s, rad/s"
_OWN = "s of the recording process's monotonic clock"
COLUMNS: dict[str, Column] = {
    "actions": Column("f4", (3,), _VELOCITY, "base_link", "as commanded, but for frame 0, which is zero: the original's"),
    "action_event_types": Column("text:16", (), "", "", "episode_start for frame 0, then start_action or stop_action"),
    "commanded": Column("f4", (3,), _VELOCITY, "base_link", "velocity asked of the gate on this picture, in frame 0 too"),
    "applied": Column("f4", (3,), _VELOCITY, "base_link", "velocity the gate sent after that; NaN when it said nothing"),
    "source": Column("u1", (), "", "", "who asked: the numbers stand in the file's attribute source_names"),
    "mode": Column("text:16", (), "", "", "manual, vla or hybrid"),
    "goal_text": Column("text:512", (), "", "", "goal that produced the command; empty for none"),
    "subgoal_text": Column("text:512", (), "", "", "step of that goal that was being carried out: what a policy was told"),
    "goal_id": Column("u8", (), "", "", "its number; 0 for none"),
    "frame_sequence": Column("u8", (), "", "", "the camera's count"),
    "exposure_s": Column("f8", (), "s of the camera's own clock", "", "header stamp of the picture"),
    "receipt_s": Column("f8", (), _OWN, "", "the picture arrived"),
    "decided_s": Column("f8", (), _OWN, "", "the inputs of the decision were read"),
    "commanded_s": Column("f8", (), _OWN, "", "the command left for the gate"),
    "applied_s": Column("f8", (), _OWN, "", "the gate's report of what it applied arrived; NaN when it said nothing"),
    "odometry": Column(
        "f8", (6,), "m, m, rad, m/s, m/s, rad/s", "pose in odom, velocity in base_link", "at the decision; NaN without odometry"
    ),
    "seen_odometry": Column(
        "f8",
        (6,),
        "m, m, rad, m/s, m/s, rad/s",
        "pose in odom, velocity in base_link",
        "when the policy got the picture",
    ),
    "policy_latency_s": Column("f8", (), "s", "", "time of the policy's step behind the command; NaN when it had none"),
    "weights_hash": Column("text:80", (), "", "", "of the policy that was asked; empty without weights"),
    "frames_dropped_before": Column("u4", (), "", "", "frames that were due since the last one and found the queue full"),
    "image_crc32": Column("u4", (), "", "", "CRC-32 of the picture as stored: its pixels or its JPEG"),
}
"""Every dataset but ``images`` (n, height, width, 3), uint8, RGB."""


@dataclass(frozen=True)
class FrameSample:
    """One frame as the tick hands it over.

    Attributes
    ----------
    image : ndarray of uint8, shape (height, width, 3), RGB
        The frame the decision was made on. Belongs to the recorder from now on: whoever hands it over keeps no hand on it.
    action : Twist
        The velocity asked for on this frame.
    applied : Twist or None
        The velocity the gate applied after that; None when it said nothing.
    source, mode
        Who drove.
    frame_sequence, exposure_s, receipt_s
        Of the frame, see :class:`vla_bt.port.FrameInfo`.
    decided_s : float
        Port time of the decision [s].
    commanded_s, applied_s : float
        Port time at which the command left, and at which the gate's report arrived [s]; NaN when unknown.
    goal_text, subgoal_text, goal_id
        What was being pursued, and which step of it; empty and 0 for nothing.
    odometry : Odometry or None
        As it was known at the decision.
    seen_odometry : Odometry or None
        As it was known when the policy was handed the picture, or else when the picture came: what was known of it then.
    policy_latency_s : float or None
        Time of the policy's step the decision rests on [s].
    weights_hash : str
        Of the policy that was asked.
    event_type : str
        One of :data:`EVENT_TYPES` to keep what an older file says; empty for what follows from index and action.
    """

    image: NDArray[np.uint8]
    action: Twist
    applied: Twist | None
    source: Source
    mode: Mode
    frame_sequence: int
    exposure_s: float
    receipt_s: float
    decided_s: float
    commanded_s: float = math.nan
    applied_s: float = math.nan
    goal_text: str = ""
    subgoal_text: str = ""
    goal_id: int = 0
    odometry: Odometry | None = None
    seen_odometry: Odometry | None = None
    policy_latency_s: float | None = None
    weights_hash: str = ""
    event_type: str = ""


@dataclass(frozen=True)
class EpisodeInfo:
    """What is known of an episode as a whole; each field is an attribute of the file.

    Attributes
    ----------
    scenario : str
        What is being recorded, such as ``1box_vert_left``.
    frame_period_s : float
        Time between frames as asked for [s].
    pattern, distance, position : str
        Of the collection plan: :data:`PATTERNS`, :data:`DISTANCES`, :data:`POSITIONS`; empty when it has no part in it.
    key_pattern : str
        The guide's keys that were followed, such as ``w w q``; empty without a guide.
    seed : int
        Of the simulated scene; -1 for none.
    origin : str
        One of :data:`ORIGINS`.
    demonstration_id, demonstration_index
        Consecutive episodes of one demonstration share the id and count from 0.
    previous_episode : str
        ``episode_name`` of the one before it in the demonstration; empty for the first.
    source_episode, source_sha256 : str
        Of an augmented or imported episode: name and digest of the file it was made from.
    recipe : str
        Of an augmented episode: how, as JSON that makes the same pixels again.
    tick_period_s : float
        Of the tree that recorded: frames lie on its ticks [s]; 0 where nothing tells.
    velocity_limits : str
        Of the gate: linear_x, linear_y [m/s] and angular_z [rad/s], such as ``0.6 0.4 1.2``; empty where nothing tells.
    """

    scenario: str = "free"
    frame_period_s: float = 1.05
    pattern: str = ""
    distance: str = ""
    position: str = ""
    key_pattern: str = ""
    seed: int = -1
    origin: str = "recorded"
    demonstration_id: str = ""
    demonstration_index: int = 0
    previous_episode: str = ""
    source_episode: str = ""
    source_sha256: str = ""
    recipe: str = ""
    tick_period_s: float = 0.0
    velocity_limits: str = ""

    def attributes(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


def file_attributes(
    info: EpisodeInfo, name: str, started: datetime, height: int, width: int, storage: str = RAW
) -> dict[str, Any]:
    """Return every attribute of a file that holds no frame yet.

    What changes with the frames: ``num_frames``, ``total_duration`` [s], ``complete``, ``frames_dropped`` and
    ``clock_zero_utc_s`` (UTC time [s] at which the monotonic clock of the columns showed 0). ``recovered`` tells that a journal
    was made into the file afterwards. ``content_crc32`` is :func:`content_crc32` of the columns, 0 where nothing tells.
    """
    return {
        "episode_name": name,
        "scenario": info.scenario,
        "action_chunk_size": ACTION_CHUNK_SIZE,
        "num_frames": 0,
        "total_duration": 0.0,
        "complete": False,
        "schema_version": SCHEMA_VERSION,
        "started": started.isoformat(timespec="milliseconds"),
        "clock_zero_utc_s": math.nan,
        "frames_dropped": 0,
        "image_height": height,
        "image_width": width,
        "colour_order": "RGB",
        "image_storage": storage,
        "recovered": False,
        "content_crc32": 0,
        "units": "SI: m, s, rad; velocities are linear_x, linear_y [m/s], angular_z [rad/s]; each dataset tells its own",
        "frames_of_reference": "REP-103: velocities in base_link (x forward, y left, anticlockwise positive); pose in odom",
        "source_names": ",".join(f"{source.value}={source.name.lower()}" for source in Source),
        **info.attributes(),
    }


NEWER = ("content_crc32", "tick_period_s", "velocity_limits")
"""Attributes that came with version 3."""

_NEVER = datetime.fromtimestamp(0, timezone.utc)
_KINDS = {name: type(value) for name, value in file_attributes(EpisodeInfo(), "", _NEVER, 1, 1).items()}


def trusted(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file's attributes without those of the format that hold what they can't: a text where a number belongs.

    Whoever reads them then finds them missing, as in an older file; ``vla-bt episodes check`` names them.
    """
    return {name: value for name, value in attributes.items() if name not in _KINDS or _fits(value, _KINDS[name])}


def _fits(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return type(value) is kind


def content_crc32(columns: Mapping[str, NDArray[Any]]) -> int:
    """Return the CRC-32 of all columns that are there, so that one changed by hand is noticed; never 0, which tells nothing.

    Pictures are in it by their ``image_crc32``. Texts may be str or UTF-8.
    """
    total = 0
    for name, column in COLUMNS.items():
        if name not in columns:
            continue
        values = columns[name]
        if column.text_bytes:
            data = b"\0".join(value if isinstance(value, bytes) else str(value).encode("utf-8", "replace") for value in values)
        else:
            data = np.ascontiguousarray(values, np.dtype(column.kind).newbyteorder("<")).tobytes()
        total = zlib.crc32(name.encode() + b"\0" + data, total)
    return total or 1


def is_changed(attributes: Mapping[str, Any], columns: Mapping[str, NDArray[Any]]) -> bool:
    """Tell whether columns, cut to their frames and of the format's own kinds, are others than those that were recorded."""
    known = attributes.get("content_crc32", 0)
    return isinstance(known, int) and known > 0 and known != content_crc32(columns)


def row_of(sample: FrameSample, index: int, image_crc32: int, dropped_before: int = 0) -> dict[str, Any]:
    """Return a frame's row of every column, as plain numbers and texts."""
    moving = MOVE if not sample.action.is_zero() else STAND
    return {
        "actions": tuple(sample.action if index else Twist()),
        "action_event_types": sample.event_type or (moving if index else START),
        "commanded": tuple(sample.action),
        "applied": tuple(sample.applied) if sample.applied is not None else (math.nan,) * 3,
        "source": int(sample.source),
        "mode": sample.mode.value,
        "goal_text": _cut(sample.goal_text, COLUMNS["goal_text"].text_bytes),
        "subgoal_text": _cut(sample.subgoal_text, COLUMNS["subgoal_text"].text_bytes),
        "goal_id": sample.goal_id,
        "frame_sequence": sample.frame_sequence,
        "exposure_s": sample.exposure_s,
        "receipt_s": sample.receipt_s,
        "decided_s": sample.decided_s,
        "commanded_s": sample.commanded_s,
        "applied_s": sample.applied_s,
        "odometry": _pose(sample.odometry),
        "seen_odometry": _pose(sample.seen_odometry),
        "policy_latency_s": math.nan if sample.policy_latency_s is None else sample.policy_latency_s,
        "weights_hash": _cut(sample.weights_hash, COLUMNS["weights_hash"].text_bytes),
        "frames_dropped_before": dropped_before,
        "image_crc32": image_crc32,
    }


def _pose(odometry: Odometry | None) -> tuple[float, ...]:
    return (odometry.x, odometry.y, odometry.yaw, *odometry.twist) if odometry is not None else (math.nan,) * 6


def _cut(text: str, size: int) -> str:
    """Cut to ``size`` bytes of UTF-8 without halving a letter."""
    return text.encode("utf-8", "replace")[:size].decode("utf-8", "ignore")


def safe_name(scenario: str) -> str:
    """Return the scenario fit for a file name: ASCII letters, digits, ``_`` and ``-``, at most 60."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", scenario).strip("-")[:60] or "free"


def episode_name(started: datetime, scenario: str) -> str:
    """Return ``episode_YYYYMMDD_HHMMSS_<scenario>``."""
    return f"episode_{started:%Y%m%d_%H%M%S}_{safe_name(scenario)}"
