"""Starts near the cup: the last metre decides whether the robot touches it, stands right, or stands too far off.

Promises: a start is free of boxes and walls, looks roughly at the cup, and needs no way around a box: no side need be told.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from vla_bt.sim.route import distance_to_box, plan_route
from vla_bt.sim.scenes import Pose, Scene
from vla_bt.sim.truth import BoxTruth

NEAR_M = (0.42, 1.3)
"""From the start to the cup's centre [m]."""
_TURN_RAD = 0.5
_SPREAD_RAD = 1.2
_AIR_M = 0.35
_DETOUR = 1.05
_ATTEMPTS = 30


def near_cup(scene: Scene, rng: np.random.Generator) -> Scene:
    """Return the scene with a start near its cup, or as it is where there is no place for one."""
    cup, room = (scene.cup.x, scene.cup.y), scene.room
    boxes = tuple(BoxTruth(box.x, box.y, box.half_x, box.half_y, box.yaw) for box in scene.boxes)
    walls = (room.x_min, room.x_max, room.y_min, room.y_max)
    back = math.atan2(scene.start.y - cup[1], scene.start.x - cup[0])
    for _ in range(_ATTEMPTS):
        away, angle = float(rng.uniform(*NEAR_M)), back + float(rng.uniform(-_SPREAD_RAD, _SPREAD_RAD))
        x, y = cup[0] + away * math.cos(angle), cup[1] + away * math.sin(angle)
        yaw = math.remainder(angle + math.pi + float(rng.uniform(-_TURN_RAD, _TURN_RAD)), 2 * math.pi)
        if not (walls[0] + _AIR_M < x < walls[1] - _AIR_M and walls[2] + _AIR_M < y < walls[3] - _AIR_M):
            continue
        if any(distance_to_box(box, x, y)[0] < _AIR_M for box in boxes):
            continue
        if all(_short((x, y), cup, away, boxes, walls, side) for side in (None, "left", "right")):
            return replace(scene, start=Pose(x, y, yaw))
    return scene


def _short(
    start: tuple[float, float],
    cup: tuple[float, float],
    away: float,
    boxes: tuple[BoxTruth, ...],
    walls: tuple[float, float, float, float],
    side: str | None,
) -> bool:
    way = plan_route(start, cup, boxes, walls, side, _AIR_M, _AIR_M)
    return way is not None and float(np.hypot(*np.diff(way, axis=0).T).sum()) < _DETOUR * away
