"""A finished run as a source for the page: its log, moment by moment, and the pictures of the episodes recorded in it.

Promises: nothing is kept in memory but the changes of status (the newest), the goals, the times of leaves (the newest), and one
episode's pictures; a log that is damaged, or lacks its episodes, shows what there is.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vla_bt.dashboard import protocol
from vla_bt.dashboard.episodes import small_jpeg
from vla_bt.dashboard.history import GOALS_KEPT, TRANSITIONS_KEPT
from vla_bt.dashboard.protocol import Wire
from vla_bt.episodes.format import Episode, EpisodeError, load
from vla_bt.episodes.opening import read
from vla_bt.memory.ladder import Level
from vla_bt.runlog.history import NodeState, Standing, standing_at
from vla_bt.runlog.reader import RunLogError, RunReader, shown
from vla_bt.runlog.times import Window

PICTURE_WIDTH, PICTURE_QUALITY = 640, 72
SHEET_WIDTH, SHEET_QUALITY = 176, 78
EPISODES_SHOWN = 200
CLOCK_SLACK_S = 5.0
MESSAGE_LIMIT = 120
LETTERS = {"Parallel": "P", "Selector": "F", "Sequence": "S"}


class _Shot(NamedTuple):
    """A recorded picture: when the robot received it [s], and where it lies."""

    t: float
    path: Path
    frame: int
    sequence: int


class FinishedRun:
    """A :class:`vla_bt.dashboard.protocol.Source` over a run's log.

    Parameters
    ----------
    run : RunReader
        The log.
    episodes : Path, optional
        Folder of the episodes; by default the one the log names.

    Raises
    ------
    RunLogError
        When the log's messages can't be used.
    """

    live = False

    def __init__(self, run: RunReader, episodes: Path | None = None) -> None:
        self._run = run
        self.title = shown(f"{run.name}, {run.head.get('world', '')}")
        named = run.head.get("episodes")
        folder = episodes or (Path(named) if isinstance(named, str) and named else None)
        self._episode: tuple[Path, Episode] | None = None
        self._transitions: deque[list[Any]] = deque(maxlen=TRANSITIONS_KEPT)
        self._goals: deque[dict[str, Any]] = deque(maxlen=GOALS_KEPT)
        self._timings: list[tuple[float, list[Any], dict[str, Any]]] = []
        try:
            self._read_through()
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise RunLogError(f"{run.name}: its messages can't be used: {type(error).__name__} {shown(error)[:80]}") from None
        self._sheets: dict[str, Path] = {}
        self._rows: list[dict[str, Any]] = []
        self._shots = sorted(self._find_shots(folder)) if folder is not None else []

    def span(self) -> tuple[float, float]:
        """Return the first and the last time that is in the log [s]."""
        return self._run.first_s, self._run.last_s

    def opening(self) -> Sequence[Wire]:
        """Return changes of status, goals and episodes, and the run's first moment."""
        first_s, last_s = self.span()
        return [
            protocol.transitions(self._transitions, last_s),
            protocol.message("goals", last_s, {"rows": list(self._goals)}),
            protocol.message("episodes", last_s, {"rows": self._rows}),
            *self.moment(first_s),
        ]

    def moment(self, time_s: float) -> Sequence[Wire]:
        """Return how things stood, and the newest recorded picture not after it."""
        first_s, last_s = self.span()
        time_s = min(max(time_s, first_s), last_s)
        rows: list[dict[str, Any]] = []
        try:
            standing = standing_at(self._run, time_s)
            content = self._snapshot(standing)
            rows = [_diagnosed(row) for row in standing.newest.get("/diagnostics", {}).get("rows", [])]
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            content = {"words": "the log is damaged here", "nodes": []}
        wires: list[Wire] = [protocol.message("snapshot", time_s, content | self._times(time_s))]
        if rows:
            wires.append(protocol.message("diagnostics", time_s, {"rows": rows}))
        picture = self._picture(time_s)
        return [*wires, picture] if picture is not None else wires

    def thumbnail(self, name: str) -> bytes | None:
        """Return the picture of a listed episode, None for anything else: no path is made of a name from outside."""
        path = self._sheets.get(name)
        episode = self._load(path) if path is not None else None
        if episode is None or not episode.frames:
            return None
        return small_jpeg(episode.images[episode.frames // 2], SHEET_WIDTH, SHEET_QUALITY)

    # ------------------------------------------------------------------ the log

    def _read_through(self) -> None:
        statuses: dict[int, str] = {}
        for entry in self._run.entries():
            content = entry.content
            if entry.topic == "/tree":
                for change in content["changes"]:
                    index, status = int(change["node"]), str(change["status"])
                    before = statuses.get(index)
                    statuses[index] = status
                    if before is not None and before != status:
                        row = [entry.t, shown(change["name"]), before, status, shown(change["message"])[:MESSAGE_LIMIT]]
                        self._transitions.append(row)
            elif entry.topic == "/goal":
                line = {key: value for key, value in content.items() if key not in ("t", "tick", "full")}
                if not self._goals or self._goals[-1] != line:  # a full set of messages says the newest again
                    self._goals.append(line)
            elif entry.topic == "/timing":
                window = Window.from_plain(content)
                rows = [[shown(name), *figures] for name, *figures in window.leaf_rows()]
                ticks = {"tick_ms": window.tick.in_ms()[:2], "late_ms": window.late.in_ms()[:2], "missed": window.missed}
                self._timings.append((entry.t, rows, ticks))

    def _times(self, time_s: float) -> dict[str, Any]:
        """Return how long ticks and leaves took in the seconds that a moment belongs to."""
        place = bisect.bisect_left(self._timings, time_s, key=lambda row: row[0])
        if not self._timings:
            return {}
        _, leaves, ticks = self._timings[min(place, len(self._timings) - 1)]
        return {"leaves": leaves, **ticks}

    def _snapshot(self, standing: Standing) -> dict[str, Any]:
        """Return a moment as ``tree/snapshot`` carries it."""
        newest, board = standing.newest, standing.board
        request, gate = newest.get("/request", {}), newest.get("/gate")
        asked = request.get("asked") or {"x": 0.0, "y": 0.0, "z": 0.0}
        content: dict[str, Any] = {
            "tick": standing.tick,
            "time_s": round(standing.time_s, 3),
            "mode": request.get("mode") or "",
            "source": request.get("source", "idle"),
            "words": str(request.get("words", "no tick yet"))[:MESSAGE_LIMIT],
            "velocity": [asked["x"], asked["y"], asked["z"]],
            "nodes": [[node.depth, node.name, node.status, node.message[:MESSAGE_LIMIT]] for node in standing.nodes],
            "kinds": "".join(_letter(node, standing.nodes, index) for index, node in enumerate(standing.nodes)),
            "causes": [
                [row["name"], f"{row['words']} ({row['details']})" if row["details"] else row["words"]]
                for row in newest.get("/causes", {}).get("active", [])
            ],
        }
        if gate is not None:
            applied = gate["applied"]
            content["gate"] = {
                "latched": gate["latched"],
                "fault": gate["fault"],
                "applied": [applied["x"], applied["y"], applied["z"]],
                "source": gate["source"],
                "age_s": 0.0,
            }
        frame = board.get("frame")
        if isinstance(frame, dict):
            age_s = round(standing.time_s - frame["received_s"], 3)
            content["frame"] = {"sequence": frame["sequence"], "age_s": age_s}
        policy = newest.get("/policy", {}).get("status")
        if isinstance(policy, dict):
            info = policy.get("info") or {}
            kept = {name: policy[name] for name in ("state", "detail", "frames_handed", "frames_lost", "steps_taken", "restarts")}
            latency_s = policy.get("last_latency_s") or 0.0
            content["policy"] = {
                **kept,
                "name": info.get("name", ""),
                "label": info.get("label", ""),
                "latency_ms": round(1e3 * latency_s, 2),
            }
            output = board.get("policy_output")
            if isinstance(output, dict):
                step_s = output["step"]["latency_s"] or 0.0
                handover_s = max(0.0, output["received_s"] - output["frame_time_s"] - step_s)
                answer_age_s = round(standing.time_s - output["received_s"], 3)
                times = {"step_ms": round(1e3 * step_s, 2), "handover_ms": round(1e3 * handover_s, 2)}
                content["policy"] |= {**times, "answer_age_s": answer_age_s, "clamped": output["step"]["clamped"]}
        recorder = next((node for node in standing.nodes if node.kind == "RecorderIdle"), None)
        if recorder is not None and recorder.message:
            state = "recording" if recorder.message.startswith("recording ") else "idle"
            content["recorder"] = {"state": state, "words": recorder.message}
        memory = newest.get("/memory", {}).get("state")
        if isinstance(memory, dict):
            content["memory"] = _memory(memory)
        return content

    # ------------------------------------------------------------------ the episodes

    def _find_shots(self, folder: Path) -> list[_Shot]:
        """Find the episodes recorded in this run: begun within it by the time of day, their pictures within it by its clock."""
        began_s, last_s = float(self._run.head["began_s"]), self._run.last_s
        begun = datetime.fromisoformat(str(self._run.head["started"])).timestamp()
        ended = max(path.stat().st_mtime for path in self._run.paths) + CLOCK_SLACK_S
        shots: list[_Shot] = []
        for path in sorted(folder.glob("episode_*.h5"))[-EPISODES_SHOWN:]:
            try:
                content = read(path, images=False)
                started = datetime.fromisoformat(str(content.attributes["started"])).timestamp()
                receipts = np.asarray(content.columns["receipt_s"], float) - began_s
                sequences = np.asarray(content.columns["frame_sequence"])
                count = min(int(content.attributes["num_frames"]), len(receipts), len(sequences))
            except (EpisodeError, OSError, KeyError, ValueError, TypeError):
                continue  # not readable, not ours, or of another kind: not of this run
            if not begun - CLOCK_SLACK_S <= started <= ended:
                continue
            own = [
                _Shot(float(receipts[frame]), path, frame, int(sequences[frame]))
                for frame in range(count)
                if -1.0 <= receipts[frame] <= last_s + 1.0
            ]
            if own:
                shots += own
                self._sheets[path.name] = path
                row = {"name": path.name, "frames": count, "scenario": shown(content.attributes.get("scenario", ""))[:80]}
                self._rows.insert(0, {**row, "partial": "partial" in path.name, "problem": "", "goal": ""})
        return shots

    def _picture(self, time_s: float) -> bytes | None:
        place = bisect.bisect_right(self._shots, time_s, key=lambda shot: shot.t) - 1
        if place < 0:
            return None
        shot = self._shots[place]
        episode = self._load(shot.path)
        if episode is None or shot.frame >= episode.frames:
            return None
        image = episode.images[shot.frame]
        jpeg = small_jpeg(image, PICTURE_WIDTH, PICTURE_QUALITY)
        return protocol.picture(shot.t, jpeg, shot.sequence, image.shape[1], image.shape[0], time_s - shot.t)

    def _load(self, path: Path) -> Episode | None:
        if self._episode is None or self._episode[0] != path:
            try:
                self._episode = (path, load(path))
            except (EpisodeError, OSError):
                return None
        return self._episode[1]


def _diagnosed(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of diagnostics as the page shows it."""
    values = {shown(name): shown("" if value is None else value) for name, value in row["values"].items()}
    return {
        "name": shown(row["name"]),
        "level": min(3, max(0, int(row["level"]))),
        "message": shown(row["message"]),
        "values": values,
    }


def _memory(state: dict[str, Any]) -> dict[str, Any]:
    """Return the guard's state as the page shows it."""
    reading, level = state["reading"], Level[str(state["level"]).upper()]
    tree = reading["processes"].get("tree", {})
    return {
        "available_mb": reading["available_mb"],
        "total_mb": reading["system"]["total_mb"],
        "rss_mb": tree.get("rss_mb"),
        "level": level.number,
        "step": level.name.lower(),
        "grade": state["grade"],
        "words": state["words"],
        "manual_only": state["manual_only"],
    }


def _letter(node: NodeState, nodes: Sequence[NodeState], index: int) -> str:
    """Return the page's letter for a kind of node; one with a child that is no composite is a decorator."""
    parent = index + 1 < len(nodes) and nodes[index + 1].depth > node.depth
    return LETTERS.get(node.kind, "D") if parent else "L"
