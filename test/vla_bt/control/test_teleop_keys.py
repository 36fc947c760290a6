"""A key press is a pulse that ends by itself, with one explicit zero."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_bt.control.teleop_keys import DIRECTIONS, FASTEST, SLOWEST, TeleopKeys
from vla_bt.words import ZERO, Twist

FORWARD, LEFT, DIAGONAL = 0.3, 0.3, 0.3 * math.sqrt(0.5)

MEANINGS = {
    "w": (FORWARD, 0, 0),
    "s": (-FORWARD, 0, 0),
    "a": (0, LEFT, 0),
    "d": (0, -LEFT, 0),
    "q": (DIAGONAL, DIAGONAL, 0),
    "e": (DIAGONAL, -DIAGONAL, 0),
    "z": (-DIAGONAL, DIAGONAL, 0),
    "c": (-DIAGONAL, -DIAGONAL, 0),
    "r": (0, 0, 0.6),
    "t": (0, 0, -0.6),
    " ": (0, 0, 0),
}


@pytest.mark.parametrize(("key", "meaning"), MEANINGS.items())
def test_each_key_means_its_direction(key: str, meaning: tuple[float, float, float]) -> None:
    keys = TeleopKeys(0.3, 0.6, 0.3)
    assert keys.press(key, 1.0)
    assert keys.twist(1.0) == pytest.approx(meaning)
    assert keys.press(key.upper(), 1.0)  # caps lock is no reason to be deaf


def test_no_other_key_drives() -> None:
    assert set(DIRECTIONS) == set(MEANINGS)
    keys = TeleopKeys()
    assert not any(keys.press(key, 0.0) for key in "nmpx1\x1b\r")
    assert keys.twist(0.0) is None


def test_a_pulse_ends_with_one_zero_and_then_silence() -> None:
    keys = TeleopKeys(0.3, 0.6, 0.3)
    keys.press("w", 1.0)
    assert keys.twist(1.29) == Twist(0.3, 0.0, 0.0)
    assert keys.twist(1.31) == ZERO
    assert keys.twist(1.36) is None


def test_a_held_key_prolongs_its_pulse_and_the_newest_key_counts() -> None:
    keys = TeleopKeys(0.3, 0.6, 0.3)
    keys.press("w", 1.0)
    keys.press("w", 1.2)
    assert keys.twist(1.45) == Twist(0.3, 0.0, 0.0)
    keys.press("a", 1.46)
    assert keys.twist(1.46) == Twist(0.0, 0.3, 0.0)


def test_space_says_zero_at_once_and_for_a_pulse() -> None:
    keys = TeleopKeys(pulse_s=0.3)
    keys.press("w", 1.0)
    keys.press(" ", 1.1)
    assert keys.twist(1.1) == ZERO
    assert keys.twist(1.35) == ZERO
    assert keys.twist(1.45) == ZERO  # the explicit zero after the pulse
    assert keys.twist(1.5) is None


@given(st.lists(st.sampled_from(["+", "-"]), max_size=40))
def test_speed_keys_stay_within_their_bounds_and_act_at_once(presses: list[str]) -> None:
    keys = TeleopKeys(0.3, 0.6)
    keys.press("w", 0.0)
    for key in presses:
        before = keys.linear
        assert keys.press(key, 0.0)
        assert keys.linear >= before if key == "+" else keys.linear <= before
        assert 0.3 * SLOWEST <= keys.linear <= 0.3 * FASTEST
        assert keys.angular / keys.linear == pytest.approx(2.0)
        assert keys.twist(0.1) == pytest.approx((keys.linear, 0.0, 0.0))


@given(st.lists(st.tuples(st.sampled_from("wsadqezcrt +-x"), st.floats(0.0, 1.0)), max_size=30), st.floats(0.05, 1.0))
def test_never_faster_than_the_shown_speed_and_silent_after_the_pulse(presses: list[tuple[str, float]], pulse_s: float) -> None:
    keys = TeleopKeys(0.3, 0.6, pulse_s)
    now_s = 0.0
    for key, wait_s in presses:
        now_s += wait_s
        keys.press(key, now_s)
        twist = keys.twist(now_s)
        if twist is not None:
            assert twist.speed <= keys.linear + 1e-9
            assert abs(twist.angular_z) <= keys.angular + 1e-9
    assert keys.twist(now_s + pulse_s + 1e-6) in (ZERO, None)
    assert keys.twist(now_s + pulse_s + 2e-6) is None
