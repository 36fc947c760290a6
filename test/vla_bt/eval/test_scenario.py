from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vla_bt.eval.scenario import (
    FIRST_TRAINING_SEED,
    Job,
    Scenario,
    jobs_of,
    load_scenario,
    outcome_of,
    parse_seeds,
    scenario_names,
    variation_of,
)
from vla_bt.goals.parser import parse
from vla_bt.goals.plan import PlaceGoal, Plan
from vla_bt.settings import SettingsError
from vla_bt.sim.scenes import HARD, NOMINAL
from vla_bt.train.sentences import all_sentences
from vla_bt.train.settings import VALIDATION_SEEDS


def jobs(name: str, seeds: str = "") -> list[Job]:
    name, scenario = load_scenario(name)
    return list(jobs_of(name, scenario, "expert", parse_seeds(seeds or scenario.seeds, name)))


def test_the_document_is_288_runs_of_eight_scenes() -> None:
    found = jobs("document")
    assert len(found) == len(set(found)) == 8 * 3 * 3 * 2 * 2
    assert {job.cell for job in found} == {job.scene for job in found}
    assert all(job.goal.endswith(f"on the {job.side} to the cup") for job in found)


@pytest.mark.parametrize("name", scenario_names())
def test_every_shipped_scenario_makes_different_runs_that_survive_json(name: str) -> None:
    found = jobs(name)
    assert len(found) == len({job.to_json() for job in found}) > 0
    assert [Job.from_json(job.to_json()) for job in found] == found


def test_flipped_worlds_are_the_same_world() -> None:
    one, other, *_ = jobs("flipped")
    assert {one.side, other.side} == {"left", "right"}
    assert one.make_scene() == other.make_scene()
    assert one.goal != other.goal


def test_paraphrases_are_understood_and_none_was_trained_on() -> None:
    known = {sentence for side in ("left", "right") for boxes in (1, 2) for sentence in all_sentences(side, boxes, "train")}
    found = jobs("paraphrases")
    assert len({job.cell for job in found}) >= 20
    for job in found:
        plan = parse(job.goal)
        assert isinstance(plan, Plan), job.goal
        steps = [step for step in plan.steps if isinstance(step, PlaceGoal)]
        assert len(steps) == len(plan.steps) == 1, job.goal
        assert (steps[0].place, steps[0].side) == ("cup", job.side), job.goal
        own = job.cell.startswith("go around boxes on the side to the cup")
        assert own == (steps[0].text in known), job.goal


def test_hard_has_every_stress_and_stress_has_each_alone() -> None:
    hard = jobs("hard", "0:1")[0]
    assert hard.make_scene().camera.noise > 0.0
    assert variation_of(hard.stresses) == HARD
    assert hard.policy_latency_s == 0.15
    assert hard.pushes() == hard.pushes() != []
    alone = {job.cell: job for job in jobs("stress", "0:1")}
    assert variation_of(alone["dim"].stresses).brightness == HARD.brightness
    assert variation_of(alone["dim"].stresses).noise == NOMINAL.noise
    assert alone["dim"].pushes() == []
    assert variation_of(alone["latency"].stresses) == NOMINAL


def test_tests_never_use_seeds_of_training() -> None:
    assert VALIDATION_SEEDS.start == FIRST_TRAINING_SEED
    with pytest.raises(SettingsError, match="are for training"):
        parse_seeds("899999:900001", "--seeds")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("scenes: [3box_vert_left]\n", "scenes: unknown '3box_vert_left'; known: 1box_vert_left"),
        ("stresses: [rain]\n", "stresses: unknown 'rain'; known: yaw"),
        ("goals: ['go {where}']\n", "only {side} and {boxes}"),
        ("seeds: '5'\n", "expected first:end such as 0:20"),
        ("seeds: '5:5'\n", "0 <= first < end"),
        ("expect: luck\n", "expected one of reached, no_claim, stands"),
        ("time_limit: 5\n", "unknown setting 'time_limit'"),
    ],
)
def test_a_mistake_in_a_file_is_one_line_that_names_it(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_scenario(str(path))
    assert str(path) in str(caught.value)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_scenario_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"known: document, .*hard"):
        load_scenario("easy")


def result(**changes: Any) -> dict[str, Any]:
    good = {"goal_state": "reached", "contact": "", "reached_cup": True, "cup_distance_m": 0.33, "sides_passed": ["left"]}
    return good | {"path_length_m": 3.0} | changes


@pytest.mark.parametrize(
    ("expect", "changes", "verdict"),
    [
        ("reached", {}, (True, "")),
        ("reached", {"contact": "robot and cup at 3.00 s"}, (False, "contact")),
        ("reached", {"reached_cup": False, "cup_distance_m": 0.6}, (False, "false reached")),
        ("reached", {"goal_state": "active"}, (False, "not claimed")),
        ("reached", {"goal_state": "active", "cup_distance_m": 2.0}, (False, "out of time")),
        ("reached", {"sides_passed": ["right"]}, (False, "wrong side")),
        ("reached", {"sides_passed": [""]}, (False, "wrong side")),
        ("no_claim", {}, (False, "false reached")),
        ("no_claim", {"goal_state": "active"}, (True, "")),
        ("stands", {"goal_state": "rejected", "path_length_m": 0.0}, (True, "")),
        ("stands", {"goal_state": "active"}, (False, "moved")),
    ],
)
def test_the_truth_judges(expect: str, changes: dict[str, Any], verdict: tuple[bool, str]) -> None:
    scenario = Scenario(expect=expect)
    job = next(job for job in jobs_of("a", scenario, "expert", range(50)) if job.side == "left")
    assert outcome_of(job, result(**changes)) == verdict
