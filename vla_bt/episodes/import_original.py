"""Files of the original program, made episodes of this one: nothing is guessed silently, and what is not known stays unknown.

What the original files tell is kept: pictures, actions, event types, name, scenario, duration. Their actions are directions of a
key press, 0 or +-1.15, and no velocities: they stay that and are marked so (:mod:`vla_bt.episodes.units`). Times, odometry, goals
and what was commanded at frame 0, which the original overwrote with zero, are unknown: NaN or empty.

Promises: the source is only read; the result is there whole or not at all; it names its source and the source's SHA-256.
"""

from __future__ import annotations

import math
import re
import zlib
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_bt.episodes.check import KEY_VALUES, scenario_in_name
from vla_bt.episodes.colours import swapped_share
from vla_bt.episodes.format import Episode, load
from vla_bt.episodes.printable import printable
from vla_bt.episodes.recipes import digest_of
from vla_bt.episodes.schema import (
    COLUMNS,
    DISTANCES,
    EVENT_TYPES,
    FRAMES,
    MOVE,
    PATTERNS,
    STAND,
    START,
    EpisodeError,
    EpisodeInfo,
    file_attributes,
    safe_name,
)
from vla_bt.episodes.units import KEYS, UNKNOWN
from vla_bt.episodes.writer import in_memory, lay_out, publish, stored_crc32, unused
from vla_bt.words import Mode, Source

RGB, BGR = "rgb", "bgr"
CERTAIN = 0.1
"""How near to none or all the share of cold colours must be for the order of channels to be taken from it."""


@dataclass(frozen=True)
class Imported:
    """What became of one file.

    Attributes
    ----------
    path : Path
        The new episode.
    channel_order : str
        ``rgb`` or ``bgr``: what the source held.
    by : str
        Who said so: ``told``, ``attribute`` or ``colours``.
    unit : str
        Of the actions.
    notes : tuple of str
        What was missing or odd, for people.
    """

    path: Path
    channel_order: str
    by: str
    unit: str
    notes: tuple[str, ...]


def import_original(path: Path, out: Path, channel_order: str = "") -> Imported:
    """Make one file an episode of this program.

    Parameters
    ----------
    path : Path
        The original.
    out : Path
        Folder of the new file.
    channel_order : str
        ``rgb`` or ``bgr`` where the user knows; empty to find out.

    Raises
    ------
    EpisodeError
        When the file is no original episode, or its channel order can't be told.
    OSError
        When the new file can't be written.
    """
    source = load(path)
    shown = printable(path)
    if "schema_version" in source.attributes:
        raise EpisodeError(f"{shown}: is an episode of this program already")
    if not 1 <= source.frames <= FRAMES:
        raise EpisodeError(f"{shown}: holds {source.frames} frames; an episode has {FRAMES}")
    actions = source.columns["actions"]
    if actions.dtype.kind not in "fiu" or not np.isfinite(actions).all():
        raise EpisodeError(f"{shown}: actions are not all finite numbers")
    if source.columns["action_event_types"].dtype != object or len(source.columns["action_event_types"]) != source.frames:
        raise EpisodeError(f"{shown}: action_event_types is not one text for each frame")
    order, by = _channel_order(source, channel_order, shown)
    images = source.images[..., ::-1] if order == BGR else source.images
    info, notes = _info(source, path)
    unit = _unit(source)
    if unit == UNKNOWN:
        notes.append("the actions' unit is unknown")
    strange = [event for event in source.columns["action_event_types"] if event not in EVENT_TYPES]
    if strange:
        such = ", ".join(f"'{printable(event, 40)}'" for event in dict.fromkeys(strange[:3]))
        notes.append(f"{len(strange)} event types are none of the format's ({such}): told anew from frame and action")
    name = safe_name(path.stem)
    target = out / f"{name}.h5"
    if target.exists() or target.is_symlink():
        raise EpisodeError(f"{shown}: {printable(target)} is there already")
    attributes = _attributes(source, info, name, f"{order}, {by}")
    out.mkdir(parents=True, exist_ok=True)
    making = unused(target).with_suffix("")
    try:
        with in_memory(making) as file:
            data = lay_out(file, source.frames, attributes, unit)
            assert data is not None
            for index, image in enumerate(images):
                data[index] = image
            for column, values in _columns(source, images).items():
                file[column][:] = values
            file.attrs["content_crc32"] = stored_crc32(file)
        publish(making, target)
    finally:
        making.unlink(missing_ok=True)
    return Imported(target, order, by, unit, tuple(notes))


def _channel_order(source: Episode, wanted: str, shown: str) -> tuple[str, str]:
    told = str(source.attributes.get("colour_order", source.attributes.get("color_order", ""))).lower()
    if wanted:
        return wanted, "told"
    if told in (RGB, BGR):
        return told, "attribute"
    share = swapped_share(source.images)
    if share is not None and share <= CERTAIN:
        return RGB, "colours"
    if share is not None and share >= 1 - CERTAIN:
        return BGR, "colours"
    raise EpisodeError(
        f"{shown}: neither an attribute nor the colours tell whether it is RGB or BGR; say --channel-order rgb or bgr"
    )


def _unit(source: Episode) -> str:
    """Return the actions' unit: as their dataset tells it, or by the numbers that key presses have."""
    if source.action_unit != UNKNOWN:
        return source.action_unit
    numbers = np.abs(source.columns["actions"].astype(float))
    keys = bool(np.isclose(numbers[..., None], KEY_VALUES, atol=0.01).any(axis=-1).all() and (numbers > 0.5).any())
    return KEYS if keys else UNKNOWN


def _info(source: Episode, path: Path) -> tuple[EpisodeInfo, list[str]]:
    told, notes = source.attributes, []
    in_name, scenario = scenario_in_name(path.name), str(told.get("scenario", "") or "")
    if not scenario:
        scenario = in_name or "unknown"
        notes.append(f"no attribute scenario; {'its name says ' + in_name if in_name else 'it is unknown'}")
    elif in_name and in_name not in scenario:
        notes.append(f"scenario is {printable(scenario)!r} though its name says {in_name}")
    # later originals carry these words, under names that changed
    words = {str(value) for name, value in told.items() if isinstance(value, str) and name not in ("scenario", "episode_name")}
    words |= set(re.split(r"[^a-z]+", path.stem))
    pattern = next((word for word in PATTERNS if word in words), "")
    distance = next((word for word in DISTANCES if word in words), "")
    duration = _duration(source)
    period = EpisodeInfo().frame_period_s
    if math.isfinite(duration):
        period = round(duration / source.frames, 6)
    else:
        notes.append(f"no duration; {period:g} s a frame are assumed")
    info = EpisodeInfo(
        scenario=printable(scenario, 100),
        frame_period_s=period,
        pattern=pattern,
        distance=distance,
        origin="imported",
        source_episode=printable(path.stem, 200),
        source_sha256=digest_of(path),
    )
    return info, notes


def _duration(source: Episode) -> float:
    """Return what the file says [s], NaN when it says nothing that can be."""
    told = source.attributes.get("total_duration")
    fits = isinstance(told, (int, float)) and not isinstance(told, bool) and 0 < told < 1e5
    return float(told) if fits and told is not None else math.nan


def _attributes(source: Episode, info: EpisodeInfo, name: str, order: str) -> dict[str, Any]:
    height, width = source.images.shape[1:3]
    found = re.search(r"(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)", source.path.stem)
    started = "-".join(found.groups()[:3]) + "T" + ":".join(found.groups()[3:]) if found else ""
    duration = _duration(source)
    whole = source.frames == FRAMES
    return {
        **file_attributes(info, name, datetime(1970, 1, 1, tzinfo=timezone.utc), height, width),
        "started": started,  # in the local time of whoever recorded it
        "num_frames": source.frames,
        "total_duration": duration,
        "complete": whole,
        "units": "each dataset tells its own; see the attribute units of actions",
        "imported_channel_order": order,
        "imported_from": info.source_episode,
        "imported_sha256": info.source_sha256,
    }


def _columns(source: Episode, images: NDArray[np.uint8]) -> dict[str, Any]:
    count = source.frames
    actions = source.columns["actions"].astype(np.float32)
    commanded = actions.copy()
    commanded[0] = np.nan  # the original says zero there, whatever it was
    moving = np.abs(actions).max(axis=1) > 0
    events = [
        event if event in EVENT_TYPES else START if at == 0 else MOVE if moving[at] else STAND
        for at, event in enumerate(source.columns["action_event_types"])
    ]
    unknown = {name: np.full((count, *column.shape), np.nan) for name, column in COLUMNS.items() if column.kind in ("f4", "f8")}
    return {
        **unknown,
        "actions": actions,
        "action_event_types": np.array([event.encode() for event in events], COLUMNS["action_event_types"].dtype),
        "commanded": commanded,
        "source": np.full(count, int(Source.TELEOP)),
        "mode": np.array([Mode.MANUAL.value.encode()] * count, COLUMNS["mode"].dtype),
        "image_crc32": np.array([zlib.crc32(np.ascontiguousarray(image)) for image in images], np.uint32),
    }
