"""The many ways to say one thing: hundreds of sentences, each with what must become of it, in the text files beside this one."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from vla_bt.goals.parser import parse
from vla_bt.goals.plan import PlaceGoal, Plan, Rejection, StopGoal, describe

HERE = Path(__file__).parent
_OTHER = {"left": "right", "right": "left"}


def _lines(name: str) -> list[str]:
    return [line for line in (HERE / name).read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


ORDERS = [tuple(line.split(": ", 1)) for line in _lines("paraphrases.txt")]
UNDERSTOOD = [(text, "" if side == "none" else side) for side, text in ORDERS if side != "refused"]
REFUSED = [text for side, text in ORDERS if side == "refused"]
NO_PLACE_GOALS = _lines("no_place_goals.txt")


def read(text: str) -> PlaceGoal | str:
    """Return the only place of the plan (it may end in a stop), or what came instead, in words."""
    outcome = parse(text)
    if isinstance(outcome, Rejection):
        return outcome.reason
    steps = outcome.steps[:-1] if len(outcome.steps) == 2 and isinstance(outcome.steps[-1], StopGoal) else outcome.steps
    return (
        steps[0] if len(steps) == 1 and isinstance(steps[0], PlaceGoal) else "; ".join(describe(step) for step in outcome.steps)
    )


def mirrored(text: str) -> str:
    return re.sub("left|right", lambda found: _OTHER[found.group()], text)


@pytest.mark.parametrize("text, side", UNDERSTOOD)
def test_the_cup_is_reached_on_the_told_side(text: str, side: str) -> None:
    step = read(text)
    assert isinstance(step, PlaceGoal), step
    assert (step.place, step.side) == ("cup", side)


def test_mirrored_sentences_tell_the_other_side() -> None:
    for text, side in UNDERSTOOD:
        if side and "right to the cup" not in text and "right at the cup" not in text:
            step = read(mirrored(text))
            assert isinstance(step, PlaceGoal), f"{mirrored(text)}: {step}"
            assert (step.place, step.side) == ("cup", _OTHER[side]), mirrored(text)


def test_the_policy_is_told_the_persons_own_words() -> None:
    for text, _ in UNDERSTOOD:
        step = read(text)
        assert isinstance(step, PlaceGoal)
        assert step.text in " ".join(text.lower().split()), text


def test_what_is_still_refused_is_never_read_as_another_order() -> None:
    for text in REFUSED:
        assert isinstance(parse(text), Rejection), text


@pytest.mark.parametrize("text", NO_PLACE_GOALS)
def test_nothing_drives_to_the_cup_that_was_not_told_to(text: str) -> None:
    outcome = parse(text)
    if isinstance(outcome, Plan):
        assert all(not isinstance(step, PlaceGoal) or step.place != "cup" for step in outcome.steps), outcome.steps


@pytest.mark.parametrize(
    "text, named",
    [
        ("find love in the cup", "'love'"),
        ("go around the box on the left to nowhere", "'nowhere'"),
        ("go around the box on the left to the moon", "'moon'"),
        ("swing left around the box, ending at the pub", "'pub'"),
        ("go to the cup holder", "'holder'"),
        ("frobnicate the box on the left and go to the cup", "'frobnicate'"),
        ("drive through the box to the cup", "'through' the box"),
        ("go around the box on the left to the", "ends in 'the'"),
        ("go to the of cup", "'the of'"),
        ("avoid the cup", "'avoid' tells no place to go to"),
        ("keep the cup on your right", "'keep' tells no place to go to"),
        ("after reaching the cup, pass the box on the left", "'after' is not understood"),
        ("before passing the box on the left, go to the cup", "'before' is not understood"),
        ("go to the cup in ten minutes", "'minutes': times are not followed"),
        ("should the robot go to the cup", "a question"),
    ],
)
def test_a_refusal_names_the_word(text: str, named: str) -> None:
    outcome = parse(text)
    assert isinstance(outcome, Rejection), outcome
    assert named in outcome.reason


def test_unknown_words_that_are_passed_over_are_said() -> None:
    step = read("moonwalk past the huge box on the right to the cup")
    assert isinstance(step, PlaceGoal)
    assert step.note == "not known and passed over: 'moonwalk'"
    plain = read("go past the huge brown box on the right to the cup")
    assert isinstance(plain, PlaceGoal)
    assert plain.note == ""


@pytest.mark.parametrize(
    "text, places",
    [
        ("turn left at the door and go to the cup", ["door", "cup"]),
        ("go to the cup, then go around the box on the left", ["cup", "box"]),
        ("go to the table and go to the cup", ["table", "cup"]),
        ("go to the cup. Then pass the box on the left and go to the door", ["cup", "door"]),
    ],
)
def test_places_told_in_an_order_stay_steps(text: str, places: list[str]) -> None:
    outcome = parse(text)
    assert isinstance(outcome, Plan)
    assert [step.place for step in outcome.steps if isinstance(step, PlaceGoal)] == places


@pytest.mark.parametrize("text", ["come to a halt", "come to a standstill", "clear off and stop", "once past the box stop"])
def test_coming_to_a_halt_is_stopping(text: str) -> None:
    outcome = parse(text)
    assert isinstance(outcome, Plan)
    assert outcome.is_stop


@pytest.mark.parametrize(
    "text",
    [
        "after passing the " * 27,
        "make sure that you " * 26,
        ", box on your left " * 26,
        "give the box a wide " * 25,
        "your target is the " * 26,
        "zig zag zog " * 41,
        "the left big red cup " * 23,
        "with the box on your " * 23,
    ],
)
def test_endless_phrases_are_answered_at_once(text: str) -> None:
    began = time.thread_time()
    parse(text)
    assert time.thread_time() - began < 0.05
