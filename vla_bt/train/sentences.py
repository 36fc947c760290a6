"""Goal sentences for practice, and the ones kept apart to test with.

Promises: every sentence is one that the goal parser reads as a single place to reach, on the told side; the split into training,
validation and test goes by template, so that a test sentence is put together as no training sentence is.
"""

from __future__ import annotations

import re

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
_BOXES = {
    1: ("the box", "the box", "the box", "the cardboard box", "the carton", "the obstacle"),
    2: ("the boxes", "the boxes", "the boxes", "the two boxes", "the cardboard boxes", "the obstacles"),
}
_CUPS = ("the cup", "the cup", "the cup", "the cup", "the mug")
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
    templates = _WITH_SIDE[split] if side else _WITHOUT_SIDE[split]
    return _filled(rng, templates[int(rng.integers(len(templates)))], side, boxes)


def all_sentences(side: str, boxes: int, split: str) -> list[str]:
    """Return one sentence of every template, the most usual words filled in."""
    templates = _WITH_SIDE[split] if side else _WITHOUT_SIDE[split]
    words = {"b": _BOXES[boxes][0], "c": _CUPS[0], "s": side, "o": _OTHER.get(side, "")}
    return [template.format(**words) for template in templates]


def draw_refusal(rng: np.random.Generator, boxes: int) -> str:
    """Draw words on which to stand still: empty, without meaning, or about a thing other than the cup."""
    kind = rng.random()
    if kind < 0.2:
        return ""
    if kind < 0.5:
        return " ".join(str(word) for word in rng.choice(_NONSENSE, int(rng.integers(1, 8))))
    template = _ELSEWHERE[int(rng.integers(len(_ELSEWHERE)))]
    noun = _NOUNS[int(rng.integers(len(_NOUNS)))]
    side = "left" if rng.random() < 0.5 else "right"
    return template.format(n=noun, b=_BOXES[boxes][int(rng.integers(len(_BOXES[boxes])))], s=side)


def mirrored(sentence: str) -> str:
    """Swap left and right.

    >>> mirrored("go around the box on the left to the cup")
    'go around the box on the right to the cup'
    """
    return re.sub(r"\b(left|right)\b", lambda found: _OTHER[found.group()], sentence)


def _filled(rng: np.random.Generator, template: str, side: str, boxes: int) -> str:
    box, cup = _BOXES[boxes][int(rng.integers(6))], _CUPS[int(rng.integers(5))]
    return template.format(b=box, c=cup, s=side, o=_OTHER.get(side, ""))
