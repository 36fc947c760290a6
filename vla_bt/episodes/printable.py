"""Text from files, fit for a terminal: what could move the cursor, ring, recolour or reorder a line is shown as its code."""

from __future__ import annotations

import unicodedata


def printable(text: object, limit: int = 200) -> str:
    r"""Return the text with every control, format, private and unassigned character as ``\x1b`` or ``\u202e``, cut if it is long.

    Parameters
    ----------
    text : object
        A path, a name or a value of an untrusted file.
    limit : int
        Longest result; a longer text ends in ``...``.
    """
    shown = "".join(letter if _harmless(letter) else _code(letter) for letter in str(text)[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."


def _harmless(letter: str) -> bool:
    return letter == " " or unicodedata.category(letter)[0] not in "CZ"


def _code(letter: str) -> str:
    number = ord(letter)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
