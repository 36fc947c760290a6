"""What travels on the page's one websocket, in both directions (``docs/dashboard.md`` has the table).

Promises: to the page go JSON objects ``{"type": ..., "t": seconds, ...}`` and, as binary messages, pictures; from the page come
small JSON objects, and whatever is not exactly a known command is refused in words (:func:`parse_command`), never half
understood.
``t`` is the source's own clock: CLOCK_MONOTONIC of the robot live, the log's time in a finished run.
"""

from __future__ import annotations

import json
import math
import struct
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vla_bt.words import Mode, Twist

VERSION = 1
MAX_COMMAND_BYTES = 16 * 1024
MAX_GOAL_CHARACTERS = 500
MAX_SPEED = 10.0
"""Beyond it a number is an error, not a wish [m/s, rad/s]."""

HUGE = 1e15
"""No number of a page reaches this; an integer beyond a float's range can't even be converted."""

Wire = str | bytes
"""A message as it is sent: text is JSON, bytes are a picture."""

KINDS: Mapping[str, str] = {
    "Parallel": "P",
    "Sequence": "S",
    "Selector": "F",
    "Decorator": "D",
    "Leaf": "L",
}
"""Letter of each kind of node in a snapshot's ``kinds``."""


class ProtocolError(ValueError):
    """A message that can't be used; one line that says why."""


class Source(Protocol):
    """What a page looks at: a living robot, or a finished run.

    Methods are called from one thread that may wait a little (files are read here); no two at a time.
    """

    @property
    def live(self) -> bool:
        """It goes on by itself, and commands reach a robot."""

    @property
    def title(self) -> str:
        """One line for the page's head."""

    def span(self) -> tuple[float, float]:
        """First and last time that :meth:`moment` can show [s]."""

    def opening(self) -> Sequence[Wire]:
        """All that a page needs once, when it opens: transitions and goals so far, episodes."""

    def moment(self, time_s: float) -> Sequence[Wire]:
        """Everything that was so at a time [s]: the newest snapshot, goal, diagnostics and picture not after it."""


def message(kind: str, time_s: float, content: Mapping[str, Any] | None = None) -> str:
    """Encode a message for the page.

    Parameters
    ----------
    kind : str
        ``snapshot``, ``transitions``, ``goals``, ``diagnostics``, ``episodes``, ``status``, ``hello``, ``answer``, ``beat``.
    time_s : float
        [s] on the source's clock.
    content : mapping
        The rest; not finite numbers become null.
    """
    whole = {"type": kind, "t": round(time_s, 3), **(content or {})}
    try:
        return json.dumps(whole, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return json.dumps(_finite(whole), ensure_ascii=False, separators=(",", ":"))


def snapshot(time_s: float, encoded: str) -> str:
    """Wrap a snapshot that is JSON already, such as ``tree/snapshot`` carries, without decoding it."""
    if not encoded.startswith("{") or len(encoded) < 3:
        raise ProtocolError("a snapshot is a JSON object")
    return f'{{"type":"snapshot","t":{round(time_s, 3)},{encoded[1:]}'


def transitions(rows: Iterable[Sequence[Any]], time_s: float) -> str:
    """Encode changes of status: rows of (time [s], node, status before, status after, feedback message)."""
    return message("transitions", time_s, {"rows": [list(row) for row in rows]})


def picture(time_s: float, jpeg: bytes, sequence: int, width: int, height: int, age_s: float = 0.0) -> bytes:
    """Encode a picture: length of the head (32 bits, little-endian), the head as JSON, the JPEG file.

    Parameters
    ----------
    time_s : float
        When the frame was received [s].
    jpeg : bytes
        A whole JPEG file.
    sequence : int
        The frame's number.
    width, height : int
        Size of the frame itself [px]; the JPEG may be smaller.
    age_s : float
        How old the frame is while this is sent [s].
    """
    head = message("camera", time_s, {"sequence": sequence, "width": width, "height": height, "age_s": round(age_s, 3)}).encode()
    return struct.pack("<I", len(head)) + head + jpeg


def unpack_picture(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return head and JPEG of :func:`picture`."""
    if len(data) < 4:
        raise ProtocolError("a picture of less than 4 bytes")
    (size,) = struct.unpack_from("<I", data)
    if size > len(data) - 4:
        raise ProtocolError("a picture whose head is longer than itself")
    return dict(json.loads(data[4 : 4 + size])), data[4 + size :]


@dataclass(frozen=True)
class Command:
    """What a page asks for.

    Attributes
    ----------
    kind : str
        One of :data:`COMMANDS`.
    text : str
        Of ``goal`` and ``mode``.
    twist : Twist
        Of ``drive`` [m/s, rad/s].
    beat : int
        Of ``drive`` and ``alive``: number of the newest ``beat`` the page has seen.
    time_s : float
        Of ``seek`` [s].
    on : bool
        Of ``take`` (take over from another driver too) and ``record``.
    """

    kind: str
    text: str = ""
    twist: Twist = Twist()  # noqa: RUF009 - immutable
    beat: int = 0
    time_s: float = 0.0
    on: bool = False


COMMANDS: Mapping[str, tuple[str, ...]] = {
    "take": ("on",),
    "leave": (),
    "drive": ("twist", "beat"),
    "release": (),
    "goal": ("text",),
    "mode": ("text",),
    "stop": (),
    "estop": (),
    "reset": (),
    "record": ("on",),
    "seek": ("time_s",),
    "live": (),
    "alive": ("beat",),
}
"""What a page may ask for, with the fields each needs."""

DRIVERS_ONLY = frozenset({"drive", "goal", "mode", "reset", "record"})
"""What only the page in control may do. ``stop`` and ``estop`` are everybody's."""


def parse_command(data: str) -> Command:
    """Read what a page sent.

    Raises
    ------
    ProtocolError
        When it is not exactly one of :data:`COMMANDS`, with what is wrong.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise ProtocolError("not JSON") from None
    if not isinstance(content, dict):
        raise ProtocolError("expected a JSON object")
    kind = content.pop("type", None)
    if not isinstance(kind, str) or kind not in COMMANDS:
        raise ProtocolError(f"unknown command; known: {', '.join(COMMANDS)}")
    if set(content) != set(COMMANDS[kind]):
        raise ProtocolError(f"{kind}: expected {', '.join(COMMANDS[kind]) or 'no field'}")
    return Command(kind, **{name: _FIELDS[name](kind, value) for name, value in content.items()})


def _text(kind: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_GOAL_CHARACTERS:
        raise ProtocolError(f"{kind}: expected 1 to {MAX_GOAL_CHARACTERS} characters")
    if odd := next((letter for letter in value if unicodedata.category(letter) == "Cc" and letter not in "\n\r\t"), ""):
        # ROS ends a text at U+0000: half a goal would arrive, and pass for a whole one.
        raise ProtocolError(f"{kind}: holds a control character (U+{ord(odd):04X}); expected plain text")
    if kind == "mode" and value not in {mode.value for mode in Mode}:
        raise ProtocolError(f"mode: expected {', '.join(mode.value for mode in Mode)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ProtocolError(f"{kind}: not Unicode text") from None
    return value


def _number(kind: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < HUGE:  # NaN fails, too
        raise ProtocolError(f"{kind}: expected finite numbers")
    return float(value)


def _twist(kind: str, value: object) -> Twist:
    if not isinstance(value, list) or len(value) != 3:
        raise ProtocolError(f"{kind}: expected three numbers: m/s forward, m/s left, rad/s")
    twist = Twist(*(_number(kind, component) for component in value))
    if any(abs(component) > MAX_SPEED for component in twist):
        raise ProtocolError(f"{kind}: faster than {MAX_SPEED:g}")
    return twist


def _count(kind: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        raise ProtocolError(f"{kind}: expected a count")
    return value


def _switch(kind: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ProtocolError(f"{kind}: expected true or false")
    return value


_FIELDS: Mapping[str, Any] = {"text": _text, "twist": _twist, "beat": _count, "time_s": _number, "on": _switch}


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return value
