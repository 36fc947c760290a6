"""The goal ledger: which goal was told when, what it became, and by what that was judged.

Promises: pure (time is an argument); at most one goal is open; every change is checked against :data:`TRANSITIONS` and an illegal
one raises; every change yields exactly one :class:`GoalEvent`; a rejected goal leaves the open one alone; memory is bounded.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, replace
from enum import Enum

from vla_bt.goals.parser import parse
from vla_bt.goals.plan import Rejection, SubGoal, shown

EVENTS_KEPT = 256
STEPS_PER_GOAL = 16
"""More than any plan has steps; used to number sub-goals over all goals."""


class State(str, Enum):
    """Where a goal stands."""

    TOLD = "told"
    REJECTED = "rejected"
    ACCEPTED = "accepted"  # understood, waits for a mode that pursues goals
    ACTIVE = "active"
    REACHED = "reached"
    PREEMPTED = "preempted"
    EXPIRED = "expired"
    FAILED = "failed"

    @property
    def open(self) -> bool:
        """The robot will, or does, pursue it."""
        return self in (State.ACCEPTED, State.ACTIVE)


TRANSITIONS: dict[State, frozenset[State]] = {
    State.TOLD: frozenset((State.REJECTED, State.ACCEPTED)),
    State.ACCEPTED: frozenset((State.ACTIVE, State.PREEMPTED, State.EXPIRED, State.FAILED)),
    State.ACTIVE: frozenset((State.ACTIVE, State.REACHED, State.PREEMPTED, State.EXPIRED, State.FAILED)),
    State.REJECTED: frozenset(),
    State.REACHED: frozenset(),
    State.PREEMPTED: frozenset(),
    State.EXPIRED: frozenset(),
    State.FAILED: frozenset(),
}


class IllegalTransitionError(RuntimeError):
    """A change of a goal's state that the table does not allow."""


class Evidence(str, Enum):
    """By what a sub-goal was judged reached."""

    ODOMETRY = "odometry"
    TIMED = "timed (no odometry)"
    POLICY = "policy stop signal"
    STANDING = "the robot stands"


@dataclass(frozen=True)
class GoalEntry:
    """One goal as the ledger holds it.

    Attributes
    ----------
    id : int
        From 1, in order of telling; rejected goals have one too.
    text : str
        The words as told, cut for showing.
    state : State
        Where it stands.
    steps : tuple of SubGoal
        Empty when rejected.
    step : int
        Index of the current (last) sub-goal, from 0.
    told_s, started_s, closed_s : float
        When it was told, became active and was closed, on the caller's clock [s]; 0 for not yet.
    reason : str
        Why it was rejected, preempted, or has failed.
    evidence : tuple of Evidence
        One for each sub-goal reached so far.
    """

    id: int
    text: str
    state: State
    steps: tuple[SubGoal, ...] = ()
    step: int = 0
    told_s: float = 0.0
    started_s: float = 0.0
    closed_s: float = 0.0
    reason: str = ""
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True)
class ActiveGoal:
    """The goal being pursued.

    Attributes
    ----------
    id : int
        The ledger's number.
    text : str
        The words as told.
    subgoal : SubGoal
        What to do now.
    index, count : int
        The sub-goal's place, from 0, and how many there are.
    started_s : float
        When this sub-goal began [s].
    """

    id: int
    text: str
    subgoal: SubGoal
    index: int
    count: int
    started_s: float

    @property
    def key(self) -> int:
        """A number of this sub-goal alone: what the policy is told as its goal's id. Never 0."""
        return self.id * STEPS_PER_GOAL + self.index

    @property
    def words(self) -> str:
        """One line for people: "2 of 3: turn left 90 deg"."""
        return f"{self.index + 1} of {self.count}: {self.subgoal.text}" if self.count > 1 else self.subgoal.text


@dataclass(frozen=True)
class GoalEvent:
    """One change, fit for the ``goal_status`` topic.

    Attributes
    ----------
    entry : GoalEntry
        The goal after the change.
    active_id : int
        The goal being pursued after the change, 0 for none: it may be another than the entry's.
    at_s : float
        When [s].
    """

    entry: GoalEntry
    active_id: int
    at_s: float

    def to_json(self) -> str:
        """Return one line of JSON."""
        entry = self.entry
        step = entry.steps[entry.step] if entry.steps else None
        return json.dumps(
            {
                "id": entry.id,
                "state": entry.state.value,
                "text": entry.text,
                "step": entry.step + 1 if entry.steps else 0,
                "of": len(entry.steps),
                "doing": step.text if step is not None else "",
                "note": step.note if step is not None else "",
                "reason": entry.reason,
                "evidence": [word.value for word in entry.evidence],
                "active_id": self.active_id,
                "at_s": round(self.at_s, 3),
            }
        )


class GoalLedger:
    """Every goal told to this robot.

    Parameters
    ----------
    timeout_s : float
        A goal not reached this long after it became active (not begun this long after it was told) is expired [s].
    keep : int
        How many entries are kept.
    """

    def __init__(self, timeout_s: float, keep: int = 100) -> None:
        self._timeout_s = timeout_s
        self._keep = keep
        self._entries: dict[int, GoalEntry] = {}
        self._open_id = 0
        self._step_started_s = 0.0
        self._active: ActiveGoal | None = None
        self._active_entry: GoalEntry | None = None
        self._last_id = 0
        self._events: deque[GoalEvent] = deque(maxlen=EVENTS_KEPT)
        self.latest = GoalEvent(GoalEntry(0, "", State.TOLD, reason="no goal was told yet"), 0, 0.0)

    @property
    def entries(self) -> tuple[GoalEntry, ...]:
        """The kept entries, oldest first."""
        return tuple(self._entries.values())

    @property
    def open(self) -> GoalEntry | None:
        """The goal that is accepted or active."""
        return self._entries.get(self._open_id)

    @property
    def active(self) -> ActiveGoal | None:
        """The goal being pursued now."""
        entry = self.open
        if entry is None or entry.state is not State.ACTIVE:
            return None
        if entry is not self._active_entry:  # asked for in every tick: made anew only after a change
            subgoal, count = entry.steps[entry.step], len(entry.steps)
            self._active = ActiveGoal(entry.id, entry.text, subgoal, entry.step, count, self._step_started_s)
            self._active_entry = entry
        return self._active

    def take_events(self) -> tuple[GoalEvent, ...]:
        """Hand out the events since the last call, oldest first."""
        if not self._events:
            return ()
        events = tuple(self._events)
        self._events.clear()
        return events

    def submit(self, text: str | bytes, now_s: float) -> GoalEntry:
        """Enter what somebody told: rejected with a reason, or accepted; an accepted goal replaces the open one."""
        outcome = parse(text)
        self._last_id += 1
        told = GoalEntry(self._last_id, shown(outcome.original), State.TOLD, told_s=now_s)
        if isinstance(outcome, Rejection):
            return self._change(told, State.REJECTED, now_s, reason=outcome.reason, closed_s=now_s)
        if self.open is not None:
            self.preempt(now_s, f"{'stopped' if outcome.is_stop else 'replaced'} by goal {told.id}")
        return self._change(replace(told, steps=outcome.steps), State.ACCEPTED, now_s)

    def activate(self, now_s: float) -> None:
        """Begin to pursue the accepted goal; nothing to do when none waits."""
        entry = self.open
        if entry is not None and entry.state is State.ACCEPTED:
            self._step_started_s = now_s
            self._change(entry, State.ACTIVE, now_s, started_s=now_s)

    def advance(self, now_s: float, evidence: Evidence) -> GoalEntry:
        """Enter that the current sub-goal was reached: the next one begins, or the goal is reached.

        Raises
        ------
        IllegalTransitionError
            When no goal is active.
        """
        entry = self._required("advance")
        if entry.state is not State.ACTIVE:
            raise IllegalTransitionError(f"can't advance: goal {entry.id} is {entry.state.value}, not active")
        judged = (*entry.evidence, evidence)
        if entry.step + 1 == len(entry.steps):
            return self._change(entry, State.REACHED, now_s, evidence=judged, closed_s=now_s)
        self._step_started_s = now_s
        return self._change(entry, State.ACTIVE, now_s, evidence=judged, step=entry.step + 1)

    def preempt(self, now_s: float, by: str) -> GoalEntry:
        """Close the open goal because of something else: another goal, a stop, a change of mode."""
        return self._change(self._required("preempt"), State.PREEMPTED, now_s, reason=by, closed_s=now_s)

    def fail(self, now_s: float, reason: str) -> GoalEntry:
        """Close the open goal because it can't be reached."""
        return self._change(self._required("fail"), State.FAILED, now_s, reason=reason, closed_s=now_s)

    def expire_if_due(self, now_s: float) -> bool:
        """Close the open goal when its time is over; tells whether that happened now."""
        entry = self.open
        if entry is None:
            return False
        begun = entry.state is State.ACTIVE
        if now_s - (entry.started_s if begun else entry.told_s) <= self._timeout_s:
            return False
        reason = f"not {'reached' if begun else 'begun'} within {self._timeout_s:g} s"
        self._change(entry, State.EXPIRED, now_s, reason=reason, closed_s=now_s)
        return True

    def _required(self, what: str) -> GoalEntry:
        entry = self.open
        if entry is None:
            raise IllegalTransitionError(f"can't {what}: no goal is open")
        return entry

    def _change(self, entry: GoalEntry, to: State, now_s: float, **changes: object) -> GoalEntry:
        if to not in TRANSITIONS[entry.state]:
            raise IllegalTransitionError(f"goal {entry.id} can't go from {entry.state.value} to {to.value}")
        changed = replace(entry, state=to, **changes)  # type: ignore[arg-type]
        self._entries[changed.id] = changed
        if to.open:
            self._open_id = changed.id
        elif self._open_id == changed.id:
            self._open_id = 0
        closed = [number for number, kept in self._entries.items() if not kept.state.open]
        for old in closed[: max(0, len(self._entries) - self._keep)]:
            del self._entries[old]
        active = self.active
        self.latest = GoalEvent(changed, active.id if active is not None else 0, now_s)
        self._events.append(self.latest)
        return changed
