"""Words of a measured motion ("turn left 90 degrees", "half a metre back") to a sub-goal.

Promises: strict. A word that has no part in a motion refuses the whole, so that no misheard figure is driven.
"""

from __future__ import annotations

import math

from vla_bt.goals import vocabulary as v
from vla_bt.goals.plan import Motion, MotionGoal, shown
from vla_bt.goals.reading import Amount, NotUnderstoodError, RefusedError, amount_at

TURNED = {Motion.LEFT: Motion.TURN_LEFT, Motion.RIGHT: Motion.TURN_RIGHT}
TURN_ROUND = frozenset(("around", "round", "back", "about", "uturn"))


def read_motion(words: list[str], turning_before: bool) -> MotionGoal:
    """Read one motion.

    Parameters
    ----------
    words : list of str
        Tokens of one clause, not empty.
    turning_before : bool
        The clause before was a turn: a bare "then right" goes on turning.

    Raises
    ------
    NotUnderstoodError, RefusedError
        With the reason.
    """
    turning = any(word in v.TURN or word in v.TURN_ING for word in words) or "uturn" in words
    moving = any(word in v.MOVE or word in v.MOVE_ING for word in words)
    taking = words[0] in v.TAKE
    directions, amount, small, around = [], None, False, False
    at = 0
    while at < len(words):
        word = words[at]
        figure = amount_at(words, at)
        if word == "minus":
            raise RefusedError("a negative figure; name the opposite direction instead, such as 'go back 1 m'")
        if word[0].isdigit() and figure is None:
            raise RefusedError(f"the figure '{shown(word)}' is not clear; write it as 1.5")
        if figure is not None:
            if amount is not None:
                raise RefusedError("two figures for one motion; say the steps in order with 'then'")
            amount, at = figure, figure.end
            continue
        if word in v.DURATIONS:
            raise RefusedError(f"'{word}': times are not followed; say a distance in m or an angle in degrees")
        if word in v.DIRECTIONS and not (turning and word == "back"):
            directions.append(v.DIRECTIONS[word])
        elif word in TURN_ROUND and (turning or word == "uturn"):
            around = True
        elif word in v.SMALL:
            small = True
        elif word == "turn" and taking:
            turning = True
        elif not _plays_a_part(words, at, moving or turning, taking):
            raise NotUnderstoodError(f"'{shown(word, 20)}' is neither a known place nor part of a motion; {known_places()}")
        at += 1
    bare = turning_before and not moving and all(direction in TURNED for direction in directions)
    turning = (
        turning or taking or (bare and (amount is None or amount.unit != "m")) or (amount is not None and amount.unit == "rad")
    )
    return _motion_of(words, directions, amount, small, around, turning)


def _plays_a_part(words: list[str], at: int, has_verb: bool, taking: bool) -> bool:
    word = words[at]
    if word in v.MOVE or word in v.MOVE_ING or word in v.TURN or word in v.TURN_ING:
        return True
    if word == "keep":
        return at + 1 < len(words) and (words[at + 1] in v.MOVE_ING or words[at + 1] in v.TURN_ING)
    return (taking and at == 0) or (word in v.MOTION_FILL and (has_verb or at > 0 or word in ("to", "straight", "a", "in", "by")))


def _motion_of(
    words: list[str], directions: list[Motion], amount: Amount | None, small: bool, around: bool, turning: bool
) -> MotionGoal:
    different = list(dict.fromkeys(directions))
    notes = []
    if len(different) > 1:
        raise RefusedError(f"both {different[0].value} and {different[1].value} at once; say the steps in order with 'then'")
    if different:
        direction = TURNED.get(different[0], different[0]) if turning else different[0]
    elif turning and around:
        if amount is not None:
            raise RefusedError("no side told for the turn; say left or right")
        full = "spin" in words or "spinning" in words
        angle = 2 * math.pi if full else math.pi
        return MotionGoal(Motion.TURN_LEFT, angle, "read as a turn to the left")
    elif turning:
        raise NotUnderstoodError("no side told for the turn; say left or right")
    elif "straight" in words or amount is not None:
        direction = Motion.FORWARD
        notes += [] if "straight" in words else ["no direction told: forward"]
    else:
        raise NotUnderstoodError(f"no direction or place told; say for example 'go forward 1 m'; {known_places()}")
    if turning and not direction.is_turn:
        raise RefusedError(f"a turn can't be {direction.value}; say 'turn left' or 'turn right'")
    if amount is None:
        share = 0.5 if small else 1.0
        value = share * (v.DEFAULT_ANGLE_RAD if direction.is_turn else v.DEFAULT_DISTANCE_M)
        figure = f"{math.degrees(value):g} deg" if direction.is_turn else f"{value:g} m"
        notes.append(f"no {'angle' if direction.is_turn else 'distance'} told: {figure}")
        return MotionGoal(direction, value, "; ".join(notes))
    return MotionGoal(direction, checked_amount(amount, direction.is_turn), "; ".join(notes))


def checked_amount(amount: Amount, is_turn: bool) -> float:
    """Return the figure in m or rad, refusing a wrong unit and what is too small or too large to be meant."""
    value = amount.value
    if is_turn:
        if amount.unit == "m":
            raise RefusedError("a turn needs an angle in degrees, not a distance")
        value = value if amount.unit else math.radians(value)
        if not v.MIN_ANGLE_RAD <= value <= v.MAX_ANGLE_RAD:
            low, high = math.degrees(v.MIN_ANGLE_RAD), math.degrees(v.MAX_ANGLE_RAD)
            raise RefusedError(f"an angle of {math.degrees(value):g} degrees; expected {low:g} to {high:g}")
        return value
    if amount.unit == "rad":
        raise RefusedError("a distance is told in degrees; expected metres or centimetres")
    if not amount.unit:
        raise RefusedError(f"no unit after {value:g}; say for example '{value:g} m' or '{value:g} cm'")
    if not v.MIN_DISTANCE_M <= value <= v.MAX_DISTANCE_M:
        raise RefusedError(f"a distance of {value:g} m; expected {v.MIN_DISTANCE_M:g} to {v.MAX_DISTANCE_M:g} m")
    return value


def known_places() -> str:
    """Name some places that can be gone to."""
    return f"known places: {', '.join(list(dict.fromkeys(v.PLACES.values()))[:7])}, ..."
