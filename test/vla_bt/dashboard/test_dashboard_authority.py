"""One driver at a time, a held dead-man, and silence after whatever happens to the page."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_bt.dashboard.authority import BEATS_KEPT, DRIVING_S, ECHO_S, FRESH_S, Authority, Visitor
from vla_bt.words import ZERO, Twist

FASTEST = Twist(0.6, 0.4, 1.2)
FORWARD = Twist(0.3, 0.0, 0.0)


@pytest.fixture
def authority() -> Authority:
    return Authority(FASTEST)


def visitor(number: int = 1, beat_s: float = 10.0) -> Visitor:
    someone = Visitor(number, f"page {number}")
    someone.sent_beat(1, beat_s)
    return someone


def test_nobody_drives_without_taking_control(authority: Authority) -> None:
    assert authority.drive(visitor(), FORWARD, 1, 10.0) == "take control first"
    assert authority.output(10.0) is None


def test_each_velocity_is_said_once_and_soon_or_never(authority: Authority) -> None:
    driver = visitor()
    authority.take(driver, over=False)
    assert authority.drive(driver, FORWARD, 1, 10.0) == ""
    assert authority.output(10.0) == FORWARD
    assert authority.output(10.0) is None
    assert authority.driving(10.0 + DRIVING_S) == FORWARD
    assert authority.driving(10.0 + DRIVING_S + 0.001) is None
    assert authority.drive(driver, FORWARD, 1, 10.1) == ""
    assert authority.output(10.1 + FRESH_S + 0.001) is None
    assert authority.output(10.1 + FRESH_S + 0.002) is None
    assert FRESH_S <= 0.1


def test_letting_go_is_a_zero_at_once(authority: Authority) -> None:
    driver = visitor()
    authority.take(driver, over=False)
    authority.drive(driver, FORWARD, 1, 10.0)
    authority.output(10.0)
    authority.release(driver)
    assert authority.output(10.01) == ZERO
    assert authority.output(10.02) is None


def test_a_burst_of_old_messages_moves_nothing(authority: Authority) -> None:
    """What a network held up arrives all at once: each answers a beat that was sent too long ago."""
    driver = visitor(beat_s=10.0)
    authority.take(driver, over=False)
    for late_s in (ECHO_S + 0.01, 2.0, 60.0):
        assert "too late" in authority.drive(driver, FORWARD, 1, 10.0 + late_s)
        assert authority.output(10.0 + late_s) is None


def test_a_beat_that_was_never_sent_counts_for_nothing(authority: Authority) -> None:
    driver = visitor()
    authority.take(driver, over=False)
    assert authority.drive(driver, FORWARD, 999, 10.0) != ""
    driver.heard(999, 10.0)
    assert driver.answered == 0


def test_another_page_watches_until_it_takes_over(authority: Authority) -> None:
    first, second = visitor(1), visitor(2)
    assert authority.take(first, over=False) == ""
    authority.drive(first, FORWARD, 1, 10.0)
    assert authority.output(10.0) == FORWARD
    assert "page 1 is in control" in authority.take(second, over=False)
    assert authority.driver is first
    assert authority.drive(second, FORWARD, 1, 10.0) == "another page is in control"
    assert authority.take(second, over=True) == ""
    assert authority.output(10.01) == ZERO  # what the first one was doing ends
    assert authority.drive(first, FORWARD, 1, 10.01) == "another page is in control"
    authority.leave(first)
    assert authority.driver is second


def test_who_gives_control_back_leaves_a_zero_and_nobody_in_control(authority: Authority) -> None:
    driver = visitor()
    authority.take(driver, over=False)
    authority.drive(driver, FORWARD, 1, 10.0)
    authority.output(10.0)
    authority.leave(driver)
    assert authority.driver is None
    assert authority.output(10.0) == ZERO
    assert authority.output(10.0) is None


@pytest.mark.parametrize("said", [True, False])
def test_who_is_lost_leaves_silence_and_nobody_in_control(authority: Authority, said: bool) -> None:
    driver = visitor()
    authority.take(driver, over=False)
    authority.drive(driver, FORWARD, 1, 10.0)
    if said:
        authority.output(10.0)
    authority.lose(driver)
    assert authority.driver is None
    assert authority.driving(10.0) is None
    assert authority.output(10.0) is None


@given(twist=st.builds(Twist, *[st.floats(-10, 10)] * 3))
def test_nothing_faster_than_the_limits_is_said(twist: Twist) -> None:
    authority, driver = Authority(FASTEST), visitor()
    authority.take(driver, over=False)
    authority.drive(driver, twist, 1, 10.0)
    said = authority.output(10.0)
    assert said is not None
    assert all(abs(value) <= limit for value, limit in zip(said, FASTEST, strict=True))
    assert all(value * asked >= 0 for value, asked in zip(said, twist, strict=True))


WAYS = ("drive", "release", "take", "leave", "lose", "wait")


@given(events=st.lists(st.tuples(st.sampled_from(WAYS), st.integers(0, 1)), max_size=60))
def test_whatever_happens_nothing_is_said_twice_and_zero_only_for_who_let_go(events: list[tuple[str, int]]) -> None:
    """Sequences of everything two pages can do, at 20 Hz: one velocity for each that was sent, and then silence."""
    authority, pages = Authority(FASTEST), [visitor(1), visitor(2)]
    now_s, moving = 10.0, False
    for count, (what, which) in enumerate(events, start=2):
        now_s += 0.05
        page = pages[which]
        page.sent_beat(count, now_s)
        driver, expected = authority.driver, None
        if what == "drive":
            if not authority.drive(page, FORWARD, count, now_s):
                expected, moving = FORWARD, True
        elif what == "release":
            authority.release(page)
        elif what == "take":
            authority.take(page, over=True)
        elif what == "leave":
            authority.leave(page)
        elif what == "lose":
            authority.lose(page)
            moving = moving and driver is not page
        let_go = (what in ("release", "leave") and driver is page) or (what == "take" and driver not in (None, page))
        if moving and let_go:
            expected, moving = ZERO, False
        assert authority.output(now_s) == expected
        assert authority.output(now_s) is None


def test_the_memory_of_beats_is_bounded() -> None:
    someone = Visitor(1, "page 1")
    for beat in range(10 * BEATS_KEPT):
        someone.sent_beat(beat, float(beat))
    assert len(someone._sent) == BEATS_KEPT
    assert someone.echo_age(0, 100.0) == float("inf")
