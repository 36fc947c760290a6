"""Words of a place ("around the box on the left to the cup") to what is reached, on which side, and what can't be done there."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from vla_bt.goals import vocabulary as v
from vla_bt.goals.motion_words import checked_amount
from vla_bt.goals.plan import shown
from vla_bt.goals.reading import NotUnderstoodError, RefusedError, amount_at, number_at
from vla_bt.goals.strange import is_strange, skipped

NO_ARM = "this robot has no arm: it goes there and leaves things alone"
_ARTICLES = frozenset(("the", "a", "an", "that", "this", "me", "us", "my", "it"))
_GOING = (
    v.MOVE | v.MOVE_ING | v.ROAM | v.TURN | v.REACH | v.REACH_ING | v.ARRIVE | v.PASS | v.PASS_ING | v.GONE | v.ARM | {"remains"}
)
_ALONG = frozenset(("along", "up", "down"))
_IS = frozenset(("is", "are", "was", "were", "has", "had"))
_NO_INSIDE = v.SIDES.keys() | v.TO | v.VIA | v.STOP_AT
_SELVES = frozenset(("you", "yourself", "it", "them"))
_SHOWN_STRANGE = 3


@dataclass(frozen=True)
class Place:
    """What a clause says of a place.

    Attributes
    ----------
    name : str
        The thing to reach.
    side : str
        ``left``, ``right`` or empty.
    via_only : bool
        The clause names only a way (past, around), no destination.
    note : str
        What the person should know.
    lost : str
        Of a clause that names only a way: why it can't be followed alone, empty when it can.
    """

    name: str
    side: str
    via_only: bool
    note: str
    lost: str = ""


def read_place(words: list[str], follows: bool, passing: bool) -> Place:
    """Read a clause that names at least one known thing.

    Parameters
    ----------
    words : list of str
        Tokens of one clause.
    follows : bool
        It follows another clause: "... then the door" needs no verb.
    passing : bool
        The clause before named only a way: "... then the second box" is passed too.

    Raises
    ------
    NotUnderstoodError, RefusedError
        With the reason.
    """
    _refuse_harm(words)
    strange, strange_verb = skipped(words)
    if not follows and not strange_verb and not _asks_to_go(words):
        thing = next(word for word in words if word in v.PLACES)
        raise NotUnderstoodError(f"nothing to do is told for '{thing}'; say for example 'go to the {thing}'")
    nouns = _nouns(words, passing and words[0] not in _GOING)
    sides = _sides(words, [at for at, _ in nouns])
    wanted = [at for at, via in nouns if not via]
    target = wanted[-1] if wanted else nouns[-1][0]
    if wanted and v.PLACES[words[target]] == "object" and words[target - 1] in ("that", "this", "those", "these"):
        pointed = f"{words[target - 1]} {words[target]}"
        raise NotUnderstoodError(f"'{pointed}' doesn't tell which thing is meant; name it, as in 'go to the cup'")
    ways = [at for at, via in nouns if via]
    side = next((sides[at] for at in [*ways, *wanted] if at in sides and at != target), sides.get(target, ""))
    lost = "" if wanted else _lost(words, target, strange)
    return Place(v.PLACES[words[target]], side, not wanted, "; ".join(_notes(words, strange)), lost)


def _refuse_harm(words: list[str]) -> None:
    if "away" in words or any(pair in (("back", "from"), ("back", "on")) for pair in pairwise(words)):
        raise RefusedError("moving away from a thing is not understood; say 'go back 1 m'")
    for at, word in enumerate(words):
        if word in v.HARM and not any(before in v.NEGATIONS or before in v.WARD_OFF for before in words[max(0, at - 4) : at]):
            raise RefusedError(f"'{word}': this robot must not touch or push things; say 'go to the ...'")
        if word in v.INSIDE:
            follows = (other for other in words[at + 1 : at + 5] if other in v.PLACES or other in _NO_INSIDE)
            thing = next(follows, "")
            if thing in v.PLACES and v.PLACES[thing] not in v.OPEN:
                raise RefusedError(f"'{word}' the {thing}: this robot goes around things; say 'go to the {thing}'")


def _asks_to_go(words: list[str]) -> bool:
    first = words[0]
    if first in v.STOP:
        return len(words) > 1 and words[1] in v.STOP_AT
    if first in ("wait", "pause"):
        return len(words) > 1 and words[1] in v.STOP_AT
    if first in v.DETERMINERS and any(word in _IS for word in words):
        return False
    if first in v.TAKE or first in _ALONG:
        return any(word in v.SIDES for word in words[1:8]) or first in v.ARM
    return first in v.TO or first in v.VIA or first in v.SIDES or first == "enroute" or any(word in _GOING for word in words)


def _lost(words: list[str], target: int, strange: list[str]) -> str:
    """Return why a clause without a destination is no goal of its own: it says what to keep off or aside, not where to go."""
    holder = next((word for word in words[:target] if word in v.WARD_OFF or word in v.HOLD), "")
    beside = holder in ("keep", "keeping") and any(word in v.SIDES for word in words[:target])  # "keep left of the box"
    if strange or (holder and not beside):
        return f"'{strange[0] if strange else holder}' tells no place to go to; say for example 'go to the {words[target]}'"
    return ""


def _nouns(words: list[str], via: bool) -> list[tuple[int, bool]]:
    """Return (index, is only on the way) of every known thing."""
    found: list[tuple[int, bool]] = []
    arriving = words[0] in v.STOP or words[0] in v.STOP_SOFT
    for at, word in enumerate(words):
        before = words[at - 1] if at else ""
        if word in v.PLACES:
            found.append((at, via))
            arriving = False
        elif word == "remains" and found:
            found[-1] = (found[-1][0], True)  # "the box should be on your right"
        elif (
            word in v.ARRIVE
            or word in v.STOP
            or (word in ("up", "over") and words[at + 1 : at + 2] and words[at + 1] in v.STOP_AT)
        ):
            via, arriving = False, True  # "stop by", "drive up beside"
        elif word == "at" and before in v.SIDES and (_in_the_way(words, at) or not v.TURN & set(words[:at])):
            via = True  # "bear left at the box", but "turn left at the door"
        elif word in v.VIA:
            via = not arriving or word not in v.STOP_AT
        elif (word in v.TO and before not in ("next", "close")) or word in v.ARM:
            via = words[at + 1 : at + 4] in (["the", "left", "of"], ["the", "right", "of"])
        elif word in ("of", "front") and any(side in v.SIDES for side in words[max(0, at - 3) : at]):
            via = True
    return found


def _in_the_way(words: list[str], at: int) -> bool:
    """Tell whether the next thing named is one that stands in the way."""
    thing = next((word for word in words[at:] if word in v.PLACES), "")
    return v.PLACES.get(thing) in ("box", "object")


def _sides(words: list[str], nouns: list[int]) -> dict[int, str]:
    """Return the side told for each thing: 'left of the box' looks ahead, 'the box on the left' looks back."""
    told: dict[int, str] = {}
    for at, word in enumerate(words):
        if word not in v.SIDES or _says_which(words, at):
            continue
        side = v.SIDES[word]
        behind = [noun for noun in nouns if noun < at]
        ahead = [noun for noun in nouns if noun > at]
        of = next((index for index in range(at + 1, min(at + 4, len(words))) if words[index] == "of"), 0)
        looks_ahead = of and ahead and words[of + 1] not in _SELVES
        noun = ahead[0] if looks_ahead or not behind else behind[-1]
        if not looks_ahead and _held(words, at):
            side = "right" if side == "left" else "left"
        if told.setdefault(noun, side) != side:
            raise RefusedError(f"both left and right of '{words[noun]}'; say one side")
    return told


def _says_which(words: list[str], at: int) -> bool:
    """Tell whether this is "the right box", "the left brown box": which one, not which side."""
    end = at + 1
    while end < len(words) and end < at + 4 and is_strange(words[end]):
        end += 1
    return end < len(words) and words[end] in v.PLACES


def _held(words: list[str], at: int) -> bool:
    """Tell whether the thing is kept, had or left on this side ("with the box on your right"), and so passed on the other."""
    start, thing = at - 1, False
    while start >= 0:
        word = words[start]
        if word in v.PLACES or word in v.PRONOUNS:
            thing = True
        elif word in ("remains", "kept"):
            return True
        elif word in v.HOLD:
            return thing
        elif (
            word == "its"
            or word in v.SIDES
            or (word not in ("on", "to", "at") and (word in v.TO or word in v.VIA or word in _GOING))
        ):
            return False
        start -= 1
    return False


def _notes(words: list[str], strange: list[str]) -> list[str]:
    notes = []
    if strange:
        named = ", ".join(f"'{shown(word, 20)}'" for word in strange[:_SHOWN_STRANGE])
        notes.append(f"not known and passed over: {named}{' and others' if len(strange) > _SHOWN_STRANGE else ''}")
    if any(_uses_arm(words, at) for at in range(len(words))):
        notes.append(NO_ARM)
    at = 0
    while at < len(words):
        if words[at] in v.DURATIONS and at and number_at(words, at - 1) is not None:
            raise RefusedError(f"'{words[at]}': times are not followed; say only where to go")
        figure = amount_at(words, at)
        if figure is not None and figure.unit:
            checked_amount(figure, figure.unit == "rad")
            notes.append("the figure is left to the policy: at a place nothing is measured")
        at = figure.end if figure is not None else at + 1
    return list(dict.fromkeys(notes))


def _uses_arm(words: list[str], at: int) -> bool:
    word, after = words[at], words[at + 1 : at + 2]
    if word not in v.ARM or (at and words[at - 1] not in ("and", "to", "then", ",", "you", "it", ".")):
        return False
    if word in ("get", "bring", "take", "carry") and set(words[at + 1 : at + 3]) & {"me", "us", "yourself"}:
        return "to" not in words[at + 1 : at + 4] and "towards" not in words[at + 1 : at + 4]
    if word in ("get", "close"):
        return after != [] and after[0] in _ARTICLES
    return True
