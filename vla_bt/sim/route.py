"""The shortest way around boxes, on a side.

Promises: a pure function; the way keeps its clearance from every box, except where its ends already stand closer: there it keeps
what they have. A told side is a matter of topology, not of cost: each box gets a barrier to the other side, and no way crosses
it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vla_bt.sim.truth import BoxTruth

Points = NDArray[np.float64]
_TOLERANCE_M = 1e-6
_FAR_M = 50.0


def distance_to_box(box: BoxTruth, x: float, y: float) -> tuple[float, float, float]:
    """Return the distance from a point to a box's outside [m] (0 within) and the unit vector (x, y) from the box to the point."""
    cos, sin = math.cos(box.yaw), math.sin(box.yaw)
    across, up = cos * (x - box.x) + sin * (y - box.y), cos * (y - box.y) - sin * (x - box.x)
    gap_x = across - min(max(across, -box.half_x), box.half_x)
    gap_y = up - min(max(up, -box.half_y), box.half_y)
    distance = math.hypot(gap_x, gap_y)
    if distance == 0.0:
        gap_x, gap_y = across, up
    length = math.hypot(gap_x, gap_y) or 1.0
    return distance, (cos * gap_x - sin * gap_y) / length, (sin * gap_x + cos * gap_y) / length


def inflated(box: BoxTruth, clearance: float) -> Points:
    """Return the octagon around a box whose edges touch its outline grown by ``clearance``: shape (8, 2), anticlockwise."""
    short = clearance * math.tan(math.pi / 8)
    a, b, c, d = box.half_x + clearance, box.half_y + short, box.half_x + short, box.half_y + clearance
    local = np.array([(a, -b), (a, b), (c, d), (-c, d), (-a, b), (-a, -b), (-c, -d), (c, -d)])
    cos, sin = math.cos(box.yaw), math.sin(box.yaw)
    return np.asarray(local @ np.array([(cos, sin), (-sin, cos)]) + (box.x, box.y))


def _enters(start: Points, end: Points, polygon: Points) -> NDArray[np.bool_]:
    """Tell which segments (arrays of shape (n, 2)) enter the inside of a convex, anticlockwise polygon."""
    edge = np.roll(polygon, -1, axis=0) - polygon
    normal = np.stack([edge[:, 1], -edge[:, 0]], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    depth = (normal * polygon).sum(axis=1) - _TOLERANCE_M
    room = depth[None, :] - start @ normal.T  # > 0: the start is on the inner side of that edge
    speed = (end - start) @ normal.T
    with np.errstate(divide="ignore", invalid="ignore"):
        when = room / speed
    first = np.where(speed < 0, when, np.where((speed == 0) & (room <= 0), np.inf, -np.inf)).max(axis=1)
    last = np.where(speed > 0, when, np.inf).min(axis=1)
    return np.asarray(np.maximum(first, 0.0) < np.minimum(last, 1.0))


def _crosses(start: Points, end: Points, a: Points, b: Points) -> NDArray[np.bool_]:
    """Tell which segments cross the segment from a to b."""

    def side(p: Points, q: Points, r: Points) -> Points:
        return np.asarray((q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1]) - (q[..., 1] - p[..., 1]) * (r[..., 0] - p[..., 0]))

    return np.asarray((side(a, b, start) * side(a, b, end) < 0) & (side(start, end, a) * side(start, end, b) < 0))


def barriers(boxes: tuple[BoxTruth, ...], goal: tuple[float, float], side: str) -> list[tuple[Points, Points]]:
    """Return for each box a segment that a way passing on ``side`` ("left" or "right") can't cross.

    Left and right are as seen when looking from the middle of the boxes towards the goal.
    """
    middle_x, middle_y = (sum(getattr(box, axis) for box in boxes) / len(boxes) for axis in ("x", "y"))
    towards = np.array([goal[0] - middle_x, goal[1] - middle_y])
    towards /= np.linalg.norm(towards) or 1.0
    left = np.array([-towards[1], towards[0]])
    away = -left if side == "left" else left
    return [(np.array([box.x, box.y]), np.array([box.x, box.y]) + _FAR_M * away) for box in boxes]


def plan_route(
    start: tuple[float, float],
    goal: tuple[float, float],
    boxes: tuple[BoxTruth, ...],
    room: tuple[float, float, float, float],
    side: str | None,
    clearance: float,
    wall_clearance: float,
) -> Points | None:
    """Plan the shortest way.

    Parameters
    ----------
    start, goal : (float, float)
        World coordinates [m].
    boxes : tuple of BoxTruth
        What to keep away from.
    room : (x_min, x_max, y_min, y_max)
        Walls [m].
    side : "left", "right" or None
        On which side to pass all boxes; None for the shorter way.
    clearance, wall_clearance : float
        Distance to keep from boxes and walls [m].

    Returns
    -------
    ndarray, shape (n, 2), or None
        Points from start to goal; None when there is no such way.
    """
    polygons = []
    for box in boxes:
        nearest = min(distance_to_box(box, *start)[0], distance_to_box(box, *goal)[0])
        # the octagon's corners stick out by 1 / cos(22.5 deg) beyond the clearance
        polygons.append(inflated(box, max(0.01, min(clearance, (nearest - 0.005) * math.cos(math.pi / 8)))))
    corners = np.concatenate([np.array([start, goal]), *polygons])
    x_min, x_max, y_min, y_max = room
    inside = (corners[:, 0] > x_min + wall_clearance) & (corners[:, 0] < x_max - wall_clearance)
    inside &= (corners[:, 1] > y_min + wall_clearance) & (corners[:, 1] < y_max - wall_clearance)
    inside[:2] = True
    nodes = corners[inside]
    count = len(nodes)
    first, second = np.triu_indices(count, 1)
    blocked = np.zeros(len(first), bool)
    for polygon in polygons:
        blocked |= _enters(nodes[first], nodes[second], polygon)
    if side is not None and boxes:
        for a, b in barriers(boxes, goal, side):
            blocked |= _crosses(nodes[first], nodes[second], a, b)
    cost = np.full((count, count), np.inf)
    lengths = np.linalg.norm(nodes[first] - nodes[second], axis=1)
    cost[first, second] = cost[second, first] = np.where(blocked, np.inf, lengths)
    return _shortest(cost, nodes)


def _shortest(cost: Points, nodes: Points) -> Points | None:
    """Dijkstra's algorithm from node 0 to node 1 on a full cost matrix."""
    count = len(nodes)
    best, done = np.full(count, np.inf), np.zeros(count, bool)
    before = np.zeros(count, int)
    best[0] = 0.0
    for _ in range(count):
        node = int(np.argmin(np.where(done, np.inf, best)))
        if done[node] or best[node] == np.inf:
            return None
        if node == 1:
            break
        done[node] = True
        through = best[node] + cost[node]
        closer = (through < best) & ~done
        best[closer], before[closer] = through[closer], node
    way = [1]
    while way[-1] != 0:
        way.append(int(before[way[-1]]))
    return np.asarray(nodes[way[::-1]])
