"""Causes that hold the robot, and what each does in which mode.

Promises: the table is complete (every known cause in every mode) and holds nothing unknown, or it is refused with one line; an
effect is decided by the table alone. ``direction`` is only possible for causes that have one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from vla_bt.settings import SettingsError, config_path, read_yaml
from vla_bt.words import Mode


class Effect(str, Enum):
    """What a cause does."""

    STOP = "stop"
    AUTONOMY = "autonomy"
    DIRECTION = "direction"
    IGNORE = "ignore"


CAUSES = (
    "estop",
    "gate_fault",
    "gate_silent",
    "teleop_lost",
    "camera_stale",
    "camera_frozen",
    "camera_stamp_odd",
    "policy_dead",
    "policy_not_finite",
    "policy_silent",
    "memory_critical",
    "memory_step",
    "memory_stale",
    "goal_stale",
    "tick_overrun",
    "battery_low",
    "battery_stale",
    "odometry_stale",
    "scan_stale",
    "obstacle",
    "contact",
)
"""Every cause there is. ``vla_bt.control.watch`` derives them; ``config/causes.yaml`` says what they do."""

DIRECTIONAL = ("obstacle", "contact")
"""The causes that know a direction."""


@dataclass(frozen=True)
class Cause:
    """One line of the table: the cause's name, its words for people, and its effect in each mode."""

    name: str
    words: str
    effects: Mapping[Mode, Effect]


@dataclass(frozen=True)
class Verdict:
    """What the active causes add up to.

    Attributes
    ----------
    stop_all, stop_autonomy, direction : tuple of str
        For each effect the active causes that have it, in words; empty when there is none.
    active : mapping of str to str
        Every active cause with its details, ignored ones too: for the record, it decides nothing.
    """

    stop_all: tuple[str, ...] = ()
    stop_autonomy: tuple[str, ...] = ()
    direction: tuple[str, ...] = ()
    active: Mapping[str, str] = field(default_factory=dict, compare=False)


FREE = Verdict()
"""No cause is active."""


@dataclass(frozen=True)
class CauseTable:
    """The cause x mode table."""

    causes: Mapping[str, Cause]

    def decide(self, active: Mapping[str, str], mode: Mode) -> Verdict:
        """Weigh the active causes.

        Parameters
        ----------
        active : mapping of str to str
            Each active cause with its details in words (may be empty).
        mode : Mode
            The mode that counts.

        Raises
        ------
        KeyError
            When a cause is not in the table.
        """
        if not active:
            return FREE
        found: dict[Effect, list[str]] = {effect: [] for effect in Effect}
        for name, details in active.items():
            cause = self.causes[name]
            found[cause.effects[mode]].append(f"{cause.words} ({details})" if details else cause.words)
        return Verdict(tuple(found[Effect.STOP]), tuple(found[Effect.AUTONOMY]), tuple(found[Effect.DIRECTION]), active)


def load_causes(path: Path | None = None) -> CauseTable:
    """Read the table from a file (default: the shipped ``config/causes.yaml``).

    Raises
    ------
    SettingsError
        With one line that says what, where and what would be right.
    """
    path = path or config_path("causes.yaml")
    content = read_yaml(path)
    for name in content:
        if name not in CAUSES:
            raise SettingsError(f"{path}: unknown cause '{name}'; known: {', '.join(CAUSES)}")
    missing = [name for name in CAUSES if name not in content]
    if missing:
        raise SettingsError(f"{path}: cause '{missing[0]}' is missing; every cause must be listed")
    return CauseTable({name: _cause(name, content[name], f"{path}: {name}") for name in CAUSES})


def _cause(name: str, row: object, where: str) -> Cause:
    modes = [mode.value for mode in Mode]
    if not isinstance(row, dict):
        raise SettingsError(f"{where}: expected a mapping with words, {', '.join(modes)}")
    for key in row:
        if key != "words" and key not in modes:
            raise SettingsError(f"{where}: unknown mode '{key}'; known: {', '.join(modes)} (and words)")
    for key in ("words", *modes):
        if key not in row:
            raise SettingsError(f"{where}: '{key}' is missing; needed: words, {', '.join(modes)}")
    words = row["words"]
    if not isinstance(words, str) or not words:
        raise SettingsError(f"{where}: words is {words!r}; expected what people should read")
    return Cause(name, words, {mode: _effect(name, row[mode.value], f"{where}: {mode.value}") for mode in Mode})


def _effect(name: str, value: object, where: str) -> Effect:
    allowed = [effect.value for effect in Effect if effect is not Effect.DIRECTION or name in DIRECTIONAL]
    if value not in allowed:
        raise SettingsError(f"{where} is {value!r}; expected one of {', '.join(allowed)}")
    return Effect(value)
