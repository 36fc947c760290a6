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
    assert "known: blocked-path, " in capsys.readouterr().err
    for wrong, words in (
        (["--camera", "big"], "expected WIDTHxHEIGHT such as 1280x720"),
        (["--where", "colour=red"], "expected NAME=VALUE with one of scene"),
        (["--where", "scene=none"], "no run has scene=none"),
        (["--policy", "nobody"], "nobody"),
        (["--jobs", "0"], "expected 1 to 256"),
        (["--job", "{}"], "not a job"),
    ):
        assert main(["eval", "document", *wrong]) == 2
        line = capsys.readouterr().err
        assert words in line
        assert line.count("\n") == 1


def test_what_was_interrupted_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, ran = runner.run_job, []

    def until_the_second(one: Job) -> dict[str, Any]:
        ran.append(one)
        if len(ran) == 2:
            raise KeyboardInterrupt
        return real(one)

    monkeypatch.setattr(runner, "run_job", until_the_second)
    line = ["eval", "meaningless", "--policy", "expert", "--where", "cell=the cup", "--out", str(tmp_path)]
    assert main(line) == 130
    assert f"1 new runs are kept; the same command with --out {tmp_path} goes on" in capsys.readouterr().err
    assert main(line) == 0
    assert len(ran) == 5  # the second was run again, the first was not
    assert {path.name for path in tmp_path.iterdir()} == {"runs.jsonl", "report.json", "junit.xml", "report.html", "sheets"}
    assert json.loads((tmp_path / "report.json").read_text())["result"][0]["all"]["ok"] == 4


def test_other_weights_are_run_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = replace(job("meaningless"), time_limit_s=1.0)
    run_jobs([one], 1, tmp_path, nothing)
    ran = []
    run_jobs([one], 1, tmp_path, lambda done, total, outcome: ran.append(outcome))
    assert not ran
    monkeypatch.setattr(runner, "policy_hash", lambda name: "another")
    run_jobs([one], 1, tmp_path, lambda done, total, outcome: ran.append(outcome))
    assert len(ran) == 1


def test_a_policy_s_hash_follows_its_files(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"1")
    one = runner.policy_hash(str(tmp_path))
    assert runner.policy_hash(str(tmp_path)) == one
    (tmp_path / "model.safetensors").write_bytes(b"2")
    assert runner.policy_hash(str(tmp_path)) != one
    assert runner.policy_hash("expert") != runner.policy_hash("untrained")
    assert runner.policy_hash("untrained") == runner.policy_hash("small-cnn@full")
