"""Goal sentences for practice, and the ones kept apart to test with.

Promises: a sentence with a side leads past what stands in the way to the cup; the split into training, validation and test goes
by template (:mod:`vla_bt.train.grammar`), so that a test sentence is put together
as no training sentence is; a refusal leads nowhere.
"""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np

from vla_bt.goals.plan import OTHER_SIDE
from vla_bt.train.grammar import WITH_SIDE, WITHOUT_SIDE, compose, one_of

SPLITS = ("train", "validation", "test")
SHOWN = 40
"""Training templates that :func:`all_sentences` shows; practice draws from all."""

_CARRYING = frozenset(
    re.findall(
        r"\w+",
        "on to keep stay take avoid the leave have with leaving keeping having staying your left right give make bear turn hug"
        " follow taking using hugging from by after while a",
    )
)
"""First words without which a sentence would say something else."""
_SIZES = ("", "", "", "", "", "cardboard", "big", "small", "brown", "large", "tall", "low", "heavy", "grey")
_ONE = ("box", "box", "box", "box", "carton", "obstacle", "crate", "package", "parcel", "object")
_TWO = ("boxes", "boxes", "boxes", "boxes", "cartons", "obstacles", "crates", "packages", "parcels")
_COLOURS = ("", "", "", "", "", "", "red", "white", "blue", "little", "coffee", "green")
_CUP = ("cup", "cup", "cup", "cup", "mug", "mug", "glass", "tumbler", "beaker")
_ELSEWHERE = (
    "go to {n}",
    "drive to {n}",
    "go around {b} on the {s} to {n}",
    "pass {b} on the {s} and go to {n}",
    "approach {n}",
    "find {n}",
    "go to {n} past {b} on the {s}",
    "find {n} in {c}",
    "go past {c} to {n}",
    "go around {c} on the {s} to {n}",
    "pass {c} on the {s} and go to {n}",
    "go to {b}",
    "{c} is to the {s} of {b}",
    "{n} is {s} of {c}",
    "{b} is on the {s}",
    "take {n} {s} past {b}",
    "{n} goes to {c}",
)
_NOUNS = (
    *(
        "the door",
        "the table",
        "the chair",
        "the wall",
        "the bottle",
        "the ball",
        "the window",
        "the plant",
        "the sofa",
        "the moon",
        "nowhere",
    ),
    *(
        "love",
        "the meaning of life",
        "the kitchen",
        "a friend",
        "the dog",
        "the opera",
        "the corner",
        "the dock",
        "the shelf",
        "the fridge",
    ),
    *(
        "happiness",
        "the exit",
        "somewhere",
        "anything",
        "the street",
        "my house",
        "the cat",
        "the sun",
        "water",
        "the bag",
        "the white rabbit",
    ),
)
_NONSENSE = re.findall(
    r"\w+",
    "banana green seven purple happy window music the and yesterday cat house sing blue eat very sky table dream song of why"
    " tomorrow apple cloud tell me about weather left right go cup box on to around colourless ideas sleep furiously",
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
    if not side:
        template = one_of(rng, WITHOUT_SIDE[split])
    else:
        template = compose(rng) if split == "train" else one_of(rng, WITH_SIDE[split])
    return _filled(rng, template, side, boxes)


def all_sentences(side: str, boxes: int, split: str) -> list[str]:
    """Return one sentence of every template, the most usual words filled in; with a side, :data:`SHOWN` of those for training."""
    rng = np.random.default_rng(0)
    with_side = [compose(rng) for _ in range(SHOWN)] if split == "train" else WITH_SIDE[split]
    words = {"b": "the box" if boxes == 1 else "the boxes", "c": "the cup", "s": side, "o": OTHER_SIDE.get(side, "")}
    return [template.format(**words) for template in (with_side if side else WITHOUT_SIDE[split])]


def draw_refusal(rng: np.random.Generator, boxes: int) -> str:
    """Draw words on which to stand still: empty, without meaning, in no order, or about a thing other than the cup."""
    kind, side = rng.random(), "left" if rng.random() < 0.5 else "right"
    if kind < 0.1:
        return ""
    if kind < 0.3:
        return " ".join(str(word) for word in rng.choice(_NONSENSE, int(rng.integers(1, 10))))
    if kind < 0.55:
        return shuffled(rng, draw_sentence(rng, side, boxes))
    named = one_of(rng, _NOUNS) if rng.random() < 0.8 else f"the {_made_up(rng)}"
    return one_of(rng, _ELSEWHERE).format(n=named, b=_boxes(rng, boxes), c=_cup(rng), s=side)


def with_a_strange_word(rng: np.random.Generator, sentence: str) -> str:
    """Return the sentence with a word of its own making in place of the first one, where that only says how to move."""
    first, *others = sentence.split(" ")
    if not others or first in _CARRYING:
        return sentence
    return " ".join([_made_up(rng), *others])


def _made_up(rng: np.random.Generator) -> str:
    letters = rng.choice(list("aeioubcdfglmnprstvw"), int(rng.integers(3, 9)))
    return "".join(str(letter) for letter in letters)


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

    >>> mirrored("go leftwards around the box on the left to the cup")
    'go rightwards around the box on the right to the cup'
    """
    return re.sub(r"\b(left|right)(?=\b|wards?\b)", lambda found: OTHER_SIDE[found.group()], sentence)


def _filled(rng: np.random.Generator, template: str, side: str, boxes: int) -> str:
    return template.format(b=_boxes(rng, boxes), c=_cup(rng), s=side, o=OTHER_SIDE.get(side, ""))


def _boxes(rng: np.random.Generator, boxes: int) -> str:
    article, size = one_of(rng, ("the", "the", "the", "the", "a", "that")), one_of(rng, _SIZES)
    if boxes == 2:
        article = one_of(rng, ("the", "the", "the", "the two", "both", "these"))
    return " ".join(word for word in (article, size, one_of(rng, _ONE if boxes == 1 else _TWO)) if word)


def _cup(rng: np.random.Generator) -> str:
    words = (one_of(rng, ("the", "the", "the", "the", "a", "that", "my")), one_of(rng, _COLOURS), one_of(rng, _CUP))
    return " ".join(word for word in words if word)
