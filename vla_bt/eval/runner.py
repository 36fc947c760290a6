"""Running jobs: each through the real tree in lockstep, in parallel processes, one line of JSON for each as it ends.

Promises: what a job yields under ``result`` depends on the job alone, bit for bit on one machine; a run that crashes is a result
that says so; what is in the file already is not run again, so an interrupted evaluation goes on.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from itertools import pairwise
from pathlib import Path
from typing import Any

from vla_bt.app.drive import LockstepRun, drive
from vla_bt.app.lockstep import plain
from vla_bt.eval.scenario import Job, Push, outcome_of
from vla_bt.settings import GateSettings, SettingsError, TreeSettings, load


class ScenarioRun(LockstepRun):
    """A lockstep run that is pushed at its times."""

    pushes: tuple[Push, ...] = ()

    def step(self) -> None:
        """Push if it is time, then let one tick period pass and tick."""
        while self.pushes and self.pushes[0][0] <= self.robot.now():
            self.world.push(*self.pushes[0][1:])
            self.pushes = self.pushes[1:]
        super().step()


def run_job(job: Job) -> dict[str, Any]:
    """Run one job; returns ``job``, ``ok``, ``failure``, ``result`` and ``timing``."""
    settings = load(TreeSettings, "tree")
    run = ScenarioRun(job.make_scene(), job.policy, settings, load(GateSettings, "gate"), policy_latency_s=job.policy_latency_s)
    run.pushes = tuple(job.pushes())
    try:
        outcome = drive(run, job.goal, "vla", job.time_limit_s)
    finally:
        run.close()
    result = outcome["result"]
    ok, failure = outcome_of(job, result)
    claimed = result["goal_state"] == "reached"
    figures = {
        "false_reached": claimed and not result["reached_cup"],
        "smoothness": plain(_roughness(run)),
    }
    return {"job": job.to_dict(), "ok": ok, "failure": failure, "result": result | figures, "timing": outcome["timing"]}


def _roughness(run: LockstepRun) -> float:
    """Return the mean change of speed from tick to tick, per second [m/s^2]: how unsteadily it drove."""
    period = run.settings.tick_period_s
    speeds = [((after.x - before.x) / period, (after.y - before.y) / period) for before, after in pairwise(run.path)]
    changes = [math.dist(before, after) / period for before, after in pairwise(speeds)]
    return sum(changes) / len(changes) if changes else 0.0


def _run_safely(job: Job) -> dict[str, Any]:
    try:
        return run_job(job)
    except SettingsError:
        raise
    except Exception as error:  # a crash is a result: the evaluation goes on and counts it
        words = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return {"job": job.to_dict(), "ok": False, "failure": "crashed", "result": None, "error": words, "timing": {}}


def run_jobs(
    jobs: Iterable[Job], processes: int, path: Path | None, shown: Callable[[int, int, dict[str, Any]], None]
) -> list[dict[str, Any]]:
    """Run jobs, those already in ``path`` left out; returns all outcomes in the order of the jobs.

    Parameters
    ----------
    path : Path or None
        A file of one JSON object a line, appended to.
    shown : callable
        Is told done, to do, and the newest outcome.
    """
    wanted = list(jobs)
    known = _known(path)
    waiting = [job for job in wanted if job.to_json() not in known]
    os.environ["OMP_NUM_THREADS"] = "1"  # before anything imports torch: a step is too small to share

    def take(outcome: dict[str, Any]) -> None:
        known[json.dumps(outcome["job"])] = outcome
        if path is not None:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(outcome) + "\n")
        shown(sum(one.to_json() in known for one in wanted), len(wanted), outcome)

    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.read_bytes().endswith(b"\n"):
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")  # after a line cut short
    if processes == 1:
        for job in waiting:
            take(_run_safely(job))
    elif waiting:
        _run_parallel(waiting, processes, take)
    return [known[job.to_json()] for job in wanted]


def _run_parallel(waiting: list[Job], processes: int, take: Callable[[dict[str, Any]], None]) -> None:
    left = {job.to_json(): job for job in waiting}
    while left:
        with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
            under_way = {pool.submit(_run_safely, job): job for job in left.values()}
            try:
                for future in as_completed(under_way):
                    take(future.result())
                    left.pop(under_way[future].to_json(), None)
            except BrokenProcessPool:
                # Somebody killed a process: nobody knows during which job, so the first unfinished one is blamed.
                job = next(iter(left.values()))
                take({"job": job.to_dict(), "ok": False, "failure": "crashed", "result": None, "error": "killed", "timing": {}})
                left.pop(job.to_json())


def _known(path: Path | None) -> dict[str, dict[str, Any]]:
    """Read the outcomes of an earlier, interrupted call; a line cut short is ignored."""
    known: dict[str, dict[str, Any]] = {}
    if path is None or not path.exists():
        return known
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            outcome = json.loads(line)
        except ValueError:
            continue
        known[json.dumps(outcome["job"])] = outcome
    return known
