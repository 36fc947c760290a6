"""How things stood at a moment of a run, put together from its log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from vla_bt.runlog.reader import Entry, RunReader

NEXT_ENTRIES = 5000
"""The next request is at most a second's messages away, however long a gap is: further on only a foreign log is read."""


@dataclass
class NodeState:
    """What one node of the tree said last."""

    name: str
    kind: str
    depth: int
    status: str = "INVALID"
    message: str = ""


@dataclass
class Standing:
    """How things stood.

    Attributes
    ----------
    time_s : float
        The moment asked for [s].
    nodes : list of NodeState
        The tree.
    tick : int
        The last tick that wrote something.
    newest : dict
        Topic -> its newest message; for ``/request`` that of the last tick that wrote one.
    board : dict
        The blackboard, in plain values.
    gap : tuple or None
        The span without a tick [s, s] that the moment lies in.
    ended : dict or None
        The ``/end`` message, if the run had ended by then.
    """

    time_s: float
    nodes: list[NodeState]
    tick: int = 0
    newest: dict[str, dict[str, Any]] = field(default_factory=dict)
    board: dict[str, Any] = field(default_factory=dict)
    gap: tuple[float, float] | None = None
    ended: dict[str, Any] | None = None

    def take(self, entry: Entry) -> None:
        """Go one message further."""
        content = entry.content
        self.tick = max(self.tick, int(content.get("tick", 0)))
        if entry.topic == "/tree":
            for change in content["changes"]:
                node = self.nodes[int(change["node"])]
                node.status, node.message = str(change["status"]), str(change["message"])
        elif entry.topic == "/blackboard":
            self.board.update(content["writes"])
        elif entry.topic == "/gate":
            limits = self.newest.get("/gate", {}).get("limits")
            self.newest["/gate"] = {**({"limits": limits} if limits else {}), **content}
        elif entry.topic == "/end":
            self.ended = content
        else:
            self.newest[entry.topic] = content


def blank(run: RunReader, time_s: float) -> Standing:
    """Return a run's tree before its first tick."""
    nodes = [NodeState(str(row["name"]), str(row["kind"]), int(row["depth"])) for row in run.head["nodes"]]
    return Standing(time_s, nodes)


def standing_at(run: RunReader, time_s: float) -> Standing:
    """Return how things stood at a moment of a run [s]."""
    standing = blank(run, time_s)
    for entry in run.from_full(time_s):
        standing.take(entry)
    if standing.ended is None:
        standing.gap = _gap(islice(run.entries(time_s + 1e-5), NEXT_ENTRIES), time_s)
    return standing


def _gap(following: Iterable[Entry], time_s: float) -> tuple[float, float] | None:
    for entry in following:
        if entry.topic == "/request":
            gap_s = entry.content.get("gap_s", 0.0)
            began_s = entry.t - float(gap_s)
            return (began_s, entry.t) if gap_s and began_s < time_s - 1e-6 else None
    return None
