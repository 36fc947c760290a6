"""Which directions are blocked by what is near, how fast the robot may come near it, and what of a velocity remains.

Promises: a velocity is only ever turned along the obstacle and shortened, never lengthened; turning on the spot is never
limited (the footprint is round); moving straight away from an obstacle is always possible, and so is sliding along it.

Geometry: a point at range ``r`` in the direction ``phi`` that is nearer than robot radius + distance blocks the headings within
``asin(n / r)`` of ``phi``, where ``n`` is the range of the nearest point, at least the robot's radius: exactly the headings on
which the robot would come closer to the point than it already is to the nearest one, or touch it. So the nearest point blocks a
half-plane, and a wall blocks its own side only, not the way along it. Before it comes to that, :func:`slowed` keeps the robot at
speeds from which it still stands in time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vla_bt.port import Contact, Scan
from vla_bt.words import Twist

_SECTORS = ("ahead", "ahead left", "left", "behind left", "behind", "behind right", "right", "ahead right")
_LOOK_M = 1.5
"""Nothing beyond this clearance [m] is braked for: from 1.5 m/s the robot stands within it."""
_SLACK = 1e-3  # each arc is taken this much narrower [rad]: single-precision ranges must not stop a slide along a wall


@dataclass(frozen=True)
class Blocked:
    """Blocked headings in ``base_link``.

    Attributes
    ----------
    centre, half_width : ndarray of float64, shape (n,)
        Each arc of blocked headings [rad]; half widths are 0..pi/2.
    scan_words, contact_words : str
        The nearest obstacle and the contact for people; empty without.
    near : ndarray of float64, shape (2, m)
        Range [m] and direction [rad] of what may have to be braked for.
    """

    centre: NDArray[np.float64]
    half_width: NDArray[np.float64]
    scan_words: str = ""
    contact_words: str = ""
    near: NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, 0)))

    def __repr__(self) -> str:  # viewers of the blackboard print values: an arc for each near ray would fill their screen
        words = [f"{self.centre.size} arcs", f"{self.near.shape[1]} rays near"]
        words += [f"obstacle {self.scan_words}"] if self.scan_words else []
        words += [f"contact {self.contact_words}"] if self.contact_words else []
        return f"Blocked({', '.join(words)})"


NOTHING = Blocked(np.zeros(0), np.zeros(0))
_NO_RAYS: NDArray[np.intp] = np.zeros(0, np.intp)


def sector(angle: float) -> str:
    """Name the direction ``angle`` [rad] in words."""
    return _SECTORS[round(angle / (math.pi / 4)) % 8]


def blocked(scan: Scan | None, contact: Contact | None, robot_radius_m: float, distance_m: float) -> Blocked:
    """Find the blocked headings.

    Parameters
    ----------
    scan : Scan or None
        A fresh scan. +inf is free; -inf is nearer than the sensor can measure (REP 117), taken as touching; nan and values that
        are not positive carry no information.
    contact : Contact or None
        A contact that still holds.
    robot_radius_m, distance_m : float
        Radius of the footprint, and the clearance around it at which a direction is blocked [m].
    """
    centre: NDArray[np.float64] = np.zeros(0)
    ranges: NDArray[np.float64] = np.zeros(0)
    scan_words = contact_words = ""
    seen = np.zeros((2, 0))
    if scan is not None:
        measured = scan.ranges
        reach_m = robot_radius_m + distance_m
        look = np.flatnonzero((measured > 0.0) & (measured < reach_m + _LOOK_M))
        seen = np.array([measured[look], scan.angle_min + look * scan.angle_increment], np.float64)
        far = bool(measured.size) and bool(np.minimum.reduce(measured) >= reach_m)  # nan is not, and may hide a near one
        near = _NO_RAYS if far else np.flatnonzero(((measured > 0.0) & (measured < reach_m)) | (measured == -np.inf))
        if near.size:
            centre = np.asarray(scan.angle_min + near * scan.angle_increment, np.float64)
            ranges = np.asarray(measured[near].clip(min=robot_radius_m), np.float64)
            closest = int(np.argmin(ranges))
            scan_words = f"{ranges[closest] - robot_radius_m:.2f} m {sector(float(centre[closest]))}"
    if contact is not None:
        angle = math.atan2(contact.y, contact.x)
        centre, ranges = np.append(centre, angle), np.append(ranges, robot_radius_m)
        contact_words = sector(angle)
    if not ranges.size:
        return Blocked(centre, centre, near=seen) if seen.size else NOTHING
    return Blocked(centre, np.arcsin(ranges.min() / ranges), scan_words, contact_words, seen)


def slowed(
    twist: Twist, around: Blocked, robot_radius_m: float, distance_m: float, braking_mps2: float, reaction_s: float
) -> tuple[Twist, str]:
    """Shorten a velocity to what the robot can still brake from before it comes nearer than ``distance_m`` to what is in its way.

    The way is the strip the footprint sweeps. The speed is the one at which reaction and braking together take the free way:
    ``v t + v^2 / (2 a) = s``.

    Parameters
    ----------
    robot_radius_m, distance_m
        As for :func:`blocked`.
    braking_mps2, reaction_s : float
        How hard the robot brakes [m/s^2], and twice the time until it begins to [s]: what is asked now takes effect when the
        robot is nearer by then, so with the mere delay it would overshoot.

    Returns
    -------
    Twist, str
        The velocity, its turning unchanged, and what was done in words; empty when nothing was.
    """
    speed = twist.speed
    if speed == 0.0 or not around.near.size:
        return twist, ""
    heading = math.atan2(twist.linear_y, twist.linear_x)
    ranges, directions = around.near
    ahead, aside = ranges * np.cos(directions - heading), ranges * np.sin(directions - heading)
    swept = (ahead > 0.0) & (np.abs(aside) < robot_radius_m)
    if not bool(swept.any()):
        return twist, ""
    touch = ahead[swept] - np.sqrt(robot_radius_m**2 - aside[swept] ** 2)
    free = max(0.0, float(touch.min()) - distance_m)
    most = braking_mps2 * (math.sqrt(reaction_s**2 + 2.0 * free / braking_mps2) - reaction_s)
    if most >= speed:
        return twist, ""
    share = most / speed
    return Twist(twist.linear_x * share, twist.linear_y * share, twist.angular_z), f"slows for what is {sector(heading)}"


def limit(twist: Twist, around: Blocked) -> tuple[Twist, str]:
    """Take away the part of a velocity that leads into a blocked direction.

    A heading inside blocked arcs is turned to their nearer end and the speed reduced to its projection on it; more than a right
    angle away, the linear part is zero.

    Returns
    -------
    Twist, str
        The velocity, and what was done in words; empty when nothing was.
    """
    speed = twist.speed
    if speed == 0.0 or not around.centre.size:
        return twist, ""
    heading = math.atan2(twist.linear_y, twist.linear_x)
    offset = (around.centre - heading + math.pi) % (2.0 * math.pi) - math.pi
    half_width = around.half_width - _SLACK
    low, high = offset - half_width, offset + half_width
    # Arcs are at most half a turn wide, so the parts that wrap round behind lie beyond the right angle that matters here.
    if not bool(np.any((low < 0.0) & (high > 0.0))):
        return twist, ""
    left, right = _end(low, high), _end(-high, -low)
    side, turn = ("left", left) if left <= right else ("right", right)
    if turn >= math.pi / 2.0 - 2.0 * _SLACK:
        return Twist(0.0, 0.0, twist.angular_z), f"no way {sector(heading)}"
    remaining = speed * math.cos(turn)
    free = heading + (turn if side == "left" else -turn)
    slid = Twist(remaining * math.cos(free), remaining * math.sin(free), twist.angular_z)
    return slid, f"{sector(heading)} is blocked, slides to its {side}"


def _end(low: NDArray[np.float64], high: NDArray[np.float64]) -> float:
    """Return the upper end [rad] of the union of arcs around zero, following arcs that touch."""
    order = np.argsort(low)
    reach = np.maximum.accumulate(high[order])
    following = np.append(low[order][1:], np.inf)
    gaps = (reach > 0.0) & (following > reach)
    return float(reach[int(np.argmax(gaps))])
