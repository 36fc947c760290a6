"""``vla-bt sim check``: table, JSON, exit code."""

import argparse
import dataclasses
import json

import pytest

from vla_bt.cli import sim_check
from vla_bt.sim import check


def run(*words: str) -> int:
    parser = argparse.ArgumentParser(prog="vla-bt sim")
    sim_check.add_parser(parser.add_subparsers())
    args = parser.parse_args(["check", *words])
    return int(args.run(args))


def test_success_is_exit_code_0_and_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--runs", "6", "--seed", "20") == 0
    out = capsys.readouterr().out
    assert "simulator truth, not vision" in out
    assert "6 of 6 runs succeeded" in out
    assert "FAILED" not in out


def test_json_is_the_same_with_more_processes(capsys: pytest.CaptureFixture[str]) -> None:
    reports = []
    for jobs in ("1", "2"):
        assert run("--runs", "4", "--jobs", jobs, "--json") == 0
        reports.append(json.loads(capsys.readouterr().out))
    assert reports[0]["result"] == reports[1]["result"]
    assert reports[0]["result"]["ok"] == 4
    assert [each["seed"] for each in reports[0]["result"]["each"]] == [0, 1, 2, 3]
    assert reports[0]["timing"]["wall_s"] > 0


def test_too_many_failures_are_exit_code_1_with_the_command_to_repeat(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = check.check_seed(0)

    def planted(seed: int) -> check.RunResult:
        hit = "box_1 and robot at 2.00 s" if seed in (3, 4) else ""
        return dataclasses.replace(good, seed=seed, contact=hit)

    monkeypatch.setattr(check, "check_seed", planted)
    assert run("--runs", "20") == 1
    out = capsys.readouterr().out
    assert "vla-bt sim check --runs 1 --seed 3" in out
    assert "contact: box_1 and robot at 2.00 s" in out
    assert run("--runs", "40") == 0  # 38 of 40 are 95 %


@pytest.mark.parametrize("words", [("--runs", "0"), ("--runs", "many"), ("--seed", "-1"), ("--jobs", "0")])
def test_a_wrong_number_is_refused(words: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run(*words)
    assert stop.value.code == 2
    assert "is not a whole number" in capsys.readouterr().err
