"""The last ten minutes of a living robot, for pages that open late or look back.

Promises: bounded in time and in bytes; snapshots are kept compressed, pictures at most one a second and small. Used from one
thread at a time (a lock sees to it).
"""

from __future__ import annotations

import bisect
import json
import threading
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from vla_bt.dashboard import protocol
from vla_bt.dashboard.protocol import Wire

KEPT_S = 600.0
MAX_BYTES = 64 << 20
TRANSITIONS_KEPT = 2000
GOALS_KEPT = 100
PICTURE_PERIOD_S = 1.0


class _Track:
    """Values in order of time."""

    def __init__(self) -> None:
        self.times: deque[float] = deque()
        self.values: deque[bytes] = deque()
        self.size = 0

    def append(self, time_s: float, value: bytes) -> None:
        self.times.append(time_s)
        self.values.append(value)
        self.size += len(value)

    def drop_oldest(self) -> None:
        self.times.popleft()
        self.size -= len(self.values.popleft())

    def at(self, time_s: float) -> bytes | None:
        place = bisect.bisect_right(self.times, time_s) - 1
        return self.values[place] if place >= 0 else None


class History:
    """A :class:`vla_bt.dashboard.protocol.Source` that a living robot fills.

    Parameters
    ----------
    title : str
        For the page's head.
    """

    live = True

    def __init__(self, title: str) -> None:
        self.title = title
        self._lock = threading.Lock()
        self._snapshots, self._pictures = _Track(), _Track()
        self._transitions: deque[list[Any]] = deque(maxlen=TRANSITIONS_KEPT)
        self._goal_rows: deque[dict[str, Any]] = deque(maxlen=GOALS_KEPT)
        self._diagnostics: dict[str, dict[str, Any]] = {}
        self._diagnostics_s = 0.0
        self._episodes: str | None = None

    def add_snapshot(self, time_s: float, wire: str) -> None:
        """Keep an encoded snapshot."""
        with self._lock:
            if self._snapshots.times and time_s < self._snapshots.times[-1]:
                self._snapshots, self._pictures = _Track(), _Track()  # another machine's clock: what was is not comparable
            self._snapshots.append(time_s, zlib.compress(wire.encode(), 1))
            self._cut(time_s)

    def add_picture(self, time_s: float, wire: bytes) -> None:
        """Keep an encoded picture, if the last kept one is old enough."""
        with self._lock:
            if not self._pictures.times or time_s - self._pictures.times[-1] >= PICTURE_PERIOD_S:
                self._pictures.append(time_s, wire)

    def wants_picture(self, time_s: float) -> bool:
        """Tell whether :meth:`add_picture` would keep one."""
        with self._lock:
            return not self._pictures.times or time_s - self._pictures.times[-1] >= PICTURE_PERIOD_S

    def add_transitions(self, rows: Sequence[Sequence[Any]]) -> None:
        """Keep changes of status."""
        with self._lock:
            self._transitions.extend(list(row) for row in rows)

    def add_goal(self, row: Mapping[str, Any]) -> bool:
        """Keep a line of the ledger; False for one that is known already."""
        with self._lock:
            line = dict(row)
            if line in self._goal_rows:
                return False
            self._goal_rows.append(line)
            return True

    def add_diagnostics(self, rows: Sequence[Mapping[str, Any]], time_s: float) -> None:
        """Keep the newest row of each name."""
        with self._lock:
            self._diagnostics.update((str(row["name"]), dict(row)) for row in rows)
            self._diagnostics_s = time_s

    def set_episodes(self, wire: str) -> None:
        """Keep the newest list of episodes."""
        with self._lock:
            self._episodes = wire

    def span(self) -> tuple[float, float]:
        """Return the first and the last time that is kept [s]."""
        with self._lock:
            times = self._snapshots.times
            return (times[0], times[-1]) if times else (0.0, 0.0)

    def opening(self) -> list[Wire]:
        """Return transitions, goals, diagnostics and episodes so far, and the newest snapshot and picture."""
        with self._lock:
            now_s = self._snapshots.times[-1] if self._snapshots.times else 0.0
            wires: list[Wire] = [
                protocol.transitions(self._transitions, now_s),
                protocol.message("goals", now_s, {"rows": list(self._goal_rows)}),
                protocol.message("diagnostics", self._diagnostics_s, {"rows": list(self._diagnostics.values())}),
            ]
            if self._episodes is not None:
                wires.append(self._episodes)
        return wires + self.moment(float("inf"))

    def moment(self, time_s: float) -> list[Wire]:
        """Return the newest snapshot and picture not after a time."""
        with self._lock:
            snapshot, picture = self._snapshots.at(time_s), self._pictures.at(time_s)
        wires: list[Wire] = []
        if snapshot is not None:
            wires.append(zlib.decompress(snapshot).decode())
        if picture is not None:
            wires.append(picture)
        return wires

    def _cut(self, now_s: float) -> None:
        for track in (self._snapshots, self._pictures):
            while track.times and (now_s - track.times[0] > KEPT_S or track.size > MAX_BYTES // 2):
                track.drop_oldest()


def transitions_in(encoded: str) -> tuple[dict[str, Any], str]:
    """Take the transitions out of a snapshot as the tree publishes it.

    Returns
    -------
    dict, str
        The snapshot decoded (``transitions`` included), and encoded without them: they are sent and kept only once.

    Raises
    ------
    ProtocolError
        When it is not a snapshot.
    """
    try:
        content = json.loads(encoded)
        rows = content.pop("transitions", [])
        nodes, time_s = content["nodes"], float(content["time_s"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise protocol.ProtocolError("not a snapshot") from None
    if not isinstance(rows, list) or not isinstance(nodes, list):
        raise protocol.ProtocolError("not a snapshot")
    wire = protocol.message("snapshot", time_s, content)
    return {**content, "transitions": rows}, wire
