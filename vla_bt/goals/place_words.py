"""Words of a place ("around the box on the left to the cup") to what is reached, on which side, and what can't be done there."""

from __future__ import annotations

from dataclasses import dataclass

from vla_bt.goals import vocabulary as v
from vla_bt.goals.motion_words import checked_amount
from vla_bt.goals.reading import NotUnderstoodError, RefusedError, amount_at

NO_ARM = "this robot has no arm: it goes there and leaves things alone"
_ARTICLES = frozenset(("the", "a", "an", "that", "this", "me", "us", "my", "it"))
_GOING = v.MOVE | v.MOVE_ING | v.TURN | v.REACH | v.REACH_ING | v.PASS | v.PASS_ING | v.ARM
_SIDES = frozenset(("left", "right"))


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
    """

    name: str
    side: str
    via_only: bool
    note: str


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
    if "away" in words:
        raise RefusedError("moving away from a thing is not understood; say 'go back 1 m'")
    for at, word in enumerate(words):
        if word in v.HARM and not any(before in v.NEGATIONS for before in words[max(0, at - 4) : at]):
            raise RefusedError(f"'{word}': this robot must not touch or push things; say 'go to the ...'")
    if not follows and not _asks_to_go(words):
        thing = next(word for word in words if word in v.PLACES)
        raise NotUnderstoodError(f"nothing to do is told for '{thing}'; say for example 'go to the {thing}'")
    nouns = _nouns(words, passing and words[0] not in _GOING)
    sides = _sides(words, [at for at, _ in nouns])
    wanted = [at for at, via in nouns if not via]
    target = wanted[-1] if wanted else nouns[-1][0]
    ways = [at for at, via in nouns if via]
    side = next((sides[at] for at in [*ways, *wanted] if at in sides and at != target), sides.get(target, ""))
    return Place(v.PLACES[words[target]], side, not wanted, "; ".join(_notes(words)))


def _asks_to_go(words: list[str]) -> bool:
    if words[0] in v.STOP:
        return len(words) > 1 and words[1] in v.STOP_AT
    return words[0] in v.TO or words[0] in v.VIA or any(word in _GOING for word in words)


def _nouns(words: list[str], via: bool) -> list[tuple[int, bool]]:
    """Return (index, is only on the way) of every known thing."""
    found: list[tuple[int, bool]] = []
    for at, word in enumerate(words):
        before = words[at - 1] if at else ""
        if word in v.PLACES:
            found.append((at, via))
        elif word in v.VIA:
            via = True
        elif (word in v.TO and before not in ("next", "close")) or word in v.ARM:
            via = words[at + 1 : at + 4] in (["the", "left", "of"], ["the", "right", "of"])
        elif word in ("of", "front") and _SIDES & set(words[max(0, at - 3) : at]):
            via = True
    return found


def _sides(words: list[str], nouns: list[int]) -> dict[int, str]:
    """Return the side told for each thing: 'left of the box' looks ahead, 'the box on the left' looks back."""
    told: dict[int, str] = {}
    for at, word in enumerate(words):
        after = words[at + 1] if at + 1 < len(words) else ""
        if word not in _SIDES or after in v.PLACES:  # "the right box" says which box, not which side
            continue
        behind = [noun for noun in nouns if noun < at]
        ahead = [noun for noun in nouns if noun > at]
        looks_ahead = "of" in words[at + 1 : at + 4] and ahead
        noun = ahead[0] if looks_ahead or not behind else behind[-1]
        if words[at - 1] == "your" and noun < at and {"keep", "keeping", "have", "having"} & set(words[:noun]):
            word = "right" if word == "left" else "left"  # who keeps the box on the right passes it on the left
        if told.setdefault(noun, word) != word:
            raise RefusedError(f"both left and right of '{words[noun]}'; say one side")
    return told


def _notes(words: list[str]) -> list[str]:
    notes = []
    if any(_uses_arm(words, at) for at in range(len(words))):
        notes.append(NO_ARM)
    at = 0
    while at < len(words):
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
