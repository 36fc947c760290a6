"""Templates of goal sentences, put together from parts: the language that practice is drawn from, and the templates kept apart.

Promises: ``{b}`` stands for what is passed, ``{c}`` for the cup, ``{s}`` for the side to pass on and ``{o}`` for the other one,
where the box then is. Every template kept apart holds a pair of neighbouring words, the sentence's first word left out, that no
composed template holds: the pieces named :data:`KEPT_APART` are thrown out.
"""

from __future__ import annotations

import numpy as np


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|"))


WITH_SIDE = {
    "validation": (
        "go past the {s} side of {b} to {c}",
        "head to {c} and get by {b} on the {s}",
        "drive round the {s} flank of {b} to {c}",
        "roll to {c} keeping {s} of {b}",
    ),
    "test": (
        "get to {c} by rounding {b} on the {s}",
        "proceed to {c} via the {s} side of {b}",
        "go along the {s} of {b} and reach {c}",
        "run past {b} on the {s} hand side to {c}",
        "go around {b} on the {s}, ending at {c}",
        "make a detour on the {s} of {b} to {c}",
        "go to {c} and bypass {b} on the {s}",
        "move over to {c}, passing {b} on the {s}",
        "drive to {c}, steering around {b} on the {s}",
        "take the {s} route around {b} to {c}",
        "go past {b} on the {s}, afterwards go to {c}",
        "go by {b} on the {s} and finish at {c}",
        "go to the {s} of {b} and from there to {c}",
        "with {b} to your {o}, drive to {c}",
        "drive up beside {c}, going around {b} on the {s}",
        "choose the {s} side of {b} on the way to {c}",
        "go to {c} and use the {s} side of {b}",
        "go to {c} but go around {b} on the {s}",
        "go round the {s} edge of {b} to {c}",
        "pass {b} on the {s} as you head to {c}",
        "go {s} of {b} until you are at {c}",
    ),
}
"""Kept apart: validation for the trainer, test for the evaluation's paraphrases."""
WITHOUT_SIDE = {
    "train": (
        "go to {c}",
        "drive to {c}",
        "go around {b} to {c}",
        "approach {c}",
        "move past {b} to {c}",
        "reach {c}",
        "get to {c}",
    ),
    "validation": ("find {c}", "drive around {b} and go to {c}"),
    "test": ("move towards {c}", "head for {c} behind {b}", "come to {c}"),
}
KEPT_APART = _listed(
    "past the | get by | flank | keeping {s} | rounding | via the | along the | hand side | ending at | detour | bypass | "
    "over to | steering | route | afterwards | finish | from there | to your | beside | the way | use the | but go | edge | "
    "as you | you are"
)
_GO = _listed(
    "go | go | go | go | drive | drive | drive | move | move | head | travel | roll | walk | run | come | get | steer | "
    "advance | proceed | continue | shift | slide | navigate | make your way | find your way | carry on | keep going | veer "
    "| swing | curve | loop | cut | work your way | take yourself | bring yourself | drive yourself"
)
_GOING = _listed("going | driving | moving | heading | travelling | rolling | walking | navigating | running | veering")
_PASS = _listed(
    "pass | pass | avoid | circle | skirt | round | dodge | clear | get past | go past | get around | go around | drive "
    "around | drive past | move past | walk around | steer around | evade | sidestep | pass by | move around | curve around "
    "| go round"
)
_PASSING = _listed(
    "passing | passing | avoiding | going around | going past | driving around | moving past | circling | skirting | "
    "dodging | clearing | moving around | evading | getting around | curving around | driving past | going round"
)
_AROUND = _listed("around | around | around | round | past | past")
_ON_SIDE = _listed(
    "on the {s} | on the {s} | on the {s} | on the {s} side | on the {s}-hand side | on its {s} | on its {s} side | from "
    "the {s} | to the {s} | at the {s} | on your {s} | on the {s} of it | by the {s}"
)
_SIDE_OF = _listed(
    "on the {s} side of {b} | on the {s} of {b} | to the {s} of {b} | to the {s} side of {b} | {s} of {b} | around the {s} "
    "side of {b} | around the {s} of {b} | round the {s} side of {b} | {s} around {b} | {s} round {b} | {s}wards around {b} | by "
    "way of the {s} side of {b} | to the {s} around {b} | on the {s}-hand side of {b} | near {b} on the {s} | through the "
    "{s} side of {b} | at the {s} of {b} | down the {s} side of {b} | up the {s} side of {b} | close to the {s} side of {b} "
    "| just {s} of {b} | towards the {s} of {b} | {s} past {b}"
)
_KEEP = _listed(
    "keep {b} on your {o} | keep {b} on the {o} | leave {b} on your {o} | leave {b} on the {o} | have {b} on your {o} | "
    "keep {s} of {b} | keep to the {s} of {b} | keep to the {s} side of {b} | stay {s} of {b} | stay on the {s} of {b} | "
    "stay on the {s} side of {b} | stay to the {s} of {b} | take the {s} side of {b} | take the {s} way around {b} | hug "
    "the {s} side of {b} | keep {b} at your {o} | follow the {s} side of {b} | take the path {s} of {b} | take the {s} path "
    "around {b} | bear {s} at {b} | turn {s} at {b} | veer {s} at {b} | swing {s} around {b} | leave {b} to the {o} | give "
    "{b} a wide berth on the {s} | make a {s} around {b} | take a {s} around {b} | keep {b} to the {o} of you | keep {b} on "
    "your {o} side | leave {b} at the {o}"
)
_KEEPING = _listed(
    "keeping {b} on your {o} | leaving {b} on your {o} | leaving {b} on the {o} | with {b} on your {o} | with {b} on the "
    "{o} | staying {s} of {b} | staying on the {s} side of {b} | taking the {s} side of {b} | keeping {b} on the {o} | "
    "having {b} on your {o} | keeping to the {s} of {b} | using the {s} side of {b} | hugging the {s} side of {b} | staying "
    "to the {s} of {b} | with {b} at your {o} | while passing {b} on the {s} | while keeping {b} on your {o}"
)
_TO = _listed("to {c} | to {c} | to {c} | towards {c} | up to {c} | toward {c} | straight to {c} | over towards {c}")
_REACH = _listed(
    "go to {c} | go to {c} | drive to {c} | move to {c} | head to {c} | head for {c} | approach {c} | reach {c} | find {c} "
    "| stop at {c} | stop in front of {c} | stop near {c} | stop by {c} | stop next to {c} | stop before {c} | come to {c} "
    "| get to {c} | continue to {c} | carry on to {c} | proceed to {c} | halt at {c} | park at {c} | park by {c} | pull up "
    "at {c} | end up at {c} | drive up to {c} | go up to {c} | roll up to {c} | make for {c} | aim for {c} | travel to {c} "
    "| arrive at {c} | come to rest at {c} | come up to {c} | grab {c} | fetch {c} | get {c} | seek {c} | locate {c} | "
    "visit {c} | navigate to {c} | go straight to {c} | make your way to {c} | keep going to {c} | advance to {c} | walk to "
    "{c} | steer to {c} | run to {c}"
)
_REACHING = _listed(
    "reaching {c} | approaching {c} | stopping at {c} | arriving at {c} | heading to {c} | going to {c} | driving to {c}"
)
_UNTIL = _listed(
    "until {c} | till {c} | until you reach {c} | till you get to {c} | until you get to {c} | till you reach {c} | before "
    "stopping at {c}"
)
_TARGET = _listed(
    "{c} is your target | {c} is your goal | your destination is {c} | your goal is {c} | your target is {c} | the goal is {c}"
)
_POLITE = _listed(
    "please | please | could you | can you | would you please | i want you to | i'd like you to | now | ok robot , | robot "
    ", | can you please | kindly | let's | you should | try to | you need to | hey robot , | carefully | slowly"
)
_LATER = _listed("please | now | slowly | carefully | for me | thanks")
_THEN = (
    "and",
    "and",
    "and",
    "and then",
    "then",
    ", then",
    ",",
    ", and",
    ", and then",
    ", after that",
    ". then",
    ";",
    "before you",
    "to",
)
"""Between passing and reaching. Listed twice is drawn twice as often."""


def one_of(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    """Return one of the choices."""
    return choices[int(rng.integers(len(choices)))]


def compose(rng: np.random.Generator) -> str:
    """Put a template with a side together; none of those kept apart can come out."""
    while True:
        made = _tidy(_composed(rng))
        if rng.random() < 0.2:
            made = f"{one_of(rng, _POLITE)} {made}".replace(" ,", ",")
        if rng.random() < 0.07:
            made = f"{made} {one_of(rng, _LATER)}"
        if not any(f" {piece} " in f" {made.replace(',', '').replace(';', '').replace('.', '')} " for piece in KEPT_APART):
            return made


def _tidy(template: str) -> str:
    for mark in ",;.":
        template = template.replace(f" {mark}", mark)
    return template


def _way(rng: np.random.Generator) -> str:
    form = rng.random()
    if form < 0.5:
        return f"{one_of(rng, _AROUND)} {{b}} {one_of(rng, _ON_SIDE)}"
    return one_of(rng, _SIDE_OF)


def _passes(rng: np.random.Generator) -> str:
    if rng.random() < 0.55:
        return f"{one_of(rng, _PASS)} {{b}} {one_of(rng, _ON_SIDE)}"
    return one_of(rng, _KEEP)


def _passes_on(rng: np.random.Generator) -> str:
    form = rng.random()
    if form < 0.45:
        return f"{one_of(rng, ('', '', '', 'by '))}{one_of(rng, _PASSING)} {{b}} {one_of(rng, _ON_SIDE)}"
    if form < 0.6:
        return f"{one_of(rng, _GOING)} {_way(rng)}"
    return one_of(rng, _KEEPING)


def _composed(rng: np.random.Generator) -> str:
    go, form = one_of(rng, _GO), rng.random()
    if form < 0.2:
        return f"{go} {_way(rng)} {one_of(rng, _TO)}"
    if form < 0.35:
        return f"{go} {_way(rng)} {one_of(rng, _THEN)} {one_of(rng, _REACH)}"
    if form < 0.5:
        return f"{_passes(rng)} {one_of(rng, _THEN)} {one_of(rng, _REACH)}"
    if form < 0.55:
        return f"{_passes(rng)} {one_of(rng, _TO)}"
    if form < 0.6:
        return f"{one_of(rng, (f'{go} {_way(rng)}', _passes(rng)))} {one_of(rng, _UNTIL)}"
    if form < 0.7:
        return f"{one_of(rng, _REACH)} {_way(rng)}"
    if form < 0.84:
        return f"{one_of(rng, _REACH)}{one_of(rng, ('', ','))} {_passes_on(rng)}"
    if form < 0.88:
        return f"{_way(rng)}, {one_of(rng, _REACH)}"
    if form < 0.91:
        return f"{one_of(rng, ('', 'after ', 'by '))}{one_of(rng, _PASSING)} {{b}} {one_of(rng, _ON_SIDE)}, {one_of(rng, _REACH)}"
    if form < 0.95:
        return f"{one_of(rng, _REACH)}{one_of(rng, (', but', ' and', ';', '.', ', and', ' but'))} {_passes(rng)}"
    if form < 0.97:
        return f"{one_of(rng, _TARGET)}{one_of(rng, (',', ';', '.', ' and'))} {_passes(rng)}"
    return f"{go} {_way(rng)}{one_of(rng, (',', ''))} {one_of(rng, _REACHING)}"
