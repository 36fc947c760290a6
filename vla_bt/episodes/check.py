"""The lint of episodes: what is wrong in a file, each with a code, a severity and the frames it concerns.

Promises: any file gets an answer, damaged and foreign ones too; files of the original format (``images``, ``actions``,
``action_event_types`` and five attributes) are judged by what they hold. What can only be guessed from pictures is called
*suspected* and is a warning. :data:`CODES` lists every code.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_bt.episodes import check_frames
from vla_bt.episodes.check_frames import ERROR, NOTE, WARNING, Finding
from vla_bt.episodes.check_together import Traits, check_together, traits_of
from vla_bt.episodes.format import as_told, columns_of
from vla_bt.episodes.opening import Content, EpisodeError, read
from vla_bt.episodes.printable import printable
from vla_bt.episodes.schema import (
    COLUMNS,
    DISTANCES,
    FRAMES,
    NEWER,
    ORIGINS,
    PATTERNS,
    POSITIONS,
    SCHEMA_VERSION,
    EpisodeInfo,
    is_changed,
    trusted,
)
from vla_bt.episodes.units import KEYS, SI, UNKNOWN, action_unit
from vla_bt.settings import GateSettings
from vla_bt.sim.scenes import SCENE_NAMES

CODES: dict[str, tuple[str, str]] = {
    "unreadable": (ERROR, "damaged, foreign, hostile or empty: nothing can be read"),
    "missing-dataset": (ERROR, "a dataset of the format is not there"),
    "wrong-shape": (ERROR, "a dataset has another shape or kind than the format's"),
    "frame-count": (ERROR, "num_frames and what is stored disagree"),
    "partial": (WARNING, "fewer than 18 frames, or not marked complete"),
    "missing-attribute": (ERROR, "an attribute of the format is not there"),
    "attribute-value": (ERROR, "an attribute holds what it can't"),
    "scenario-mismatch": (ERROR, "the attribute scenario and the file's name disagree"),
    "scenario-only-in-name": (WARNING, "no attribute scenario; the file's name tells one"),
    "not-finite": (ERROR, "NaN or infinite where there must be numbers"),
    "action-range": (ERROR, "an action beyond what its unit allows"),
    "above-limits": (WARNING, "a velocity above the gate's limits: those the file tells, else the shipped ones"),
    "actions-differ": (ERROR, "actions and commanded disagree after frame 0"),
    "content-changed": (ERROR, "the columns are others than those that were recorded (content_crc32)"),
    "newer-format": (WARNING, "schema_version is newer than this program: what came with it is not checked"),
    "unit-unknown": (WARNING, "nothing tells what unit the actions have"),
    "frame-0-zero": (WARNING, "original format: frame 0's action is zero whatever was commanded; it is no label"),
    "frame-0-leak": (ERROR, "frame 0 holds an action or is not the start, or the start comes again later"),
    "image-after-command": (ERROR, "the picture arrived after the command it should explain"),
    "image-after-command-suspected": (WARNING, "the pictures change with the action before them, not after"),
    "stamps": (ERROR, "times run backwards, or disagree with total_duration"),
    "period": (WARNING, "frames are not frame_period_s apart"),
    "channel-order": (ERROR, "an attribute says that the pictures are not RGB"),
    "channel-order-unknown": (NOTE, "nothing tells whether red and blue are swapped, the colours neither"),
    "image-after-command-unknown": (NOTE, "no times, and the pictures don't tell whether they came before their command"),
    "source-mode": (WARNING, "who drove can't have in that mode"),
    "channel-order-suspected": (WARNING, "the colours look as if red and blue were swapped"),
    "duplicate-frames": (ERROR, "one picture stands for several moments while the robot moves"),
    "still-frames": (NOTE, "equal pictures while the robot stands"),
    "blank-images": (ERROR, "a picture of one colour"),
    "picture-changed": (ERROR, "a picture differs from its checksum"),
    "frames-dropped": (NOTE, "the recorder lost frames between those here"),
    "duplicate-episode": (ERROR, "several files: a name or half of the pictures are another file's, too"),
    "link-missing": (WARNING, "several files: an episode of a demonstration isn't among them"),
    "link-wrong": (ERROR, "several files: two episodes of a demonstration contradict each other"),
    "link-gap": (WARNING, "several files: a demonstration goes on later than a period after its last frame"),
    "not-told": (NOTE, "what an imported file, or the file it came from, doesn't tell"),
    "unknown-name": (NOTE, "a name that the format does not have"),
}
"""Code -> severity and meaning."""

ORIGINAL_ATTRIBUTES = ("episode_name", "scenario", "action_chunk_size", "num_frames", "total_duration")
ORIGINAL_DATASETS = ("images", "actions", "action_event_types")
_STORAGE = ("images", "images_jpeg", "images_jpeg_ends")
_CHOICES = {"pattern": ("", *PATTERNS), "distance": ("", *DISTANCES), "position": ("", *POSITIONS), "origin": ORIGINS}
_JUDGED = ("num_frames", "scenario", "total_duration", "frame_period_s", *_CHOICES)
_NEVER_NAN = ("actions", "commanded")
_STAMPED = ("exposure_s", "receipt_s", "decided_s")  # by the recorder, always


@dataclass(frozen=True)
class Report:
    """What was found in one file, the worst first, and what tells it from others."""

    path: Path
    findings: tuple[Finding, ...]
    frames: int = 0
    traits: Traits | None = None

    @property
    def worst(self) -> str:
        """The highest severity; empty when nothing was found."""
        return next((level for level in (ERROR, WARNING, NOTE) if any(found.severity == level for found in self.findings)), "")


def check_file(path: Path) -> Report:
    """Check one file; never raises for what is in it."""
    try:
        content = read(path)
    except EpisodeError as error:
        words = str(error).removeprefix(f"{printable(path)}: ")
        return Report(path, (Finding("unreadable", ERROR, words),))
    found = list(_check(content))
    order = (ERROR, WARNING, NOTE)
    frames = len(content.images) if content.images is not None else 0
    return Report(path, tuple(sorted(found, key=lambda each: order.index(each.severity))), frames, traits_of(content))


def check_files(paths: Iterable[Path]) -> Iterator[Report]:
    """Check files one by one and yield each as it is done, then those again to which the others gave cause, with that alone."""
    traits = []
    for path in paths:
        report = check_file(path)
        if report.traits is not None:
            traits.append(report.traits)
        yield report
    found: dict[Path, list[Finding]] = {}
    for path, code, words in check_together(traits):
        found.setdefault(path, []).append(_found(code, words))
    for path, findings in sorted(found.items()):
        yield Report(path, tuple(findings))


def _check(content: Content) -> Iterator[Finding]:
    for check in (_datasets, _shapes, _count, _attributes, _scenario, _finite, _range, _content):
        yield from (_found(*each) for each in check(content))
    usable = _usable(content)
    if usable is not None:
        for look in check_frames.CHECKS:
            yield from (_found(*each) for each in look(usable))


def _found(code: str, words: str, frames: tuple[int, ...] = ()) -> Finding:
    return Finding(code, CODES[code][0], printable(words, 400), frames)


Told = tuple[Any, ...]


def _is_ours(content: Content) -> bool:
    return "schema_version" in content.attributes


def _is_imported(content: Content) -> bool:
    """Tell whether it came from a file of the original format, perhaps as a view of that."""
    return "imported_channel_order" in content.attributes


def _datasets(content: Content) -> Iterator[Told]:
    version = content.attributes.get("schema_version")
    newest = isinstance(version, int) and version >= 2  # older ones may lack what came later
    if isinstance(version, int) and version > SCHEMA_VERSION:
        yield "newer-format", f"schema_version is {version}; this program knows those up to {SCHEMA_VERSION}"
    wanted = ("images", *COLUMNS) if newest else ORIGINAL_DATASETS
    missing = [name for name in wanted if name not in content.parts]
    if missing:
        yield "missing-dataset", f"lacks {', '.join(missing)}"
    odd = [name for name in content.parts if name not in COLUMNS and name not in _STORAGE]
    if odd:
        yield "unknown-name", f"also holds {', '.join(map(repr, odd[:10]))}"
    if content.notes:
        yield "unknown-name", "; ".join(content.notes[:5])


def _shapes(content: Content) -> Iterator[Told]:
    frames = content.parts["images"].shape[0] if "images" in content.parts and content.parts["images"].shape else None
    for name, part in content.parts.items():
        if name not in COLUMNS and name not in _STORAGE:
            continue
        if part.why:
            yield "wrong-shape", f"{name} {part.why}"
            continue
        column = COLUMNS.get(name)
        if column is None:
            continue
        if (part.kind == "text") != bool(column.text_bytes):
            yield "wrong-shape", f"{name} holds {part.kind}, expected {'texts' if column.text_bytes else 'numbers'}"
        elif part.shape[1:] != column.shape or (frames is not None and part.shape[0] != frames):
            yield "wrong-shape", f"{name} has the shape {part.shape}, expected {(frames or FRAMES, *column.shape)}"
        elif name in content.columns and as_told(name, content.columns[name], part.shape[0]) is None:
            yield "wrong-shape", f"{name} holds numbers beyond those of {column.kind}"
    image, told = content.parts.get("images"), content.attributes
    if image is not None and not image.why and "image_height" in told and "image_width" in told:
        size = (told["image_height"], told["image_width"])
        if size != image.shape[1:3]:
            yield "wrong-shape", f"images are {image.shape[2]} x {image.shape[1]}; the attributes say {size[1]} x {size[0]}"


def _count(content: Content) -> Iterator[Told]:
    part, told = content.parts.get("images"), content.attributes
    stored = part.shape[0] if part is not None and part.shape else 0
    count = told.get("num_frames", stored)
    if isinstance(count, bool) or not isinstance(count, int) or count != stored:
        yield "frame-count", f"num_frames is {count!r}, {stored} frames are stored"
    if stored > FRAMES:
        yield "frame-count", f"{stored} frames are stored; an episode has {FRAMES}"
    if stored < FRAMES:
        yield "partial", f"{stored} of {FRAMES} frames"
    elif told.get("complete", True) is not True:
        yield "partial", "not marked complete"


def _attributes(content: Content) -> Iterator[Told]:
    told = content.attributes
    wanted: tuple[str, ...] = ORIGINAL_ATTRIBUTES
    if _is_ours(content):
        wanted = tuple(dict.fromkeys((*wanted, "complete", "colour_order", "units", *EpisodeInfo().attributes(), *NEWER)))
        if told["schema_version"] == 2 or told["schema_version"] == 1:
            wanted = tuple(name for name in wanted if name not in NEWER)
    missing = [name for name in wanted if name not in told and name != "scenario"]
    if missing:
        yield "missing-attribute", f"lacks {', '.join(missing)}"
    for name, choices in _CHOICES.items():
        if name in told and told[name] not in choices:
            yield "attribute-value", f"{name} is {told[name]!r}, expected {', '.join(filter(None, choices))}"
    for name in ("total_duration", "frame_period_s"):
        value = told.get(name, 1.0)
        if _is_imported(content) and isinstance(value, float) and math.isnan(value):
            yield "not-told", f"{name} is unknown"
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
            yield "attribute-value", f"{name} is {value!r}, expected seconds"
    fine = trusted(told)
    odd = [name for name in told if name not in fine and name not in _JUDGED and not isinstance(told[name], float)]
    if odd:
        yield "attribute-value", f"{odd[0]} is {told[odd[0]]!r}" + (f"; {', '.join(odd[1:])} can't be, either" if odd[1:] else "")
    if "colour_order" in told and told["colour_order"] != "RGB":
        yield "channel-order", f"colour_order is {told['colour_order']!r}; an episode's pictures are RGB"
    if _is_imported(content) and told.get("started") == "":
        yield "not-told", "when it was recorded is unknown"
    elif isinstance(told.get("started"), str) and not _is_time(told["started"]):
        yield "attribute-value", f"started is {told['started']!r}, expected a date and time as in ISO 8601"
    dropped = told.get("frames_dropped", 0)
    if dropped:
        yield "frames-dropped", f"{dropped} frames were lost while it was recorded"


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def scenario_in_name(name: str) -> str:
    """Return the scenario that a file's name tells, such as ``1box_vert_left``; empty for none."""
    return next((scenario for scenario in SCENE_NAMES if scenario in name), "")


def _scenario(content: Content) -> Iterator[Told]:
    told, name = content.attributes.get("scenario", ""), content.path.name
    in_name = scenario_in_name(name)
    if not told:
        if in_name:
            yield "scenario-only-in-name", f"no attribute scenario; the name says {in_name}"
        else:
            yield "missing-attribute", "lacks scenario"
    elif in_name and in_name not in str(told):
        yield "scenario-mismatch", f"scenario is {told!r}, the file's name says {in_name}"
    known = content.attributes.get("episode_name", "")
    in_attribute = scenario_in_name(str(known))
    if in_attribute and in_name and in_attribute != in_name:
        yield "scenario-mismatch", f"episode_name says {in_attribute}, the file's name {in_name}"


def _finite(content: Content) -> Iterator[Told]:
    stamped = _STAMPED if content.attributes.get("origin") in ("recorded", "simulated") else ()
    for name in COLUMNS:
        column = content.columns.get(name)
        if column is None or column.dtype.kind != "f":
            continue
        bad = ~np.isfinite(column) if name in (*_NEVER_NAN, *stamped) else np.isinf(column)
        if name == "commanded" and _is_imported(content) and len(column) and np.isnan(column[0]).any():
            bad[:1] = np.isinf(column[:1])
            yield "not-told", "what was commanded at frame 0 is unknown: the original says zero there, whatever it was", (0,)
        rows = _rows(bad)
        if rows:
            yield "not-finite", f"{name} is not finite", rows


def _rows(bad: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(row) for row in np.flatnonzero(bad.any(axis=tuple(range(1, bad.ndim))) if bad.ndim > 1 else bad))


HIGHEST_SI = (3.0, 3.0, 6.0)  # m/s, m/s, rad/s: beyond any limit the gate can be set to
KEY_VALUES = (0.0, 1.15)


def _range(content: Content) -> Iterator[Told]:
    actions = content.columns.get("actions")
    if actions is None or actions.ndim != 2 or actions.shape[1] != 3 or actions.dtype.kind not in "fiu":
        return
    unit, numbers = action_unit(content), np.abs(np.nan_to_num(actions.astype(float), nan=0.0, posinf=0.0, neginf=0.0))
    if unit == UNKNOWN:
        keys = np.isclose(numbers[..., None], KEY_VALUES, atol=0.01).any(axis=-1).all() and bool((numbers > 0.5).any())
        guess = "; they look like key presses (0 and 1.15), not like m/s" if keys else ""
        yield "unit-unknown", f"nothing tells the actions' unit{guess}"
    if unit == KEYS:
        bad = ~np.isclose(numbers[..., None], KEY_VALUES, atol=0.01).any(axis=-1)
        if bad.any():
            yield "action-range", "a key press is 0 or +-1.15 in each direction", _rows(bad)
        return
    bad = numbers > np.array(HIGHEST_SI)
    if bad.any():
        what = "in m/s and rad/s" if unit == SI else "in any unit known here"
        yield "action-range", f"actions up to {numbers.max():.3g} {what}", _rows(bad)


def _content(content: Content) -> Iterator[Told]:
    """Compare the columns with each other and with their checksum, and velocities with the gate's limits."""
    try:
        columns, _ = columns_of(content)
    except EpisodeError:
        return  # said already
    if is_changed(content.attributes, columns):
        yield "content-changed", "the columns differ from content_crc32: they were changed after they were recorded"
    actions, commanded = columns["actions"], columns.get("commanded")
    if commanded is not None and _is_ours(content):
        off = _rows(~np.isclose(actions, commanded, atol=1e-6, equal_nan=True) & np.isfinite(actions) & np.isfinite(commanded))
        off = tuple(row for row in off if row)
        if off:
            yield "actions-differ", "actions and commanded disagree", off
    if action_unit(content) != SI:
        return
    limits, whose = _limits(content.attributes)
    if limits is None:
        yield "attribute-value", f"velocity_limits is {whose!r}, expected three speeds such as '0.6 0.4 1.2'"
        return
    for name in ("actions" if commanded is None else "commanded", "applied"):
        if name in columns:
            size = np.abs(np.nan_to_num(columns[name].astype(float), posinf=0.0, neginf=0.0))
            off = _rows(size > limits + 1e-3)
            if off:
                words = ", ".join(f"{limit:g}" for limit in limits)
                worst = ", ".join(f"{each:.3g}" for each in size.max(axis=0))
                yield "above-limits", f"{name} reach {worst}; {whose} are {words} [m/s, m/s, rad/s]", off


def _limits(told: Mapping[str, Any]) -> tuple[NDArray[np.float64] | None, str]:
    """Return a gate's limits and whose they are; None and what it says where the file tells none that can be."""
    text = told.get("velocity_limits") or ""
    if not text:
        gate = GateSettings()
        return np.array([gate.max_linear_x, gate.max_linear_y, gate.max_angular_z]), "the shipped gate's limits"
    try:
        limits = np.array([float(word) for word in str(text).split()])
    except ValueError:
        return None, str(text)
    good = limits.shape == (3,) and np.isfinite(limits).all() and (limits >= 0).all()
    return (limits, "the limits it was recorded under") if good else (None, str(text))


def _usable(content: Content) -> check_frames.Frames | None:
    """Return what the checks frame by frame need, None when the file lacks it."""
    images, actions = content.images, content.columns.get("actions")
    if images is None or not len(images) or actions is None or actions.shape != (len(images), 3):
        return None
    columns = {
        name: column
        for name, column in content.columns.items()
        if name in COLUMNS
        and column.shape == (len(images), *COLUMNS[name].shape)
        and (column.dtype == object) == bool(COLUMNS[name].text_bytes)
    }
    return check_frames.Frames(images, columns, content.attributes, jpeg="jpeg" in content.parts["images"].packed)
