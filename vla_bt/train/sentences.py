"""Goal sentences for practice, and the ones kept apart to test with.

Promises: every sentence is one that the goal parser reads as a single place to reach, on the told side; the split into training,
validation and test goes by template, so that a test sentence is put together as no training sentence is.
"""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np

SPLITS = ("train", "validation", "test")

_WITH_SIDE = {
    "train": (
        "go around {b} on the {s} to {c}",
        "go around {b} on the {s} and stop at {c}",
        "go around {b} on the {s} side to {c}",
        "drive around {b} on the {s} and go to {c}",
        "pass {b} on the {s} and go to {c}",
        "pass {b} on the {s} side and drive to {c}",
        "drive past {b} on the {s} to {c}",
        "move past {b} on the {s} and approach {c}",
        "go to {c}, passing {b} on the {s}",
        "go to {c} past {b} on the {s}",
        "drive to {c} around {b} on the {s}",
        "go to {c} around the {s} side of {b}",
        "take the {s} side of {b} to {c}",
        "avoid {b} on the {s} and reach {c}",
        "circle {b} on the {s} and approach {c}",
        "approach {c}, going around {b} on the {s}",
        "reach {c} by passing {b} on the {s}",
        "travel to {c} on the {s} side of {b}",
        "keep to the {s} of {b} and go to {c}",
        "stay {s} of {b} and go to {c}",
        "go to the {s} of {b} and then to {c}",
        "keep {b} on your {o} and go to {c}",
        "pass to the {s} of {b}, then go to {c}",
        "steer around {b} on the {s} and stop in front of {c}",
        "come to {c} around {b} on the {s}",
        "go {s} around {b} to {c}",
        "find {c}, going around {b} on the {s}",
        "on the {s} side of {b}, drive to {c}",
        "skirt {b} on the {s} and move to {c}",
        "head for {c} and pass {b} on the {s}",
        "walk around {b} on the {s} and stop next to {c}",
        "advance to {c}, avoiding {b} on the {s}",
        "grab {c}, going around {b} on the {s}",
    ),
    "validation": (
        "go round {b} on the {s} to {c}",
        "head to {c}, going past {b} on the {s}",
        "go past the {s} side of {b} to {c}",
        "bypass {b} on the {s} and drive to {c}",
        "roll to {c} keeping {s} of {b}",
        "move on the {s} of {b} towards {c}",
    ),
    "test": (
        "navigate around {b} on the {s} to {c}",
        "drive {s} around {b} to {c}",
        "get to {c} by going round {b} on the {s} side",
        "go along the {s} of {b} and reach {c}",
        "run past {b} on the {s} hand side to {c}",
        "proceed to {c} via the {s} side of {b}",
        "seek {c} passing to the {s} of {b}",
        "locate {c} by driving past {b} on the {s}",
        "pass {b} by the {s} and continue to {c}",
        "go by {b} on the {s} and stop before {c}",
        "fetch {c} around the {s} of {b}",
        "go to {c} {s} of {b}",
    ),
}
_WITHOUT_SIDE = {
    "train": ("go to {c}", "drive to {c}", "go around {b} to {c}", "approach {c}", "move past {b} to {c}", "reach {c}"),
    "validation": ("find {c}", "drive around {b} and go to {c}"),
    "test": ("move towards {c}", "head for {c} behind {b}", "come to {c}"),
}
_COMPOSED = 0.5
"""Share of training sentences that are composed of parts instead of filled into a template."""
_GO = (
    *("go", "go", "go", "drive", "drive", "move", "head", "travel", "roll", "walk", "run", "come", "get", "steer", "advance"),
    *("proceed", "continue", "shift", "slide"),
)
_WAYS = (
    "around {b} on the {s}",
    "around {b} on the {s} side",
    "past {b} on the {s}",
    "past {b} on the {s} side",
    "on the {s} side of {b}",
    "on the {s} of {b}",
    "to the {s} of {b}",
    "around the {s} side of {b}",
    "near {b} on the {s}",
)
_PASSING = ("passing", "avoiding", "going around", "going past", "driving around", "moving past", "circling", "skirting")
_ENDS = (
    *("to {c}", "to {c}", "towards {c}", "up to {c}", "and go to {c}", "and drive to {c}", "and then go to {c}"),
    *("then go to {c}", "then approach {c}", ", then drive to {c}", "and approach {c}", "and reach {c}", "and stop at {c}"),
    *("and find {c}", "until {c}", "and stop in front of {c}", "and come to {c}", "and move to {c}"),
)
_CARRYING = frozenset(("on", "to", "keep", "stay", "take", "avoid", "the"))
"""First words without which a sentence would say something else."""
_BOXES = {
    1: ("the box", "the box", "the box", "the cardboard box", "the carton", "the obstacle", "the crate", "a box", "the package"),
    2: (
        "the boxes",
        "the boxes",
        "the boxes",
        "the two boxes",
        "the cardboard boxes",
        "the obstacles",
        "both boxes",
        "the crates",
    ),
}
_CUPS = ("the cup", "the cup", "the cup", "the cup", "the mug", "the mug", "the glass", "a cup", "that cup", "the tumbler")
_OTHER = {"left": "right", "right": "left"}
_ELSEWHERE = (
    "go to {n}",
    "drive to {n}",
    "go around {b} on the {s} to {n}",
    "pass {b} on the {s} and go to {n}",
    "approach {n}",
    "find {n}",
    "go to {n} past {b} on the {s}",
)
_NOUNS = ("the door", "the table", "the chair", "the wall", "the bottle", "the ball", "the window", "the plant", "the sofa")
_NONSENSE = re.findall(
    r"\w+",
    "banana green seven purple happy window music the and yesterday cat house sing blue eat very sky table dream song of why"
    " tomorrow apple cloud tell me about weather",
)


def draw_sentence(rng: np.random.Generator, side: str, boxes: int, split: str = "train") -> str:
    """Draw a sentence that leads to the cup.

    Parameters
    ----------
    side : str
        ``left``, ``right``, or empty for a sentence that tells none.
    boxes : int
        How many boxes stand in the way, 1 or 2.
    split : str
        One of :data:`SPLITS`.
    """
    if split == "train" and side and rng.random() < _COMPOSED:
        return _filled(rng, _composed(rng), side, boxes)
    return _filled(rng, _one_of(rng, _WITH_SIDE[split] if side else _WITHOUT_SIDE[split]), side, boxes)


def _composed(rng: np.random.Generator) -> str:
    """Put a template together."""
    go, way, end = _one_of(rng, _GO), _one_of(rng, _WAYS), _one_of(rng, _ENDS)
    form = rng.random()
    if form < 0.55:
        return f"{go} {way} {end}".replace(" ,", ",")
    if form < 0.75:
        return f"{go} to {{c}} {_one_of(rng, ('', ','))}".rstrip() + f" {_one_of(rng, _PASSING)} {{b}} on the {{s}}"
    if form < 0.9:
        return f"{go} to {{c}} {_one_of(rng, _WAYS[:4])}"
    return f"{_one_of(rng, ('on the {s} of', 'to the {s} of', 'on the {s} side of'))} {{b}}, {go} to {{c}}"


def _one_of(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(rng.integers(len(choices)))]


def all_sentences(side: str, boxes: int, split: str) -> list[str]:
    """Return one sentence of every template, the most usual words filled in."""
    templates = _WITH_SIDE[split] if side else _WITHOUT_SIDE[split]
    words = {"b": _BOXES[boxes][0], "c": _CUPS[0], "s": side, "o": _OTHER.get(side, "")}
    return [template.format(**words) for template in templates]


def draw_refusal(rng: np.random.Generator, boxes: int) -> str:
    """Draw words on which to stand still: empty, without meaning, in no order, or about a thing other than the cup."""
    kind, side = rng.random(), "left" if rng.random() < 0.5 else "right"
    if kind < 0.15:
        return ""
    if kind < 0.4:
        return " ".join(str(word) for word in rng.choice(_NONSENSE, int(rng.integers(1, 8))))
    if kind < 0.65:
        return shuffled(rng, draw_sentence(rng, side, boxes))
    return _one_of(rng, _ELSEWHERE).format(n=_one_of(rng, _NOUNS), b=_one_of(rng, _BOXES[boxes]), s=side)


def with_a_strange_word(rng: np.random.Generator, sentence: str) -> str:
    """Return the sentence with a word of its own making in place of the first one, where that only says how to move."""
    first, *others = sentence.split(" ")
    if not others or first in _CARRYING:
        return sentence
    letters = rng.choice(list("aeioubcdfglmnprstvw"), int(rng.integers(3, 9)))
    return " ".join(["".join(str(letter) for letter in letters), *others])


def shuffled(rng: np.random.Generator, sentence: str) -> str:
    """Return the words in an order that has next to nothing left of theirs: no more than one pair of neighbours in five stays."""
    words = sentence.replace(",", "").split()
    pairs = set(pairwise(words))
    for _ in range(100):
        order = [words[int(index)] for index in rng.permutation(len(words))]
        if sum(pair in pairs for pair in pairwise(order)) <= len(words) // 5:
            return " ".join(order)
    return " ".join(reversed(words))


def mirrored(sentence: str) -> str:
    """Swap left and right.

    >>> mirrored("go around the box on the left to the cup")
    'go around the box on the right to the cup'
    """
    return re.sub(r"\b(left|right)\b", lambda found: _OTHER[found.group()], sentence)


def _filled(rng: np.random.Generator, template: str, side: str, boxes: int) -> str:
    return template.format(b=_one_of(rng, _BOXES[boxes]), c=_one_of(rng, _CUPS), s=side, o=_OTHER.get(side, ""))
