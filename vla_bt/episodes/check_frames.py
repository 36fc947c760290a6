"""The checks that look at frames one by one: their pictures, times and actions beside each other."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vla_bt.episodes.colours import SUSPICIOUS, swapped_share
from vla_bt.episodes.schema import EVENT_TYPES, START, EpisodeInfo
from vla_bt.settings import TreeSettings
from vla_bt.words import Mode, Source

ERROR, WARNING, NOTE = "error", "warning", "note"

PERIOD_TOLERANCE = 0.2
"""Share of the period by which a frame may come early or late, beside the tick it has to wait for."""

_AUTONOMOUS = {Mode.VLA.value, Mode.HYBRID.value}
_MODES = {
    int(Source.TELEOP): {Mode.MANUAL.value},
    int(Source.TAKEOVER): {Mode.HYBRID.value},
    int(Source.POLICY): _AUTONOMOUS,
    int(Source.MOTION): _AUTONOMOUS,
}
"""Who drives in which modes; the others in all."""

MOST_SHARE = 0.95
LEAST_STANDS = 3


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes
    ----------
    code : str
        Of :data:`vla_bt.episodes.check.CODES`.
    severity : str
        ``error``, ``warning`` or ``note``.
    words : str
        One line, fit for a terminal.
    frames : tuple of int
        Which frames; empty for the whole file.
    """

    code: str
    severity: str
    words: str
    frames: tuple[int, ...] = ()


@dataclass(frozen=True)
class Frames:
    """What there is frame by frame; every column has a row for each picture."""

    images: NDArray[np.uint8]
    columns: dict[str, NDArray[Any]]
    attributes: dict[str, Any]
    jpeg: bool = False

    def __len__(self) -> int:
        return len(self.images)

    @property
    def moving(self) -> NDArray[np.bool_]:
        """Whether the robot was asked to move, shape (n,); by what was really commanded, if that is told."""
        asked = self.columns.get("commanded", self.columns["actions"])
        return np.asarray((np.abs(np.nan_to_num(asked.astype(float))) > 1e-3).any(axis=1))

    def number(self, name: str) -> float | None:
        """Return an attribute that is a finite number, else None."""
        value = self.attributes.get(name)
        good = isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(value))
        return float(value) if good and value is not None else None


Told = tuple[Any, ...]


def grid_of(period_s: float, tick_s: float | None) -> tuple[float, float]:
    """Return the time from frame to frame, and by how much it may differ [s].

    A frame is taken at the first tick after it is due: up to a tick late, and the next one as much early. No frame comes sooner
    than the next tick. Where a file doesn't tell the tick's period (0 or None) the shipped one is taken.
    """
    tick_s = tick_s or TreeSettings().tick_period_s
    return max(period_s, tick_s), PERIOD_TOLERANCE * period_s + tick_s


def _first_frame(frames: Frames) -> Iterator[Told]:
    actions, events = frames.columns["actions"], frames.columns.get("action_event_types")
    if "commanded" not in frames.columns and "schema_version" not in frames.attributes:
        yield "frame-0-zero", "what was commanded at frame 0 is unknown: this format says zero there; it is no label", (0,)
    if np.abs(np.nan_to_num(actions[0].astype(float))).max() > 0:
        yield "frame-0-leak", "frame 0 holds an action; the format's is zero", (0,)
    if events is None:
        return
    if events[0] != START:
        yield "frame-0-leak", f"frame 0 is {events[0]!r}, expected {START!r}", (0,)
    again = tuple(int(at) for at in np.flatnonzero(events[1:] == START) + 1)
    if again:
        yield "frame-0-leak", f"{START} comes again", again
    odd = tuple(at for at, event in enumerate(events) if event not in EVENT_TYPES)
    if odd:
        yield "attribute-value", f"action_event_types holds {events[odd[0]]!r}, expected {', '.join(EVENT_TYPES)}", odd


def _who(frames: Frames) -> Iterator[Told]:
    """Find drivers and modes that nobody knows."""
    for name, known in (("source", Source), ("mode", Mode)):
        choices = {each.value for each in known}
        column = frames.columns.get(name, np.array([]))
        odd = tuple(at for at, value in enumerate(column.tolist()) if value not in choices)
        if odd:
            yield "attribute-value", f"{name} holds {column[odd[0]]!s}, expected {', '.join(map(str, sorted(choices)))}", odd
    sources, modes = (frames.columns.get(name, np.array([])).tolist() for name in ("source", "mode"))
    strange = tuple(at for at, (who, mode) in enumerate(zip(sources, modes, strict=False)) if mode not in _MODES.get(who, {mode}))
    if strange:
        who, mode = Source(sources[strange[0]]).name.lower(), modes[strange[0]]
        if mode in {each.value for each in Mode}:
            yield "source-mode", f"source is {who} in mode {mode}", strange


def _times(frames: Frames) -> Iterator[Told]:
    received, decided = frames.columns.get("receipt_s"), frames.columns.get("decided_s")
    duration = frames.number("total_duration")
    period = frames.number("frame_period_s") or EpisodeInfo().frame_period_s
    expected_s, room_s = grid_of(period, frames.number("tick_period_s"))
    if decided is not None and received is not None and np.isfinite(received).any():
        late = tuple(int(at) for at in np.flatnonzero(received > decided))
        if late:
            most = float(np.nanmax(received - decided))
            yield "image-after-command", f"pictures arrived up to {most:.3g} s after the decision", late
    if decided is None or not np.isfinite(decided).all():
        mean = duration / len(frames) if duration else None  # the original programs count the last frame's time, too
        if mean is not None and abs(mean - period) > PERIOD_TOLERANCE * period:
            yield "period", f"frames are {mean:.3g} s apart on average, expected {period:.3g} s"
        return
    for name in ("receipt_s", "decided_s", "commanded_s", "applied_s", "exposure_s"):
        column = frames.columns.get(name)
        if column is None:
            continue
        back = np.flatnonzero(np.diff(column) <= 0 if name == "decided_s" else np.diff(column) < 0) + 1
        if len(back):
            yield "stamps", f"{name} runs backwards", tuple(map(int, back))
    span = float(decided[-1] - decided[0])
    if duration is not None and abs(span - duration) > 0.01:
        yield "stamps", f"total_duration is {duration:.3f} s, the decisions span {span:.3f} s"
    dropped = frames.columns.get("frames_dropped_before", np.zeros(len(frames)))
    late_s = np.diff(decided) - (1 + dropped[1:]) * expected_s
    off = np.flatnonzero(np.abs(late_s) > room_s) + 1
    if len(off):
        worst = float(np.diff(decided)[np.argmax(np.abs(late_s))])
        yield "period", f"a frame comes {worst:.3g} s after the one before, expected {period:.3g} s", tuple(map(int, off))


def _colours(frames: Frames) -> Iterator[Told]:
    share = swapped_share(frames.images)
    if share is not None and share >= SUSPICIOUS:
        yield (
            "channel-order-suspected",
            f"BGR stored as RGB suspected: {share:.0%} of what is coloured is blue where wood would be brown",
        )
    elif "colour_order" not in frames.attributes and (share is None or share > 1 - SUSPICIOUS):
        why = "too little is coloured" if share is None else f"{share:.0%} of what is coloured is cold"
        yield "channel-order-unknown", f"whether red and blue are swapped could not be told: {why}"


def _sameness(frames: Frames) -> Iterator[Told]:
    """Find blank pictures, pictures that changed, and pictures that are there twice."""
    spread = np.array([int(image.max()) - int(image.min()) for image in frames.images])
    blank = tuple(int(at) for at in np.flatnonzero(spread == 0))
    if blank:
        yield "blank-images", "pictures of one colour", blank
    sums = np.array([zlib.crc32(np.ascontiguousarray(image)) for image in frames.images])
    told = frames.columns.get("image_crc32")
    if told is not None and not frames.jpeg:
        changed = tuple(int(at) for at in np.flatnonzero(sums != told))
        if changed:
            yield "picture-changed", "pictures differ from image_crc32", changed
    first: dict[int, int] = {}
    moved: list[int] = []
    still: list[int] = []
    drive = np.concatenate([[0], np.cumsum(frames.moving)])
    sequence = frames.columns.get("frame_sequence")
    for at, number in enumerate(sums.tolist()):
        if at in blank:
            continue
        before = first.setdefault(number, at)
        if before != at:
            once = sequence is not None and sequence[before] == sequence[at] and sequence[at] > 0
            (moved if once or drive[at] - drive[before] > 0 else still).append(at)
    if moved:
        yield (
            "duplicate-frames",
            "the picture is one that was there before, though the robot was asked to move since",
            tuple(moved),
        )
    if still:
        yield "still-frames", "the picture is the one before; the robot stood", tuple(still)


def _causality(frames: Frames) -> Iterator[Told]:
    """Suspect pictures taken after the command.

    What a command changes shows between its picture and the next one. If instead the step *to* its picture shows it, the picture
    was taken after. It can be told only where moving and standing change often enough.
    """
    moving = frames.moving
    grey = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in frames.images)
    small = [cv2.resize(image, (64, 36), interpolation=cv2.INTER_AREA).astype(int) for image in grey]
    change = np.array([float(np.abs(after - before).mean()) for before, after in itertools.pairwise(small)])
    right, wrong = _told_apart(change, moving[:-1]), _told_apart(change, moving[1:])
    received = frames.columns.get("receipt_s")
    timed = received is not None and "decided_s" in frames.columns and bool(np.isfinite(received).any())
    if not timed and (right is None or wrong is None or max(right, wrong) < MOST_SHARE or abs(wrong - right) <= 0.25):
        yield (
            "image-after-command-unknown",
            "whether pictures came after their command could not be told: no times, and too little change",
        )
    if right is not None and wrong is not None and wrong >= MOST_SHARE and wrong - right > 0.25:
        yield (
            "image-after-command-suspected",
            "the pictures change with the action stored beside the later of two, not the earlier",
        )


def _told_apart(change: NDArray[np.float64], moving: NDArray[np.bool_]) -> float | None:
    """Return the share of (moving, standing) pairs in which the picture changes more when moving."""
    moved, stood = change[moving], change[~moving]
    if len(moved) < LEAST_STANDS or len(stood) < LEAST_STANDS:
        return None
    return float((moved[:, None] > stood[None, :]).mean())


CHECKS: tuple[Callable[[Frames], Iterator[Told]], ...] = (_first_frame, _who, _times, _colours, _sameness, _causality)
