from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from vla_bt.eval.job import Job
from vla_bt.eval.pool import crashed, run_parallel
from vla_bt.eval.scenario import jobs_of, load_scenario

ANSWER_OR_DIE = """
import os
import time

def answer(job):
    if job.seed % 3 == 1:
        os._exit(7)
    if job.seed == 3:
        time.sleep(100)
    return {"job": job.to_dict(), "ok": True}
"""


def some(count: int) -> list[Job]:
    return [job for seed in range(count) for job in jobs_of("hard", load_scenario("hard")[1], "expert", range(seed, seed + 1))]


@pytest.mark.slow
def test_who_dies_or_hangs_is_known_and_the_others_are_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "answering_or_dying.py").write_text(ANSWER_OR_DIE)
    monkeypatch.syspath_prepend(tmp_path)  # so that a fresh process finds it, too
    answer_or_die = importlib.import_module("answering_or_dying").answer
    jobs = some(5)
    outcomes = {
        outcome["job"]["seed"]: outcome
        for outcome in run_parallel(jobs, 2, answer_or_die, lambda job: 3.0 if job.seed == 3 else 300.0)
    }
    assert sorted(outcomes) == [0, 1, 2, 3, 4]
    assert [seed for seed, outcome in outcomes.items() if not outcome["ok"]] in ([1, 4, 3], [1, 3, 4], [4, 1, 3])
    assert outcomes[1] == crashed(jobs[1], "its process ended with exit code 7")
    assert outcomes[3] == crashed(jobs[3], "no end after 3 s of the wall clock: its process was ended")


def crash(job: Job) -> dict[str, Any]:
    raise AssertionError(job)


def test_without_jobs_nothing_is_started() -> None:
    assert list(run_parallel([], 4, crash)) == []
