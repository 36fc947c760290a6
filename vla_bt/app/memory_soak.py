"""The memory soak: the application over ROS drives for long, with goals, recording and policy reloads: does it grow.

Promises: growth is the slope of what each process has written to (:class:`vla_bt.memory.processes.Closer`) with its interval of
95 %, over block means, so that samples which follow each other closely don't make it look surer than it is; a process that was
replaced on the way counts piece by piece, each with its own level; the first sixth of the time, at most five minutes, of each
piece is warming up and left out: a Python heap settles so long.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vla_bt.memory.processes import closer, find
from vla_bt.memory.trend import Slope, pooled_slope

AIM_MB_H = 1.0
SAMPLE_PERIOD_S = 5.0
WARMING_S, WARMING_SHARE = 300.0, 1.0 / 6.0
RELOADS = 2
CHANGES_A_MINUTE = 0.5
"""The soak has not shown what it is for if fewer goals were changed on the way."""

EPISODES_KEPT = 3

Pieces = list[tuple[int, list[tuple[float, float]]]]
"""Process id and (time [s], written memory [MB]) of each piece."""


def soak(policy: str, seconds: float, folder: Path, camera: tuple[int, int], say: Callable[[str], None]) -> dict[str, Any]:
    """Drive for ``seconds`` and judge the growth; returns ``checks``, ``figures`` and ``series``."""
    from vla_bt.app.confined import RosApp

    folder.mkdir(parents=True, exist_ok=True)
    directory = Path("/dev/shm") / f"vla_bt-{os.getuid()}-soak-{os.getpid()}"
    directory.mkdir(mode=0o700)
    os.environ["VLA_BT_RUNTIME_DIR"] = str(directory)
    options = Namespace(policy=policy, guard="on", hold_s=20.0, camera=camera)
    series: dict[str, Pieces] = {}
    app: RosApp | None = None
    try:
        app = RosApp(options, folder, directory)
        _wait_ready(app)
        began_s = sample_s = time.monotonic()
        reloads = [seconds * (number + 1) / (RELOADS + 1) for number in range(RELOADS)]
        reloaded = 0
        while (passed_s := time.monotonic() - began_s) < seconds:
            app.step()
            if time.monotonic() >= sample_s:
                sample_s += SAMPLE_PERIOD_S
                _sample(series, directory, passed_s)
                _tidy(folder)
                row = app.row()
                done = f"{row['steps']} steps, {row['episodes']} episodes, {row['goals']['told']} goals"
                say(f"{passed_s / 60:5.1f} of {seconds / 60:.0f} min, {done}, {row['mode'][:60]}")
            if reloads and passed_s >= reloads[0]:
                reloads.pop(0)
                reloaded += _reload(directory)
        row = app.row()
    finally:
        if app is not None:
            app.close()
        shutil.rmtree(directory, ignore_errors=True)
    warming_s = min(WARMING_S, WARMING_SHARE * seconds)
    slopes = {role: _slope(pieces, warming_s) for role, pieces in series.items()}
    judged = {role: found for role, found in slopes.items() if found is not None}
    figures = {
        "minutes": round(seconds / 60.0, 2),
        "warming_s": warming_s,
        "policy": policy,
        "reloads": reloaded,
        "steps": row["steps"],
        "episodes": row["episodes"],
        "goals": row["goals"],
        "looks_driven_by_policy": row["driven"],
        "stale_moves": row["stale"],
        "oldest_answer_moved_on_s": row["oldest_s"],
        "growth_mb_h": {
            role: {name: round(value, 3) for name, value in zip(("slope", "low", "high"), found[:3], strict=True)}
            for role, found in judged.items()
        },
        "written_mb": {role: round(pieces[-1][1][-1][1], 1) for role, pieces in series.items() if pieces[-1][1]},
    }
    checks = {f"{role} does not grow": found.low <= 0.0 or found.per_hour <= AIM_MB_H for role, found in judged.items()}
    checks["driven, recorded and reloaded"] = bool(row["steps"] and row["episodes"] and reloaded == RELOADS)
    goals, least = row["goals"], max(1.0, CHANGES_A_MINUTE * seconds / 60.0)
    checks["goals in other words, changed on the way"] = min(goals["different"], goals.get("preempted", 0)) >= least
    checks["never moved on a stale action"] = bool(row["driven"]) and row["stale"] == 0
    checks["every process judged"] = len(judged) == len(series)
    plain = {role: [[pid, points] for pid, points in pieces] for role, pieces in series.items()}
    return {"checks": checks, "figures": figures, "series": plain}


def _wait_ready(app: Any) -> None:
    end_s = time.monotonic() + 240.0
    while app.row()["policy"]["state"] != "ready":
        if time.monotonic() > end_s:
            raise RuntimeError(f"the policy is not ready after 240 s: {app.row()['policy']['detail']}")
        app.step()


def _reload(directory: Path) -> bool:
    """End the worker; its tree loads the policy anew."""
    pid = find(str(directory)).get("policy")
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
    return pid is not None


def _sample(series: dict[str, Pieces], directory: Path, at_s: float) -> None:
    for role, pid in find(str(directory)).items():
        with contextlib.suppress(OSError):
            written_mb = closer(pid).written_mb
            pieces = series.setdefault(role, [])
            if not pieces or pieces[-1][0] != pid:
                pieces.append((pid, []))
            pieces[-1][1].append((at_s, written_mb))


def _slope(pieces: Pieces, warming_s: float) -> Slope | None:
    warm = [_warm(points, warming_s) for _, points in pieces]
    return pooled_slope([points for points in warm if points])


def _warm(points: list[tuple[float, float]], warming_s: float) -> list[tuple[float, float]]:
    return [point for point in points if point[0] - points[0][0] >= warming_s]


def _tidy(folder: Path) -> None:
    """Keep the newest episodes: half an hour of them would fill the disk."""
    episodes = sorted(folder.glob("*.h5"), key=lambda path: path.stat().st_mtime)
    for path in episodes[:-EPISODES_KEPT]:
        path.unlink(missing_ok=True)


def draw(outcome: dict[str, Any], path: Path) -> None:
    """Draw each process's written memory over time, as high as what was judged needs; what was warming up is grey."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    series = outcome["series"]
    columns = 2
    figure, axes = plt.subplots(math.ceil(len(series) / columns), columns, figsize=(12, 2.6 * math.ceil(len(series) / columns)),
                                squeeze=False, sharex=True)  # fmt: skip
    for place, (role, pieces) in zip(axes.flat, series.items(), strict=False):
        judged: list[float] = []
        for _, points in pieces:
            place.plot([at_s / 60 for at_s, _ in points], [held for _, held in points], color="#b0b0b0")
            warm = _warm(points, outcome["figures"]["warming_s"])
            place.plot([at_s / 60 for at_s, _ in warm], [held for _, held in warm], color="#4c78a8")
            judged += [held for _, held in warm]
        if judged:
            margin_mb = max(0.5, 0.3 * (max(judged) - min(judged)))
            place.set_ylim(min(judged) - margin_mb, max(judged) + margin_mb)
        growth = outcome["figures"]["growth_mb_h"].get(role)
        words = "not judged" if growth is None else "{slope:.2f} MB/h (95 %: {low:.2f} to {high:.2f})".format(**growth)
        place.set_title(f"{role}: {words}", fontsize=9)
        place.set_ylabel("written [MB]")
        place.grid(alpha=0.3)
    for place in axes.flat[len(series) :]:
        place.set_visible(False)
    for place in axes[-1]:
        place.set_xlabel("time [min]")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)
