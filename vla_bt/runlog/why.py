"""Why a robot stood, or moved, at a moment of its run: who held it, since when, for which causes, who drove, towards what.

Promises: the answer follows from the log alone; what is inferred rather than logged (the gate's time-out while the tree was
silent) is called so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from vla_bt.runlog.history import Standing, standing_at
from vla_bt.runlog.reader import RunLogError, RunReader, shown

STILL = 1e-6
END_SLACK_S = 1.0
"""The log goes on this long after its last message: nothing changed meanwhile [s]."""

OPEN = ("accepted", "active")


@dataclass(frozen=True)
class CauseThen:
    """One active cause: its name, its words with details, its effect in the mode of the moment, and since when [s]."""

    name: str
    words: str
    effect: str
    since_s: float


@dataclass(frozen=True)
class Answer:
    """Why.

    Attributes
    ----------
    run, at_s, tick, mode
        The moment.
    held : bool
        The robot was made to stand, or asked to.
    by : str
        Who held it: ``leaf``, ``direction`` (a blocked direction took the velocity away), ``gate``, or ``nothing``.
    leaf, path : str, list of str
        The leaf that drove or held, and its way down the tree.
    since_s : float or None
        Since when [s].
    headline : str
        The answer in a sentence.
    causes : list of CauseThen
        What was wrong, ignored causes too.
    driver, before : str
        Who drove then, and before that.
    gate, goal, then : str
        What the gate did, what goal there was, what it takes to go on; in words.
    asked, applied : list of float
        Velocities [m/s, m/s, rad/s]; ``applied`` is empty where the gate was not heard.
    notes : list of str
        What the log lacks.
    """

    run: str
    at_s: float
    tick: int
    mode: str
    held: bool
    by: str
    leaf: str
    path: list[str]
    since_s: float | None
    headline: str
    causes: list[CauseThen] = field(default_factory=list)
    driver: str = ""
    before: str = ""
    gate: str = ""
    goal: str = ""
    then: str = ""
    asked: list[float] = field(default_factory=list)
    applied: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    def in_words(self) -> str:
        """Return some lines for a terminal."""
        rows = [("", self.headline)]
        if self.path:
            rows.append(("leaf", " / ".join(self.path)))
        for cause in self.causes:
            rows.append(("cause", f"{cause.words}  [{cause.name}, since {cause.since_s:.2f} s, effect: {cause.effect}]"))
        rows += [("driver", self.driver), ("before", self.before), ("gate", self.gate), ("goal", self.goal), ("then", self.then)]
        rows += [("note", note) for note in self.notes]
        head = f"{self.run} at {self.at_s:.2f} s, tick {self.tick}, mode {self.mode or 'unknown'}"
        lines = [f"{name:>8}  {shown(text)}" if name else shown(text) for name, text in rows if text]
        return "\n".join([shown(head), *lines])


def why(run: RunReader, at_s: float | None = None) -> Answer:
    """Answer for a moment of a run.

    Parameters
    ----------
    run : RunReader
        The run.
    at_s : float, optional
        Seconds since it began; its end by default.

    Raises
    ------
    RunLogError
        When the moment is not in the log, or its messages can't be used.
    """
    first_s, last_s = run.first_s, run.last_s
    at_s = last_s if at_s is None else at_s
    if not first_s - 1e-6 <= at_s <= last_s + (END_SLACK_S if run.running else 1e-6):
        raise RunLogError(f"{run.name}: {at_s:g} s is not in it; the log goes from {first_s:.2f} to {last_s:.2f} s")
    try:
        return _Inquiry(run, standing_at(run, at_s)).answer()
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise RunLogError(f"{run.name}: its messages can't be used: {type(error).__name__} {shown(error)[:80]}") from None


class _Inquiry:
    """One question."""

    def __init__(self, run: RunReader, standing: Standing) -> None:
        self.run = run
        self.at = standing
        self.request = standing.newest.get("/request", {})
        self.gate = standing.newest.get("/gate")
        self.asked = _twist(self.request.get("asked"))
        self.proposed = _twist(self.request.get("proposed"))
        self.applied = _twist(self.gate["applied"]) if self.gate is not None else []
        self.leaf = str(self.request.get("leaf", ""))
        self.words = str(self.request.get("words", ""))
        self.since_s = _maybe(self.request.get("since"))
        self.causes = [
            CauseThen(
                str(row["name"]),
                f"{row['words']} ({row['details']})" if row["details"] else str(row["words"]),
                str(row["effect"]),
                float(row["since"]),
            )
            for row in standing.newest.get("/causes", {}).get("active", [])
        ]

    def answer(self) -> Answer:
        held, by, since_s, headline = self._judge()
        return Answer(
            run=self.run.name,
            at_s=round(self.at.time_s, 4),
            tick=self.at.tick,
            mode=str(self.request.get("mode") or ""),
            held=held,
            by=by,
            leaf=self.leaf,
            path=self._path(self.leaf),
            since_s=since_s,
            headline=headline,
            causes=self.causes,
            driver=self._driver(),
            before=self._before(since_s),
            gate=self._gate_words(),
            goal=self._goal_words(),
            then=self._then() if held else "",
            asked=self.asked,
            applied=self.applied,
            notes=[*self._near_notes(), *self.run.notes],
        )

    # ------------------------------------------------------------------ the judgement

    def _judge(self) -> tuple[bool, str, float | None, str]:
        """Return held, by whom, since when, and the sentence. The first rule that fits decides."""
        if not self.request:
            return True, "nothing", None, "the tree had not ticked yet: nothing drove the robot"
        acts = str(self.gate["acts"]) if self.gate is not None else ""
        timeout = self._timed_out()
        if timeout is not None:
            return True, "gate", *timeout
        if acts == "estop" and self.gate is not None:
            held_s = float(self.gate["since"])
            tree = f"; in the tree '{self.leaf}' held it since {_s(self.since_s)}" if self.request["source"] == "safety" else ""
            return True, "gate", held_s, f"the emergency stop held the robot, latched in the gate since {held_s:.2f} s{tree}"
        if self.request["source"] == "safety":
            who = f"'{self.leaf}'" if self.leaf else "the tree"
            return True, "leaf", self.since_s, f"{who} held the robot since {_s(self.since_s)}: {self.words}"
        blocked = self._blocked()
        if blocked is not None:
            return True, "direction", *blocked
        if _still(self.asked):
            return True, "leaf", self.since_s, f"'{self.leaf}' asked the robot to stand since {_s(self.since_s)}: {self.words}"
        if acts in ("fault", "waits") and self.gate is not None:
            held_s = float(self.gate["since"])
            return (
                True,
                "gate",
                held_s,
                f"the gate held the robot since {held_s:.2f} s: {self.gate['fault'] or self.gate['words']}",
            )
        if self.applied and _still(self.applied):
            return self._not_let_through()
        drove = f"nothing held it: '{self.leaf}' drove since {_s(self.since_s)} ({self.request['source']}, {self.words})"
        return False, "nothing", self.since_s, f"{drove}, {_speed(self.applied or self.asked)}"

    def _timed_out(self) -> tuple[float, str] | None:
        """Judge a moment in which the tree did not tick: the gate lets its last request live for a while only."""
        if self.at.gap is None or _still(self.asked):
            return None
        began_s, until_s = self.at.gap
        dead_s = began_s + float(self.request["valid_for_s"])
        if self.at.time_s < dead_s:
            return None
        good_ms = 1e3 * float(self.request["valid_for_s"])
        words = (
            f"the gate's time-out held the robot since about {dead_s:.2f} s: the tree did not tick from {began_s:.2f} to "
            f"{until_s:.2f} s, and its last request was good for {good_ms:.0f} ms ({self._gate_afterwards(until_s)})"
        )
        return dead_s, words

    def _gate_afterwards(self, until_s: float) -> str:
        """Return what the gate told the first tick after a gap: the proof, where there is one."""
        for entry in self.run.entries(until_s - 1e-3, until_s + 1e-3):
            if entry.topic == "/gate" and entry.content["acts"] in ("waits", "stops", "estop", "fault"):
                return f"the gate afterwards: {entry.content['words']}"
        return "inferred"

    def _blocked(self) -> tuple[float, str] | None:
        """Judge what a blocked direction left of the velocity: nothing of its linear part, or something."""
        blocked = [cause for cause in self.causes if cause.effect == "direction"]
        if not blocked or _still(self.proposed[:2]) or not _still(self.asked[:2]):
            return None
        since_s = min(cause.since_s for cause in blocked)
        if _still(self.asked):  # since it also stands still
            since_s = max(since_s, self.since_s or since_s)
        names = " and ".join(cause.words for cause in blocked)
        rest = "" if _still(self.asked) else f", and could only turn ({self.asked[2]:+.2f} rad/s)"
        words = f"a blocked direction held the robot since {since_s:.2f} s: {names}; '{self.leaf}' asked for"
        return since_s, f"{words} {_speed(self.proposed)}{rest}"

    def _not_let_through(self) -> tuple[bool, str, float | None, str]:
        assert self.gate is not None
        names = ("max_linear_x", "max_linear_y", "max_angular_z")
        limits = [_maybe(self.gate.get("limits", {}).get(name)) for name in names]
        held_s = _maybe(self.gate.get("standing_since"))
        if all(limit == 0.0 for limit, asked in zip(limits, self.asked, strict=True) if abs(asked) > STILL):
            words = f"the gate's limits held the robot since {_s(held_s)}: they leave nothing of {_speed(self.asked)}"
            return True, "gate", held_s, words
        words = f"nothing held it: '{self.leaf}' began to drive at {_s(self.since_s)}, the gate had not applied it yet"
        return False, "nothing", self.since_s, words

    # ------------------------------------------------------------------ the rest

    def _path(self, leaf: str) -> list[str]:
        nodes = self.at.nodes
        index = next((i for i, node in enumerate(nodes) if node.name == leaf and node.status != "INVALID"), None)
        if index is None:
            return []
        path = [nodes[index].name]
        depth = nodes[index].depth
        for node in reversed(nodes[:index]):
            if node.depth < depth:
                path.append(node.name)
                depth = node.depth
        return path[::-1]

    def _driver(self) -> str:
        if not self.request:
            return ""
        source, words = str(self.request["source"]), f"asked for {_speed(self.asked)}"
        limited = "" if _same(self.proposed, self.asked) else f" (of {_speed(self.proposed)} that '{self.leaf}' proposed)"
        return f"{source}, {words}{limited}"

    def _before(self, since_s: float | None) -> str:
        """Say who drove before the present driver or hold, from the log just before it."""
        if since_s is None or since_s <= self.run.first_s + 1e-3:
            return ""
        before: dict[str, Any] = {}
        for entry in self.run.from_full(since_s - 1e-3):
            if entry.topic == "/request":
                before = entry.content
        if not before:
            return ""
        verb = "stood" if _still(_twist(before["asked"])) else "drove"
        return f"{before['source']}: '{before['leaf']}' {verb} until {since_s:.2f} s: {before['words']}"

    def _gate_words(self) -> str:
        if self.gate is None:
            return "not heard yet"
        acts = str(self.gate["acts"])
        standing_s = _maybe(self.gate.get("standing_since"))
        done = f"applied zero since {standing_s:.2f} s" if standing_s is not None else f"applied {_speed(self.applied)}"
        if acts == "limits" and not _same(self.asked, self.applied):
            limits = self.gate.get("limits", {})
            limit = _maybe(limits.get("max_linear_x"))
            known = f"; limits {limit:g} m/s, {_maybe(limits.get('max_angular_z')) or 0.0:g} rad/s" if limit is not None else ""
            return f"limited what was asked ({_speed(self.asked)}): {done}{known}"
        heard_s = self.at.time_s - float(self.gate["t"])
        silent = any(cause.name == "gate_silent" for cause in self.causes)
        late = f" (last heard {heard_s:.2f} s before)" if silent or self.at.gap else ""
        return f"{done}; it says: {self.gate['words'] or acts}{late}"

    def _goal_words(self) -> str:
        goal = self.at.newest.get("/goal")
        if goal is None:
            return "none was told"
        reason = f": {goal['reason']}" if goal.get("reason") else ""
        several = goal["state"] in OPEN and goal.get("of", 0) > 1
        doing = f", step {goal['step']} of {goal['of']}: {goal['doing']}" if several else ""
        return f'{goal["id"]} "{goal["text"]}", {goal["state"]} since {float(goal["at_s"]):.2f} s{reason}{doing}'

    def _then(self) -> str:
        """Say what it takes to move again (docs/safety.md)."""
        goal = self.at.newest.get("/goal", {})
        pursued = goal.get("state") in OPEN
        if any(cause.name == "estop" for cause in self.causes) or (self.gate is not None and self.gate["latched"]):
            return "needs a person: release and reset the emergency stop, then a new goal or the keys"
        effects = {cause.effect for cause in self.causes if cause.name != "teleop_lost"}  # that one ends with the next key
        mode = self.request.get("mode")
        if mode == "manual":  # what stops autonomy alone stops no keys
            later = ", once the cause is over" if "stop" in effects or self.at.gap else ""
            blocked = "; not in the blocked direction until its cause is over" if "direction" in effects and not later else ""
            return f"mode manual: the robot waits for the keys{later}{blocked}"
        if pursued:
            return "goes on by itself once the cause is over" if effects - {"ignore"} or self.at.gap else ""
        return "needs a person: no goal is open"

    def _near_notes(self) -> list[str]:
        notes = []
        if self.at.gap is not None:
            notes.append(f"no tick from {self.at.gap[0]:.2f} to {self.at.gap[1]:.2f} s")
        if self.at.ended is not None:
            notes.append(f"here the run ended ({self.at.ended.get('reason')}), and zero was sent")
        return notes


def _twist(row: Any) -> list[float]:
    if row is None:
        return [0.0, 0.0, 0.0]
    return [math.nan if row[name] is None else float(row[name]) for name in ("x", "y", "z")]


def _still(twist: Sequence[float]) -> bool:
    return all(abs(component) <= STILL for component in twist)


def _same(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(abs(a - b) <= 1e-3 for a, b in zip(one, other, strict=True))


def _speed(twist: Sequence[float]) -> str:
    x, y, z = twist
    turn = f" and {z:+.2f} rad/s" if abs(z) > STILL else ""
    return f"{math.hypot(x, y):.2f} m/s{turn}"


def _maybe(value: Any) -> float | None:
    return None if value is None else float(value)


def _s(value: float | None) -> str:
    return "the beginning" if value is None else f"{value:.2f} s"
