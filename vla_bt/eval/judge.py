"""What a run came to, by the simulator's truth, and whether that is what was wanted.

Promises: pure; no word of the policy or the tree counts as true until the simulator's state confirms it: a claim of arrival is
held against where the robot stands at that moment, a measured motion against the way it really made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from vla_bt.eval.job import Job
from vla_bt.goals.ledger import Evidence
from vla_bt.policy.expert import STANDOFF_M
from vla_bt.sim.check import GOAL_RADIUS_M, side_passed
from vla_bt.sim.route import distance_to_box, plan_route
from vla_bt.sim.scenes import ROBOT_RADIUS_M, Scene
from vla_bt.sim.truth import Truth
from vla_bt.words import Source, Twist

STANDING_SPEED = 0.02
"""Slower is standing [m/s, and rad/s doubled]."""

STOP_S = 0.3
"""Standing this long, having moved before and moving again later, is a stop [s]."""

MOTION_M, MOTION_RAD = 0.12, 0.15
"""A measured motion is true within this and a tenth of its amount."""

STOOD_M = 0.05
"""Who was told nothing to do may have moved this far [m]."""

_CLEARANCES_M = ((0.48, 0.34), (0.34, 0.28), (0.25, 0.22))
"""What the planned way keeps from boxes and walls [m]: the expert's, then what is left where that leads nowhere."""


class Tick(NamedTuple):
    """The truth after one tick: time [s], pose in the world frame [m, m, rad], velocity, who drove, whether keys were pressed."""

    time_s: float
    x: float
    y: float
    yaw: float
    twist: Twist
    source: Source
    pressed: bool

    @property
    def stands(self) -> bool:
        """The robot is at rest."""
        return self.twist.speed < STANDING_SPEED and abs(self.twist.angular_z) < 2 * STANDING_SPEED

    def line(self) -> list[float]:
        """Return time, x, y, yaw, the velocity and the source as plain numbers."""
        return [round(float(value), 3) for value in (self.time_s, self.x, self.y, self.yaw, *self.twist)] + [int(self.source)]


@dataclass
class GoalLog:
    """What became of the goals: each one's state, where its current step began, and the claims."""

    states: dict[int, str] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    judged: dict[int, int] = field(default_factory=dict)
    began: dict[int, Tick] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    told_at: list[int] = field(default_factory=list)
    closed_s: float = 0.0

    def enter(self, line: dict[str, Any], tick: Tick) -> list[tuple[int, str]]:
        """Enter one line of ``goal_status``; returns the steps it calls reached, as (step, evidence)."""
        goal, state, evidence = int(line["id"]), str(line["state"]), list(line["evidence"])
        if goal == 0:
            return []
        was = self.states.get(goal)
        self.states[goal], self.texts[goal], self.reasons[goal] = state, str(line["text"]), str(line["reason"])
        before = self.judged.get(goal, 0)
        self.judged[goal] = len(evidence)
        if state != was and state not in ("accepted", "active"):  # a line may be entered again: the newest of a topic
            self.closed_s = tick.time_s
        claims = [(step, evidence[step]) for step in range(before, len(evidence))]
        if state == "active" and was != "active":
            self.began[goal] = tick
        return claims


@dataclass(frozen=True)
class Claim:
    """A step that the tree called reached, and what was true then.

    Attributes
    ----------
    goal, step : int
        Which; steps count from 0.
    evidence : str
        By what the tree judged it.
    at_s, distance_m : float
        When [s], and how far from the nearest thing that counts [m].
    moved : tuple of (x, y, turn)
        The way since the step began, in the robot's frame of that moment [m, m, rad].
    true : bool
        The truth agrees.
    """

    goal: int
    step: int
    evidence: str
    at_s: float
    distance_m: float
    moved: tuple[float, float, float]
    true: bool

    @classmethod
    def judged(cls, goal: int, step: int, evidence: str, truth: Truth, tick: Tick, log: GoalLog, job: Job) -> Claim:
        """Hold a claim against the truth; the next step begins here."""
        start = log.began.get(goal, tick)
        log.began[goal] = tick
        moved = _moved(start, tick)
        distance = target_distance(truth, job.targets)
        if evidence == Evidence.POLICY.value:
            true = distance <= GOAL_RADIUS_M and tick.stands
        elif evidence == Evidence.STANDING.value:
            true = tick.stands
        else:
            motions = sum(claim.evidence not in (Evidence.POLICY.value, Evidence.STANDING.value) for claim in log.claims)
            wanted = job.counts.motions[motions] if motions < len(job.counts.motions) else None
            true = tick.stands and (wanted is None or _agrees(moved, wanted))
        return cls(goal, step, evidence, tick.time_s, distance, moved, true)

    @property
    def of_arrival(self) -> bool:
        """It is the policy's claim to be there."""
        return self.evidence == Evidence.POLICY.value


def _moved(start: Tick, end: Tick) -> tuple[float, float, float]:
    east, north = end.x - start.x, end.y - start.y
    cos, sin = math.cos(start.yaw), math.sin(start.yaw)
    turn = math.remainder(end.yaw - start.yaw, 2 * math.pi)
    return cos * east + sin * north, cos * north - sin * east, turn


def _agrees(moved: tuple[float, float, float], wanted: tuple[float, ...]) -> bool:
    off = math.hypot(moved[0] - wanted[0], moved[1] - wanted[1])
    turned = abs(math.remainder(moved[2] - wanted[2], 2 * math.pi))
    return off <= MOTION_M + 0.1 * math.hypot(wanted[0], wanted[1]) and turned <= MOTION_RAD + 0.1 * abs(wanted[2])


def target_distance(truth: Truth, targets: tuple[str, ...]) -> float:
    """Return how far the robot's centre is from the nearest target [m]: from the cup's centre, or from a box's outside."""
    distances = []
    if "cup" in targets:
        distances.append(math.hypot(truth.cup_x - truth.x, truth.cup_y - truth.y))
    if "box" in targets:
        distances += [distance_to_box(box, truth.x, truth.y)[0] for box in truth.boxes]
    return min(distances, default=math.inf)


def judge(
    job: Job, scene: Scene, ticks: list[Tick], log: GoalLog, truth: Truth, contact: str, counters: dict[str, Any]
) -> dict[str, Any]:
    """Return what is true of a run.

    Parameters
    ----------
    truth : Truth
        At the end.
    contact : str
        What touched what first, and when; empty for nothing.

    Returns
    -------
    dict
        ``goal_state`` of the last goal told; ``goals`` with their ends; ``claims``; ``reached_cup``: stands within
        :data:`~vla_bt.sim.check.GOAL_RADIUS_M` at the end; ``false_reached``; ``contact``; ``sides_passed`` since the last goal
        was told; ``path_length_m``, ``expert_path_m`` (the way that the expert would plan) and ``path_ratio``; ``time_s``;
        ``smoothness``: mean change of velocity [m/s^2], less is smoother; ``stops``; ``interventions``: how often a person took
        over; ``obeyed``: share of the ticks with keys pressed in which the person drove or the robot was held, None if none;
        ``clearance_m``; and the counters.
    """
    track = [(tick.x, tick.y) for tick in ticks]
    since = max(log.told_at[-1] - 1, 0) if log.told_at else 0
    boxes = truth.boxes[: len(truth.boxes) - len(job.boxes)]  # those more than the scene has tell no side
    path_m = float(sum(math.dist(before, after) for before, after in pairwise(track)))
    planned_m = planned_way_m(truth, (scene.start.x, scene.start.y), job.side or None)
    last = max(log.states, default=0)
    gaps = [distance_to_box(box, x, y)[0] for x, y in track for box in truth.boxes]
    pressed = [tick for tick in ticks if tick.pressed]
    theirs = (Source.TELEOP, Source.TAKEOVER, Source.SAFETY)
    return {
        "goal": job.goal,
        "goal_state": log.states.get(last, "told"),
        "goals": [{"text": log.texts[goal], "end": log.states[goal], "reason": log.reasons[goal]} for goal in sorted(log.states)],
        "claims": [
            {
                "goal": claim.goal,
                "step": claim.step,
                "evidence": claim.evidence,
                "at_s": claim.at_s,
                "distance_m": claim.distance_m if claim.of_arrival else None,
                "moved": list(claim.moved),
                "true": claim.true,
            }
            for claim in log.claims
        ],
        "reached_cup": ticks[-1].stands and target_distance(truth, job.targets) <= GOAL_RADIUS_M,
        "false_reached": any(not claim.true for claim in log.claims if claim.of_arrival),
        "cup_distance_m": target_distance(truth, job.targets),
        "contact": contact,
        "clearance_m": min(gaps, default=math.inf) - ROBOT_RADIUS_M if gaps else None,
        "sides_passed": [side_passed(track[since:], box) for box in boxes],
        "side_told": job.side,
        "path_length_m": path_m,
        "expert_path_m": planned_m,
        "path_ratio": path_m / planned_m if planned_m else None,
        "time_s": ticks[-1].time_s,
        "smoothness": _roughness(ticks),
        "stops": _stops(ticks),
        "stood_s": next(
            (tick.time_s for tick in ticks if math.dist((tick.x, tick.y), (scene.start.x, scene.start.y)) > STOOD_M),
            ticks[-1].time_s,
        ),
        "interventions": sum(
            after.source in (Source.TELEOP, Source.TAKEOVER) and before.source not in (Source.TELEOP, Source.TAKEOVER)
            for before, after in pairwise(ticks)
        ),
        "obeyed": sum(tick.source in theirs for tick in pressed) / len(pressed) if pressed else None,
        "ticks": len(ticks),
        "ticks_by_source": {source.name.lower(): sum(tick.source is source for tick in ticks) for source in Source},
        **counters,
    }


def planned_way_m(truth: Truth, start: tuple[float, float], side: str | None) -> float | None:
    """Return the length of the way the expert would plan from ``start`` to where it stops before the cup [m]."""
    for clearance, wall_clearance in _CLEARANCES_M:
        way = plan_route(start, (truth.cup_x, truth.cup_y), truth.boxes, truth.room, side, clearance, wall_clearance)
        if way is not None:
            return float(sum(math.dist(before, after) for before, after in pairwise(way.tolist()))) - STANDOFF_M
    return None


def _roughness(ticks: list[Tick]) -> float:
    """Return the mean change of the measured velocity in the world frame, per second [m/s^2]."""
    changes = []
    for before, after in pairwise(ticks):
        elapsed = after.time_s - before.time_s
        (ax, ay), (bx, by) = _world_velocity(before), _world_velocity(after)
        changes.append(math.hypot(bx - ax, by - ay) / elapsed)
    return sum(changes) / len(changes) if changes else 0.0


def _world_velocity(tick: Tick) -> tuple[float, float]:
    cos, sin = math.cos(tick.yaw), math.sin(tick.yaw)
    x, y = tick.twist.linear_x, tick.twist.linear_y
    return cos * x - sin * y, sin * x + cos * y


def _stops(ticks: list[Tick]) -> int:
    """Count the times the robot stood for :data:`STOP_S` between two times of moving."""
    stops, moved, since = 0, False, math.inf
    for tick in ticks:
        if tick.stands:
            since = min(since, tick.time_s)
        else:
            stops += moved and tick.time_s - since >= STOP_S
            moved, since = True, math.inf
    return stops


def outcome_of(job: Job, result: dict[str, Any]) -> tuple[bool, str]:
    """Judge a run: success, and in a word or two what failed.

    Parameters
    ----------
    result : dict
        Of :func:`judge`.
    """
    claimed = any(claim["evidence"] == Evidence.POLICY.value for claim in result["claims"])
    if job.expect == "stands":
        return (False, "moved") if result["path_length_m"] > STOOD_M or claimed else (True, "")
    if result["contact"]:
        return False, "contact"
    if result["false_reached"]:
        return False, "false reached"
    if job.expect == "no_claim" and claimed:
        return False, "false reached"
    if job.expect == "reached":
        failure = _unreached(job, result, claimed)
        if failure:
            return False, failure
    failure = _uncounted(job, result)
    return not failure, failure


def _unreached(job: Job, result: dict[str, Any], claimed: bool) -> str:
    """Say what keeps the last goal from being reached, in truth."""
    if result["goal_state"] != "reached":
        if job.counts.goal_ends and [goal["end"] for goal in result["goals"]] == list(job.counts.goal_ends):
            return ""
        near = result["cup_distance_m"] <= GOAL_RADIUS_M
        return "not claimed" if near else str(result["goal_state"]).replace("active", "out of time")
    if not all(claim["true"] for claim in result["claims"]):
        return "not as measured"
    last = result["claims"][-1] if result["claims"] else None
    if last is not None and last["evidence"] == Evidence.POLICY.value and not result["reached_cup"]:
        return "false reached"  # it stood there, and did not stay
    if claimed and job.side and job.counts.side and any(side != job.side for side in result["sides_passed"]):
        return "wrong side"
    return ""


def _uncounted(job: Job, result: dict[str, Any]) -> str:
    """Say what else was asked for and does not hold."""
    counts = job.counts
    if counts.goal_ends and [goal["end"] for goal in result["goals"]] != list(counts.goal_ends):
        return "goals ended otherwise"
    for goal, reason in zip(result["goals"], counts.reasons, strict=False):
        if reason.lower() not in goal["reason"].lower():
            return "not told why"
    if len(result["goals"]) < len(counts.reasons):
        return "goals ended otherwise"
    if counts.still_s >= 0.0 and result["stood_s"] < counts.still_s - 1e-9:
        return "moved"
    if counts.way_m >= 0.0 and result["path_length_m"] < counts.way_m - 1e-9:
        return "hardly moved"
    motions = [claim for claim in result["claims"] if claim["evidence"] in (Evidence.ODOMETRY.value, Evidence.TIMED.value)]
    if counts.motions and len(motions) != len(counts.motions):
        return "motions missing"
    at_most = {
        "path_ratio": ("path_ratio", "long way"),
        "time_s": ("time_s", "slow"),
        "stops": ("stops", "too many stops"),
        "interventions": ("interventions", "too many interventions"),
        "roughness": ("smoothness", "rough"),
    }
    for name, (figure, words) in at_most.items():
        limit = getattr(counts, name)
        if limit >= 0.0 and (result[figure] is None or result[figure] > limit + 1e-9):
            return words
    if counts.obeyed >= 0.0 and (result["obeyed"] is None or result["obeyed"] < counts.obeyed - 1e-9):
        return "person not obeyed"
    return ""
