"""What a run log holds: its topics, with a JSON schema for each, and the plain form of the values in it.

Promises: this is the only list; every message is a JSON object with ``t``, seconds since the run began; no message holds pixels.
Topics are written when they change and, all of them, every :data:`FULL_PERIOD_S`: such messages carry ``full``, so that a reader
can begin anywhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any

import numpy as np

from vla_bt.port import Scan
from vla_bt.words import Twist

FORMAT = 1
"""Version of what is described here."""

FULL_PERIOD_S = 10.0
HEARTBEAT_S = 1.0
"""The request is written this often at least, so that a log says how far it goes [s]."""

MAX_TEXT = 400
MAX_NUMBERS = 64
"""Larger arrays are named by their shape: they are pictures or scans."""

PORT_TIMES = frozenset({"received_s", "sampled_s", "started_s", "awaited_since_s", "frame_time_s", "told_s", "closed_s", "at_s"})
"""Fields that hold a port's time; in the log they count from the run's beginning."""

_NUMBER = {"type": "number"}
_TEXT = {"type": "string"}
_FLAG = {"type": "boolean"}
_TWIST = {"type": "object", "properties": {"x": _NUMBER, "y": _NUMBER, "z": _NUMBER}}
_ANY = {"type": "object"}


def _schema(**properties: Any) -> dict[str, Any]:
    head = {"t": {**_NUMBER, "description": "seconds since the run began"}, "tick": {"type": "integer"}, "full": _FLAG}
    return {"type": "object", "properties": {**head, **properties}}


def _rows(**properties: Any) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "object", "properties": properties}}


_TIMES: dict[str, Any] = {
    "type": "object",
    "properties": {
        "p50_ms": _NUMBER,
        "p99_ms": _NUMBER,
        "worst_ms": _NUMBER,
        "counts": {**_ANY, "description": "class k: how many took up to 1.25^k us"},
    },
}

SCHEMAS: Mapping[str, dict[str, Any]] = {
    "/run": _schema(
        format={"type": "integer"}, world=_TEXT, version=_TEXT, started=_TEXT, nodes=_rows(name=_TEXT, kind=_TEXT), settings=_ANY
    ),
    "/request": _schema(
        mode=_TEXT,
        source=_TEXT,
        leaf=_TEXT,
        words=_TEXT,
        proposed={**_TWIST, "description": "what the leaf asked for [m/s, m/s, rad/s]"},
        asked={**_TWIST, "description": "what was asked of the gate, after hand-over and blocked directions"},
        since={**_NUMBER, "description": "since when this leaf has driven, or has held the robot"},
        goal_id={"type": "integer"},
        frame={"type": "integer"},
        valid_for_s=_NUMBER,
        gap_s={**_NUMBER, "description": "time without a tick before this one"},
    ),
    "/gate": _schema(
        applied=_TWIST, source=_TEXT, latched=_FLAG, fault=_TEXT, words=_TEXT, acts=_TEXT, since=_NUMBER, standing_since=_NUMBER
    ),
    "/causes": _schema(active=_rows(name=_TEXT, words=_TEXT, details=_TEXT, effect=_TEXT, since=_NUMBER)),
    "/goal": _schema(id={"type": "integer"}, state=_TEXT, text=_TEXT, doing=_TEXT, reason=_TEXT),
    "/tree": _schema(changes=_rows(node={"type": "integer"}, name=_TEXT, status=_TEXT, message=_TEXT)),
    "/memory": _schema(state=_ANY),
    "/policy": _schema(status=_ANY),
    "/blackboard": _schema(writes=_ANY),
    "/diagnostics": _schema(rows=_rows(name=_TEXT, level={"type": "integer"}, message=_TEXT, values=_ANY)),
    "/timing": _schema(
        missed={"type": "integer", "description": "deadlines missed since the run began"},
        ticks={"type": "integer"},
        tick_time=_TIMES,
        lateness=_TIMES,
        leaves=_rows(name=_TEXT, visits={"type": "integer"}, **_TIMES["properties"]),
    ),
    # The schema that Foxglove's log panel knows.
    "/log": {
        "title": "foxglove.Log",
        "type": "object",
        "properties": {
            "timestamp": {"type": "object", "properties": {"sec": {"type": "integer"}, "nsec": {"type": "integer"}}},
            "level": {"type": "integer"},
            "message": _TEXT,
            "name": _TEXT,
            "t": _NUMBER,
        },
    },
    "/end": _schema(reason=_TEXT, ticks={"type": "integer"}, dropped={"type": "integer"}),
}
"""Topic -> JSON schema of its messages."""


class Level(IntEnum):
    """How grave a line of ``/log`` is; the numbers are Foxglove's."""

    DEBUG = 1
    INFO = 2
    WARNING = 3
    ERROR = 4
    FATAL = 5


def schema_name(topic: str) -> str:
    """Return the name of a topic's schema."""
    return str(SCHEMAS[topic].get("title", "vla_bt." + topic.lstrip("/")))


def encode(message: Mapping[str, Any]) -> bytes:
    """Encode a message whose values are :func:`plain`."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")


def xyz(twist: Twist) -> dict[str, float | None]:
    """Return a velocity as its three components [m/s, m/s, rad/s]."""
    return {"x": _rounded(twist.linear_x), "y": _rounded(twist.linear_y), "z": _rounded(twist.angular_z)}


def plain(value: Any, began_s: float = 0.0) -> Any:
    """Return what JSON can hold of a value: numbers rounded to 1e-4, long texts cut, large arrays named by their shape.

    Parameters
    ----------
    value : object
        A value of the blackboard: dataclasses, tuples, enumerations and plain values, at any depth.
    began_s : float
        Port time at which the run began [s]; taken off the fields in :data:`PORT_TIMES`.
    """
    if value is None or (isinstance(value, (bool, int)) and not isinstance(value, Enum)):
        return value
    if isinstance(value, float):
        return _rounded(value)
    if isinstance(value, Enum):
        return value.value if isinstance(value.value, str) else value.name.lower()
    if isinstance(value, str):
        return value[:MAX_TEXT]
    if isinstance(value, Twist):
        return xyz(value)
    if isinstance(value, Scan):
        return {"nearest": plain(float(np.min(value.ranges)) if value.ranges.size else math.inf)}
    if isinstance(value, np.ndarray):
        if value.size > MAX_NUMBERS:
            return f"{value.dtype} array {value.shape}"
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: _field(item.name, getattr(value, item.name), began_s) for item in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: _field(name, entry, began_s) for name, entry in zip(value._fields, value, strict=True)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry, began_s) for key, entry in list(value.items())[:MAX_NUMBERS]}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(entry, began_s) for entry in list(value)[:MAX_NUMBERS]]
    if isinstance(value, Path):
        return str(value)[:MAX_TEXT]
    return type(value).__name__


def _field(name: str, value: Any, began_s: float) -> Any:
    if name in PORT_TIMES and isinstance(value, float):
        return _rounded(value - began_s)
    return plain(value, began_s)


def _rounded(value: float) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None
