from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vla_bt.cli.main import main
from vla_bt.eval import runner
from vla_bt.eval.job import Job
from vla_bt.eval.report import Part, in_words, report, summarise
from vla_bt.eval.run import run_job
from vla_bt.eval.runner import RUNS, run_jobs
from vla_bt.eval.scenario import jobs_of, load_scenario

pytestmark = pytest.mark.sim


def job(name: str = "hard", seed: int = 10000) -> Job:
    return next(iter(jobs_of(name, load_scenario(name)[1], "expert", range(seed, seed + 1))))


def nothing(done: int, total: int, outcome: dict[str, Any]) -> None:
    pass


def test_a_run_is_repeated_bit_for_bit_from_its_json() -> None:
    first = run_job(job())
    second = run_job(Job.from_json(json.dumps(first["job"])))
    assert first["result"] == second["result"]
    assert first["ok"], first["failure"]
    assert first["result"]["path_length_m"] > 1.5
    assert 0.0 < first["result"]["smoothness"] < 2.0


def test_pushes_move_the_robot() -> None:
    pushed = replace(job(), time_limit_s=6.0)
    calm = replace(pushed, events=tuple(event for event in pushed.events if event.do != "push"))
    assert len(calm.events) == len(pushed.events) - 3
    assert run_job(pushed)["result"]["digest"] != run_job(calm)["result"]["digest"]


def test_without_a_cup_the_expert_that_knows_it_claims_nothing() -> None:
    outcome = run_job(replace(job("no-cup"), time_limit_s=5.0))
    assert outcome["ok"]
    assert outcome["result"]["goal_state"] == "active"


def test_words_without_meaning_do_not_move_the_robot() -> None:
    outcome = run_job(replace(job("meaningless"), time_limit_s=2.0))
    assert outcome["ok"]
    assert outcome["result"]["path_length_m"] == 0.0


def test_a_crash_is_a_result_and_the_rest_still_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = runner.run_job
    bad, good = job(seed=10001), replace(job("meaningless"), time_limit_s=1.0)

    def crash(one: Job) -> dict[str, Any]:
        if one == bad:
            raise RuntimeError("the sky\nfell")
        return real(one)

    monkeypatch.setattr(runner, "run_job", crash)
    path = tmp_path / RUNS
    outcomes = run_jobs([bad, good], 1, tmp_path, nothing)
    assert [outcome["failure"] for outcome in outcomes] == ["crashed", ""]
    assert outcomes[0]["error"] == "RuntimeError: the sky fell"
    name, scenario = load_scenario("hard")
    whole = report(Part(name, name, scenario, "expert", range(10001, 10002), (), outcomes))
    assert not whole["passed"]
    assert "crashed" in in_words(whole)
    # Called again it runs nothing; after a line cut short it runs that one alone.
    monkeypatch.setattr(runner, "run_job", None)
    assert run_jobs([bad, good], 1, tmp_path, nothing) == outcomes
    path.write_text(path.read_text()[:-20])
    monkeypatch.setattr(runner, "run_job", real)
    again = run_jobs([bad, good], 1, tmp_path, nothing)
    assert again[0] == outcomes[0]
    assert again[1]["result"] == outcomes[1]["result"]


@pytest.mark.slow
def test_parallel_runs_give_the_same_results_in_the_same_order() -> None:
    jobs = [replace(job("meaningless", seed), time_limit_s=1.0) for seed in (60000, 60001, 60002)]
    one, two = run_jobs(jobs, 1, None, nothing), run_jobs(jobs, 2, None, nothing)
    assert [outcome["result"] for outcome in one] == [outcome["result"] for outcome in two]


def test_counts_and_intervals() -> None:
    result = {"false_reached": False, "time_s": 9.0, "path_length_m": 3.0, "contact": ""}
    good = {"ok": True, "failure": "", "result": result}
    bad = {"ok": False, "failure": "false reached", "result": result | {"false_reached": True}}
    row = summarise([good] * 9 + [bad])
    assert (row["ok"], row["runs"], row["share"], row["false_reached"]) == (9, 10, 0.9, 1)
    assert row["interval"] == [0.5958, 0.9821]
    assert row["failures"] == {"false reached": 1}


def test_the_verb_exits_by_the_required_share_and_repeats_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("scenes: [1box_vert_left]\nexpect: stands\ntime_limit_s: 3.0\nrequired_share: 1.0\nseeds: '0:1'\n")
    assert main(["eval", str(path), "--policy", "expert", "--json", "--out", str(tmp_path / "out")]) == 1
    entry = json.loads(capsys.readouterr().out)["result"][0]
    assert entry["all"]["failures"] == {"moved": 1}
    assert main(["eval", "--job", json.dumps(entry["failed"][0]["job"])]) == 1
    assert json.loads(capsys.readouterr().out)["failure"] == "moved"
    assert main(["eval", str(path), "--seeds", "3"]) == 2
    assert capsys.readouterr().err == "vla-bt eval: --seeds: seeds are '3'; expected first:end such as 0:20\n"
    assert main(["eval"]) == 2
    assert "known: document" in capsys.readouterr().err
