"""A run at a glance, and a run in figures: what ``vla-bt runs ls`` and ``show`` tell."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from vla_bt.runlog.history import standing_at
from vla_bt.runlog.reader import RunLogError, RunReader, shown
from vla_bt.runlog.times import Window, added_up

LINES_KEPT = 200
LEAVES_SHOWN = 5
LEVELS = {1: "WARN", 2: "ERROR", 3: "STALE"}


def glance(run: RunReader) -> dict[str, Any]:
    """Return a run's name, beginning, world, duration, size, ending and last goal; reads its first and last seconds only."""
    try:
        last = standing_at(run, run.last_s)
        goal = last.newest.get("/goal")
        return {
            "name": run.name,
            "started": shown(run.head["started"]),
            "world": shown(run.head["world"]),
            "duration_s": round(run.last_s, 3),
            "kept_from_s": round(run.first_s, 3),
            "size": run.size,
            "parts": len(run.paths),
            "ending": _ending(run, last.ended),
            "goal": f"{shown(goal['text'])} [{shown(goal['state'])}]" if goal else "",
            "notes": list(run.notes),
        }
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise _unusable(run, error) from None


def figures(run: RunReader, progress: Callable[[float], None] | None = None) -> dict[str, Any]:
    """Read a whole run and return what can be counted in it.

    Parameters
    ----------
    run : RunReader
        The run.
    progress : callable, optional
        Told now and then how far it is [s].

    Returns
    -------
    dict
        :func:`glance`, and ``ticks``, ``dropped``, ``driver_s`` (time by source [s]), ``standing_s`` (time the gate applied
        zero [s]), ``causes`` (name: how often, how long), ``goals``, ``gaps``, ``memory_min_mb``, ``warnings``, ``timing``
        (ticks, how late they began, missed deadlines, each leaf: p50, p99, worst [ms]; None when the log has none),
        ``diagnostics`` (rows that were not OK: their worst level and how often they got worse).
    """
    try:
        return glance(run) | _Count(run).read(progress)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        if isinstance(error, RunLogError):
            raise
        raise _unusable(run, error) from None


class _Count:
    """Goes through a run once."""

    def __init__(self, run: RunReader) -> None:
        self.run = run
        self.driver_s: dict[str, float] = defaultdict(float)
        self.standing_s = 0.0
        self.cause_s: dict[str, float] = defaultdict(float)
        self.cause_times: Counter[str] = Counter()
        self.goals: dict[int, dict[str, Any]] = {}
        self.gaps: list[dict[str, float]] = []
        self.warnings: list[dict[str, Any]] = []
        self.memory_mb: float | None = None
        self.ticks = self.dropped = 0
        self.driver: tuple[str, float] | None = None
        self.standing: tuple[bool, float] | None = None
        self.active: dict[str, float] = {}
        self.timing: Window | None = None
        self.levels: dict[str, int] = {}
        self.worse: dict[str, dict[str, Any]] = {}

    def read(self, progress: Callable[[float], None] | None) -> dict[str, Any]:
        shown_s = 0.0
        for entry in self.run.entries():
            getattr(self, "_on_" + entry.topic.lstrip("/"), self._on_other)(entry.t, entry.content)
            if progress is not None and entry.t - shown_s > 60.0:
                shown_s = entry.t
                progress(entry.t)
        end_s = self.run.last_s
        self._pass(end_s)
        for name, since_s in self.active.items():
            self.cause_s[name] += end_s - since_s
        return {
            "ticks": self.ticks,
            "dropped": self.dropped,
            "driver_s": {name: round(value, 3) for name, value in sorted(self.driver_s.items())},
            "standing_s": round(self.standing_s, 3),
            "causes": {
                name: {"times": self.cause_times[name], "total_s": round(self.cause_s[name], 3)} for name in self.cause_times
            },
            "goals": list(self.goals.values()),
            "gaps": self.gaps,
            "memory_min_mb": self.memory_mb,
            "warnings": self.warnings,
            "timing": _times(self.timing) if self.timing is not None else None,
            "diagnostics": self.worse,
        }

    def _pass(self, t: float) -> None:
        if self.driver is not None:
            self.driver_s[self.driver[0]] += t - self.driver[1]
        if self.standing is not None and self.standing[0]:
            self.standing_s += t - self.standing[1]

    def _on_request(self, t: float, content: dict[str, Any]) -> None:
        if self.driver is not None:
            self.driver_s[self.driver[0]] += t - self.driver[1]
        self.driver = (shown(content["source"]), t)
        self.ticks = max(self.ticks, int(content["tick"]))
        if content.get("gap_s"):
            self.gaps.append({"until_s": t, "gap_s": float(content["gap_s"])})

    def _on_gate(self, t: float, content: dict[str, Any]) -> None:
        if self.standing is not None and self.standing[0]:
            self.standing_s += t - self.standing[1]
        self.standing = (content.get("standing_since") is not None, t)

    def _on_causes(self, t: float, content: dict[str, Any]) -> None:
        now = {shown(row["name"]): float(row["since"]) for row in content["active"] if row["effect"] != "ignore"}
        for name, since_s in list(self.active.items()):
            if now.get(name) != since_s:
                self.cause_s[name] += t - since_s
                del self.active[name]
        for name, since_s in now.items():
            if name not in self.active:
                self.active[name] = since_s
                self.cause_times[name] += 1

    def _on_goal(self, t: float, content: dict[str, Any]) -> None:
        keys = ("id", "text", "state", "reason", "evidence", "at_s")
        number = int(content["id"])
        begun = self.goals.get(number, {"told_s": float(content["at_s"])})
        self.goals[number] = {**begun, **{key: content[key] for key in keys if key in content}}

    def _on_memory(self, t: float, content: dict[str, Any]) -> None:
        value = content["state"]["reading"]["available_mb"]
        if isinstance(value, (int, float)):
            self.memory_mb = value if self.memory_mb is None else min(self.memory_mb, value)

    def _on_log(self, t: float, content: dict[str, Any]) -> None:
        if int(content["level"]) >= 3 and len(self.warnings) < LINES_KEPT:
            self.warnings.append({"t": t, "text": shown(content["message"])})

    def _on_timing(self, t: float, content: dict[str, Any]) -> None:
        window = Window.from_plain(content)
        self.timing = added_up((self.timing, window) if self.timing is not None else (window,))

    def _on_diagnostics(self, t: float, content: dict[str, Any]) -> None:
        for row in content["rows"]:
            name, level = shown(row["name"]), int(row["level"])
            if level > self.levels.get(name, 0):
                found = self.worse.setdefault(name, {"level": level, "times": 0, "first_s": t, "message": shown(row["message"])})
                found["times"] += 1
                if level > found["level"]:
                    found.update(level=level, message=shown(row["message"]))
            self.levels[name] = level

    def _on_end(self, t: float, content: dict[str, Any]) -> None:
        self.ticks, self.dropped = int(content["ticks"]), int(content["dropped"])

    def _on_other(self, t: float, content: dict[str, Any]) -> None:
        pass


def in_words(found: dict[str, Any]) -> str:
    """Return :func:`figures` as lines for a terminal."""
    total = max(found["duration_s"] - found["kept_from_s"], 1e-9)
    drivers = ", ".join(f"{name} {value:.1f} s ({value / total:.0%})" for name, value in found["driver_s"].items())
    rows = [
        ("run", f"{found['name']}, {found['world']}, began {found['started']}"),
        ("lasted", f"{found['duration_s']:.1f} s, {found['ticks']} ticks; {found['ending']}"),
        ("log", f"{found['size'] / 1e6:.2f} MB in {found['parts']} part(s)" + _lost(found)),
        ("drove", drivers or "nobody"),
        ("stood", f"{found['standing_s']:.1f} s ({found['standing_s'] / total:.0%})"),
        ("memory", f"at least {found['memory_min_mb']:.0f} MB available" if found["memory_min_mb"] is not None else ""),
    ]
    for goal in found["goals"]:
        reason = f" ({shown(goal['reason'])})" if goal.get("reason") else ""
        rows.append(("goal", f'{goal["id"]} "{shown(goal["text"])}" {goal["state"]}{reason} at {goal["at_s"]:.2f} s'))
    if (timing := found["timing"]) is not None:
        tick, late = timing["tick_ms"], timing["late_ms"]
        rows.append(("tick", f"{_spread(tick)}; late {_spread(late)}; {timing['missed']} deadline(s) missed"))
        for name, *leaf in sorted(timing["leaves"], key=lambda row: -row[2])[:LEAVES_SHOWN]:
            rows.append(("leaf", f"{_spread(leaf)}  {name}"))
    for name, row in found["diagnostics"].items():
        words = f"{row['times']} time(s), first at {row['first_s']:.2f} s: {row['message']}"
        rows.append((LEVELS.get(row["level"], "STALE"), f"{name}: {words}"))
    for name, cause in found["causes"].items():
        rows.append(("cause", f"{name}: {cause['times']} time(s), {cause['total_s']:.2f} s"))
    for gap in found["gaps"][:5]:
        rows.append(("no tick", f"for {gap['gap_s']:.2f} s until {gap['until_s']:.2f} s"))
    if len(found["gaps"]) > 5:
        rows.append(("no tick", f"{len(found['gaps']) - 5} more gaps"))
    for line in found["warnings"][-10:]:
        rows.append(("warning", f"{line['t']:8.2f} s  {line['text']}"))
    rows += [("note", shown(note)) for note in found["notes"]]
    return "\n".join(f"{name:>8}  {words}" for name, words in rows if words)


def _times(window: Window) -> dict[str, Any]:
    return {
        "ticks": window.tick.count,
        "missed": window.missed,
        "tick_ms": window.tick.in_ms(),
        "late_ms": window.late.in_ms(),
        "leaves": [[shown(name), *figures] for name, *figures in window.leaf_rows()],
    }


def _spread(times_ms: list[float]) -> str:
    p50, p99, worst = times_ms
    return f"p50 {p50:.3f}, p99 {p99:.3f}, worst {worst:.3f} ms"


def _lost(found: dict[str, Any]) -> str:
    lost = f", {found['dropped']} ticks lost" if found["dropped"] else ""
    return lost + (f"; what was before {found['kept_from_s']:.1f} s is deleted" if found["kept_from_s"] > 1.0 else "")


def _ending(run: RunReader, ended: dict[str, Any] | None) -> str:
    if ended is not None:
        return shown(ended.get("reason", "ended"))
    return "running" if run.running else "cut short"


def _unusable(run: RunReader, error: Exception) -> RunLogError:
    return RunLogError(f"{run.name}: its messages can't be used: {type(error).__name__} {shown(error)[:80]}")
