"""Episodes as MCAP: standard ROS 2 messages that Foxglove shows and ``ros2 bag play`` plays.

======================== =============================== ==================================================================
camera/image/compressed  sensor_msgs/CompressedImage     the frame as JPEG, stamped with its exposure
commanded, applied       geometry_msgs/TwistStamped      what was asked for and what the gate sent, in base_link
key_direction            geometry_msgs/Vector3Stamped    instead of both, where actions are key presses
action_of_unknown_unit   geometry_msgs/Vector3Stamped    instead of both, where nothing tells the unit
odom                     nav_msgs/Odometry               where the file has odometry
goal, mode, source       std_msgs/String                 when they change
event                    std_msgs/String                 action_event_types
======================== =============================== ==================================================================

Promises: the file is there whole or not at all; it names its messages' definitions itself (profile ``ros2``, encoding ``cdr``);
all attributes stand in the metadata record ``episode``. Times are UTC as far as the episode tells them. What was commanded at
frame 0 of a file of the original format nobody knows: there is no message then.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from mcap_ros2.writer import Writer

from vla_bt.episodes.export_messages import definition
from vla_bt.episodes.format import Episode
from vla_bt.episodes.pictures import source_of
from vla_bt.episodes.units import KEYS, SI
from vla_bt.episodes.view import shown_at
from vla_bt.episodes.writer import encode_jpeg

Message = tuple[str, str, dict[str, Any], float]
"""Topic, type, content, time of the log [s]."""


def export_mcap(episode: Episode, path: Path) -> Path:
    """Write one episode to one file; returns its path.

    Raises
    ------
    OSError
        When it can't be written.
    """
    with path.open("wb") as file, Writer(file) as writer:
        writer.add_metadata("episode", {name: str(value) for name, value in sorted(episode.attributes.items())})
        kinds: dict[str, Any] = {}
        counts: dict[str, int] = {}
        for topic, kind, content, time_s in sorted(_messages(episode), key=lambda message: message[3]):
            if kind not in kinds:
                package, name = kind.split("/")
                kinds[kind] = writer.register_msgdef(f"{package}/msg/{name}", definition(kind))
            counts[topic] = counts.get(topic, 0) + 1
            writer.write_message(f"/{topic}", kinds[kind], content, round(time_s * 1e9), sequence=counts[topic])
    return path


def started_s(episode: Episode) -> float:
    """Return when the first frame was decided on [UTC, s]: by the clocks in the file, its name, or 0 where neither tells."""
    zero, decided = episode.attributes.get("clock_zero_utc_s"), episode.columns.get("decided_s")
    if isinstance(zero, float) and decided is not None and len(decided) and 0 < zero + float(decided[0]) < 4e9:
        return zero + float(decided[0])
    found = re.search(r"(\d{8}_\d{6})", str(episode.attributes.get("episode_name", "")) + episode.path.stem)
    try:
        return datetime.strptime(found[1], "%Y%m%d_%H%M%S").replace(tzinfo=timezone.utc).timestamp() if found else 0.0
    except ValueError:
        return 0.0


def _messages(episode: Episode) -> Iterator[Message]:
    start, since = started_s(episode), shown_at(episode)
    columns = episode.columns
    last: dict[str, str] = {}
    for index in range(episode.frames):
        decided = start + since[index]

        def at(name: str, otherwise: float, index: int = index, decided: float = decided) -> float:
            """Return the time [UTC, s] that a column of the recorder's clock tells."""
            own, known = columns.get(name), columns.get("decided_s")
            offset = float(own[index] - known[index]) if own is not None and known is not None else math.nan
            return decided + offset if abs(offset) < 60 else otherwise

        exposure = columns.get("exposure_s")
        stamp = float(exposure[index]) if exposure is not None and 0 < exposure[index] < 4e9 else at("receipt_s", decided)
        image = {"header": _header(stamp, "camera"), "format": "jpeg", "data": encode_jpeg(episode.images[index])}
        yield "camera/image/compressed", "sensor_msgs/CompressedImage", image, at("receipt_s", decided)
        action = columns["actions"][index]
        known = index > 0 or ("commanded" in columns and bool(np.isfinite(columns["commanded"][0]).all()))
        if episode.action_unit != SI and known:
            yield (
                "key_direction" if episode.action_unit == KEYS else "action_of_unknown_unit",
                "geometry_msgs/Vector3Stamped",
                {"header": _header(decided, ""), "vector": _vector(action)},
                decided,
            )
        for name, moment in (("commanded", "commanded_s"), ("applied", "applied_s")) if episode.action_unit == SI else ():
            values = columns[name][index] if name in columns else action if name == "commanded" and known else None
            if values is not None and np.isfinite(values).all():
                time_s = at(moment, decided)
                yield (
                    name,
                    "geometry_msgs/TwistStamped",
                    {"header": _header(time_s, "base_link"), "twist": _twist(values)},
                    time_s,
                )
        odometry = columns.get("odometry")
        if odometry is not None and np.isfinite(odometry[index]).all():
            yield "odom", "nav_msgs/Odometry", _odometry(odometry[index], decided), decided
        texts = {"event": str(columns["action_event_types"][index])}
        texts |= {"goal": str(columns["goal_text"][index])} if "goal_text" in columns else {}
        texts |= {"mode": str(columns["mode"][index])} if "mode" in columns else {}
        texts |= {"source": source_of(episode, index).name.lower()} if "source" in columns else {}
        for topic, text in texts.items():
            if topic == "event" or last.get(topic) != text:
                last[topic] = text
                yield topic, "std_msgs/String", {"data": text}, decided


def _header(time_s: float, frame: str) -> dict[str, Any]:
    nanoseconds = round(time_s * 1e9)
    return {"stamp": {"sec": nanoseconds // 10**9, "nanosec": nanoseconds % 10**9}, "frame_id": frame}


def _vector(values: Any) -> dict[str, float]:
    return {name: float(value) for name, value in zip("xyz", values, strict=True)}


def _twist(values: Any) -> dict[str, Any]:
    return {"linear": _vector((values[0], values[1], 0.0)), "angular": _vector((0.0, 0.0, values[2]))}


def _odometry(values: Any, time_s: float) -> dict[str, Any]:
    x, y, yaw = (float(value) for value in values[:3])
    turned = {"x": 0.0, "y": 0.0, "z": math.sin(yaw / 2), "w": math.cos(yaw / 2)}
    return {
        "header": _header(time_s, "odom"),
        "child_frame_id": "base_link",
        "pose": {"pose": {"position": _vector((x, y, 0.0)), "orientation": turned}, "covariance": [0.0] * 36},
        "twist": {"twist": _twist(values[3:]), "covariance": [0.0] * 36},
    }
