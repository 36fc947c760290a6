"""The leaf that takes what people ask for: modes, goals, recording. It alone keeps the goal ledger. Promises never to fail."""

from __future__ import annotations

from typing import Any

from py_trees.common import Status

from vla_bt.behaviours.leaf import Leaf
from vla_bt.contract import STALE
from vla_bt.goals.ledger import ActiveGoal, Evidence, GoalLedger
from vla_bt.goals.plan import StopGoal
from vla_bt.port import GateStatus, Snapshot
from vla_bt.words import Mode

LONGEST_STALL_S = 1.0
"""A tick later than this closes the goal [s]: the world has moved on meanwhile."""


class TakeRequests(Leaf):
    """Switch the mode, enter goals in the ledger, and publish the goal being pursued.

    What closes a goal besides reaching it: a new goal, "stop", mode manual, an emergency stop, another gate, a long stall of the
    tree, its time-out, a failed motion. So neither a reset of the emergency stop nor a return from mode manual moves the robot.
    """

    READS = ("snapshot", "gate", "outcome", "memory")
    WRITES = ("mode", "goal", "goal_expired", "goal_events", "recording")

    def setup(self, **kwargs: Any) -> None:
        """Start in the configured mode with an empty ledger."""
        super().setup(**kwargs)
        self._mode = Mode(self.settings.initial_mode)
        self._ledger = GoalLedger(self.settings.goal_timeout_s)
        self._recordings = 1 if self.settings.record_from_start else 0
        self._recording = bool(self._recordings)
        self._occasion = 0
        self._expired = False
        self._published = False
        self._stops: int | None = None
        self._manual_only = ""
        self._said: tuple[Mode, ActiveGoal | None, str] = (self._mode, None, "")

    def update(self) -> Status:
        """Write mode, goal and wishes; always SUCCESS."""
        snapshot: Snapshot = self.read("snapshot")
        ledger, now_s = self._ledger, self.now_s
        self.feedback_message = ""
        memory = self.read("memory")
        self._manual_only = memory.manual_only if memory is not STALE else ""
        if self._manual_only and self._mode is not Mode.MANUAL:
            self._switch(Mode.MANUAL.value)
            self.resources.robot.publish_mode(self._mode, self._manual_only)
        for text in snapshot.operator.mode_requests:
            self._switch(text)
        self._judge()
        gate = self.read("gate")
        latched = gate is not STALE and gate.latched
        self._heed_stops(snapshot.gate)
        for text in snapshot.operator.goal_requests:
            ledger.submit(text, now_s)
            self._expired = self._expired and ledger.open is None
        if latched and ledger.open is not None:
            ledger.fail(now_s, "the emergency stop is latched; reset it first")
        if self._mode is not Mode.MANUAL:
            ledger.activate(now_s)
        else:
            self._stop_in_manual(standing=gate is not STALE and gate.applied.is_zero())
        self._expired |= ledger.expire_if_due(now_s)
        events = ledger.take_events()
        for event in events:
            self.resources.robot.publish_goal_status(event.to_json())
            self._published = True
        if not self._published:  # who joins before the first goal is told that there was none
            self.resources.robot.publish_goal_status(ledger.latest.to_json())
            self._published = True
        active = ledger.active
        if events:
            self.write("goal_events", events)
        self.write("mode", self._mode)
        self.write("goal", active)
        self.write("goal_expired", self._expired)
        self._decide_recording(active, snapshot.operator.record_requests)
        if not self.feedback_message:
            self.feedback_message = self._words(active)
        return Status.SUCCESS

    def _decide_recording(self, active: ActiveGoal | None, requests: tuple[bool, ...]) -> None:
        """Record by mode, by goal or by request: who spoke last counts. Another goal or request begins another recording."""
        when = self.settings.record_when
        occasion = int(self._mode.value == when)
        if when == "goal" and active is not None:
            occasion = active.id
        if occasion != self._occasion:
            self._occasion = occasion
            requests = (bool(occasion), *requests)
        for wanted in requests:
            self._recording = wanted
            self._recordings += wanted
        self.write("recording", self._recordings if self._recording else 0)

    def _words(self, active: ActiveGoal | None) -> str:
        """Say mode and goal, put into words anew only when one has changed."""
        mode, goal, words = self._said
        if mode is not self._mode or goal is not active or not words:
            words = f"{self._mode.value}, " + (f"goal {active.id}: {active.words}" if active else "no goal")
            self._said = (self._mode, active, words)
        return words

    def _switch(self, text: str) -> None:
        """Change the mode; an unknown word changes nothing and is said."""
        try:
            mode = Mode(text.strip().lower())
        except ValueError:
            self.feedback_message = f"unknown mode '{text[:20]}'; known: {', '.join(known.value for known in Mode)}"
            self.resources.robot.publish_mode(self._mode, self.feedback_message)
            return
        if mode is self._mode:
            return
        if self._manual_only and mode is not Mode.MANUAL:
            self.feedback_message = f"mode stays manual: {self._manual_only}"
            self.resources.robot.publish_mode(self._mode, self.feedback_message)
            return
        self._mode = mode
        self._expired = False
        if mode is Mode.MANUAL and self._ledger.active is not None:
            self._ledger.preempt(self.now_s, "mode manual")

    def _heed_stops(self, gate: GateStatus | None) -> None:
        """Close the goal on an emergency stop, also one that came and went between two ticks, and when gate or tree lapsed.

        A robot that somebody stopped, or that nobody watched for a while, doesn't go on by itself.
        """
        reason = ""
        if gate is not None:
            known = gate.stops if self._stops is None else self._stops
            if gate.latched or gate.stops == known + 1:
                reason = "the emergency stop"
            elif gate.stops != known:
                reason = "another gate has started"
            self._stops = gate.stops
        if self.resources.lateness_s > LONGEST_STALL_S:
            reason = reason or f"the tree was held up for {self.resources.lateness_s:.1f} s"
        if reason and self._ledger.open is not None:
            self._ledger.preempt(self.now_s, reason)

    def _stop_in_manual(self, standing: bool) -> None:
        """Pursue "stop" in mode manual too, where nothing else is pursued: it is reached once the robot stands."""
        waiting = self._ledger.open
        if waiting is not None and all(isinstance(step, StopGoal) for step in waiting.steps):
            self._ledger.activate(self.now_s)
            if standing:
                self._ledger.advance(self.now_s, Evidence.STANDING)

    def _judge(self) -> None:
        """Enter what the last tick found out about the sub-goal."""
        outcome = self.read("outcome")
        if outcome is STALE:
            return
        active = self._ledger.active
        if active is None or outcome.key != active.key:
            return
        if outcome.failure:
            self._ledger.fail(self.now_s, outcome.failure)
        elif outcome.evidence is not None:
            self._ledger.advance(self.now_s, outcome.evidence)
