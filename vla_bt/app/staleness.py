"""Did the robot ever move on an answer that is stale, or of a policy that is gone? Judged by what the gate lets pass.

Promises: a policy that is "ready" and answers nothing is found by its newest answer's age alone; what the robot still rolls while
the tree asks for zero, and it gets slower, is no move.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vla_bt.words import Mode, Twist

GONE_S = 0.3
"""A policy that is gone must not move the robot for longer than this [s]."""

MARGIN_S = 0.1
"""A tick and a period of the gate, and what a busy machine adds [s]."""

PATIENCE_S = 0.5
"""So long a velocity waits for a snapshot [s]: a tree that is held up is judged by what it said last."""

GAP_S = 0.2
"""The gate speaks 50 times a second. Whoever hears nothing of it for so long [s] was held up himself, or the robot stood: what he
hears then says nothing about the time between."""

_SLACK = 1e-6
"""Of figures that were rounded on their way [m/s, rad/s]."""


class Judge:
    """Counts moments at which the robot moves by a policy that can't answer for it.

    Parameters
    ----------
    limit_s : float
        An answer older than this is stale [s].
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._gone_since_s: float | None = None
        self.stale = self.driven = 0
        self.oldest_s = 0.0

    def look(self, now_s: float, moves: bool, ready: bool, age_s: float | None) -> None:
        """Look at one moment: does the policy move the robot, is it there, how old is its newest answer (None: there is none)."""
        if ready:
            self._gone_since_s = None
        elif self._gone_since_s is None:
            self._gone_since_s = now_s
        if not moves:
            return
        self.driven += 1
        gone = self._gone_since_s is not None and now_s - self._gone_since_s > GONE_S
        self.oldest_s = max(self.oldest_s, math.inf if age_s is None else age_s)
        self.stale += gone or age_s is None or age_s > self._limit_s


class RosJudge:
    """Judges the tree's snapshots, and what the gate lets pass while there are none.

    A snapshot holds the gate's newest report and the age of the policy's newest answer by one clock, so that the way to whoever
    judges does not count. A velocity on ``cmd_vel`` that no snapshot follows is judged by what the tree said last.

    Parameters
    ----------
    limit_s : float
        How long the tree and the gate together may let an answer live [s]; :data:`MARGIN_S` is added.
    """

    def __init__(self, limit_s: float) -> None:
        self.judge = Judge(limit_s + MARGIN_S)
        self._snapshot: Mapping[str, Any] = {}
        self._snapshot_s = 0.0
        self._moved_s: float | None = None  # since when velocities have waited for a snapshot
        self._heard_s = -math.inf

    def hear_velocity(self, now_s: float, velocity: Twist) -> None:
        """The gate let a velocity pass."""
        snapshot, gap_s, self._heard_s = self._snapshot, now_s - self._heard_s, now_s
        if velocity.is_zero() or not snapshot or not _by_policy(snapshot):
            self._moved_s = None
        elif self._moved_s is None or gap_s > GAP_S:
            self._moved_s = now_s
        elif now_s - self._moved_s > PATIENCE_S:
            age_s = snapshot["policy"].get("answer_age_s")
            since_s = now_s - self._snapshot_s
            self.judge.look(now_s, True, _ready(snapshot), None if age_s is None else age_s + since_s)

    def hear_snapshot(self, now_s: float, snapshot: Mapping[str, Any]) -> None:
        """The tree said how it stands."""
        before, self._snapshot, self._snapshot_s, self._moved_s = self._snapshot, snapshot, now_s, None
        gate = snapshot.get("gate")
        if gate is None:
            return
        moves = any(gate["applied"]) and gate["source"] == "policy" and _by_policy(snapshot)
        if not any(snapshot["velocity"]) and _slower(gate["applied"], before.get("gate", gate)["applied"]):
            moves = False
        age_s = snapshot["policy"].get("answer_age_s")
        then_s = None if age_s is None else max(0.0, age_s - gate["age_s"])  # when the gate reported
        self.judge.look(now_s, moves, _ready(snapshot), then_s)


def _by_policy(snapshot: Mapping[str, Any]) -> bool:
    return bool(snapshot["mode"] == Mode.VLA.value and snapshot["source"] != "motion")


def _ready(snapshot: Mapping[str, Any]) -> bool:
    return bool(snapshot["policy"]["state"] == "ready")


def _slower(velocity: Sequence[float], before: Sequence[float]) -> bool:
    changes = [abs(now) - abs(then) for now, then in zip(velocity, before, strict=True)]
    return max(changes) <= _SLACK and min(changes) < -_SLACK
