"""Every key of the legend does what it says, and typing never drives."""

import pytest

from vla_bt.control.teleop_console import LEGEND, Action, Kind, TeleopConsole, split_keys
from vla_bt.control.teleop_keys import DIRECTIONS, TeleopKeys
from vla_bt.goals.parser import parse
from vla_bt.goals.plan import Plan
from vla_bt.words import ZERO, Mode


def console() -> TeleopConsole:
    return TeleopConsole(TeleopKeys(0.3, 0.6, 0.3))


def fed(at: TeleopConsole, keys: str) -> list[Action]:
    return [action for key in keys if (action := at.feed(key, 0.0)) is not None]


@pytest.mark.parametrize(
    ("key", "action"),
    [
        ("1", Action(Kind.MODE, Mode.MANUAL.value)),
        ("2", Action(Kind.MODE, Mode.VLA.value)),
        ("3", Action(Kind.MODE, Mode.HYBRID.value)),
        ("o", Action(Kind.RECORD, "on")),
        ("O", Action(Kind.RECORD, "on")),
        ("l", Action(Kind.RECORD, "off")),
        ("x", Action(Kind.EMERGENCY_STOP)),
        ("X", Action(Kind.EMERGENCY_STOP)),
        ("\x1b", Action(Kind.QUIT)),
        ("\x03", Action(Kind.QUIT)),
        ("\x04", Action(Kind.QUIT)),
    ],
)
def test_single_keys(key: str, action: Action) -> None:
    assert fed(console(), key) == [action]


@pytest.mark.parametrize("key", [*(set(DIRECTIONS) - {" "}), "+", "-"])
def test_driving_keys_send_nothing_else(key: str) -> None:
    at = console()
    assert fed(at, key) == []
    assert at.prompt == ""
    assert at.keys.driving == (key not in "+-")


def test_space_stops_at_once_and_ends_the_goal() -> None:
    at = console()
    assert fed(at, "w ") == [Action(Kind.GOAL, "stop")]
    assert at.keys.twist(0.0) == ZERO
    plan = parse("stop")
    assert isinstance(plan, Plan)
    assert [step.kind for step in plan.steps] == ["stop"]
    assert fed(at, "ggo on\n") == [Action(Kind.GOAL, "go on")]  # typed, it is a letter like any other


def test_keys_kept_for_collecting_do_nothing() -> None:
    at = console()
    assert fed(at, "nmpNMP") == []
    assert at.keys.twist(0.0) is None


def test_an_emergency_stop_ends_the_pulse() -> None:
    at = console()
    fed(at, "wx")
    assert at.keys.twist(0.0) == ZERO


def test_a_goal_is_typed_without_driving() -> None:
    at = console()
    assert fed(at, "ggo x") == []
    assert at.prompt == "goal: go x"
    assert fed(at, "\x7f\x7fto the caf\u00e9\t\r") == [Action(Kind.GOAL, "goto the caf\u00e9")]
    assert at.keys.twist(0.0) is None
    assert at.prompt == ""


@pytest.mark.parametrize("typed", ["g\r", "g   \n", "gsomething\x1b", "gsomething\x03"])
def test_an_empty_or_abandoned_goal_is_not_sent(typed: str) -> None:
    at = console()
    assert fed(at, typed) == []
    assert at.prompt == ""


def test_a_reset_needs_a_yes() -> None:
    at = console()
    assert fed(at, "u") == []
    assert "y/n" in at.prompt
    assert fed(at, "n") == []
    assert fed(at, "uw") == []
    assert at.keys.twist(0.0) is None  # the answer is no key to drive with
    assert fed(at, "uy") == [Action(Kind.RESET)]
    assert at.prompt == ""


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("wa", "wa"),
        ("\x1b", "\x1b"),
        ("\x1b[A", ""),
        ("w\x1b[1;5Da", "wa"),
        ("\x1bOPx", "x"),
        ("\x1b\x1b[B\x1b", "\x1b\x1b"),
        ("\x1b[", ""),
    ],
)
def test_escape_sequences_are_no_keys(text: str, keys: str) -> None:
    assert "".join(split_keys(text)) == keys


def test_the_legend_names_every_key() -> None:
    words = LEGEND.split()
    for key in [*"wsadqezcrt", "+", "-", "1", "2", "3", "g", "x", "u", "space", "Esc"]:
        assert key in words
