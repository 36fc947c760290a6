"""Following one's own goal through the lines of ``goal_status``. Pure: lines in, words for a person out.

The topic keeps only its newest line, and a line may be lost: whatever arrives, the watcher knows which goal is its own by the
text and by an id newer than the last one seen before the goal was told.
"""

from __future__ import annotations

import json
from typing import Any

from vla_bt.goals.ledger import State
from vla_bt.goals.plan import shown


class GoalWatch:
    """Watches for the goal with this text.

    Parameters
    ----------
    text : str
        The words as they were sent.

    Attributes
    ----------
    id : int
        The ledger's number, 0 while unknown.
    state : State
        ``told`` until the robot has answered.
    event : dict
        The newest line about this goal.
    """

    def __init__(self, text: str) -> None:
        self._text = shown(text)
        self._newest_before = 0
        self._sent = False
        self.id = 0
        self.state = State.TOLD
        self.event: dict[str, Any] = {}

    @property
    def closed(self) -> bool:
        """The goal has ended, one way or another."""
        return self.state is not State.TOLD and not self.state.open

    def sending(self) -> None:
        """Mark that the goal is told now: what was heard so far is about others."""
        self._sent = True

    def hear(self, line: str) -> str:
        """Take one line of the topic; returns what to show, empty for nothing new about this goal."""
        try:
            event = json.loads(line)
            number, state, text = int(event["id"]), State(event["state"]), str(event["text"])
        except (ValueError, KeyError, TypeError):
            return ""
        if not self._sent:
            self._newest_before = number
            return ""
        if self.closed:
            return ""
        if not self.id and text == self._text and number > self._newest_before:
            self.id = number
        if number == self.id and self.id:
            self.state, self.event = state, event
            return self._words(event)
        if self.id and state.open and number > self.id:
            self.state = State.PREEMPTED
            self.event = {**self.event, "state": State.PREEMPTED.value, "reason": f"replaced by goal {number}"}
            return self._words(self.event)
        return ""

    def _words(self, event: dict[str, Any]) -> str:
        state, note = self.state, f" ({event['note']})" if event.get("note") else ""
        if state is State.ACTIVE:
            step = f"step {event['step']} of {event['of']}: " if event["of"] > 1 else ""
            return f"goal {self.id}: {step}{event['doing']}{note}"
        if state is State.REACHED:
            return f"goal {self.id} reached, judged by: {', '.join(event['evidence'])}"
        reason = f": {event['reason']}" if event.get("reason") else ""
        return f"goal {self.id} {state.value}{reason}"
