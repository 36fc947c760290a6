"""Runs as small vector pictures for a page: the way over the room from above, and the velocity over time.

Promises: plain SVG without outside references; colours come from the page's CSS classes, so that light and dark both work; no
text of a person enters a picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby

from vla_bt.eval.job import Job
from vla_bt.sim.check import GOAL_RADIUS_M
from vla_bt.sim.scenes import ROBOT_RADIUS_M, Box, Scene
from vla_bt.sim.world import CUP_RADIUS_M
from vla_bt.words import Source

Trace = Sequence[Sequence[float]]
"""Lines of time, x, y, yaw, linear_x, linear_y, angular_z, source, as a run's outcome holds them."""

_MARGIN_M = 0.1


def _points(pairs: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in pairs)


class _Map:
    """From world metres to pixels: +x to the right, +y up."""

    def __init__(self, scene: Scene, width: int) -> None:
        room = scene.room
        self.scale = width / (room.x_max - room.x_min + 2 * _MARGIN_M)
        self.left, self.top = room.x_min - _MARGIN_M, room.y_max + _MARGIN_M
        self.width, self.height = width, round((room.y_max - room.y_min + 2 * _MARGIN_M) * self.scale)

    def __call__(self, x: float, y: float) -> tuple[float, float]:
        return (x - self.left) * self.scale, (self.top - y) * self.scale


def _corners(box: Box) -> list[tuple[float, float]]:
    cos, sin = math.cos(box.yaw), math.sin(box.yaw)
    local = [(box.half_x, box.half_y), (-box.half_x, box.half_y), (-box.half_x, -box.half_y), (box.half_x, -box.half_y)]
    return [(box.x + cos * x - sin * y, box.y + sin * x + cos * y) for x, y in local]


def _room(job: Job, scene: Scene, to: _Map) -> list[str]:
    room = scene.room
    x, y = to(room.x_min, room.y_max)
    across, down = (room.x_max - room.x_min) * to.scale, (room.y_max - room.y_min) * to.scale
    parts = [f'<rect class="room" x="{x:.1f}" y="{y:.1f}" width="{across:.1f}" height="{down:.1f}"/>']
    parts += [f'<polygon class="box" points="{_points(to(*corner) for corner in _corners(box))}"/>' for box in scene.boxes]
    if job.cup:
        cups = [(scene.cup.x, scene.cup.y)]
        for event in job.events:
            if event.do == "cup" and isinstance(event.value, tuple):
                cups.append((cups[-1][0] + event.value[0], cups[-1][1] + event.value[1]))
        for index, place in enumerate(cups):
            u, v = to(*place)
            was = " was" if index < len(cups) - 1 else ""
            parts.append(f'<circle class="near{was}" cx="{u:.1f}" cy="{v:.1f}" r="{GOAL_RADIUS_M * to.scale:.1f}"/>')
            parts.append(f'<circle class="cup{was}" cx="{u:.1f}" cy="{v:.1f}" r="{max(2.0, CUP_RADIUS_M * to.scale):.1f}"/>')
    return parts


def _robot(line: Sequence[float], to: _Map, kind: str) -> str:
    x, y, yaw = line[1:4]
    u, v = to(x, y)
    tip = to(x + ROBOT_RADIUS_M * math.cos(yaw), y + ROBOT_RADIUS_M * math.sin(yaw))
    radius = ROBOT_RADIUS_M * to.scale
    return (
        f'<circle class="robot {kind}" cx="{u:.1f}" cy="{v:.1f}" r="{radius:.1f}"/>'
        f'<line class="robot {kind}" x1="{u:.1f}" y1="{v:.1f}" x2="{tip[0]:.1f}" y2="{tip[1]:.1f}"/>'
    )


def path_svg(job: Job, trace: Trace, width: int) -> str:
    """Draw one run's way, coloured by who drove."""
    scene = job.make_scene()
    to = _Map(scene, width)
    parts = _room(job, scene, to)
    before: Sequence[float] | None = None
    for source, run in groupby(trace, key=lambda line: int(line[7])):
        lines = list(run)
        whole = ([before] if before is not None else []) + lines
        parts.append(f'<polyline class="way s{source}" points="{_points(to(line[1], line[2]) for line in whole)}"/>')
        before = lines[-1]
    if trace:
        parts += [_robot(trace[0], to, "start"), _robot(trace[-1], to, "end")]
    return _svg(to.width, to.height, parts, "the way over the room, seen from above")


def paths_svg(job: Job, traces: Sequence[Trace], width: int) -> str:
    """Draw several runs in one world, each in a colour of its own."""
    scene = job.make_scene()
    to = _Map(scene, width)
    parts = _room(job, scene, to)
    for index, trace in enumerate(traces):
        parts.append(f'<polyline class="way p{index % 6}" points="{_points(to(line[1], line[2]) for line in trace)}"/>')
        if trace:
            parts.append(_robot(trace[-1], to, f"p{index % 6}"))
    return _svg(to.width, to.height, parts, "the ways over the room, seen from above")


_ROWS = ((4, 0.6, "v0"), (5, 0.6, "v1"), (6, 1.2, "v2"))
"""Column of the trace, full scale, class."""


def velocity_svg(trace: Trace, width: int, height: int) -> str:
    """Draw linear_x, linear_y [full scale 0.6 m/s] and angular_z [1.2 rad/s] over time, and who drove as a band below."""
    end_s = trace[-1][0] if trace else 1.0
    band, left = 5, 0
    middle = (height - band) / 2

    def place(time_s: float, share: float) -> tuple[float, float]:
        return left + (width - left) * time_s / max(end_s, 1e-9), middle - (middle - 2) * max(-1.0, min(1.0, share))

    parts = [f'<line class="axis" x1="{left}" y1="{middle:.1f}" x2="{width}" y2="{middle:.1f}"/>']
    step = next(step for step in (1, 2, 5, 10, 20, 60, 120, 600, 3600) if end_s / step <= 8 or step == 3600)
    for second in range(step, int(end_s) + 1, step):
        x = place(second, 0.0)[0]
        parts.append(f'<line class="tick" x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{height - band}"/>')
        if width >= 300:
            parts.append(f'<text class="tick" x="{x + 2:.1f}" y="9">{second} s</text>')
    for column, scale, kind in _ROWS:
        pairs = (place(line[0], line[column] / scale) for line in trace)
        parts.append(f'<polyline class="speed {kind}" points="{_points(pairs)}"/>')
    began_s = 0.0
    for source, run in groupby(trace, key=lambda line: int(line[7])):
        until_s = list(run)[-1][0]
        x0, x1 = place(began_s, 0.0)[0], place(until_s, 0.0)[0]
        parts.append(f'<rect class="band s{source}" x="{x0:.1f}" y="{height - band}" width="{x1 - x0:.1f}" height="{band}"/>')
        began_s = until_s
    return _svg(width, height, parts, "velocity over time")


def interval_svg(share: float, low: float, high: float, width: int = 120, height: int = 14) -> str:
    """Draw a share as a bar with its interval."""
    x, a, b = (width * value for value in (share, low, high))
    parts = [
        f'<rect class="track" x="0" y="3" width="{width}" height="{height - 6}"/>',
        f'<rect class="share" x="0" y="3" width="{x:.1f}" height="{height - 6}"/>',
        f'<line class="interval" x1="{a:.1f}" y1="{height / 2}" x2="{b:.1f}" y2="{height / 2}"/>',
        f'<line class="interval" x1="{a:.1f}" y1="2" x2="{a:.1f}" y2="{height - 2}"/>',
        f'<line class="interval" x1="{b:.1f}" y1="2" x2="{b:.1f}" y2="{height - 2}"/>',
    ]
    return _svg(width, height, parts, f"{share:.1%}, interval {low:.1%} to {high:.1%}")


def _svg(width: int, height: int, parts: Iterable[str], label: str) -> str:
    head = f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">'
    return head + "".join(parts) + "</svg>"


SOURCES = {int(source): source.name.lower() for source in Source}
"""Number in a trace -> who drove."""
