"""The eight scenes, by name, as plain numbers.

Promises: ``make_scene`` is a pure function of its arguments: the same arguments give the same scene, bit for bit. The told side
doesn't enter the draw, so ``1box_vert_left`` and ``1box_vert_right`` of one seed are the same world with another goal: only the
words tell where to pass. World frame: the robot starts near the origin and looks along +x; boxes and cup lie ahead.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, replace

import numpy as np

ROBOT_RADIUS_M = 0.2

DISTANCES = {"close": 1.35, "medium": 1.75, "far": 2.15}
"""Distance from the start to the (nearer) box [m]; the cup stands about 1.1 m behind the last box."""

POSITIONS = {"left": 0.35, "center": 0.0, "right": -0.35}
"""Lateral place of boxes and cup [m]."""

PATTERNS = ("core", "variant")
"""``variant`` turns the boxes and shifts boxes and cup apart, so that it takes another sequence of keys."""

HOUSE, WIDE, APART = "house", "wide", "apart"
SURFACES = (HOUSE, WIDE, APART)
"""What a room may be painted with. ``house``: 12 floors, 8 paints, 16 cardboards and 6 cups that look like one home; ``wide``:
any colours and irregular patterns, for practice; ``apart``: patterns kept apart from practice (``vla_bt/sim/surfaces.py``)."""

SCENE_NAMES = tuple(
    f"{count}_{pose}_{side}" for count in ("1box", "2box") for pose in ("vert", "hori") for side in ("left", "right")
)


@dataclass(frozen=True)
class Span:
    """A closed range that a number is drawn from, evenly."""

    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> float:
        """Draw one number; always consumes exactly one draw, so that ranges don't shift what follows."""
        return self.low + (self.high - self.low) * float(rng.random())


@dataclass(frozen=True)
class Variation:
    """How far a seed may push each property of the world. The defaults are the nominal conditions.

    ``yaw_rad`` and ``start_m`` apply to the robot's start pose, ``box_yaw_rad``, ``box_m`` to each box, ``cup_m`` to the cup's
    sideways place, ``box_scale`` to the sizes; pitch is downward positive, ``fov_deg`` is the vertical field of view,
    ``brightness`` scales all light, ``noise`` is the standard deviation of pixel noise in grey levels, ``blur`` that of a soft
    focus in thousandths of the frame's width.
    """

    yaw_rad: Span = Span(-0.08, 0.08)
    start_m: Span = Span(-0.06, 0.06)
    box_yaw_rad: Span = Span(-0.12, 0.12)
    box_m: Span = Span(-0.05, 0.05)
    box_scale: Span = Span(0.92, 1.08)
    cup_m: Span = Span(-0.15, 0.15)
    pitch_deg: Span = Span(10.0, 15.0)
    fov_deg: Span = Span(48.0, 52.0)
    brightness: Span = Span(0.88, 1.08)
    noise: Span = Span(0.0, 0.0)
    blur: Span = Span(0.0, 0.0)


NOMINAL = Variation()

HARD = Variation(
    yaw_rad=Span(-0.6, 0.6),
    cup_m=Span(-0.8, 0.8),
    pitch_deg=Span(-2.0, 20.0),
    fov_deg=Span(42.0, 60.0),
    brightness=Span(0.35, 1.1),
    noise=Span(0.0, 14.0),
    blur=Span(0.0, 9.0),
)
"""All stresses of the picture and of the place together."""


@dataclass(frozen=True)
class Pose:
    """Where the robot starts [m, m, rad]."""

    x: float
    y: float
    yaw: float


@dataclass(frozen=True)
class Box:
    """A cardboard box on the floor: centre and half sizes [m], turn about the vertical [rad]."""

    x: float
    y: float
    half_x: float
    half_y: float
    half_z: float
    yaw: float
    texture_seed: int


@dataclass(frozen=True)
class Cup:
    """The cup: place [m], where its handle points [rad], and its colour's index."""

    x: float
    y: float
    yaw: float
    colour: int


@dataclass(frozen=True)
class Room:
    """Inner faces of the walls [m]."""

    x_min: float
    x_max: float
    y_min: float
    y_max: float
    height: float


@dataclass(frozen=True)
class CameraMount:
    """The forward camera on the base: place in ``base_link`` [m], downward pitch [rad], vertical field of view [deg].

    ``noise`` and ``blur`` as in :class:`Variation`.
    """

    x: float
    z: float
    pitch: float
    fovy_deg: float
    noise: float
    blur: float = 0.0


@dataclass(frozen=True)
class Light:
    """``brightness`` scales all light, ``warmth`` is -1 (blue) to 1 (yellow), the key light comes from ``azimuth`` [rad]."""

    brightness: float
    warmth: float
    azimuth: float


@dataclass(frozen=True)
class Scene:
    """Everything a world needs to exist."""

    name: str
    distance: str
    position: str
    pattern: str
    seed: int
    side: str
    goal: str
    start: Pose
    boxes: tuple[Box, ...]
    cup: Cup
    room: Room
    camera: CameraMount
    light: Light
    floor_seed: int
    wall_seed: int
    surfaces: str = HOUSE


def _choose(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"unknown {what} '{value}'; known: {', '.join(known)}")


def make_scene(
    name: str,
    distance: str = "medium",
    position: str = "center",
    pattern: str = "core",
    seed: int = 0,
    variation: Variation = NOMINAL,
    surfaces: str = HOUSE,
) -> Scene:
    """Draw one scene.

    Parameters
    ----------
    name : str
        One of :data:`SCENE_NAMES`: boxes in the way, upright (``vert``) or lying across (``hori``), and the side told to pass.
    distance, position, pattern : str
        Keys of :data:`DISTANCES` and :data:`POSITIONS`, one of :data:`PATTERNS`.
    seed : int
        Any integer >= 0.
    variation : Variation
        How far the seed may push.
    surfaces : str
        One of :data:`SURFACES`: what floor, walls, boxes and cup may be painted with. It doesn't enter the draw of anything else.

    Raises
    ------
    ValueError
        With one line that lists the right words.
    """
    _choose("scene", name, SCENE_NAMES)
    _choose("distance", distance, tuple(DISTANCES))
    _choose("position", position, tuple(POSITIONS))
    _choose("pattern", pattern, PATTERNS)
    _choose("surfaces", surfaces, SURFACES)
    if seed < 0:
        raise ValueError(f"seed is {seed}; expected an integer >= 0")
    count, pose, side = name.split("_")
    key = zlib.crc32(f"{count} {pose} {distance} {position} {pattern}".encode())
    rng = np.random.default_rng([seed, key])
    variant = pattern == "variant"

    start = Pose(variation.start_m.draw(rng), variation.start_m.draw(rng), variation.yaw_rad.draw(rng))
    lateral = POSITIONS[position]
    places = [(DISTANCES[distance], lateral)]
    if count == "2box":
        stagger = (0.34 if variant else 0.16) * (1.0 if rng.random() < 0.5 else -1.0)
        places = [(DISTANCES[distance], lateral + stagger / 2), (DISTANCES[distance] + 0.85, lateral - stagger / 2)]
    boxes = tuple(_draw_box(rng, x, y, pose, variant, variation) for x, y in places)

    cup_shift = (0.5 if variant else 0.0) * (1.0 if rng.random() < 0.5 else -1.0)
    cup = Cup(
        x=places[-1][0] + 1.1 + 0.1 * (float(rng.random()) - 0.5),
        y=lateral + cup_shift + variation.cup_m.draw(rng),
        yaw=float(rng.uniform(-math.pi, math.pi)),
        colour=int(rng.integers(0, 1 << 16)),
    )
    room = Room(-1.4 - 0.4 * float(rng.random()), cup.x + 1.2 + 0.8 * float(rng.random()), -2.3, 2.3, 2.6)
    camera = CameraMount(
        x=0.0,
        z=0.42,
        pitch=math.radians(variation.pitch_deg.draw(rng)),
        fovy_deg=variation.fov_deg.draw(rng),
        noise=variation.noise.draw(rng),
    )
    light = Light(variation.brightness.draw(rng), float(rng.uniform(-1, 1)), float(rng.uniform(-math.pi, math.pi)))
    floor_seed, wall_seed = int(rng.integers(0, 1 << 16)), int(rng.integers(0, 1 << 16))
    camera = replace(camera, blur=variation.blur.draw(rng))
    article = "the boxes" if count == "2box" else "the box"
    return Scene(
        name=name,
        distance=distance,
        position=position,
        pattern=pattern,
        seed=seed,
        side=side,
        goal=f"go around {article} on the {side} to the cup",
        start=start,
        boxes=boxes,
        cup=cup,
        room=room,
        camera=camera,
        light=light,
        floor_seed=floor_seed,
        wall_seed=wall_seed,
        surfaces=surfaces,
    )


def _draw_box(rng: np.random.Generator, x: float, y: float, pose: str, variant: bool, variation: Variation) -> Box:
    """Draw one box standing upright or lying across the way."""
    depth, width, height = (0.17, 0.20, 0.31) if pose == "vert" else (0.17, 0.31, 0.19)
    turn = (0.45 if variant else 0.0) * (1.0 if rng.random() < 0.5 else -1.0)
    return Box(
        x=x + variation.box_m.draw(rng),
        y=y + variation.box_m.draw(rng),
        half_x=depth * variation.box_scale.draw(rng),
        half_y=width * variation.box_scale.draw(rng),
        half_z=height * variation.box_scale.draw(rng),
        yaw=turn + variation.box_yaw_rad.draw(rng),
        texture_seed=int(rng.integers(0, 1 << 16)),
    )
