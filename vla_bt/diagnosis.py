"""What an application says of itself, row by row: tick, safety, camera, policy, gate, goal, recorder, run log and memory.

``/diagnostics`` carries these rows, the run log keeps them, the dashboard shows them.

Promises: a row is OK only while what it names works; STALE where it was never heard of or fell silent long ago; values carry
their unit in their name. Reads what is there; asks nobody and waits for nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from vla_bt.control.causes import Verdict
from vla_bt.episodes.recorder import RecorderStatus
from vla_bt.goals.ledger import GoalEvent, State
from vla_bt.memory.ladder import Level
from vla_bt.memory.monitor import STALE_S, MemoryMonitor
from vla_bt.policy.port import PolicyStatus
from vla_bt.port import FrameInfo, GateStatus
from vla_bt.runlog.log import LogStatus
from vla_bt.settings import TreeSettings

OK, WARN, ERROR, STALE = range(4)
"""Levels, by the numbers of ``diagnostic_msgs``."""

GONE_S = 5.0
"""Who has been silent this long is not late but gone [s]."""


class Row(NamedTuple):
    """One row: what it is about, its level, a line for people, and figures."""

    what: str
    level: int
    message: str
    values: Mapping[str, object]


class Times(NamedTuple):
    """What the loop measured lately [s], and how many deadlines it has missed since the start."""

    tick_s: Sequence[float]
    late_s: Sequence[float]
    missed: int


def percentile_ms(values: Sequence[float], share: float) -> float:
    """Return a percentile of times [ms], 0 without any."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return round(1e3 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)


def tick_row(times: Times, newly_missed: int, words: str, settings: TreeSettings) -> Row:
    """Judge the tick: WARN after a deadline was missed, ERROR while most are."""
    late_p50 = percentile_ms(times.late_s, 0.5)
    level = ERROR if late_p50 > 1e3 * settings.tick_overrun_s else WARN if newly_missed else OK
    missed = f"; {newly_missed} deadlines missed in the last second" if newly_missed else ""
    return Row(
        "tick",
        level,
        words + missed,
        {
            "period_ms": round(1e3 * settings.tick_period_s, 3),
            "p50_ms": percentile_ms(times.tick_s, 0.5),
            "p99_ms": percentile_ms(times.tick_s, 0.99),
            "worst_ms": percentile_ms(times.tick_s, 1.0),
            "late_p50_ms": late_p50,
            "late_p99_ms": percentile_ms(times.late_s, 0.99),
            "late_worst_ms": percentile_ms(times.late_s, 1.0),
            "missed_deadlines": times.missed,
        },
    )


def safety_row(verdict: Verdict | None) -> Row:
    """Say what holds the robot: ERROR when everything, WARN when autonomy or a direction is stopped."""
    if verdict is None:
        return Row("safety", STALE, "no tick yet", {})
    held = verdict.stop_all or verdict.stop_autonomy or verdict.direction
    level = ERROR if verdict.stop_all else WARN if held else OK
    words = "; ".join((*verdict.stop_all, *verdict.stop_autonomy, *verdict.direction)) or "nothing holds the robot"
    return Row("safety", level, words, {name: details or "active" for name, details in verdict.active.items()})


def camera_row(frame: FrameInfo | None, verdict: Verdict | None, problem: str, now_s: float, rate_hz: float, needed: bool) -> Row:
    """Judge the camera as the tree sees it."""
    if not needed:
        return Row("camera", OK, "this robot has none", {})
    if frame is None:
        return Row("camera", STALE, problem or "no frame yet", {})
    age_s = now_s - frame.received_s
    active = verdict.active if verdict is not None else {}
    values = {
        "age_ms": round(1e3 * age_s, 1),
        "rate_hz": round(rate_hz, 2),
        "width_px": frame.width,
        "height_px": frame.height,
        "frames": frame.sequence,
    }
    if age_s > GONE_S:
        return Row("camera", STALE, f"last frame {age_s:.1f} s ago", values)
    for name, level in (("camera_stale", ERROR), ("camera_frozen", ERROR), ("camera_stamp_odd", WARN)):
        if name in active:
            return Row("camera", level, f"{name.removeprefix('camera_').replace('_', ' ')}: {active[name]}", values)
    return Row("camera", OK, f"{rate_hz:.1f} frames a second", values)


def policy_row(policy: PolicyStatus, now_s: float, settings: TreeSettings) -> Row:
    """Judge the policy."""
    waited_s = now_s - policy.awaited_since_s if policy.awaited_since_s is not None else 0.0
    level = {"ready": OK, "starting": WARN}.get(policy.state, ERROR)
    words = f"{policy.state}: {policy.detail}" if policy.detail else policy.state
    if level == OK and waited_s > settings.policy_output_timeout_s:
        level, words = ERROR, f"no answer for {waited_s:.2f} s"
    info = policy.info
    return Row(
        "policy",
        level,
        words,
        {
            "name": info.name if info is not None else settings.policy,
            "label": info.label if info is not None else "",
            "weights": info.weights_hash[:12] if info is not None else "",
            "grade": policy.grade.name.lower(),
            "latency_ms": round(1e3 * policy.last_latency_s, 2),
            "waiting_ms": round(1e3 * waited_s, 1),
            "frames_handed": policy.frames_handed,
            "frames_lost": policy.frames_lost,
            "steps_taken": policy.steps_taken,
            "restarts": policy.restarts,
            "out_of_memory": policy.out_of_memory,
        },
    )


def gate_row(gate: GateStatus | None, now_s: float, settings: TreeSettings) -> Row:
    """Judge the gate as the tree hears it."""
    if gate is None:
        return Row("gate", STALE, "never heard", {})
    age_s = now_s - gate.received_s
    values = {
        "age_ms": round(1e3 * age_s, 1),
        "latched": gate.latched,
        "source": gate.source.name.lower(),
        "linear_x_m_s": round(gate.applied.linear_x, 3),
        "linear_y_m_s": round(gate.applied.linear_y, 3),
        "angular_z_rad_s": round(gate.applied.angular_z, 3),
        "limit_linear_x_m_s": gate.limits.max_linear_x,
        "limit_linear_y_m_s": gate.limits.max_linear_y,
        "limit_angular_z_rad_s": gate.limits.max_angular_z,
    }
    if age_s > GONE_S:
        return Row("gate", STALE, f"silent for {age_s:.1f} s", values)
    if age_s > settings.gate_timeout_s:
        return Row("gate", ERROR, f"silent for {age_s:.2f} s", values)
    if gate.fault:
        return Row("gate", ERROR, gate.fault, values)
    return Row("gate", WARN if gate.latched else OK, gate.words or "heard", values)


def goal_row(event: GoalEvent | None, now_s: float) -> Row:
    """Say what became of the newest goal."""
    if event is None or not event.entry.id:
        return Row("goal", OK, "no goal was told yet", {})
    entry = event.entry
    bad = entry.state in (State.REJECTED, State.EXPIRED, State.FAILED)
    words = f"{entry.state.value}: {entry.text}" + (f" ({entry.reason})" if entry.reason else "")
    begun_s = entry.started_s or entry.told_s
    values = {
        "id": entry.id,
        "state": entry.state.value,
        "step": f"{entry.step + 1} of {len(entry.steps)}" if entry.steps else "",
        "age_s": round((entry.closed_s or now_s) - begun_s, 1),
        "judged_by": ", ".join(evidence.value for evidence in entry.evidence),
    }
    return Row("goal", WARN if bad else OK, words, values)


def recorder_row(recorder: RecorderStatus) -> Row:
    """Judge the recorder."""
    level = ERROR if recorder.error else WARN if recorder.behind or recorder.dropped else OK
    values = {
        "state": recorder.state,
        "frames": recorder.frames,
        "episodes": recorder.episodes,
        "waiting_frames": recorder.waiting,
        "dropped_frames": recorder.dropped,
        "last": recorder.last_file.name if recorder.last_file is not None else "",
    }
    return Row("recorder", level, recorder.words, values)


def log_row(log: LogStatus) -> Row:
    """Judge the run log."""
    level = ERROR if log.state == "stopped" else WARN if log.dropped else OK
    folder = str(log.folder) if log.folder is not None else ""
    return Row("run log", level, log.words, {"folder": folder, "size_mb": round(log.size / 1e6, 2), "dropped_ticks": log.dropped})


def memory_rows(memory: MemoryMonitor, policy: PolicyStatus) -> list[Row]:
    """Judge the machine's memory, and that of each process."""
    report = memory.report()
    if not report:
        return [Row("memory", STALE, "no sample yet", {})]
    level, state = OK, memory.state
    if report["level"] or any(row["leaking"] for row in report["processes"].values()):
        level = WARN
    if report["manual_only"] or (state is not None and state.level is Level.UNLOAD):
        level = ERROR
    stale = report["age_s"] > STALE_S
    names = ("level", "step", "available_mb", "total_mb", "limit_mb", "used_mb", "swap_used_mb")
    values: dict[str, object] = {name: report[name] for name in (*names, "stalled_some_percent", "stalled_full_percent", "age_s")}
    values["out_of_memory"] = policy.out_of_memory
    if policy.memory is not None and policy.memory.gpu_reserved_mb:
        values["gpu_allocated_mb"] = round(policy.memory.gpu_allocated_mb, 1)
        values["gpu_reserved_mb"] = round(policy.memory.gpu_reserved_mb, 1)
    if report["gpu"] is not None:
        values["gpu_free_mb"] = round(report["gpu"]["free_mb"], 1)
    words = report["manual_only"] or report["words"]
    rows = [Row("memory", STALE if stale else level, words, values)]
    for role, row in report["processes"].items():
        growth = row["growth_mb_h"]
        words = f"{row['rss_mb']:.0f} MB resident"
        if growth is not None:
            words += f", grows by {growth[0]:.1f} MB/h (95 %: {growth[1]:.1f} to {growth[2]:.1f})"
        figures = {name: row[name] for name in ("pid", "rss_mb", "uss_mb", "pss_mb") if row[name] is not None}
        rows.append(Row(f"memory of {role}", STALE if stale else WARN if row["leaking"] else OK, words, figures))
    return rows


class Diagnosis:
    """All rows of one application, from its blackboard and what else it knows.

    Parameters
    ----------
    settings : callable
        Returns the settings in force.
    camera_problem : callable
        Why there is no frame, in words.
    """

    def __init__(self, settings: Callable[[], TreeSettings], camera_problem: Callable[[], str] = lambda: "") -> None:
        self._settings, self._camera_problem = settings, camera_problem
        self._before: Counter[str] = Counter()
        self._before_s: float | None = None
        self._goal: GoalEvent | None = None

    def after_tick(self, board: Mapping[str, Any]) -> None:
        """Note the tick's newest goal event; call it after each tick with the blackboard."""
        entry = board.get("/goal_events")
        if entry is not None:
            self._goal = entry.value[-1]

    def rows(
        self,
        board: Mapping[str, Any],
        now_s: float,
        times: Times,
        words: str,
        policy: PolicyStatus,
        recorder: RecorderStatus,
        log: LogStatus,
        memory: MemoryMonitor | None,
    ) -> list[Row]:
        """Judge everything.

        Parameters
        ----------
        board : mapping
            The blackboard, its keys with a leading slash.
        now_s : float
            Port time [s].
        times : Times
            What the loop measured lately.
        words : str
            Why the robot moves or stands.
        policy, recorder, log, memory
            What the others say; a world that looks at the memory once only has no rows of it.
        """
        settings = self._settings()
        verdict, snapshot = _value(board, "verdict"), _value(board, "snapshot")
        frame = snapshot.frame if snapshot is not None else None
        frames = frame.sequence if frame is not None else 0
        passed_s = now_s - self._before_s if self._before_s is not None else 0.0
        rate_hz = max(0, frames - self._before["frames"]) / passed_s if passed_s > 1e-3 else 0.0
        newly_missed = times.missed - self._before["missed"]
        self._before["frames"], self._before["missed"], self._before_s = frames, times.missed, now_s
        return [
            tick_row(times, newly_missed, words, settings),
            safety_row(verdict),
            camera_row(frame, verdict, self._camera_problem(), now_s, rate_hz, "camera" in settings.required_inputs),
            policy_row(policy, now_s, settings),
            gate_row(snapshot.gate if snapshot is not None else None, now_s, settings),
            goal_row(self._goal, now_s),
            recorder_row(recorder),
            log_row(log),
            *(memory_rows(memory, policy) if memory is not None else ()),
        ]


def _value(board: Mapping[str, Any], key: str) -> Any:
    entry = board.get("/" + key)
    return entry.value if entry is not None else None
