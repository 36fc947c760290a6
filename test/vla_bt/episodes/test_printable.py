"""No text from a file can act on a terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vla_bt.episodes.printable import printable


def test_controls_are_shown_as_their_codes() -> None:
    assert printable("a\x1b[2Jb\n\t\x7f\x9b") == r"a\x1b[2Jb\x0a\x09\x7f\x9b"
    assert printable("\u202eabc\u2028\U000e0001") == r"\u202eabc\u2028\U000e0001"
    assert printable("\udc9b") == r"\udc9b"


def test_letters_of_every_script_stay() -> None:
    assert printable("um die Küste 左に 🚗 nach links") == "um die Küste 左に 🚗 nach links"


def test_long_texts_are_cut() -> None:
    assert printable("x" * 300, 10) == "xxxxxxx..."
    assert printable("x" * 10, 10) == "x" * 10


@given(st.text(), st.integers(10, 100))
def test_nothing_unprintable_is_left(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit
    shown.encode("utf-8")
