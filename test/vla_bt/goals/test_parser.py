"""What people say and what the robot makes of it; whatever they say, it answers quickly and never raises."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_bt.goals import vocabulary
from vla_bt.goals.parser import MAX_STEPS, parse
from vla_bt.goals.plan import Motion, MotionGoal, PlaceGoal, Plan, Rejection, StopGoal, describe

RIGHT_ANGLE = math.pi / 2


def steps(text: str | bytes) -> tuple[MotionGoal | PlaceGoal | StopGoal, ...]:
    outcome = parse(text)
    assert isinstance(outcome, Plan), f"{text!r} was rejected: {outcome.reason}"
    return outcome.steps


def motions(text: str) -> list[tuple[Motion, object]]:
    found = steps(text)
    assert all(isinstance(step, MotionGoal) for step in found), found
    return [(step.motion, pytest.approx(step.amount)) for step in found if isinstance(step, MotionGoal)]


def place(text: str) -> PlaceGoal:
    (step,) = steps(text)
    assert isinstance(step, PlaceGoal), step
    return step


# fmt: off
STOPS = [
    "stop", "STOP", "Stop!", "STOP!!!", "stop now", "please stop", "stop the robot", "Stop, now!", "halt", "freeze", "HALT!",
    "emergency stop", "e-stop", "stop moving", "stop immediately", "stop right there", "stop right now", "stop it", "wait",
    "wait!", "hold on", "stand still", "stay where you are", "cancel", "abort", "no", "No!", "whoa", "stooooop", "STOPPP",
    "stopp", "stop stop stop", "robot, stop", "okay stop now please", "  stop  ", "stop.", "¡stop!", '"stop"', "stop\x00",
    "don't move", "do not move", "don't go forward", "never go to the cup", "no, go left", "don't", "never mind",
    "do not touch the box", "stop you will hit the box", "stop, there's a box", "stop going to the cup", "asdf stop",
    "if you see a box stop", "stop 杯子",
]
# fmt: on


@pytest.mark.parametrize("text", STOPS)
def test_stop_always_works(text: str) -> None:
    assert [step.kind for step in steps(text)] == ["stop"]


def test_stop_works_in_bytes_and_in_front_of_anything() -> None:
    for text in (b"stop", b"stop\xff\xfe", b"STOP " * 3000, "stop " * 3000, "stop " + "x" * 100_000):
        assert [step.kind for step in steps(text)] == ["stop"]


@pytest.mark.parametrize("text", ["don't stop", "do not stop", "never stop", "don't ever halt"])
def test_asking_not_to_stop_changes_nothing(text: str) -> None:
    outcome = parse(text)
    assert isinstance(outcome, Rejection)
    assert "not to stop" in outcome.reason


@pytest.mark.parametrize(
    "text, expected",
    [
        ("go forward", [(Motion.FORWARD, 0.5)]),
        ("forward", [(Motion.FORWARD, 0.5)]),
        ("Go forward 1 m.", [(Motion.FORWARD, 1.0)]),
        ("go forward 1m", [(Motion.FORWARD, 1.0)]),
        ("move ahead by 1.5 metres please", [(Motion.FORWARD, 1.5)]),
        ("drive straight ahead for two meters", [(Motion.FORWARD, 2.0)]),
        ("drive 2 metres", [(Motion.FORWARD, 2.0)]),
        ("could you please go forward half a metre", [(Motion.FORWARD, 0.5)]),
        ("go one and a half metres forward", [(Motion.FORWARD, 1.5)]),
        ("go a metre and a half forward", [(Motion.FORWARD, 1.5)]),
        ("go forward three quarters of a metre", [(Motion.FORWARD, 0.75)]),
        ("go forward 1/2 m", [(Motion.FORWARD, 0.5)]),
        ("go forward two point five metres", [(Motion.FORWARD, 2.5)]),
        ("go forward a hundred centimetres", [(Motion.FORWARD, 1.0)]),
        ("go forward twenty five cm", [(Motion.FORWARD, 0.25)]),
        ("go forward 3 feet", [(Motion.FORWARD, 0.9144)]),
        ("back up 30cm", [(Motion.BACK, 0.3)]),
        ("reverse 50 centimeters", [(Motion.BACK, 0.5)]),
        ("go back", [(Motion.BACK, 0.5)]),
        ("move left", [(Motion.LEFT, 0.5)]),
        ("strafe right 40 cm", [(Motion.RIGHT, 0.4)]),
        ("slide to the right a bit", [(Motion.RIGHT, 0.25)]),
        ("turn left", [(Motion.TURN_LEFT, RIGHT_ANGLE)]),
        ("turn right 45 degrees", [(Motion.TURN_RIGHT, RIGHT_ANGLE / 2)]),
        ("turn to the left by ninety degrees", [(Motion.TURN_LEFT, RIGHT_ANGLE)]),
        ("turn right 30", [(Motion.TURN_RIGHT, math.radians(30))]),
        ("turn left 90°", [(Motion.TURN_LEFT, RIGHT_ANGLE)]),
        ("turn left 1.5 rad", [(Motion.TURN_LEFT, 1.5)]),
        ("rotate 45 deg counter-clockwise", [(Motion.TURN_LEFT, RIGHT_ANGLE / 2)]),
        ("rotate clockwise one hundred and eighty degrees", [(Motion.TURN_RIGHT, math.pi)]),
        ("take a left", [(Motion.TURN_LEFT, RIGHT_ANGLE)]),
        ("make a right turn", [(Motion.TURN_RIGHT, RIGHT_ANGLE)]),
        ("a quarter turn to the right", [(Motion.TURN_RIGHT, RIGHT_ANGLE)]),
        ("do a full turn to the left", [(Motion.TURN_LEFT, math.tau)]),
        ("turn around", [(Motion.TURN_LEFT, math.pi)]),
        ("make a U-turn", [(Motion.TURN_LEFT, math.pi)]),
        ("spin around", [(Motion.TURN_LEFT, math.tau)]),
    ],
)
def test_motions(text: str, expected: list[tuple[Motion, float]]) -> None:
    assert motions(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("first move left then go forward", [Motion.LEFT, Motion.FORWARD]),
        ("go forward 1 m, then turn right", [Motion.FORWARD, Motion.TURN_RIGHT]),
        ("go forward 1 m and turn right", [Motion.FORWARD, Motion.TURN_RIGHT]),
        ("go forward 1 m and then turn right", [Motion.FORWARD, Motion.TURN_RIGHT]),
        ("go forward 1 m; turn right; go back", [Motion.FORWARD, Motion.TURN_RIGHT, Motion.BACK]),
        ("Go forward 1 m. Turn right.", [Motion.FORWARD, Motion.TURN_RIGHT]),
        ("1. go forward 1 m\n2. turn right", [Motion.FORWARD, Motion.TURN_RIGHT]),
        ("go forward 1 m, after that turn right", [Motion.FORWARD, Motion.TURN_RIGHT]),
        ("go forward, left, then back", [Motion.FORWARD, Motion.LEFT, Motion.BACK]),
        ("go forward and left 1 m", [Motion.FORWARD, Motion.LEFT]),
        ("turn left, then right", [Motion.TURN_LEFT, Motion.TURN_RIGHT]),
        ("turn left, right, then forward 2 m", [Motion.TURN_LEFT, Motion.TURN_RIGHT, Motion.FORWARD]),
        ("move left, then right 1 m", [Motion.LEFT, Motion.RIGHT]),
        ("go forward 1 m, 90 degrees left", [Motion.FORWARD, Motion.TURN_LEFT]),
        ("move forward 1m turn left 90deg move back 1m", [Motion.FORWARD, Motion.TURN_LEFT, Motion.BACK]),
        ("first go forward, next turn left, finally go back", [Motion.FORWARD, Motion.TURN_LEFT, Motion.BACK]),
        ("go 1 m forward followed by 1 m right", [Motion.FORWARD, Motion.RIGHT]),
    ],
)
def test_sequences_keep_their_order(text: str, expected: list[Motion]) -> None:
    assert [motion for motion, _ in motions(text)] == expected


def test_what_is_filled_in_is_said() -> None:
    assert describe(steps("turn left")[0]) == "motion: turn left 90 deg (no angle told: 90 deg)"
    assert describe(steps("go forward")[0]) == "motion: move forward 0.5 m (no distance told: 0.5 m)"
    assert describe(steps("go 1 m")[0]) == "motion: move forward 1 m (no direction told: forward)"
    assert describe(steps("go forward 1 m")[0]) == "motion: move forward 1 m"


@pytest.mark.parametrize(
    "text, thing, side",
    [
        ("go around the box on the left to the cup", "cup", "left"),
        ("Go around the box on the right to the cup!", "cup", "right"),
        ("drive to the cup, passing the box on its left side", "cup", "left"),
        ("could you go to the cup by going left around the boxes?", "cup", "left"),
        ("please bring me to the cup", "cup", ""),
        ("reach the mug", "cup", ""),
        ("move to the object", "object", ""),
        ("go to the cup past that object on the left", "cup", "left"),
        ("approach the cup via the left side of the box", "cup", "left"),
        ("pass the two boxes on the right and stop at the cup", "cup", "right"),
        ("pass the box on the right, then go to the mug", "cup", "right"),
        ("go around the box on the left. Then go to the cup.", "cup", "left"),
        ("Go to the cup. Pass the box on the left.", "cup", "left"),
        ("navigate to the mug keeping the box on your right", "cup", "left"),
        ("go to the cup on the right, around the box on the left", "cup", "left"),
        ("go around the box on the left to the cup on the right", "cup", "left"),
        ("go around the first box on the left, then the second box on the right, then go to the cup", "cup", ""),
        ("go to the cup without touching the box", "cup", ""),
        ("go to the cup, don't hit the box", "cup", ""),
        ("go to the cup quickly but not too fast", "cup", ""),
        ("go to the cup next to the box", "cup", ""),
        ("to the cup", "cup", ""),
        ("why don't you head for the door", "door", ""),
        ("would you mind going to the table", "table", ""),
        ("I want you to drive to the red chair", "chair", ""),
        ("let's go to the wall", "wall", ""),
        ("walk over to the crate", "box", ""),
        ("drive until you reach the cup", "cup", ""),
        ("turn left at the door", "door", "left"),
        ("go left around the box", "box", "left"),
        ("go to the left box", "box", ""),
        ("face the cup", "cup", ""),
    ],
)
def test_places(text: str, thing: str, side: str) -> None:
    step = place(text)
    assert (step.place, step.side) == (thing, side)


def test_the_policy_is_told_plain_words_and_the_original_is_kept() -> None:
    outcome = parse("  Please   GO around the\tbox on the LEFT to the cup, please!! ")
    assert isinstance(outcome, Plan)
    assert outcome.steps[0].text == "go around the box on the left to the cup"
    assert outcome.original == "  Please   GO around the\tbox on the LEFT to the cup, please!! "


@pytest.mark.parametrize(
    "text",
    [
        "grab the cup",
        "pick up the mug",
        "bring me the cup",
        "go to the cup and grab it",
        "please fetch that bottle",
        "open the door",
    ],
)
def test_a_robot_without_an_arm_approaches_and_says_so(text: str) -> None:
    assert "no arm" in place(text).note


@pytest.mark.parametrize("text", ["bring me to the cup", "take us to the door", "get to the cup", "get close to the box"])
def test_being_brought_somewhere_needs_no_arm(text: str) -> None:
    assert place(text).note == ""


def test_places_and_motions_mix_in_order() -> None:
    found = steps("go to the cup, then go back 1 m and turn left, then to the door and stop")
    assert [step.kind for step in found] == ["place", "motion", "motion", "place", "stop"]


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "empty"),
        ("   \n\t ", "empty"),
        ("!?...", "no word in it is known"),
        ("a" * 501, "too long: 501 characters; at most 500"),
        ("go to the cup " * 800, "too long"),
        (b"go to the cup " * 800, "too long"),
        (b"\xff\xfe\x00\x01go", "UTF-8"),
        (bytes(range(128, 256)), "UTF-8"),
        ("go to \ufffd the cup", "UTF-8"),
        ("go to the \x07cup", "control character (U+0007)"),
        ("go\u202eto the cup", "control character"),
        ("走到杯子那里", "English"),
        ("иди к чашке", "English"),
        ("اذهب إلى الكوب", "English"),
        ("go to the чашка", "English"),
        ("gehe zur Tasse", "no word in it is known"),
        ("va à la tasse", "no word in it is known"),
        ("asdf qwer", "no word in it is known"),
        ("🤖🤖🤖", "no word in it is known"),
        ("nothing", "no word in it is known"),
        ("12345", "no word in it is known"),
        ("go", "no direction or place"),
        ("turn", "no side told"),
        ("turn 90 degrees", "no side told"),
        ("go to the moon", "'moon' is neither a known place"),
        ("go north", "'north'"),
        ("cup", "nothing to do is told for 'cup'"),
        ("the cup is on the table", "nothing to do"),
        ("where is the cup?", "question"),
        ("if you see the cup go left", "'if' is not understood"),
        ("when you reach the cup turn left", "'when' is not understood"),
        ("go forward 5000 m", "a distance of 5000 m; expected 0.02 to 20 m"),
        ("go forward 21 metres", "expected 0.02 to 20 m"),
        ("go forward 0 m", "a distance of 0 m"),
        ("go forward 1 mm", "a distance of 0.001 m"),
        ("go forward 3 km", "a distance of 3000 m"),
        ("go 500 m towards the cup", "a distance of 500 m"),
        ("go forward " + "9" * 400 + " m", "a distance of inf m"),
        ("turn left 5000 degrees", "an angle of 5000 degrees; expected 2 to 720"),
        ("turn left 0 degrees", "an angle of 0 degrees"),
        ("turn left 1 m", "a turn needs an angle"),
        ("go forward 90 degrees", "a turn can't be forward"),
        ("go forward 2", "no unit after 2"),
        ("go forward -1 m", "negative"),
        ("go forward 1,5 m", "'1,5' is not clear"),
        ("go forward 1.2.3 m", "'1.2.3' is not clear"),
        ("go forward 1e3 m", "'e'"),
        ("go forward nan m", "'nan'"),
        ("go forward 1 m 2 m", "two figures"),
        ("go forward for 5 seconds", "times are not followed"),
        ("go forward left", "both forward and left"),
        ("go around the box on the left on the right to the cup", "both left and right of 'box'"),
        ("push the box", "must not touch or push"),
        ("crash into the wall", "must not touch or push"),
        ("move away from the box", "go back 1 m"),
        (", then ".join(["go forward"] * (MAX_STEPS + 1)), f"more than {MAX_STEPS} steps"),
    ],
)
def test_rejections_say_why(text: str | bytes, reason: str) -> None:
    outcome = parse(text)
    assert isinstance(outcome, Rejection), outcome
    assert reason in outcome.reason
    assert "\n" not in outcome.reason
    assert len(outcome.reason) < 200
    assert len(outcome.original) <= 80


KNOWN_WORDS = sorted(
    {
        word
        for table in vars(vocabulary).values()
        if isinstance(table, frozenset | dict)
        for word in table
        if isinstance(word, str) and not word.startswith("__")
    }
)
SENTENCES = st.lists(st.sampled_from(KNOWN_WORDS) | st.from_regex(r"[0-9]{1,4}(\.[0-9])?", fullmatch=True), max_size=60).map(
    " ".join
)


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=600) | st.binary(max_size=600) | SENTENCES)
def test_anything_gets_an_answer_that_could_be_followed(text: str | bytes) -> None:
    began = time.thread_time()
    outcome = parse(text)
    assert time.thread_time() - began < 0.05
    if isinstance(outcome, Rejection):
        assert outcome.reason
        return
    assert 1 <= len(outcome.steps) <= MAX_STEPS
    for step in outcome.steps:
        assert describe(step).isprintable()
        if isinstance(step, MotionGoal):
            low, high = (math.radians(2), 4 * math.pi) if step.motion.is_turn else (0.02, 20.0)
            assert low <= step.amount <= high
        elif isinstance(step, PlaceGoal):
            assert step.text
            assert step.place in vocabulary.PLACES.values()
            assert step.side in ("", "left", "right")


@pytest.mark.parametrize(
    "text",
    [
        "a" * 500,
        "one hundred " * 41,
        "and " * 125,
        "then " * 100,
        "," * 500,
        "1 " * 250,
        "1/" * 250,
        "-1" * 250,
        "go left of " * 45,
        "the left of the box " * 25,
        "going to the " * 38,
        "half of a " * 50,
        "a" * 10_000_000,
        "\n" * 500,
        "(" * 500,
        "e\u0301" * 250,
        "\ufdfa" * 500,
    ],
)
def test_hostile_texts_are_answered_at_once(text: str) -> None:
    began = time.thread_time()
    parse(text)
    assert time.thread_time() - began < 0.05


@given(SENTENCES)
def test_no_sentence_that_starts_with_stop_moves_the_robot_first(text: str) -> None:
    outcome = parse("stop! " + text)
    assert isinstance(outcome, Plan)
    first = outcome.steps[0]
    assert first.kind == "stop" or (isinstance(first, PlaceGoal) and first.text.split()[1] in vocabulary.STOP_AT)


def test_half_a_surrogate_is_refused() -> None:
    outcome = parse("go to \ud800 the cup")
    assert isinstance(outcome, Rejection)
    assert "UTF-8" in outcome.reason


@pytest.mark.parametrize("text", ["move to that object", "go to this thing", "drive around the box on the left to that item"])
def test_pointing_is_answered_with_which(text: str) -> None:
    found = parse(text)
    assert isinstance(found, Rejection)
    assert "which thing is meant" in found.reason
