"""The ladder: which step the memory left calls for, and when a step may be taken back. A pure rule; time comes from outside.

Promises: never a lower level than the memory left calls for; a step is taken back only when there is room for what taking it back
will cost, for ``hold_s`` on end, one step at a time; who had to climb again soon after a return waits twice as long before the
next one. So it can't flap, whatever the memory does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from vla_bt.settings import SettingsError, TreeSettings

LONGEST_HOLD = 16
"""The hold grows to at most so many times ``hold_s``."""

RELAPSE = 10.0
"""Climbing again within so many times ``hold_s`` of a return is a relapse; as long at level 0 forgets them all."""


class Level(IntEnum):
    """The steps, each with all before it in force. ``number`` is what people are told: two steps make up level 3."""

    FINE = 0
    CLEAR = 1  # caches go
    SHORTEN = 2  # recording's queue is short
    INT8 = 3  # the policy's weights are 8-bit
    LAYERS = 4  # and it has fewer layers
    UNLOAD = 5  # there is no policy: autonomy stops, teleop still drives

    @property
    def number(self) -> int:
        """0 to 4, as documented."""
        return (0, 1, 2, 3, 3, 4)[self]

    @property
    def words(self) -> str:
        """For people."""
        return (
            "fine",
            "caches are cleared",
            "recording's queue is short",
            "the policy has 8-bit weights",
            "the policy has 8-bit weights and fewer layers",
            "the policy is unloaded",
        )[self]


NAMES = ("memory_warn_mb", "memory_shorten_mb", "memory_int8_mb", "memory_layers_mb", "memory_critical_mb")
"""The setting of each level's limit, from ``CLEAR`` on."""


@dataclass(frozen=True)
class Limits:
    """The ladder's numbers.

    Attributes
    ----------
    below_mb : tuple of float
        For each level from ``CLEAR`` on: it holds below this much available memory [MB]. Falling.
    room_factor : float
        A level is left only above its limit times this.
    hold_s : float
        For how long there must be room [s].
    """

    below_mb: tuple[float, ...]
    room_factor: float = 1.15
    hold_s: float = 20.0

    def limit_mb(self, level: Level) -> float:
        """Return the available memory below which a level holds [MB]."""
        return math.inf if level is Level.FINE else self.below_mb[level - 1]


def limits_of(settings: TreeSettings) -> Limits:
    """Take the ladder's numbers from the settings.

    Raises
    ------
    SettingsError
        When a deeper level's limit is above an earlier one's.
    """
    values = [getattr(settings, name) for name in NAMES]
    for index in range(1, len(values)):
        if values[index] > values[index - 1]:
            raise SettingsError(
                f"{NAMES[index]} is {values[index]:g}; expected at most {NAMES[index - 1]}, {values[index - 1]:g} [MB]"
            )
    return Limits(tuple(values), settings.memory_room_factor, settings.memory_hold_s)


class Ladder(NamedTuple):
    """Where on the ladder we are.

    Attributes
    ----------
    level : Level
        In force.
    since_s : float
        Since when [s].
    room_since_s : float or None
        Since when there has been room to take one step back [s].
    returned_s : float
        When a step was last taken back [s].
    relapses : int
        How often a return did not last, lately.
    """

    level: Level = Level.FINE
    since_s: float = -math.inf
    room_since_s: float | None = None
    returned_s: float = -math.inf
    relapses: int = 0


def needed(available_mb: float, limits: Limits) -> Level:
    """Return the level that ``available_mb`` calls for by itself; what is no number calls for nothing."""
    return Level(sum(available_mb < limit for limit in limits.below_mb))


def hold_s(ladder: Ladder, limits: Limits) -> float:
    """Return for how long there must be room before the next step back [s]."""
    return limits.hold_s * min(LONGEST_HOLD, 2**ladder.relapses)


def climb(
    ladder: Ladder,
    available_mb: float,
    now_s: float,
    limits: Limits,
    cost_mb: float = 0.0,
    settled: bool = True,
    least: Level = Level.FINE,
) -> Ladder:
    """Move on the ladder: up to what is needed at once, back one step when there is room for long enough.

    Parameters
    ----------
    available_mb : float
        What is left [MB].
    now_s : float
        Any steady clock [s].
    cost_mb : float
        What taking the present level back will take [MB].
    settled : bool
        The present level has had its effect; until then nothing is taken back.
    least : Level
        What somebody asked for: never below this.
    """
    wanted = max(needed(available_mb, limits), least)
    if wanted > ladder.level:
        return _deeper(ladder, wanted, now_s, limits)
    if ladder.level is Level.FINE:
        calm = ladder.relapses and now_s - ladder.since_s > RELAPSE * hold_s(ladder, limits)
        return ladder._replace(relapses=0) if calm else ladder
    room = settled and ladder.level > least and available_mb - cost_mb > limits.limit_mb(ladder.level) * limits.room_factor
    if not room:
        return ladder if ladder.room_since_s is None else ladder._replace(room_since_s=None)
    if ladder.room_since_s is None:
        return ladder._replace(room_since_s=now_s)
    if now_s - ladder.room_since_s < hold_s(ladder, limits):
        return ladder
    return Ladder(Level(ladder.level - 1), now_s, None, now_s, ladder.relapses)


def after_out_of_memory(ladder: Ladder, level: Level, now_s: float, limits: Limits) -> Ladder:
    """Go at least to ``level``: memory ran out although more seemed to be left."""
    if level <= ladder.level:
        return ladder._replace(room_since_s=None, relapses=ladder.relapses + 1)
    return _deeper(ladder, level, now_s, limits)._replace(relapses=ladder.relapses + 1)


def _deeper(ladder: Ladder, level: Level, now_s: float, limits: Limits) -> Ladder:
    again = now_s - ladder.returned_s < RELAPSE * hold_s(ladder, limits)
    return Ladder(level, now_s, None, ladder.returned_s, ladder.relapses + again)
