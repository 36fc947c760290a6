"""The memory guard's proof: the application under a real memory limit, beside a hog in the same group, with the guard on and off.

Promises: the limit is the kernel's (cgroup v2 or v1), and never so high that the machine itself could run out of memory; the hog
takes what the application would leave if its policy were unloaded, less :data:`MARGIN_MB`, whatever that is on this machine, and
waits while a step of the ladder is being taken, at most :data:`PAUSE_LIMIT_S`; every check can fail; the group, the processes and
the shared memory are gone afterwards, also after Ctrl-C.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from vla_bt.memory.cgroup import Group, cgroup_available
from vla_bt.memory.ladder import Level
from vla_bt.memory.processes import closer, role_of
from vla_bt.memory.system import read_system
from vla_bt.settings import SettingsError, TreeSettings, load

MARGIN_MB = 300.0
BEFORE_S, FULL_S, AFTER_S = 8.0, 12.0, 20.0
START_LIMIT_S, HOG_LIMIT_S, RECOVER_LIMIT_S = 300.0, 600.0, 900.0
LOOK_S = 0.25
TICK_SHARE = 0.95
"""The tree keeps its tick rate: at least this share of what it was before the hog came."""

JUDGED_SHARE = 0.9
"""Where the machine gave less than this share of the nominal rate before the hog came, there is nothing to judge."""

MACHINE_MB = 1000.0
"""What the rest of the machine, or of the container, keeps beyond the limit [MB]."""

USUAL_POLICY = "stress@full"
APPLICATION_MB = {"lockstep": 1200.0, "ros": 1400.0}
"""What the application takes with the usual policy, also once it was unloaded and has come back [MB]."""

PAUSE_LIMIT_S = 60.0
"""The hog waits for each step of the ladder, as people do who start programs one by one; but no longer than this [s]."""

GRADES = {"int8": "int8", "layers": "layers", "unload": "unloaded"}
"""The policy's grade once a step is done; full at the others."""


STEPS = [level.name.lower() for level in Level]


def check_limit(limit: int, worlds: Sequence[str], policy: str, settings: TreeSettings) -> None:
    """Refuse a limit that the machine can't spare, or under which level 0 can't be reached.

    Raises
    ------
    SettingsError
        With what would do.
    """
    machine, container = read_system().available_mb, cgroup_available()
    confined = container is not None and container / 1e6 < machine
    left_mb = container / 1e6 if container is not None and confined else machine
    if limit / 1e6 > left_mb - MACHINE_MB:
        raise SettingsError(
            f"--limit is {_size(limit / 1e6)}, more than this {'container' if confined else 'machine'} can spare: "
            f"{_size(left_mb)} are available, and {_size(MACHINE_MB)} stay with the rest of it; "
            f"expected at most {_size(max(0.0, left_mb - MACHINE_MB))}"
        )
    if policy == USUAL_POLICY:
        refuse_small(limit, max(APPLICATION_MB[world] for world in worlds), settings)


def refuse_small(limit: int, application_mb: float, settings: TreeSettings) -> None:
    """Refuse a limit that leaves less beside an application than level 0 needs.

    Raises
    ------
    SettingsError
        With the least that works.
    """
    least_mb = application_mb + settings.memory_warn_mb * settings.memory_room_factor
    if limit / 1e6 < least_mb:
        raise SettingsError(
            f"--limit is {_size(limit / 1e6)}, too little: the application takes {_size(application_mb)}, and level 0 needs "
            f"{_size(least_mb - application_mb)} beside it; expected at least {_size(least_mb + 1.0)}"
        )


def _size(megabytes: float) -> str:
    return f"{int(megabytes * 1e6) >> 20}M"


class StressError(RuntimeError):
    """The measurement can't go on; the message is one line."""


@dataclass
class Case:
    """What to run.

    Attributes
    ----------
    world : str
        ``lockstep`` or ``ros``.
    guard : str
        ``on`` or ``off``.
    limit : int
        Of the group [bytes].
    policy : str
        What the worker runs.
    hold_s : float
        ``memory_hold_s`` of the tree [s].
    step_mb, period_s : float
        How the hog takes memory [MB, s].
    folder : Path
        For logs and episodes.
    """

    world: str
    guard: str
    limit: int
    policy: str
    hold_s: float
    step_mb: float
    period_s: float
    folder: Path


@dataclass
class Lines:
    """A child's lines of JSON, read by a thread."""

    newest: dict[str, Any] = field(default_factory=dict)

    def follow(self, stream: Any, each: Callable[[dict[str, Any]], None] | None = None) -> threading.Thread:
        """Read until the end of the stream."""

        def read() -> None:
            for line in stream:
                with contextlib.suppress(ValueError):
                    self.newest = {**json.loads(line), "read_s": time.monotonic()}
                    if each is not None:
                        each(self.newest)

        thread = threading.Thread(target=read, name="lines", daemon=True)
        thread.start()
        return thread


class Stress:
    """One run of one case.

    Parameters
    ----------
    case : Case
    say : callable
        Takes a line for people.
    """

    def __init__(self, case: Case, say: Callable[[str], None]) -> None:
        self._case, self._say = case, say
        self._settings = load(TreeSettings, "tree")
        self._app: subprocess.Popen[str] | None = None
        self._hog: subprocess.Popen[str] | None = None
        self._lines, self._hog_lines = Lines(), Lines()
        self._began_s = time.monotonic()
        self._events: dict[int, dict[str, Any]] = {}
        self._hog_held = self._paused_too_long = False
        self._paused_s: float | None = None
        self.rows: list[dict[str, Any]] = []

    def run(self) -> dict[str, Any]:
        """Run it and judge it; returns ``checks``, ``figures``, ``events`` and ``rows``."""
        case = self._case
        check_limit(case.limit, (case.world,), case.policy, self._settings)
        case.folder.mkdir(parents=True, exist_ok=True)
        self._group = group = Group(f"vla_bt-stress-{os.getpid()}", case.limit)
        try:
            self._app = self._start("vla_bt.app.confined", "--world", case.world, "--folder", str(case.folder), "--policy",
                                    case.policy, "--guard", case.guard, "--hold-s", str(case.hold_s))  # fmt: skip
            self._lines.follow(self._app.stdout, self._note)
            self._wait(self._has_started, START_LIMIT_S, "a ready policy")
            began = self._marks()
            self._watch(BEFORE_S)
            before = self._marks()
            refuse_small(case.limit, group.usage() / 1e6, self._settings)
            worker_mb = self._worker_mb()
            total_mb = (case.limit - group.usage()) / 1e6 + worker_mb - MARGIN_MB
            self._say(
                f"guard {case.guard}: group {group.usage() / 1e6:.0f} MB, worker {worker_mb:.0f} MB; hog up to {total_mb:.0f} MB"
            )
            pace = ("--step-mb", str(case.step_mb), "--period-s", str(case.period_s))
            self._hog = self._start("vla_bt.app.hog", "--total-mb", f"{total_mb:.0f}", *pace)
            self._hog_lines.follow(self._hog.stdout)
            self._wait(self._hog_is_full, HOG_LIMIT_S, "the hog", fatal=False)
            self._pace(go_on=True)
            self._watch(FULL_S)
            under = self._marks()
            self._end(self._hog)
            self._say(f"guard {case.guard}: the hog is gone")
            recovered = False
            if case.guard == "on":
                recovered = self._wait(self._recovered, RECOVER_LIMIT_S, "recovery", fatal=False)
            else:
                self._watch(AFTER_S)
            return self._judge(began, before, under, total_mb, recovered)
        finally:
            self._end(self._hog)
            self._end(self._app, signal.SIGTERM)
            group.close()

    # ------------------------------------------------------------------ children

    def _start(self, module: str, *arguments: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with (self._case.folder / f"{module.rpartition('.')[2]}.log").open("w") as log:
            return subprocess.Popen(
                [sys.executable, "-m", module, "--group", str(self._group.path), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
                start_new_session=True,
            )

    def _end(self, child: subprocess.Popen[str] | None, number: int = signal.SIGKILL) -> None:
        """End a child; never waits without limit: a Ctrl-C inside of ``poll`` can leave the lock that ``wait`` takes."""
        if child is None or child.poll() is not None:
            return
        for last, patience_s in ((number, 30.0), (signal.SIGKILL, 10.0)):
            child.send_signal(last)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(patience_s)
                return

    def _has_started(self) -> bool:
        if self._level():  # without a hog: it would never be ready
            refuse_small(self._case.limit, self._group.usage() / 1e6, self._settings)
        return self._policy("state") == "ready" and self._level() is not None

    def _hog_is_full(self) -> bool:
        if self._hog_gone() or self._hog_lines.newest.get("full"):
            return True
        self._pace(self._case.guard == "off" or self._step_is_done())
        return False

    def _pace(self, go_on: bool) -> None:
        """Stop the hog where it is, or let it go on; it is stopped for each step only once, and not for long."""
        now_s = time.monotonic()
        if go_on:
            self._paused_s, self._paused_too_long = None, False
        elif self._paused_s is None:
            self._paused_s = now_s
        elif now_s - self._paused_s > PAUSE_LIMIT_S:
            self._paused_too_long = True
        held = not go_on and not self._paused_too_long
        if self._hog is not None and held is not self._hog_held:
            self._hog_held = held
            with contextlib.suppress(ProcessLookupError):
                self._hog.send_signal(signal.SIGSTOP if held else signal.SIGCONT)

    def _step_is_done(self) -> bool:
        """Tell whether the policy is what the level calls for."""
        grade = GRADES.get(self._row().get("memory", {}).get("step", ""), "full")
        return self._policy("grade") == grade and (grade == "unloaded" or self._policy("state") == "ready")

    def _hog_gone(self) -> bool:
        return self._hog is None or self._hog.poll() is not None

    # ------------------------------------------------------------------ looking

    def _row(self) -> dict[str, Any]:
        return self._lines.newest

    def _policy(self, name: str) -> Any:
        return self._row().get("policy", {}).get(name)

    def _level(self) -> Any:
        return self._row().get("memory", {}).get("level")

    def _recovered(self) -> bool:
        return self._level() == 0 and self._policy("state") == "ready" and self._policy("grade") == "full"

    def _note(self, row: dict[str, Any]) -> None:
        """Keep each of the guard's events once, with the time since the beginning."""
        for event in row.get("memory", {}).get("events", []):
            if event["number"] not in self._events:
                at_s = round(time.monotonic() - self._began_s - event["ago_s"])
                self._events[event["number"]] = {**event, "at_s": at_s}
                freed = "" if event["freed_mb"] is None else f": freed {event['freed_mb']:.1f} MB"
                self._say(f"  {at_s:4d} s  level {event['level']}: {event['words']}{freed}")

    def _look(self) -> None:
        row = self._row()
        memory = row.get("memory", {})
        self.rows.append(
            {
                "at_s": round(time.monotonic() - self._began_s, 2),
                "group_mb": round(self._group.usage() / 1e6, 1),
                "hog_mb": 0.0 if self._hog_gone() else self._hog_lines.newest.get("held_mb", 0.0),
                "worker_mb": round(self._worker_mb(), 1),
                "level": memory.get("level", 0),
                "step": memory.get("step", "fine"),
                "state": row.get("policy", {}).get("state", ""),
                "kills": self._group.kills(),
            }
        )

    def _worker_mb(self) -> float:
        """Return the worker's USS, looked at now: the guard looks closer at each process only every few seconds [MB]."""
        for pid in self._group.members():
            with contextlib.suppress(OSError):
                if role_of(Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")) == "policy":
                    return closer(pid).uss_mb
        return 0.0

    def _watch(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self._look()
            time.sleep(LOOK_S)

    def _wait(self, condition: Callable[[], Any], limit_s: float, what: str, fatal: bool = True) -> bool:
        end_s = time.monotonic() + limit_s
        while not condition():
            self._look()
            if self._app is None or self._app.poll() is not None:
                if not fatal:
                    return False
                raise StressError(
                    f"the application ended with code {self._app.returncode if self._app else None}: {self._last_words()}"
                )
            if time.monotonic() > end_s:
                if not fatal:
                    return False
                raise StressError(f"waited {limit_s:.0f} s in vain for {what}; the policy: {self._policy('detail')}")
            time.sleep(LOOK_S)
        return True

    def _last_words(self) -> str:
        lines = (self._case.folder / "confined.log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def _marks(self) -> dict[str, Any]:
        row = self._row()
        names = ("ticks", "stale", "driven", "restarts", "out_of_memory", "episodes", "late_p99_ms")
        return {"at_s": row["read_s"], **{name: row.get(name, 0) for name in names}}

    # ------------------------------------------------------------------ judging

    def _judge(
        self, began: dict[str, Any], before: dict[str, Any], under: dict[str, Any], hog_mb: float, recovered: bool
    ) -> dict[str, Any]:
        case, row = self._case, self._row()
        alive = self._app is not None and self._app.poll() is None
        before_hz, rate_hz = _rate_hz(began, before), _rate_hz(before, under)
        kills = self._group.kills()
        levels = [one["level"] for one in self.rows]
        worker_kills = row.get("out_of_memory", 0)
        figures = {
            "limit_mb": round(case.limit / 1e6, 1),
            "cgroup": f"v{self._group.version}",
            "hog_mb": round(hog_mb, 1),
            "highest_level": max(levels),
            "least_left_mb": round(min(case.limit / 1e6 - one["group_mb"] for one in self.rows), 1),
            "kernel_kills": kills,
            "out_of_memory": worker_kills,
            "restarts": row.get("restarts", 0),
            "application_alive": alive,
            "tick_rate_before_hz": round(before_hz, 2),
            "tick_rate_hz": round(rate_hz, 2),
            "late_p99_ms": {"before": before["late_p99_ms"], "under": under["late_p99_ms"]},
            "ticks_driven_by_policy": row.get("driven", 0),
            "stale_moves": row.get("stale", 0),
            "oldest_answer_moved_on_s": row.get("oldest_s", 0.0),
            "episodes": row.get("episodes", 0),
            "mode": row.get("mode", ""),
            "seconds": round(time.monotonic() - self._began_s, 1),
        }
        checks: dict[str, bool] = {"never moved on a stale action": row.get("driven", 0) > 0 and row.get("stale", 0) == 0}
        if case.guard == "on":
            checks |= {
                "nothing was killed": kills == 0 and worker_kills == 0 and alive,
                "the ladder climbed to level 4": max(levels) == 4,
                **judge_rate(before_hz, rate_hz, 1.0 / self._settings.tick_period_s),
                "everything recovered": recovered,
            }
        else:
            checks["ends in a kill or a failed allocation"] = kills > 0 or worker_kills > 0 or not alive
        events = [self._events[number] for number in sorted(self._events)]
        return {
            "world": case.world,
            "guard": case.guard,
            "checks": checks,
            "figures": figures,
            "events": events,
            "rows": self.rows,
        }


def judge_rate(before_hz: float, under_hz: float, nominal_hz: float) -> dict[str, bool]:
    """Return the check of the tick rate under the hog, against the one before; a machine too busy to judge has not passed."""
    if before_hz < JUDGED_SHARE * nominal_hz:
        return {f"tick rate: too busy a machine to judge, {before_hz:.1f} of {nominal_hz:g} Hz before the hog came": False}
    kept_hz = TICK_SHARE * min(before_hz, nominal_hz)
    return {f"tick rate kept ({TICK_SHARE:.0%} of what it was without the hog)": under_hz >= kept_hz}


def _rate_hz(first: dict[str, Any], last: dict[str, Any]) -> float:
    """Return the ticks a second between two marks."""
    return float(last["ticks"] - first["ticks"]) / (last["at_s"] - first["at_s"])


def parse_size(text: str) -> int:
    """Read ``3G``, ``1500M``; binary units [bytes].

    Raises
    ------
    SettingsError
        When it is none.
    """
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    number, unit = (text[:-1], units.get(text[-1:].upper())) if text else ("", None)
    try:
        size = int(float(number) * unit) if unit else int(text)
    except (ValueError, OverflowError):
        size = 0
    if not 1 << 28 <= size <= 1 << 42:
        raise SettingsError(f"--limit is {text!r}; expected 256M to 4096G, such as 3G")
    return size


def draw(outcomes: list[dict[str, Any]], path: Path) -> None:
    """Draw memory and level over time: one column for each run."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(outcomes), figsize=(7.0 * len(outcomes), 6.5), sharex="col", squeeze=False,
                                height_ratios=(3, 1))  # fmt: skip
    legend: dict[str, Any] = {}
    for column, outcome in enumerate(outcomes):
        rows, figures = outcome["rows"], outcome["figures"]
        times = [row["at_s"] for row in rows]
        upper, lower = axes[0][column], axes[1][column]
        hog = [row["hog_mb"] for row in rows]
        worker = [min(row["worker_mb"], max(0.0, row["group_mb"] - row["hog_mb"])) for row in rows]
        rest = [max(0.0, row["group_mb"] - one - two) for row, one, two in zip(rows, hog, worker, strict=True)]
        upper.stackplot(times, rest, worker, hog, labels=("tree, simulator, ...", "policy worker", "hog"),
                        colors=("#4c78a8", "#72b7b2", "#e0a458"))  # fmt: skip
        upper.axhline(figures["limit_mb"], color="#b02020", label=f"limit {figures['limit_mb']:.0f} MB")
        kills = [row for before, row in pairwise(rows) if row["kills"] > before["kills"]]
        for index, row in enumerate(kills):
            upper.axvline(row["at_s"], color="#b02020", linestyle=":", label="killed by the kernel" if not index else None)
        upper.set_title(f"{outcome['world']}, guard {outcome['guard']}: killed by the kernel: {figures['kernel_kills']}")
        upper.set_ylabel("memory of the group [MB]")
        upper.set_ylim(0, 1.12 * figures["limit_mb"])
        lower.step(times, [STEPS.index(row["step"]) for row in rows], where="post", color="#333333")
        gone = [row["state"] != "ready" for row in rows]
        lower.fill_between(times, 0, 5.3, where=gone, color="#b02020", alpha=0.15, step="post", label="no policy ready")
        lower.set_ylim(0, 5.3)
        lower.set_yticks(range(len(STEPS)), [f"{level.number} {level.name.lower()}" for level in Level])
        lower.set_ylabel("level")
        lower.set_xlabel("time [s]")
        for place in (upper, lower):
            handles, labels = place.get_legend_handles_labels()
            legend |= dict(zip(labels, handles, strict=True))
    figure.legend(legend.values(), legend.keys(), loc="upper center", ncols=len(legend), fontsize=9, frameon=False)
    figure.tight_layout(rect=(0.0, 0.0, 1.0, 0.95))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)
