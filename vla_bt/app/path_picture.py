"""Top-down picture of a run: the path over the room, coloured by who drove."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from vla_bt.sim.world import SimWorld
from vla_bt.words import Source

COLOURS = {
    Source.IDLE: (120, 120, 120),
    Source.SAFETY: (220, 38, 38),
    Source.TELEOP: (37, 99, 235),
    Source.POLICY: (22, 163, 74),
    Source.TAKEOVER: (147, 51, 234),
    Source.MOTION: (202, 138, 4),
}
"""RGB for each source."""

JUMP_M = 0.3
"""Longer steps are a robot put back to the start: no line is drawn [m]."""


class PathPoint(NamedTuple):
    """Where the robot was in the world frame [m, m, rad], and who drove."""

    x: float
    y: float
    yaw: float
    source: Source


def draw_path(world: SimWorld, path: Sequence[PathPoint], goal_radius_m: float, file: Path) -> None:
    """Write a PNG of the room from above with the path, the start and the goal circle.

    Raises
    ------
    OSError
        When the file can't be written.
    """
    picture, to_pixel = world.render_overhead(1200, 840)
    canvas = np.ascontiguousarray(picture)

    def pixel(x: float, y: float) -> tuple[int, int]:
        column, row = to_pixel(x, y)
        return round(column), round(row)

    cup = world.truth()
    radius = round(goal_radius_m * to_pixel.pixels_per_m)
    cv2.circle(canvas, pixel(cup.cup_x, cup.cup_y), radius, (22, 163, 74), 2, cv2.LINE_AA)
    steps = [pair for pair in pairwise(path) if math.dist(pair[0][:2], pair[1][:2]) < JUMP_M]
    for before, after in steps:
        cv2.line(canvas, pixel(before.x, before.y), pixel(after.x, after.y), (255, 255, 255), 7, cv2.LINE_AA)
    for before, after in steps:
        cv2.line(canvas, pixel(before.x, before.y), pixel(after.x, after.y), COLOURS[after.source], 4, cv2.LINE_AA)
    if path:
        cv2.circle(canvas, pixel(path[0].x, path[0].y), 8, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(canvas, pixel(path[0].x, path[0].y), 8, (60, 60, 60), 2, cv2.LINE_AA)
    _legend(canvas, [source for source in COLOURS if any(point.source is source for point in path)])
    done, encoded = cv2.imencode(".png", cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR))
    if not done:
        raise OSError(f"can't encode {file}")
    file.write_bytes(encoded.tobytes())


def _legend(canvas: np.ndarray, sources: Sequence[Source]) -> None:
    column, bottom = 24, canvas.shape[0] - 40
    cv2.rectangle(canvas, (8, bottom - 26), (24 + 150 * max(1, len(sources)), bottom + 14), (30, 30, 30), -1)
    for source in sources:
        cv2.rectangle(canvas, (column, bottom - 12), (column + 22, bottom), COLOURS[source], -1)
        cv2.putText(
            canvas, source.name.lower(), (column + 30, bottom), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (235, 235, 235), 1, cv2.LINE_AA
        )
        column += 150
