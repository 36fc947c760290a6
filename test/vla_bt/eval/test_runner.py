from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vla_bt.camera.lens import Picture
from vla_bt.cli.main import main
from vla_bt.eval import runner
from vla_bt.eval.job import Job
from vla_bt.eval.report import Part, in_words, report, summarise
from vla_bt.eval.run import ScenarioRun, run_job
from vla_bt.eval.runner import RUNS, run_jobs
from vla_bt.eval.scenario import jobs_of, load_scenario
from vla_bt.eval.script import Event
from vla_bt.eval.sound import read_outcome

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
    generous = report(Part(name, name, replace(scenario, required_share=0.0), "expert", range(10001, 10002), (), outcomes[:1]))
    assert not generous["passed"]  # a crash is the program's, whatever share is required
    # Called again it tries what crashed anew, and nothing else; after a line cut short that one, too.
    ran: list[Job] = []
    said: list[str] = []

    def noted(one: Job) -> dict[str, Any]:
        ran.append(one)
        return real(one)

    monkeypatch.setattr(runner, "run_job", noted)
    short = replace(bad, time_limit_s=1.0)
    path.write_text(path.read_text().replace(json.dumps(bad.to_dict()), json.dumps(short.to_dict())))
    again = run_jobs([short, good], 1, tmp_path, nothing, said.append)
    assert ran == [short]
    assert said == [f"1 runs in {tmp_path} crashed before: they are made anew"]
    assert again[0]["failure"] != "crashed"
    assert again[1] == outcomes[1]
    path.write_text(path.read_text()[:-20])
    assert run_jobs([short, good], 1, tmp_path, nothing, said.append)[0]["result"] == again[0]["result"]
    assert ran == [short, short]
    assert said[-1] == f"1 lines of {path} are no whole runs of this program: not used"


def test_a_run_without_end_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Job, "wall_limit_s", -1.0)
    outcome = runner.run_safely(replace(job("meaningless"), time_limit_s=1.0))
    assert (outcome["ok"], outcome["failure"]) == (False, "crashed")
    assert "no end after -1 s of the wall clock" in outcome["error"]


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


def test_runs_of_other_code_are_made_anew_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = replace(job("meaningless"), time_limit_s=1.0)
    run_jobs([one], 1, tmp_path, nothing)
    ran: list[dict[str, Any]] = []
    said: list[str] = []
    monkeypatch.setattr(runner, "code_hash", lambda: "another")
    outcomes = run_jobs([one], 1, tmp_path, lambda done, total, outcome: ran.append(outcome), said.append)
    assert len(ran) == 1
    assert said == [f"1 runs in {tmp_path} were made by other code: they are made anew"]
    assert outcomes[0]["versions"]["code"] == "another"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The line of one short run that failed."""
    folder = tmp_path_factory.mktemp("kept")
    run_jobs([replace(job(), time_limit_s=1.0)], 1, folder, nothing)
    line: dict[str, Any] = json.loads((folder / RUNS).read_text())
    assert line["failure"] == "out of time"
    return line


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ok": True, "failure": ""},
        {"ok": "yes"},
        {"failure": 5},
        {"result": []},
        {"result": {"time_s": 1}},
        {"trace": [[1, 2]]},
        {"trace": "x"},
        {"timing": {"wall_s": "long"}},
        {"timing": None},
        {"tree": {"end": 5}},
        {"sheet": "../../secret.jpg"},
        {"versions": {"code": 5, "policy": "x"}},
        {"job": {}},
    ],
)
def test_only_what_a_run_writes_is_read_back(kept: dict[str, Any], changes: dict[str, Any]) -> None:
    found = read_outcome(json.dumps(kept | changes).encode())
    assert (found is None) == bool(changes)


@pytest.mark.parametrize("line", [b"", b"[]", b"5", b"null", b'{"job": 5}', b"\xff\xfe", b"[" * 5000])
def test_a_foreign_line_is_no_run(line: bytes) -> None:
    assert read_outcome(line) is None


@pytest.mark.parametrize(
    "name", ["time_s", "claims", "goals", "sides_passed", "policy", "path_ratio", "false_reached", "stood_s", "obeyed"]
)
def test_a_run_with_a_damaged_figure_is_no_run(kept: dict[str, Any], name: str) -> None:
    assert read_outcome(json.dumps(kept | {"result": kept["result"] | {name: "damaged"}}).encode()) is None
    without = {other: value for other, value in kept["result"].items() if other != name}
    assert read_outcome(json.dumps(kept | {"result": without}).encode()) is None


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_what_is_no_policy_is_one_line_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], jobs: str
) -> None:
    line = ["eval", "meaningless", "--jobs", jobs, "--out", str(tmp_path / "out"), "--policy"]
    empty, damaged = tmp_path / "empty", tmp_path / "damaged"
    empty.mkdir()
    damaged.mkdir()
    (damaged / "config.json").write_text("{}")
    (damaged / "model.safetensors").write_bytes(b"weights")
    for folder, words in (
        (empty, "there is no config.json in it"),
        (damaged, "not a policy of format 1"),
        (Path("/"), "config.json"),
    ):
        assert main([*line, str(folder)]) == 2
        err = capsys.readouterr().err
        assert words in err
        assert err.count("\n") == 1
    assert not (tmp_path / "out" / RUNS).exists()


def test_the_size_of_the_frames_is_compared_on_the_same_worlds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("scenes: [1box_vert_left]\nexpect: stands\ngoals: [banana]\ntime_limit_s: 1.0\nseeds: '0:2'\n")
    line = ["eval", str(path), "--policy", "expert", "--camera", "own", "--camera", "64x36", "--out", str(tmp_path / "out")]
    assert main(line) == 0
    text = capsys.readouterr().out
    assert "success at 64x36 within 5 points of that at the policy's own size -> 2 and 2 of the same 2 runs: +0.0 points" in text
    assert "expert at 64x36" in text
    assert "within 5 points" in (tmp_path / "out" / "report.html").read_text()
    for wrong in ("1x1", "9999x9999", "big"):
        assert main(["eval", str(path), "--camera", wrong]) == 2
        assert capsys.readouterr().err.startswith("vla-bt eval: --camera")


def test_light_that_goes_out_darkens_what_the_policy_sees() -> None:
    run = ScenarioRun(replace(job(), time_limit_s=3.0, events=(Event(0.0, "light", 0.05, 0.3), *job().events)))
    try:
        means = []
        for _ in range(12):
            run.step()
            frame = run._frame(run.robot.newest_sequence, Picture(64, 36))
            if frame is not None:
                means.append((run.robot.now(), float(frame.mean())))
        dark = [mean for at, mean in means if at <= 0.29]
        bright = [mean for at, mean in means if at > 0.4]
        assert dark
        assert bright
        assert max(dark) < 0.1 * min(bright)
    finally:
        run.close()


def test_a_policy_s_hash_follows_its_files(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"1")
    one = runner.policy_hash(str(tmp_path))
    assert runner.policy_hash(str(tmp_path)) == one
    (tmp_path / "model.safetensors").write_bytes(b"2")
    assert runner.policy_hash(str(tmp_path)) != one
    assert runner.policy_hash("expert") != runner.policy_hash("untrained")
    assert runner.policy_hash("untrained") == runner.policy_hash("small-cnn@full")
