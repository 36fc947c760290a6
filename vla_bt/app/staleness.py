"""Did the robot ever move on an answer that is stale, or of a policy that is gone? Judged by what the gate lets pass.

Promises: an answer's age is what the tree said of it plus the time since the tree said so; a policy that is "ready" and answers
nothing is found by that alone; what the robot still rolls while the tree asks for zero, and it gets slower, is no move.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from vla_bt.words import ZERO, Mode, Twist

GONE_S = 0.3
"""A policy that is gone must not move the robot for longer than this [s]."""

TRANSPORT_S = 0.1
"""Velocities and the tree's words come over the network, not at the same time [s]."""

PATIENCE_S = 0.5
"""So long a velocity waits for the snapshot after it [s]: a tree that is held up is judged by what it said last."""

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


class VelocityJudge:
    """Judges each ``cmd_vel`` by the tree's snapshots right before and right after it: it is stale when both say so.

    A single one would not do: the tree may have had a new answer, and followed it, since the snapshot before.

    Parameters
    ----------
    limit_s : float
        How long the tree and the gate together may let an answer live [s]; :data:`TRANSPORT_S` is added.
    """

    def __init__(self, limit_s: float) -> None:
        self.judge = Judge(limit_s + TRANSPORT_S)
        self._newest = ZERO
        self._waiting: list[tuple[float, bool, bool]] = []  # when [s], whether it moves, whether it gets slower
        self._snapshot: Mapping[str, Any] = {}
        self._snapshot_s = 0.0

    def hear_velocity(self, now_s: float, velocity: Twist) -> None:
        """The gate let a velocity through."""
        if self._waiting and now_s - self._waiting[0][0] > PATIENCE_S:
            self._judge({})
        self._waiting.append((now_s, not velocity.is_zero(), _slower(velocity, self._newest)))
        self._newest = velocity

    def hear_snapshot(self, now_s: float, snapshot: Mapping[str, Any]) -> None:
        """The tree said how it stands."""
        self._judge(snapshot)
        self._snapshot, self._snapshot_s = snapshot, now_s

    def _judge(self, after: Mapping[str, Any]) -> None:
        waiting, self._waiting = self._waiting, []
        views = [view for view in (self._snapshot, after) if view]
        if not self._snapshot:
            return
        by_policy = all(view["mode"] == Mode.VLA.value and view["source"] != "motion" for view in views)
        asks_zero = any(not any(view["velocity"]) for view in views)
        ready = any(view["policy"]["state"] == "ready" for view in views)
        for at_s, moves, slower in waiting:
            ages = [_age_s(self._snapshot, max(0.0, at_s - self._snapshot_s)), _age_s(after, 0.0)]
            age_s = min((age_s for age_s in ages if age_s is not None), default=None)
            self.judge.look(at_s, by_policy and moves and not (asks_zero and slower), ready, age_s)


def _age_s(snapshot: Mapping[str, Any], since_s: float) -> float | None:
    """Return how old the policy's newest answer was, ``since_s`` after a snapshot [s]; None when it knows of none."""
    said_s: float | None = snapshot.get("policy", {}).get("answer_age_s")
    return None if said_s is None else said_s + since_s


def _slower(velocity: Twist, before: Twist) -> bool:
    changes = [abs(now) - abs(then) for now, then in zip(velocity, before, strict=True)]
    return max(changes) <= _SLACK and min(changes) < -_SLACK
