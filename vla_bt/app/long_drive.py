"""What a person says in hours of driving: goals in ever other words, some changed on the way, some that make no sense.

Promises: one seed, one drive; no clock of its own; a robot that stands is left alone for :data:`BETWEEN_GOALS_S`, so that what
waits for a standing robot has its turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from vla_bt.train.sentences import SPLITS, draw_refusal, draw_sentence

BETWEEN_GOALS_S = 4.0
"""A person needs time for the next goal [s]."""

CHANGE_SHARE = 0.6
"""So many of the goals are changed on the way, and so many of these changes are changed again."""

CHANGE_AFTER_S = (2.0, 12.0)
"""How long a goal that will be changed is let be [s]."""

SIDES = ("left", "left", "left", "right", "")
_OPEN = ("accepted", "active")


class Words(NamedTuple):
    """What to say now, and whether to put the robot back first: at the cup there is nothing to drive."""

    sentence: str
    put_back: bool


class LongDrive:
    """The person.

    Parameters
    ----------
    seed : int
        Of all that is drawn.

    Attributes
    ----------
    told, changed : int
        Sentences said so far, and how many of them while a goal was open.
    sentences : set of str
        The different ones.
    """

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self._closed_s: float | None = None
        self._change_s: float | None = None
        self.told = self.changed = 0
        self.sentences: set[str] = set()

    def look(self, now_s: float, line: Mapping[str, Any]) -> Words | None:
        """Look at the ledger's newest line, empty before the first; returns what to say now, None for nothing."""
        is_open = line.get("state") in _OPEN or bool(line.get("active_id"))
        if is_open:
            self._closed_s = None
            if self._change_s is None or now_s < self._change_s:
                return None
            return self._say(now_s, put_back=False)
        if self._closed_s is None:
            self._closed_s = now_s
        if now_s - self._closed_s <= BETWEEN_GOALS_S:
            return None
        self._closed_s = now_s
        return self._say(now_s, put_back=True)

    def _say(self, now_s: float, put_back: bool) -> Words:
        sentence = self._draw(put_back)
        change = self._rng.random() < CHANGE_SHARE
        self._change_s = now_s + float(self._rng.uniform(*CHANGE_AFTER_S)) if change else None
        self.told += 1
        self.changed += not put_back
        self.sentences.add(sentence)
        return Words(sentence, put_back)

    def _draw(self, first: bool) -> str:
        kind = self._rng.random()
        if not first and kind < 0.1:
            return "stop"
        if kind < 0.2:
            return draw_refusal(self._rng, 1)
        side = SIDES[int(self._rng.integers(len(SIDES)))]
        return draw_sentence(self._rng, side, 1, SPLITS[int(self._rng.integers(len(SPLITS)))])
