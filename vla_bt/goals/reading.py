"""From raw text to words and figures: cleaning, tokens, numbers with units.

Promises: linear in the length of the text, and only the first :data:`MAX_CHARACTERS` are ever looked at closely.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from vla_bt.goals.vocabulary import DIGITS, FRACTIONS, METRES, RADIANS, TENS

MAX_CHARACTERS = 500

# One word, one figure or one other character; no alternative can match what another started, so nothing backtracks.
_TOKEN = re.compile(r"[a-z]+(?:'[a-z]+)*|[0-9]+(?:[.,][0-9]+)*|\.[0-9]+|\n|[^\s]")
_DRAWN_OUT = re.compile(r"s+t+o+p+")
_LIST_MARK = re.compile(r"[0-9]{1,2}[.)] ")
_JOINED = {
    ("anti", "clockwise"): "anticlockwise",
    ("counter", "clockwise"): "counterclockwise",
    ("e", "stop"): "estop",
    ("u", "turn"): "uturn",
}


class RefusedError(ValueError):
    """A goal that must not be followed; the message is the reason, in one line."""


class NotUnderstoodError(RefusedError):
    """Words that make no goal."""


class Token(NamedTuple):
    """A word, figure or mark, and where it stands in the normalised text."""

    word: str
    start: int
    end: int


class Amount(NamedTuple):
    """A figure with its unit, as metres or radians; ``unit`` is ``m``, ``rad`` or empty when none was told."""

    value: float
    unit: str
    end: int


def lenient(text: str | bytes) -> str:
    """Return the words of any input at all, letters only: what 'stop' is looked for in, before anything is refused."""
    head = text[: 4 * MAX_CHARACTERS].decode("utf-8", "ignore") if isinstance(text, bytes) else text[:MAX_CHARACTERS]
    plain = unicodedata.normalize("NFKC", head).lower()
    words = "".join(letter if letter.isalpha() else " " for letter in plain).split()
    return " ".join("stop" if _DRAWN_OUT.fullmatch(word) else word for word in words)


def clean(text: str | bytes) -> str:
    """Return the text in lower case with plain quotes, dashes and spaces.

    Raises
    ------
    RefusedError
        When it is empty, too long, not UTF-8 text or not in Latin letters.
    """
    if isinstance(text, bytes):
        if len(text) > 4 * MAX_CHARACTERS:
            raise RefusedError(f"too long: {len(text)} bytes; at most {MAX_CHARACTERS} characters")
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError:
            raise RefusedError("not readable as UTF-8 text") from None
    text = text.strip()
    if len(text) > MAX_CHARACTERS:
        raise RefusedError(f"too long: {len(text)} characters; at most {MAX_CHARACTERS}")
    text = unicodedata.normalize("NFKC", text)
    if not text:
        raise RefusedError("empty; say a goal such as 'go to the cup'")
    for letter in text:
        category = unicodedata.category(letter)
        if letter == "\ufffd" or category in ("Cs", "Cn", "Co"):
            raise RefusedError("not readable as UTF-8 text")
        if category.startswith("C") and letter not in "\n\r\t":
            raise RefusedError(f"holds a control character (U+{ord(letter):04X}); goals are plain English text")
        if category.startswith("L") and not unicodedata.name(letter, "").startswith(
            ("LATIN", "MODIFIER", "FEMININE", "MASCULINE")
        ):
            raise RefusedError(f"goals must be in English; '{letter}' is not a Latin letter")
    text = text.lower().replace("\r\n", "\n").replace("\r", "\n")
    for odd, plain in (("\u2019", "'"), ("\u2018", "'"), ("\u02bc", "'"), ("\u2013", "-"), ("\u2014", ","), ("\u00ba", "\u00b0")):
        text = text.replace(odd, plain)
    lines = [" ".join(line.split()) for line in text.split("\n") if line.strip()]
    marks = [_LIST_MARK.match(line) for line in lines]
    return "\n".join(line[mark.end() :] if mark else line for line, mark in zip(lines, marks, strict=True))


def tokens_of(text: str) -> list[Token]:
    """Split cleaned text into tokens; hyphens inside words vanish, every negation ending in n't becomes ``not``."""
    found: list[Token] = []
    for match in _TOKEN.finditer(text):
        word, start, end = match.group(), match.start(), match.end()
        if word == "-":
            follows = text[end : end + 1]
            if follows.isdigit() or follows == ".":
                word = "minus"
            elif follows.isalpha() and text[start - 1 : start].isalpha():
                continue
        elif word.endswith("n't") or word == "dont":
            word = "not"
        if found and (found[-1].word, word) in _JOINED:
            first = found.pop()
            word, start = _JOINED[first.word, word], first.start
        found.append(Token(word, start, end))
    return found


def number_at(words: list[str], at: int) -> tuple[float, int] | None:
    """Read a number that begins at ``words[at]``; returns it and the index behind it, None when there is none."""
    word = words[at] if at < len(words) else ""
    after = words[at + 1] if at + 1 < len(words) else ""
    if word in ("full", "whole"):
        return (1.0, at + 1) if after in RADIANS else None
    if word in ("a", "an"):
        if after == "hundred":
            return 100.0, at + 2
        if after in FRACTIONS or after in ("full", "whole"):
            return number_at(words, at + 1)
        return (1.0, at + 1) if after in METRES else None  # "a turn" is a noun, not a full circle
    if word in FRACTIONS:
        return FRACTIONS[word], _skip_of(words, at + 1)
    if word[:1].isdigit() or (word[:1] == "." and len(word) > 1):
        if word.count(".") > 1 or "," in word:
            return None
        value, at = float(word), at + 1
        if after == "/" and at + 1 < len(words) and words[at + 1].isdecimal() and float(words[at + 1]) > 0:
            return value / float(words[at + 1]), _skip_of(words, at + 2)
    elif word in TENS or word in DIGITS:
        spelled = _spelled(words, at)
        if spelled is None:
            return None
        value, at = spelled
    else:
        return None
    return _and_fraction(words, at, value)


def _skip_of(words: list[str], at: int) -> int:
    """Step over the 'of a' of 'half of a metre'."""
    if words[at : at + 1] == ["of"]:
        at += 1
    return at + 1 if words[at : at + 1] in (["a"], ["an"]) else at


def _spelled(words: list[str], at: int) -> tuple[float, int] | None:
    """Read 'two', 'forty five', 'one hundred and eighty', 'two point five', 'three quarters of a'."""
    value, at = TENS.get(words[at], DIGITS.get(words[at], 0.0)), at + 1
    if value >= 20 and words[at : at + 1] and 0 < DIGITS.get(words[at], 0.0) < 10:
        value, at = value + DIGITS[words[at]], at + 1
    if words[at : at + 1] == ["hundred"]:
        value, at = 100 * value, at + 1
        rest = at + 1 if words[at : at + 1] == ["and"] else at
        if rest < len(words) and (words[rest] in TENS or words[rest] in DIGITS):
            tail = _spelled(words, rest)
            if tail is not None:
                return value + tail[0], tail[1]
    if words[at : at + 1] == ["point"] and at + 1 < len(words) and words[at + 1] in DIGITS:
        return value + DIGITS[words[at + 1]] / 10, at + 2
    if at < len(words) and words[at] in FRACTIONS and words[at].endswith("s"):
        return value * FRACTIONS[words[at]], _skip_of(words, at + 1)
    return value, at


def _and_fraction(words: list[str], at: int, value: float) -> tuple[float, int]:
    """Add the 'and a half' of 'one and a half'."""
    tail = words[at : at + 3]
    if len(tail) == 3 and tail[:2] == ["and", "a"] and tail[2] in FRACTIONS:
        return value + FRACTIONS[tail[2]], at + 3
    return value, at


def amount_at(words: list[str], at: int) -> Amount | None:
    """Read a figure and its unit at ``words[at]``: '1.5 m', 'half a metre', 'ninety degrees', 'a metre and a half'."""
    figure = number_at(words, at)
    if figure is None:
        return None
    value, at = figure
    unit = words[at] if at < len(words) else ""
    for table, name in ((METRES, "m"), (RADIANS, "rad")):
        if unit in table:
            value, at = _and_fraction(words, at + 1, value)
            return Amount(value * table[unit], name, at)
    return Amount(value, "", at)
