"""What a scenario requires of all runs together: each check can pass and can fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vla_bt.eval.checks import between_sizes, checks_of
from vla_bt.eval.report import Part, in_words, report
from vla_bt.eval.scenario import Scenario, cell_of_goal, load_scenario

GOALS = ["go {side} to the cup", "drive {side} to the cup", "walk {side} to the cup"]


def run(ok: bool = True, seed: int = 0, **job: Any) -> dict[str, Any]:
    result = {"false_reached": False, "time_s": 9.0, "path_length_m": 3.0, "contact": "", "policy": None, "claims": []}
    whole = {"scene": "a", "distance": "b", "position": "c", "pattern": "d", "cell": "e", "seed": seed} | job
    return {"job": whole, "ok": ok, "failure": "" if ok else "contact", "result": result, "timing": {}}


def verdicts(scenario: Scenario, outcomes: list[dict[str, Any]]) -> list[bool]:
    return [check["passed"] for check in checks_of(scenario, outcomes)]


def test_each_side_must_reach_the_share_alone() -> None:
    scenario = Scenario(required_share=0.9, required_share_each="side")
    left, right = [run(side="left")] * 20, [run(side="right")] * 18
    assert verdicts(scenario, [*left, *right, run(False, side="right")]) == [True, True, True]
    lame = [*left, *right[:10], *[run(False, side="right")] * 2]
    assert verdicts(scenario, lame) == [True, True, False]  # 30 of 32 in all, 10 of 12 to the right


def test_false_claims_are_counted_apart_from_failures() -> None:
    scenario = Scenario(most_false_reached=0.02)
    lie = run(False)
    lie["result"]["false_reached"] = True
    assert verdicts(scenario, [run()] * 49 + [lie]) == [True, True]
    assert verdicts(scenario, [run()] * 48 + [lie]) == [True, False]


def test_other_words_may_cost_so_many_points() -> None:
    scenario = Scenario(goals=GOALS, most_drop_points=5.0)
    first, second, third = (cell_of_goal(goal) for goal in GOALS)
    others = [run(cell=second)] * 19 + [run(False, cell=third)]
    assert verdicts(scenario, [run(cell=first)] * 10 + others) == [True, True]
    assert verdicts(scenario, [run(cell=first)] * 10 + others + [run(False, cell=third)]) == [True, False]
    assert verdicts(scenario, [*others]) == [True]  # nothing to compare with


def test_a_crash_never_passes() -> None:
    crash = run(False) | {"failure": "crashed", "result": None}
    assert verdicts(Scenario(), [run(), crash]) == [True, False]


def parts(second: list[dict[str, Any]]) -> list[Part]:
    first = [run(seed=seed) for seed in range(20)]
    seeds = range(20)
    return [Part("a", "a", Scenario(), "p", seeds, (), first), Part("a", "a", Scenario(), "p", seeds, (1280, 720), second)]


@pytest.mark.parametrize(("failures", "passed"), [(0, True), (1, True), (2, False)])
def test_sizes_of_frames_are_compared_world_by_world(failures: int, passed: bool) -> None:
    second = [run(ok=seed >= failures, seed=seed, camera=[1280, 720]) for seed in range(20)]
    (check,) = between_sizes(parts(second))
    assert check["passed"] == passed
    assert f"20 and {20 - failures} of the same 20 runs" in check["found"]
    assert f"{failures} came to another end" in check["found"]


def test_sizes_without_a_common_world_are_no_comparison() -> None:
    (check,) = between_sizes(parts([run(seed=99, camera=[1280, 720])]))
    assert not check["passed"]


def test_runs_that_were_told_no_side_are_named() -> None:
    arrived = run(expect="reached")
    arrived["result"]["claims"] = [{"evidence": "policy stop signal"}]
    entry = report(Part("a", "a", Scenario(), "p", range(1), (), [arrived, run(side="left")]))
    assert entry["told_no_side"] == 1
    assert "1 runs were told no side: on which one they passed is not judged" in in_words(entry)


def test_the_shipped_files_hold_the_bars() -> None:
    assert load_scenario("flipped")[1].required_share_each == "side"
    assert all(load_scenario(name)[1].most_false_reached == 0.02 for name in ("document", "hard", "flipped"))


def test_a_file_can_ask_for_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "goals:\n- go {side} of {boxes} to the cup\n- pass {boxes} on the {side} to the cup\nboth_sides: true\n"
        "required_share: 0.9\nrequired_share_each: side\nmost_false_reached: 0.02\nmost_drop_points: 5\n"
    )
    assert load_scenario(str(path))[1].most_drop_points == 5.0
