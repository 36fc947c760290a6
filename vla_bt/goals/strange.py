"""Words the goal parser does not know, in a sentence about a place: which may be skipped, and which refuse it.

Promises: an adjective of a known thing, an adverb and the verb of a sentence that tells its way in known words may be unknown,
and the sub-goal's note says so. What stands where a thing does ("to nowhere", "find love", "the moon") is named and refused.
"""

from __future__ import annotations

from itertools import pairwise

from vla_bt.goals import vocabulary as v
from vla_bt.goals.motion_words import known_places
from vla_bt.goals.plan import shown
from vla_bt.goals.reading import NotUnderstoodError

_ROLES: frozenset[str] = frozenset().union(
    *(v.PLAIN, v.KNOWN, v.TO, v.VIA, v.GONE, v.SIDES, v.TAKE, v.STOP_SOFT, v.WEAK, v.STRONG, v.SMALL, v.DURATIONS),
    *(v.DIGITS, v.TENS, v.FRACTIONS, v.METRES, v.RADIANS, v.STOP_AT),
)
_BEFORE_THINGS = (
    v.TO
    | v.VIA
    | v.ARM
    | v.DETERMINERS
    | frozenset(("of", "in", "for", "with", "me", "us", "inside", "along", "across", "about"))
)
_WAY_BEGINS = frozenset(("around", "round", "past", "via", "along", "by", "between", "beyond"))
_ONWARDS = frozenset(("over", "up", "on", "along", "across", "down", "back", "out"))
_ENDLESS = frozenset(("to", "the", "of", "a", "an", "toward", "towards", "via", "until"))
_ADJECTIVES = 3
_NO_OWNERS = v.PLACES.keys() | v.MOVE | v.ROAM
_ARTICLES = frozenset(("the", "a", "an", "of"))
_NO_THING = v.words_in("the a an of to toward towards on at from by for around past via until and go drive move please")


def is_strange(word: str) -> bool:
    """Tell whether the word plays no known part."""
    return word.isalpha() and word not in _ROLES and not word.endswith("ly")


def skipped(words: list[str]) -> tuple[list[str], bool]:
    """Return the unknown words that may be skipped, adjectives left out, and whether one of them is the verb.

    Raises
    ------
    NotUnderstoodError
        Naming the word that may not be, or when the words are in no order.
    """
    if words[-1] in _ENDLESS:
        raise NotUnderstoodError(f"ends in '{words[-1]}': something is missing after it")
    for before, word in pairwise(words):
        if before in _ARTICLES and word in _NO_THING and (before, word) not in (("of", "the"), ("of", "a"), ("of", "an")):
            raise NotUnderstoodError(f"'{before} {word}': the words are in no order; say for example 'go to the cup'")
    found: list[str] = []
    verb = False
    at = 0
    while at < len(words):
        if words[at] in v.NOWHERE:
            raise NotUnderstoodError(f"'{words[at]}' is no place; {known_places()}")
        if not is_strange(words[at]):
            at += 1
            continue
        end = at
        while end < len(words) and is_strange(words[end]):
            end += 1
        before = words[at - 1] if at else ","
        if at and words[end : end + 1] and words[end] in v.PLACES and end - at <= _ADJECTIVES and before not in _NO_OWNERS:
            pass  # "the big brown box"
        elif before in v.WEAK or (words[at].endswith("ing") and end == at + 1 and _tells_a_way(words, end)):
            if end > at + 1 or not _tells_a_way(words, end):
                raise NotUnderstoodError(
                    f"'{shown(words[at], 20)}' is not known as a way of moving; say for example 'go to the cup'"
                )
            verb = True
            found.append(words[at])
        elif before in _BEFORE_THINGS or before in v.PLACES or (words[end : end + 1] and words[end] in v.PLACES):
            thing = " ".join(words[at:end])
            raise NotUnderstoodError(f"'{shown(thing, 20)}' is neither a known place nor part of a motion; {known_places()}")
        else:
            found += words[at:end]
        at = end
    return found, verb


def _tells_a_way(words: list[str], at: int) -> bool:
    """Tell whether a verb in front of ``words[at]`` is one of moving: "... left of", "... past the", "... over to the"."""
    first, second, third = (*words[at : at + 3], "", "", "")[:3]
    return (
        first in _WAY_BEGINS
        or first in v.SIDES
        or (first in _ONWARDS and (second in v.TO or second in _WAY_BEGINS))
        or (first in ("to", "on") and (second in v.SIDES or third in v.SIDES))
    )
