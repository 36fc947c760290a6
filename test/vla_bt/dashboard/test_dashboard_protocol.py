"""What a page sends is a known command or nothing; what it gets is JSON that every browser reads."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vla_bt.dashboard import protocol
from vla_bt.dashboard.protocol import COMMANDS, Command, ProtocolError, parse_command
from vla_bt.words import Twist

GOOD: dict[str, dict[str, Any]] = {
    "take": {"on": True},
    "drive": {"twist": [0.1, 0, -0.5], "beat": 7},
    "goal": {"text": "go to the cup"},
    "mode": {"text": "hybrid"},
    "record": {"on": False},
    "seek": {"time_s": 12.5},
    "alive": {"beat": 3},
}


@pytest.mark.parametrize("kind", COMMANDS)
def test_every_command_is_read(kind: str) -> None:
    command = parse_command(json.dumps({"type": kind, **GOOD.get(kind, {})}))
    assert command.kind == kind
    if kind == "drive":
        assert command == Command("drive", twist=Twist(0.1, 0.0, -0.5), beat=7)


@pytest.mark.parametrize(
    "data",
    [
        "",
        "{",
        "[]",
        "null",
        '"estop"',
        "[" * 100_000,
        '{"type": "shutdown"}',
        '{"type": ["drive"]}',
        '{"type": "drive"}',
        '{"type": "drive", "twist": [0.1, 0, 0]}',
        '{"type": "drive", "twist": [NaN, 0, 0], "beat": 1}',
        '{"type": "drive", "twist": [1e309, 0, 0], "beat": 1}',
        '{"type": "drive", "twist": [11, 0, 0], "beat": 1}',
        '{"type": "drive", "twist": [true, 0, 0], "beat": 1}',
        '{"type": "drive", "twist": ["1", 0, 0], "beat": 1}',
        '{"type": "drive", "twist": [1, 0, 0, 0], "beat": 1}',
        '{"type": "drive", "twist": [1, 0, 0], "beat": -1}',
        '{"type": "drive", "twist": [1, 0, 0], "beat": 1.5}',
        '{"type": "goal"}',
        '{"type": "goal", "text": ""}',
        '{"type": "goal", "text": "   "}',
        '{"type": "goal", "text": 5}',
        '{"type": "goal", "text": "\\ud800"}',
        '{"type": "goal", "text": "go to the cup\\u0000, or not"}',
        '{"type": "goal", "text": "go to the\\u001b[2J cup"}',
        '{"type": "goal", "text": "go to the\\u0085 cup"}',
        '{"type": "goal", "text": "x", "extra": 1}',
        '{"type": "mode", "text": "autopilot"}',
        '{"type": "seek", "time_s": Infinity}',
        pytest.param('{"type": "seek", "time_s": 1' + 400 * "0" + "}", id="a time of 401 digits"),
        pytest.param('{"type": "seek", "time_s": 1' + 5000 * "0" + "}", id="a time of more digits than are read"),
        pytest.param('{"type": "drive", "twist": [1' + 400 * "0" + ', 0, 0], "beat": 1}', id="a velocity of 401 digits"),
        '{"type": "take", "on": 1}',
        '{"type": "estop", "on": false}',
    ],
)
def test_anything_else_is_refused_in_words(data: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        parse_command(data)
    assert 0 < len(str(refused.value)) < 200


def test_a_goal_has_a_longest() -> None:
    parse_command(json.dumps({"type": "goal", "text": "x" * protocol.MAX_GOAL_CHARACTERS}))
    with pytest.raises(ProtocolError):
        parse_command(json.dumps({"type": "goal", "text": "x" * (protocol.MAX_GOAL_CHARACTERS + 1)}))


HUGE = st.builds(lambda sign, zeros: sign * 10**zeros, st.sampled_from((-1, 1)), st.integers(0, 400))
SCALARS = st.none() | st.booleans() | st.floats() | st.integers() | HUGE | st.text(max_size=8)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3), max_leaves=8
)
VALUES = JSON | st.lists(SCALARS, min_size=3, max_size=3) | st.sampled_from(["vla", [0.1, 0, 0]])
HOSTILE = st.sampled_from(list(COMMANDS)).flatmap(
    lambda kind: st.fixed_dictionaries({"type": st.just(kind), **dict.fromkeys(COMMANDS[kind], VALUES)})
)


@given(JSON | HOSTILE)
@example({"type": "seek", "time_s": 10**400})
@example({"type": "drive", "twist": [0, -(10**400), 0], "beat": 1})
@example({"type": "alive", "beat": 10**400})
def test_no_json_brings_the_reader_down(value: Any) -> None:
    text = json.dumps(value)
    try:
        command = parse_command(text)
    except ProtocolError:
        return
    assert command.kind in COMMANDS
    assert math.isfinite(command.time_s)
    assert all(abs(component) <= protocol.MAX_SPEED for component in command.twist)
    assert "\0" not in command.text


def test_numbers_that_json_lacks_become_null() -> None:
    text = protocol.message("status", 1.0, {"a": math.nan, "b": [math.inf, 2.0], "c": {"d": -math.inf}})
    assert json.loads(text, parse_constant=lambda word: pytest.fail(word)) == {
        "type": "status",
        "t": 1.0,
        "a": None,
        "b": [None, 2.0],
        "c": {"d": None},
    }


def test_a_snapshot_is_wrapped_without_being_decoded() -> None:
    wire = protocol.snapshot(2.5, '{"tick":7}')
    assert json.loads(wire) == {"type": "snapshot", "t": 2.5, "tick": 7}
    for broken in ("", "{}", "[1]"):
        with pytest.raises(ProtocolError):
            protocol.snapshot(0.0, broken)


def test_a_picture_comes_back_as_it_was_packed() -> None:
    head, jpeg = protocol.unpack_picture(protocol.picture(3.25, b"\xff\xd8jpeg", 42, 1280, 720, 0.04))
    assert (head["type"], head["t"], head["sequence"], head["width"], head["height"]) == ("camera", 3.25, 42, 1280, 720)
    assert jpeg == b"\xff\xd8jpeg"
    for broken in (b"", b"\x00", b"\xff\xff\xff\xff{}"):
        with pytest.raises(ProtocolError):
            protocol.unpack_picture(broken)
