"""What the numbers in ``actions`` are: velocities, or the original program's key presses, which are directions and no speeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from vla_bt.episodes.schema import COLUMNS

SI, KEYS, UNKNOWN = "SI", "key direction", "unknown"
KEY_UNITS = "key direction: 0 or +-1.15 for each axis, no velocity"
"""Text of the dataset's attribute ``units`` where actions are key presses."""
UNKNOWN_UNITS = "unknown, as in the source file"

UNITS = {SI: COLUMNS["actions"].units, KEYS: KEY_UNITS, UNKNOWN: UNKNOWN_UNITS}
"""What the datasets of a unit say in their attribute ``units``."""


class _HasUnits(Protocol):
    @property
    def parts(self) -> Mapping[str, Any]: ...


def action_unit(content: _HasUnits) -> str:
    """Return :data:`SI`, :data:`KEYS` or, where the file doesn't tell, :data:`UNKNOWN`."""
    part = content.parts.get("actions")
    told = part.units if part is not None else ""
    if told == COLUMNS["actions"].units:
        return SI
    return KEYS if told == KEY_UNITS else UNKNOWN
