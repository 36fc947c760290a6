"""One run of an evaluation, complete in itself.

Promises: a :class:`Job` says all that its ``result`` depends on besides the code and the policy's weights, survives JSON, and so
can be run again, or by another engine, from one line alone. What is not a job is refused with one line.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

from vla_bt.eval.marked import marked
from vla_bt.eval.parts import (
    CAMERA_PX,
    EXPECTATIONS,
    LATENCY_S,
    NO_COUNTS,
    SIDES,
    TIME_LIMIT_S,
    Counts,
    Extra,
    Range,
    read_boxes,
    read_counts,
    read_ranges,
    read_start,
    read_targets,
)
from vla_bt.eval.script import Event
from vla_bt.settings import SettingsError
from vla_bt.sim.scenes import (
    DISTANCES,
    HOUSE,
    NOMINAL,
    PATTERNS,
    POSITIONS,
    SCENE_NAMES,
    SURFACES,
    Box,
    Pose,
    Scene,
    Span,
    make_scene,
)

FIRST_TRAINING_SEED = 900_000
"""Scene seeds from here on are for training and validation (``vla_bt.train.settings``)."""

USUAL_LATENCY_S = 0.1


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes
    ----------
    scenario, cell : str
        Where it belongs in a report.
    policy : str
        A name that :func:`vla_bt.policy.factory.make_policy` knows, or ``untrained``.
    scene, distance, position, pattern, seed
        Arguments of :func:`vla_bt.sim.scenes.make_scene`.
    ranges : tuple of (name, low, high)
        What differs from the nominal variation.
    stresses : tuple of str
        Their names, for people: what they do is in ``ranges``, ``events`` and ``policy_latency_s``.
    start : tuple of (x, y, yaw) or empty
        Where the robot starts [m, m, rad], instead of where the seed says.
    boxes : tuple of Extra
        Boxes more than the scene has.
    cup : bool
        There is a cup.
    surfaces : str
        One of :data:`vla_bt.sim.scenes.SURFACES`.
    goal : str
        The sentence that counts: the last one told.
    side : str
        The side it tells, empty for none.
    events : tuple of Event
        Everything that is done and goes wrong, the goals included.
    expect : str
        One of :data:`EXPECTATIONS`.
    targets : tuple of str
        At which of :data:`TARGETS` a claim of arrival is true.
    counts : Counts
        What else has to hold.
    camera : tuple of (width, height) or empty
        Size of the camera's frames [px], which are reduced as on a robot; empty: they are rendered as the policy takes them.
    policy_latency_s : float
        From a frame to the policy's answer [s].
    time_limit_s : float
        Simulated time of the run, at most [s].
    """

    scenario: str
    cell: str
    policy: str
    scene: str
    distance: str
    position: str
    pattern: str
    seed: int
    goal: str
    events: tuple[Event, ...]
    ranges: tuple[Range, ...] = ()
    stresses: tuple[str, ...] = ()
    start: tuple[float, ...] = ()
    boxes: tuple[Extra, ...] = ()
    cup: bool = True
    surfaces: str = HOUSE
    side: str = ""
    expect: str = "reached"
    targets: tuple[str, ...] = ("cup",)
    counts: Counts = NO_COUNTS
    camera: tuple[int, ...] = ()
    policy_latency_s: float = USUAL_LATENCY_S
    time_limit_s: float = 45.0

    @property
    def id(self) -> str:
        """A short name: equal for equal jobs only."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as JSON would give them back; what is as usual is left out."""
        values: dict[str, Any] = {}
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if item.default is not dataclasses.MISSING and value == item.default:
                continue
            if item.name == "events":
                value = [event.to_dict() for event in value]
            elif item.name == "counts":
                value = {key: entry for key, entry in dataclasses.asdict(value).items() if entry != getattr(NO_COUNTS, key)}
            values[item.name] = _lists(value)
        return values

    def to_json(self) -> str:
        """Return one line that :meth:`from_json` reads."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Read a job.

        Raises
        ------
        SettingsError
            When it isn't one.
        """
        try:
            values = json.loads(text)
            if not isinstance(values, dict):
                raise TypeError("expected an object")
            values = {name: _tuples(value) for name, value in values.items() if name not in ("events", "counts")} | {
                "events": tuple(Event.from_dict(event) for event in values["events"]),
                "counts": read_counts(marked(values.get("counts", {}), "its counts")),
            }
            job = cls(**values)
            job._check()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise SettingsError(f"not a job: {' '.join(str(error).split())[:200]}") from None
        return job

    def _check(self) -> None:
        kinds: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "bool": bool, "float": (int, float)}
        for item in dataclasses.fields(self):
            value, kind = getattr(self, item.name), kinds.get(str(item.type), tuple)
            if item.name != "counts" and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
                raise ValueError(f"{item.name} is {value!r}; expected {item.type}")
        known = {"scene": SCENE_NAMES, "distance": tuple(DISTANCES), "position": tuple(POSITIONS), "pattern": PATTERNS}
        for name, words in (known | {"surfaces": SURFACES, "expect": EXPECTATIONS, "side": ("", *SIDES)}).items():
            if getattr(self, name) not in words:
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(filter(None, words))}")
        if not 0 <= self.seed < FIRST_TRAINING_SEED:
            raise ValueError(f"seed is {self.seed}; expected 0 to {FIRST_TRAINING_SEED - 1}: those above are for training")
        if not all(isinstance(stress, str) for stress in self.stresses):
            raise ValueError(f"stresses is {self.stresses!r}; expected words")
        check_camera(self.camera)
        for name, (low, high) in (("time_limit_s", TIME_LIMIT_S), ("policy_latency_s", LATENCY_S)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} is {getattr(self, name):g}; expected {low:g} to {high:g}")
        if not all(isinstance(entry, tuple) and len(entry) == 3 for entry in self.ranges):
            raise ValueError(f"ranges is {self.ranges!r}; expected (name, low, high) each")
        read_ranges(marked({name: span for name, *span in self.ranges}, "its ranges"))
        read_boxes(marked(self.boxes, "its boxes"))
        read_targets(marked(self.targets, "its targets"))
        if self.start:
            read_start(marked(self.start, "its start"))

    def make_scene(self) -> Scene:
        """Draw its scene; without a cup that stands behind the wall."""
        spans = {name: Span(low, high) for name, low, high in self.ranges}
        variation = dataclasses.replace(NOMINAL, **spans)
        scene = make_scene(self.scene, self.distance, self.position, self.pattern, self.seed, variation, self.surfaces)
        if self.start:
            scene = dataclasses.replace(scene, start=Pose(*self.start))
        if self.boxes:
            first = scene.boxes[0]
            more = tuple(
                Box(first.x + x, first.y + y, half_x, half_y, half_z, yaw, first.texture_seed + index)
                for index, (x, y, half_x, half_y, half_z, yaw) in enumerate(self.boxes, start=1)
            )
            scene = dataclasses.replace(scene, boxes=(*scene.boxes, *more))
        if not self.cup:
            scene = dataclasses.replace(scene, cup=dataclasses.replace(scene.cup, x=scene.room.x_max + 3.0))
        return scene

    @property
    def wall_limit_s(self) -> float:
        """What it may take on the wall clock [s]; a run that takes longer hangs, however busy the machine is."""
        return 120.0 + 20.0 * self.time_limit_s

    @property
    def last_event_s(self) -> float:
        """When the last event ends [s]; an endless one counts by its beginning."""
        return max((event.at_s + (0.0 if math.isinf(event.for_s) else event.for_s) for event in self.events), default=0.0)


def check_camera(camera: tuple[Any, ...]) -> None:
    """Refuse a size of frames that is neither empty nor width and height.

    Raises
    ------
    ValueError
        With one line.
    """
    low, high = CAMERA_PX
    whole = all(isinstance(side, int) and not isinstance(side, bool) and low <= side <= high for side in camera)
    if camera and not (len(camera) == 2 and whole):
        raise ValueError(f"camera is {camera!r}; expected width and height, {low} to {high} pixels each")


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists(entry) for key, entry in value.items()}
    return [_lists(entry) for entry in value] if isinstance(value, (tuple, list)) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list) else value
