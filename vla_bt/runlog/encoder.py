"""From ticks to the messages of a run log: only what changed, and since when it has been so.

Promises: pure (no clock, no file); who drives, what each cause and the gate do carry the time since when they have done so, so
that a reader needs no more than the last ten seconds to say why a robot stands. Also yields lines for people, for the log.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from vla_bt.contract import KEYS, PROPOSALS, Stamped
from vla_bt.control.causes import CauseTable, Effect, Verdict
from vla_bt.goals.ledger import GoalEvent
from vla_bt.port import GateStatus, Request, Snapshot
from vla_bt.proposal import Proposal
from vla_bt.runlog.times import Window
from vla_bt.runlog.topics import FULL_PERIOD_S, HEARTBEAT_S, MAX_TEXT, Level, plain, xyz
from vla_bt.words import Mode, Source

SLOW_PERIOD_S = 5.0
"""Memory readings are written this often while their level stays [s]."""

ELSEWHERE = frozenset(
    ("now", "tick", "snapshot", "verdict", "gate", "memory", "policy_status", "goal_events", "request", *PROPOSALS)
)
"""Keys of the blackboard that have a topic of their own, or say what a message says anyway."""

_NO_DIGITS = str.maketrans("", "", "0123456789.-")

Message = tuple[str, dict[str, Any]]


class Node(NamedTuple):
    """A node of the tree: display name, class name, depth (0 for the root)."""

    name: str
    kind: str
    depth: int


class Moment(NamedTuple):
    """What one tick hands over. Nothing in it changes afterwards.

    Attributes
    ----------
    at_s : float
        Port time of the tick [s].
    tick : int
        Its number.
    request : Request
        What was sent to the gate.
    words : str
        Why.
    statuses, messages : sequence
        Status (with ``value``) and feedback message of each node, in the tree's own order.
    board : mapping of str to Stamped
        The blackboard, its keys with a leading slash.
    times : Window or None
        How long ticks and leaves took in the seconds that have just ended.
    rows : sequence or None
        New rows of diagnostics: (what, level, message, values).
    """

    at_s: float
    tick: int
    request: Request
    words: str
    statuses: Sequence[Any]
    messages: Sequence[str]
    board: Mapping[str, Any]
    times: Window | None = None
    rows: Sequence[tuple[str, int, str, Mapping[str, object]]] | None = None


class Line(NamedTuple):
    """A line for people; lines of one ``kind`` may be told less often than they come."""

    level: Level
    kind: str
    text: str


class Encoder:
    """Turns the moments of one run into messages.

    Parameters
    ----------
    nodes : sequence of Node
        The tree, in the order of each moment's statuses.
    causes : CauseTable
        Gives the words and effects of causes.
    began_s : float
        Port time at which the run began [s].
    period_s : float
        Of the tick [s]; twice that without a tick is a gap.
    """

    def __init__(self, nodes: Sequence[Node], causes: CauseTable, began_s: float, period_s: float) -> None:
        self._nodes = nodes
        self._causes = causes
        self._began_s = began_s
        self._period_s = period_s
        self._leaf_of = {key: next((node.name for node in nodes if node.kind == KEYS[key].writer), "") for key in PROPOSALS}
        self._full_due_s = 0.0
        self._before_s: float | None = None
        self._written: dict[str, tuple[Any, float]] = {}  # topic -> what was written of it, and when
        self._board: dict[str, tuple[Any, Any]] = {}  # key -> the value, and what was written for it
        self._since: dict[str, tuple[Any, float]] = {}  # state machine -> its state, and since when
        self._onsets: dict[str, float] = {}
        self._statuses: Sequence[Any] = ()
        self._messages: Sequence[str] = ()
        self._goal: dict[str, Any] | None = None
        self._rows: list[dict[str, Any]] | None = None
        self._lines: list[Line] = []

    def want_full(self) -> None:
        """Write everything with the next moment: it begins a new part."""
        self._full_due_s = 0.0

    def take_lines(self) -> list[Line]:
        """Hand out the lines since the last call."""
        lines, self._lines = self._lines, []
        return lines

    def encode(self, moment: Moment) -> tuple[float, list[Message]]:
        """Return the moment's time since the run began [s], and its messages."""
        t = round(moment.at_s - self._began_s, 4)
        full = t >= self._full_due_s
        if full:
            self._full_due_s = t + FULL_PERIOD_S
            self._written.clear()
            self._board.clear()
        board = moment.board
        messages = [
            *self._request(moment, t, full),
            *self._gate(_value(board, "gate"), t, full),
            *self._cause_rows(_value(board, "verdict"), _value(board, "mode"), t, full),
            *self._goals(board.get("/goal_events"), moment.at_s, full),
            *self._tree(moment, t, full),
            *self._slow("/memory", "state", _value(board, "memory"), "level", SLOW_PERIOD_S, t, full),
            *self._slow("/policy", "status", _value(board, "policy_status"), "state", HEARTBEAT_S, t, full),
            *self._blackboard(board, full),
            *self._diagnostics(moment.rows, t, full),
            *((("/timing", moment.times.to_plain()),) if moment.times is not None else ()),
        ]
        self._before_s = t
        head = {"t": t, "tick": moment.tick, **({"full": True} if full else {})}
        return t, [(topic, {**head, **content}) for topic, content in messages]

    # ------------------------------------------------------------------ topic by topic

    def _request(self, moment: Moment, t: float, full: bool) -> Iterable[Message]:
        request, board = moment.request, moment.board
        leaf, proposed = "", request.twist
        for key in PROPOSALS:
            entry: Stamped | None = board.get("/" + key)
            if entry is not None and entry.at_s == moment.at_s:
                proposal: Proposal = entry.value
                leaf, proposed = self._leaf_of[key], proposal.twist
        moves = not request.twist.is_zero()
        since_s = self._hold("request", (leaf, request.source, moves), t)
        mode = _value(board, "mode")
        if self._changed("mode", mode):
            self._say(Level.INFO, "mode", f"mode {mode.value if isinstance(mode, Mode) else 'unknown'}")
        if self._changed("source", request.source):
            self._say(Level.INFO, "driver", f"{request.source.name.lower()}: {moment.words}")
        gap_s = t - self._before_s if self._before_s is not None else 0.0
        gap = {}
        if gap_s > 2.0 * self._period_s:
            gap = {"gap_s": round(gap_s, 4)}
            self._say(Level.WARNING, "gap", f"no tick for {gap_s:.2f} s")
        content = {
            "mode": plain(mode),
            "source": request.source.name.lower(),
            "leaf": leaf,
            "proposed": xyz(proposed),
            "asked": xyz(request.twist),
            "since": since_s,
            "goal_id": request.goal_id,
            "frame": request.frame_sequence,
            "valid_for_s": request.valid_for_s,
        }
        if self._due("/request", (content, moment.words.translate(_NO_DIGITS)), HEARTBEAT_S, t) or gap or full:
            yield "/request", {**content, "words": moment.words, **gap}

    def _gate(self, status: GateStatus | None, t: float, full: bool) -> Iterable[Message]:
        if status is None:
            return
        acts = _acts(status)
        standing_s = self._hold("standing", status.applied.is_zero(), t)
        content = {
            "applied": xyz(status.applied),
            "source": status.source.name.lower(),
            "latched": status.latched,
            "fault": status.fault,
            "words": status.words,
            "acts": acts,
            "since": self._hold("gate", acts, t),
            "standing_since": standing_s if status.applied.is_zero() else None,
            "stops": status.stops,
        }
        if self._changed("gate acts", acts) and acts in ("estop", "fault", "waits") and status.words != "no request yet":
            self._say(Level.ERROR if acts == "fault" else Level.WARNING, "gate", f"gate: {status.words}")
        if self._due("/gate", content, HEARTBEAT_S, t) or full:
            limits = status.limits
            names = ("max_linear_x", "max_linear_y", "max_angular_z", "max_linear_acceleration", "max_angular_acceleration")
            yield "/gate", {**content, **({"limits": {name: getattr(limits, name) for name in names}} if full else {})}

    def _cause_rows(self, verdict: Verdict | None, mode: Any, t: float, full: bool) -> Iterable[Message]:
        active = verdict.active if verdict is not None else {}
        for name in [name for name in self._onsets if name not in active]:
            lasted_s = t - self._onsets.pop(name)
            self._say(Level.INFO, f"{name} over", f"over after {lasted_s:.2f} s: {self._causes.causes[name].words}")
        rows = []
        for name, details in active.items():
            cause = self._causes.causes[name]
            effect = cause.effects[mode] if isinstance(mode, Mode) else Effect.IGNORE
            if name not in self._onsets:
                self._onsets[name] = t
                level = Level.INFO if effect is Effect.IGNORE else Level.WARNING
                self._say(level, name, f"{cause.words} ({details})" if details else cause.words)
            rows.append(
                {"name": name, "words": cause.words, "details": details, "effect": effect.value, "since": self._onsets[name]}
            )
        known = [(row["name"], row["effect"]) for row in rows]
        before = self._written.get("/causes")
        if full or before is None or before[0] != known or (rows and t - before[1] >= HEARTBEAT_S):
            self._written["/causes"] = (known, t)
            yield "/causes", {"active": rows}

    def _goals(self, entry: Stamped | None, at_s: float, full: bool) -> Iterable[Message]:
        events: tuple[GoalEvent, ...] = entry.value if entry is not None and entry.at_s == at_s else ()
        for event in events:
            line = json.loads(event.to_json())
            line["at_s"] = round(event.at_s - self._began_s, 4)
            self._goal = plain(line)
            bad = line["state"] in ("rejected", "failed", "expired")
            reason = f" ({line['reason']})" if line["reason"] else ""
            text = f"goal {line['id']} {line['state']}{reason}: {line['doing'] or line['text']}"
            self._say(Level.WARNING if bad else Level.INFO, f"goal {line['state']}", text)
            yield "/goal", dict(self._goal or {})
        if full and not events and self._goal is not None:
            yield "/goal", dict(self._goal)

    def _tree(self, moment: Moment, t: float, full: bool) -> Iterable[Message]:
        statuses, messages = moment.statuses, moment.messages
        if full or len(statuses) != len(self._statuses):
            changed = list(range(len(statuses)))
            self._messages = messages
        else:
            refresh = self._due("/tree", None, HEARTBEAT_S, t)
            changed = [
                index
                for index, status in enumerate(statuses)
                if status is not self._statuses[index] or (refresh and messages[index] != self._messages[index])
            ]
            if refresh:
                self._messages = messages
        self._statuses = statuses
        if changed:
            yield (
                "/tree",
                {
                    "changes": [
                        {
                            "node": index,
                            "name": self._nodes[index].name,
                            "status": statuses[index].value,
                            "message": messages[index][:200],
                        }
                        for index in changed
                    ]
                },
            )

    def _slow(self, topic: str, name: str, value: Any, state: str, period_s: float, t: float, full: bool) -> Iterable[Message]:
        if value is None:
            return
        now = plain(getattr(value, state, None))
        if self._changed(topic, now) and now not in ("fine", "ready"):
            detail = getattr(value, "detail", "") or getattr(value, "words", "")
            self._say(Level.WARNING, topic, f"{topic[1:]} {now}" + (f": {detail}" if detail else ""))
        if self._due(topic, now, period_s, t) or full:
            yield topic, {name: plain(value, self._began_s)}

    def _blackboard(self, board: Mapping[str, Any], full: bool) -> Iterable[Message]:
        writes: dict[str, Any] = {}
        found = {key[1:]: entry.value for key, entry in board.items() if key[1:] in KEYS and key[1:] not in ELSEWHERE}
        snapshot: Snapshot | None = _value(board, "snapshot")
        if snapshot is not None:  # what has no key of its own
            for name in ("battery", "scan", "contact"):
                found[f"snapshot.{name}"] = getattr(snapshot, name)
        for key, value in found.items():
            before = self._board.get(key)
            if before is not None and before[0] is value:
                continue
            now = round(value, 3) if key == "lateness" else plain(value, self._began_s)
            if before is None or before[1] != now:
                writes[key] = now
            self._board[key] = (value, now)
        if writes or full:
            yield "/blackboard", {"writes": writes}

    def _diagnostics(self, rows: Any, t: float, full: bool) -> Iterable[Message]:
        """Write all rows when a level or the words of one have changed; figures alone every so often."""
        if rows is not None:
            self._rows = [
                {"name": what, "level": level, "message": message[:MAX_TEXT], "values": plain(dict(values))}
                for what, level, message, values in rows
            ]
            state = [(row["name"], row["level"], row["message"].translate(_NO_DIGITS)) for row in self._rows]
            if not self._due("/diagnostics", state, SLOW_PERIOD_S, t) and not full:
                return
        if self._rows is not None and (rows is not None or full):
            yield "/diagnostics", {"rows": self._rows}

    # ------------------------------------------------------------------ memory

    def _hold(self, what: str, state: Any, t: float) -> float:
        """Return since when ``what`` has been in this state [s]."""
        before = self._since.get(what)
        if before is None or before[0] != state:
            before = self._since[what] = (state, t)
        return before[1]

    def _changed(self, what: str, state: Any) -> bool:
        """Tell whether ``what`` is in another state than when this was asked last."""
        before = self._since.get("changed " + what)
        if before is not None and before[0] == state:
            return False
        self._since["changed " + what] = (state, 0.0)
        return True

    def _due(self, topic: str, content: Any, period_s: float, t: float) -> bool:
        """Tell whether a topic has changed or was last written ``period_s`` ago; it counts as written then."""
        before = self._written.get(topic)
        if before is not None and before[0] == content and t - before[1] < period_s - 1e-9:
            return False
        self._written[topic] = (content, t)
        return True

    def _say(self, level: Level, kind: str, text: str) -> None:
        self._lines.append(Line(level, kind, text))


def _value(board: Mapping[str, Any], key: str) -> Any:
    entry: Stamped | None = board.get("/" + key)
    return entry.value if entry is not None else None


def _acts(status: GateStatus) -> str:
    """Name what the gate does with what it is asked.

    ``estop``, ``fault``; ``waits``: it has no request alive; ``stops``: as a protective stop asks; ``limits``; ``passes``.
    """
    if status.latched:
        return "estop"
    if status.fault:
        return "fault"
    if status.source is Source.SAFETY:
        return "stops"
    if status.source is Source.IDLE and not status.words.startswith("idle"):
        return "waits"
    return "limits" if status.words.endswith("limited") else "passes"
