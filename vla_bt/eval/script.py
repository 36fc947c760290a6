"""What happens in a run by the clock: what people do, and what goes wrong.

Promises: plain values that survive JSON; a mistake is one line that names file and line. What each event does to the world is in
:mod:`vla_bt.eval.run`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from vla_bt.eval.marked import Marked, marked
from vla_bt.settings import SettingsError

Value = str | float | tuple[float, ...]


@dataclass(frozen=True)
class Event:
    """One thing that begins at a time, and for some verbs ends after a while.

    Attributes
    ----------
    at_s : float
        Simulated time [s].
    do : str
        A key of :data:`VERBS`.
    value : str, float or tuple of float
        What the verb needs.
    for_s : float
        How long it lasts [s]; infinite when no end was told.
    """

    at_s: float
    do: str
    value: Value
    for_s: float = math.inf

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; an endless event has no ``for_s``."""
        value = list(self.value) if isinstance(self.value, tuple) else self.value
        lasting = {} if math.isinf(self.for_s) else {"for_s": self.for_s}
        return {"at_s": self.at_s, "do": self.do, "value": value, **lasting}

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> Event:
        """Read what :meth:`to_dict` wrote.

        Raises
        ------
        SettingsError
            When a verb is unknown or does not get what it needs.
        """
        unknown = sorted(set(entry) - {"at_s", "do", "value", "for_s"})
        if unknown or "do" not in entry or "value" not in entry:
            raise SettingsError(f"not an event: {entry}")
        timing = {name: entry[name] for name in ("at_s", "for_s") if name in entry}
        return _event(marked({**timing, str(entry["do"]): entry["value"]}, "event"), tuple(VERBS))


def _words(*choices: str) -> Callable[[Marked, str], Value]:
    return lambda entry, what: entry.word(what, choices)


def _numbers(count: int, bound: float) -> Callable[[Marked, str], Value]:
    return lambda entry, what: entry.numbers(what, count, bound)


def _number(low: float, high: float) -> Callable[[Marked, str], Value]:
    return lambda entry, what: entry.number(what, low, high)


VERBS: dict[str, Callable[[Marked, str], Value]] = {
    "mode": _words("manual", "vla", "hybrid"),
    "goal": _words(),
    "teleop": _numbers(3, 3.0),  # linear_x, linear_y, angular_z [m/s, m/s, rad/s], pressed all the while
    "emergency_stop": _words("pressed"),  # at the end released and reset
    "camera": _words("lost", "frozen"),
    "camera_noise": _number(0.0, 128.0),  # standard deviation [grey levels]
    "light": _number(0.0, 1.0),  # share of the light that is left; at the end all of it
    "odometry": _words("lost"),
    "scan": _words("lost"),
    "policy": _words("killed"),  # at the end it is there again, without its memory
    "latency_s": _number(0.0, 2.0),
    "push": _numbers(3, 1000.0),  # force_x, force_y, torque [N, N, N m]
    "cup": _numbers(2, 10.0),  # moved by x, y [m]
}
"""Verb -> how its value is read."""

PEOPLE = ("mode", "goal", "teleop", "emergency_stop")
FAULTS = tuple(verb for verb in VERBS if verb not in ("mode", "goal", "teleop"))
NEED_AN_END = ("teleop", "emergency_stop", "push")


def read_events(entries: Marked, what: str, verbs: Iterable[str]) -> tuple[Event, ...]:
    """Read a list of events, which stand in the order of their times.

    Raises
    ------
    SettingsError
        With one line that names the file's line.
    """
    events: list[Event] = []
    for entry in entries.entries(what):
        event = _event(entry, tuple(verbs))
        if events and event.at_s < events[-1].at_s:
            raise entry.error(f"{what}: at {event.at_s:g} s stands after {events[-1].at_s:g} s; expected the order of time")
        events.append(event)
    return tuple(events)


def _event(entry: Marked, verbs: tuple[str, ...]) -> Event:
    at_s: float | None = None
    for_s = math.inf
    found: list[tuple[str, Value]] = []
    for name, value in entry.items("an event"):
        if name == "at_s":
            at_s = value.number("at_s", 0.0, 3600.0)
        elif name == "for_s":
            for_s = value.number("for_s", 0.0, 3600.0)
        elif name in verbs:
            found.append((name, VERBS[name](value, name)))
        else:
            raise value.error(f"unknown '{name}'; known: at_s, for_s, {', '.join(verbs)}")
    if at_s is None:
        raise entry.error("at_s is missing: when does it happen?")
    if len(found) != 1:
        raise entry.error(f"an event has exactly one of {', '.join(verbs)}; this one has {len(found)}")
    if found[0][0] in NEED_AN_END and math.isinf(for_s):
        raise entry.error(f"for_s is missing: how long does '{found[0][0]}' last?")
    return Event(at_s, *found[0], for_s)
