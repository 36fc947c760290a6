"""The parts of a scenario and of a job, and how they are read: the same rules for a file and for a line of JSON.

Promises: what passes here can be built and judged; a mistake is one line that names where it stands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vla_bt.eval.marked import Marked
from vla_bt.sim.scenes import Variation

EXPECTATIONS = ("reached", "no_claim", "safe", "stands")
TARGETS = ("cup", "box")
GOAL_STATES = ("reached", "rejected", "preempted", "expired", "failed", "accepted", "active")
SIDES = ("left", "right")
MOST_BOXES = 6
MOST_HALF_M = 2.0
TIME_LIMIT_S, LATENCY_S = (1.0, 600.0), (0.0, 2.0)
CAMERA_PX = (16, 4096)
"""Least and most of a frame's width and height."""

RANGES: dict[str, tuple[float, float]] = {
    "yaw_rad": (-3.15, 3.15),
    "start_m": (-1.0, 1.0),
    "box_yaw_rad": (-3.15, 3.15),
    "box_m": (-1.0, 1.0),
    "box_scale": (0.2, 3.0),
    "cup_m": (-2.0, 2.0),
    "pitch_deg": (-45.0, 80.0),
    "fov_deg": (10.0, 120.0),
    "brightness": (0.0, 3.0),
    "noise": (0.0, 128.0),
    "blur": (0.0, 100.0),
}
"""What :class:`~vla_bt.sim.scenes.Variation` may be set to, in its units: beyond that no room can be drawn, or nothing seen."""

assert set(RANGES) == {item.name for item in dataclasses.fields(Variation)}

Range = tuple[str, float, float]
Extra = tuple[float, float, float, float, float, float]
"""A box more, relative to the first: x, y [m], half sizes x, y, z [m], turn [rad]."""


@dataclass(frozen=True)
class Counts:
    """What a run has to keep beside what it is expected to come to; -1 and empty ask for nothing.

    Attributes
    ----------
    side : bool
        Every box is passed on the told side.
    path_ratio : float
        Driven way over the expert's planned one, at most.
    time_s, stops, interventions, roughness : float
        At most; see :func:`vla_bt.eval.judge.judge`.
    obeyed : float
        Share of the time a person pressed keys in which the person drove, at least.
    way_m : float
        Way driven, at least [m]: who only stands fails.
    still_s : float
        So long from the beginning the robot stays where it is [s].
    goal_ends : tuple of str
        What became of the goals, in the order of telling.
    reasons : tuple of str
        Words in the reason given for each of them, in the same order; empty where any will do.
    motions : tuple of (x, y, turn)
        What each measured motion came to in truth, in the robot's own frame at its beginning [m, m, rad].
    """

    side: bool = True
    path_ratio: float = -1.0
    time_s: float = -1.0
    stops: float = -1.0
    interventions: float = -1.0
    roughness: float = -1.0
    obeyed: float = -1.0
    way_m: float = -1.0
    still_s: float = -1.0
    goal_ends: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    motions: tuple[tuple[float, ...], ...] = ()


NO_COUNTS = Counts()


def read_ranges(entry: Marked) -> tuple[Range, ...]:
    """Read what differs from the nominal variation: name -> [low, high]."""
    ranges = []
    for name, span in entry.items("ranges"):
        if name not in RANGES:
            raise span.error(f"ranges: unknown '{name}'; known: {', '.join(RANGES)}")
        ends = span.entries(f"ranges: {name}")
        if len(ends) != 2:
            raise span.error(f"ranges: {name} is {span.plain()!r}; expected 2 numbers")
        low, high = (end.number(f"ranges: {name}", *RANGES[name]) for end in ends)
        if low > high:
            raise span.error(f"ranges: {name} is [{low:g}, {high:g}]; expected [low, high]")
        ranges.append((name, low, high))
    return tuple(ranges)


def read_start(entry: Marked) -> tuple[float, ...]:
    """Read where the robot starts."""
    return entry.numbers("start (x, y, yaw)", 3, 10.0)


def read_boxes(entry: Marked) -> tuple[Extra, ...]:
    """Read the boxes beside the first."""
    boxes = []
    for box in entry.entries("boxes"):
        x, y, half_x, half_y, half_z, yaw = box.numbers("a box", 6, 10.0)
        if not all(0.02 <= half <= MOST_HALF_M for half in (half_x, half_y, half_z)):
            raise box.error(f"a box's half sizes (the third to fifth number) are 0.02 to {MOST_HALF_M:g} m")
        boxes.append((x, y, half_x, half_y, half_z, yaw))
    if len(boxes) > MOST_BOXES:
        raise entry.error(f"{len(boxes)} boxes more; at most {MOST_BOXES}")
    return tuple(boxes)


def read_targets(entry: Marked) -> tuple[str, ...]:
    """Read at which things a claim of arrival is true."""
    targets = read_words(entry, "targets", TARGETS)
    if not targets:
        raise entry.error(f"targets is empty; expected some of {', '.join(TARGETS)}")
    return targets


def read_words(entry: Marked, what: str, choices: Iterable[str] = ()) -> tuple[str, ...]:
    """Read a list of words, each given once."""
    words: list[str] = []
    for item in entry.entries(what):
        word = item.word(what, choices)
        if word in words:
            raise item.error(f"{what}: '{word}' is given twice")
        words.append(word)
    return tuple(words)


def read_counts(entry: Marked) -> Counts:
    """Read what has to hold beside what is expected."""
    values: dict[str, Any] = {}
    known = [item.name for item in dataclasses.fields(Counts)]
    for name, value in entry.items("counts"):
        what = f"counts: {name}"
        if name not in known:
            raise value.error(f"counts: unknown '{name}'; known: {', '.join(known)}")
        if name == "side":
            if not isinstance(value.value, bool):
                raise value.error(f"{what} is {value.plain()!r}; expected true or false")
            values[name] = value.value
        elif name == "goal_ends":
            values[name] = tuple(end.word(what, GOAL_STATES) for end in value.entries(what))
        elif name == "reasons":
            values[name] = tuple(reason.word(what) for reason in value.entries(what))
        elif name == "motions":
            values[name] = tuple(motion.numbers(what, 3, 100.0) for motion in value.entries(what))
        else:
            values[name] = value.number(what, 0.0, 1000.0)
    return Counts(**values)
