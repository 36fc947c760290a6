from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vla_bt.eval.job import FIRST_TRAINING_SEED, Job
from vla_bt.eval.judge import outcome_of
from vla_bt.eval.parts import RANGES, Counts
from vla_bt.eval.scenario import (
    Scenario,
    jobs_of,
    load_scenario,
    parse_seeds,
    pushes_of,
    scenario_names,
    variation_of,
)
from vla_bt.eval.told import UnclearSideError, blanks, told_side
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
    apart = {sentence for side in ("left", "right") for boxes in (1, 2) for sentence in all_sentences(side, boxes, "test")}
    found = jobs("paraphrases")
    assert len({job.cell for job in found}) >= 20
    for job in found:
        plan = parse(job.goal)
        assert isinstance(plan, Plan), job.goal
        steps = [step for step in plan.steps if isinstance(step, PlaceGoal)]
        assert len(steps) == len(plan.steps) == 1, job.goal
        assert (steps[0].place, steps[0].side) == ("cup", job.side), job.goal
        own = job.cell.startswith("go around boxes on the side to the cup")
        assert own == (job.goal not in apart), job.goal


def test_hard_has_every_stress_and_stress_has_each_alone() -> None:
    hard = jobs("hard", "0:1")[0]
    assert hard.make_scene().camera.noise > 0.0
    assert variation_of(hard.stresses) == HARD
    assert hard.policy_latency_s == 0.15
    assert [event for event in hard.events if event.do == "push"] == list(pushes_of(hard.seed)) != []
    alone = {job.cell: job for job in jobs("stress", "0:1")}
    assert variation_of(alone["dim"].stresses).brightness == HARD.brightness
    assert variation_of(alone["dim"].stresses).noise == NOMINAL.noise
    assert [event.do for event in alone["dim"].events] == ["mode", "goal"]
    assert variation_of(alone["latency"].stresses) == NOMINAL


def test_tests_never_use_seeds_of_training() -> None:
    assert VALIDATION_SEEDS.start == FIRST_TRAINING_SEED
    with pytest.raises(SettingsError, match="are for training"):
        parse_seeds("899999:900001", "--seeds")


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ("scenes: [3box_vert_left]\n", 1, "scenes: unknown scene '3box_vert_left'; known: 1box_vert_left"),
        ("about: x\nstresses: [rain]\n", 2, "stresses: unknown stress 'rain'; known: yaw"),
        ("goals:\n  - go to the cup\n  - go {where}\n", 3, "only {side}, {other}, {boxes} can be filled in"),
        ("goals: ['go {']\n", 1, "can be filled in"),
        ("seeds: '5'\n", 1, "expected first:end such as 0:20"),
        ("\n\nseeds: '5:5'\n", 3, "0 <= first < end"),
        ("expect: luck\n", 1, "expected one of reached, no_claim, safe, stands"),
        ("about: x\ntime_limit: 5\n", 2, "unknown setting 'time_limit'"),
        ("cup: true\ncup: false\n", 2, "cup is given twice"),
        ("a: [\n", 2, "not valid YAML"),
        ("about: !!python/object:os.system x\n", 1, "not valid YAML"),
        ("- a\n", 1, "expected a mapping"),
        ("about: x\nsurfaces: marble\n", 2, "surfaces is 'marble'; expected one of house, wide, apart"),
        ("ranges: {rain: [0, 1]}\n", 1, "ranges: unknown 'rain'; known: yaw_rad"),
        ("ranges:\n  yaw_rad: [1, 0]\n", 2, "expected [low, high]"),
        ("start: [0, 0]\n", 1, "expected 3 numbers"),
        ("boxes:\n  - [1, 0, 0, 0.2, 0.2, 0]\n", 2, "half sizes"),
        ("script:\n  - {mode: vla}\n", 2, "at_s is missing"),
        ("script:\n  - {at_s: 1, mode: fly}\n", 2, "expected one of manual, vla, hybrid"),
        ("script:\n  - {at_s: 1, goal: go to the cup, mode: vla}\n", 2, "exactly one of"),
        ("script:\n  - {at_s: 1, teleop: [0.1, 0, 0]}\n", 2, "for_s is missing: how long does 'teleop' last?"),
        ("script:\n  - {at_s: 2, mode: vla}\n  - {at_s: 1, mode: vla}\n", 3, "expected the order of time"),
        ("script:\n  - {at_s: 2, goal: 'go {there}'}\n", 2, "can be filled in"),
        ("faults:\n  - {at_s: 1, camera: blind}\n", 2, "expected one of lost, frozen"),
        ("faults:\n  - {at_s: 1, goal: go to the cup}\n", 2, "unknown 'goal'; known: at_s, for_s, emergency_stop"),
        ("", 1, "nothing is set"),
        ("# nothing but words\n", 1, "nothing is set"),
        ("targets: []\n", 1, "targets is empty; expected some of cup, box"),
        ("scenes:\n  - 1box_vert_left\n  - 1box_vert_left\n", 3, "'1box_vert_left' is given twice"),
        ("goals: [go to the cup,\n go to the cup]\n", 2, "'go to the cup' is given twice"),
        ("goals: ['go to {boxes:>500000000}']\n", 1, "can be filled in"),
        ("goals: ['go to {boxes!r}']\n", 1, "can be filled in"),
        ("goals: ['go to {boxes.upper}']\n", 1, "can be filled in"),
        ("ranges: {fov_deg: [1, 1000000000]}\n", 1, "expected a number from 10 to 120"),
        ("time_limit_s: 10\nscript:\n  - {at_s: 60, goal: '{goal}'}\n", 3, "at 60 s the run is over: time_limit_s is 10"),
        ("time_limit_s: 10\nfaults:\n  - {at_s: 10, camera: lost}\n", 3, "at 10 s the run is over"),
        ("goals:\n  - go to the cup\n  - go lefterly round {boxes} to the cup\n", 3, "which side it tells is not understood"),
        ("goals:\n  - keep {boxes} on your {side} and go to the cup\n", 2, "read as passing on the right; say it: side: left |"),
        ("script:\n  - {at_s: 0, goal: go lefterly round the box to the cup}\n", 2, "which side it tells is not understood"),
        ("side: west\n", 1, "side is 'west'"),
        ("about: x\nmost_drop_points: 5\n", 2, "it needs two, and no one_by_one"),
        ("required_share_each: cell\n", 1, "needs a required_share"),
        ("counts:\n  luck: 1\n", 2, "counts: unknown 'luck'; known: side"),
        ("counts:\n  goal_ends: [won]\n", 2, "expected one of reached"),
    ],
)
def test_a_mistake_in_a_file_is_one_line_that_names_its_line(tmp_path: Path, text: str, line: int, complaint: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_scenario(str(path))
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "nonsense", '{"scenario": 1}', "[" * 2000],
)
def test_what_is_no_job_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(SettingsError, match="not a job") as caught:
        Job.from_json(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", "0"),
        ("seed", -1),
        ("scene", "attic"),
        ("events", [{"do": "fly", "value": 1, "at_s": 0}]),
        ("camera", [1]),
        ("camera", [1, 1]),
        ("camera", [True, 320]),
        ("boxes", [[0, 0, 0, 0, 0, 0]]),
        ("boxes", [[0, 0, 0.2, 0.2]]),
        ("boxes", [[0, 0, 9, 9, 9, 0]]),
        ("ranges", [["fov_deg", 1e9, 1e9]]),
        ("ranges", [["rain", 0, 1]]),
        ("ranges", [["fov_deg", 60, 50]]),
        ("ranges", [5]),
        ("time_limit_s", 1e-9),
        ("time_limit_s", float("nan")),
        ("policy_latency_s", 9),
        ("targets", ["moon"]),
        ("targets", []),
        ("start", [1]),
        ("start", [1e9, 0, 0]),
        ("side", "west"),
        ("surfaces", "marble"),
        ("stresses", [1]),
        ("counts", {"luck": 1}),
        ("counts", {"goal_ends": ["won"]}),
        ("counts", {"path_ratio": "1"}),
        ("seed", FIRST_TRAINING_SEED),
        ("x", 1),
    ],
)
def test_a_job_with_a_strange_value_is_refused(name: str, value: Any) -> None:
    values = jobs("document", "0:1")[0].to_dict()
    with pytest.raises(SettingsError, match="not a job"):
        Job.from_json(json.dumps(values | {name: value}))


def test_an_unknown_scenario_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"known: blocked-path, .*hard"):
        load_scenario("easy")


ARRIVAL = {"goal": 1, "step": 0, "evidence": "policy stop signal", "true": True}


def result(**changes: Any) -> dict[str, Any]:
    good = {"goal_state": "reached", "contact": "", "reached_cup": True, "cup_distance_m": 0.33, "sides_passed": ["left"]}
    good |= {"false_reached": False, "claims": [ARRIVAL], "goals": [{"end": "reached"}], "path_ratio": 1.1, "time_s": 9.0}
    return (
        good | {"path_length_m": 3.0, "stops": 0, "stood_s": 0.3, "interventions": 0, "obeyed": None, "smoothness": 0.1} | changes
    )


UNCLAIMED = {"goal_state": "active", "claims": [], "goals": [{"end": "active"}]}
FALSE = {"false_reached": True, "claims": [ARRIVAL | {"true": False}], "reached_cup": False, "cup_distance_m": 0.6}
MOTION = {"goal": 1, "step": 0, "evidence": "odometry", "true": True}


@pytest.mark.parametrize(
    ("expect", "changes", "verdict"),
    [
        ("reached", {}, (True, "")),
        ("reached", {"contact": "robot and cup at 3.00 s"}, (False, "contact")),
        ("reached", FALSE, (False, "false reached")),
        ("reached", {"reached_cup": False}, (False, "false reached")),  # stood there and drifted away
        ("reached", UNCLAIMED, (False, "not claimed")),
        ("reached", UNCLAIMED | {"cup_distance_m": 2.0}, (False, "out of time")),
        ("reached", {"sides_passed": ["right"]}, (False, "wrong side")),
        ("reached", {"sides_passed": [""]}, (False, "wrong side")),
        ("reached", {"claims": [MOTION], "reached_cup": False, "sides_passed": [""]}, (True, "")),
        ("reached", {"claims": [MOTION | {"true": False}]}, (False, "not as measured")),
        ("no_claim", {}, (False, "false reached")),
        ("no_claim", UNCLAIMED, (True, "")),
        ("safe", {}, (True, "")),
        ("safe", UNCLAIMED, (True, "")),
        ("safe", FALSE, (False, "false reached")),
        ("stands", UNCLAIMED | {"goal_state": "rejected", "path_length_m": 0.0}, (True, "")),
        ("stands", UNCLAIMED, (False, "moved")),
    ],
)
def test_the_truth_judges(expect: str, changes: dict[str, Any], verdict: tuple[bool, str]) -> None:
    scenario = Scenario(expect=expect)
    job = next(job for job in jobs_of("a", scenario, "expert", range(50)) if job.side == "left")
    assert outcome_of(job, result(**changes)) == verdict


@pytest.mark.parametrize(
    ("counts", "changes", "failure"),
    [
        (Counts(path_ratio=1.0), {}, "long way"),
        (Counts(path_ratio=1.2), {}, ""),
        (Counts(time_s=8.0), {}, "slow"),
        (Counts(stops=0), {"stops": 1}, "too many stops"),
        (Counts(interventions=1), {"interventions": 2}, "too many interventions"),
        (Counts(roughness=0.05), {}, "rough"),
        (Counts(obeyed=0.9), {"obeyed": 0.8}, "person not obeyed"),
        (Counts(obeyed=0.9), {"obeyed": None}, "person not obeyed"),
        (Counts(goal_ends=("preempted", "reached")), {}, "goals ended otherwise"),
        (Counts(goal_ends=("reached",)), {}, ""),
        (Counts(motions=((0.5, 0.0, 0.0),)), {}, "motions missing"),
        (Counts(motions=((0.5, 0.0, 0.0),)), {"claims": [MOTION]}, ""),
        (Counts(way_m=3.0), {}, ""),
        (Counts(way_m=0.5), {"path_length_m": 0.02}, "hardly moved"),
        (Counts(still_s=4.0), {}, "moved"),
        (Counts(still_s=4.0), {"stood_s": 4.0}, ""),
        (Counts(reasons=("which",)), {"goals": [{"end": "reached", "reason": "say Which"}]}, ""),
        (Counts(reasons=("which",)), {"goals": [{"end": "reached", "reason": ""}]}, "not told why"),
        (Counts(reasons=("", "")), {"goals": [{"end": "reached", "reason": ""}]}, "goals ended otherwise"),
        (Counts(side=False), {"sides_passed": ["right"]}, ""),
    ],
)
def test_what_else_is_asked_for_counts(counts: Counts, changes: dict[str, Any], failure: str) -> None:
    scenario = Scenario(counts=counts)
    job = next(job for job in jobs_of("a", scenario, "expert", range(50)) if job.side == "left")
    assert outcome_of(job, result(**changes)) == (not failure, failure)


@pytest.mark.parametrize(
    ("template", "side"),
    [
        ("go around {boxes} on the {side} to the cup", "left"),
        ("on the {side}-hand side of {boxes}, go to the cup", "left"),
        ("pass {boxes} on the {side}; go to the cup", "left"),
        ("proceed {side}erly round {boxes} until reaching the mug", "left"),
        ("keep {boxes} on your {other} and go to the cup", "left"),
        ("go around {boxes} on the {other} to the cup", "right"),
        ("keep the box on your right and go to the cup", "left"),
        ("pass the box on the right; go to the cup", "right"),
        ("go to the bright cup", ""),
        ("first move left then go forward", ""),
        ("move {side} 1 m", ""),
        ("banana green {side}", "left"),
    ],
)
def test_the_told_side_is_what_the_sentence_means_not_a_word_in_it(template: str, side: str) -> None:
    assert told_side(template, blanks("left", "the box")) == side
    if "{" in template and side:
        assert told_side(template, blanks("right", "the box")) == {"left": "right", "right": "left"}[side]


@pytest.mark.parametrize(
    ("said", "side"), [("left", "left"), ("right", "right"), ("{side}", "right"), ("{other}", "left"), ("none", "")]
)
def test_a_file_may_say_the_side_where_the_words_cannot(said: str, side: str) -> None:
    told = blanks("right", "the box")
    with pytest.raises(UnclearSideError):
        told_side("go {other}erly round {boxes} to the cup", told)
    assert told_side("go {other}erly round {boxes} to the cup", told, said) == side


def test_who_passes_on_the_wrong_side_fails_however_the_side_was_told(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    goals = ["on the {side}-hand side of {boxes}, go to the cup", "keep {boxes} on your {other} and go to the cup"]
    path.write_text(json.dumps({"scenes": ["1box_vert_left"], "goals": goals, "seeds": "0:1"}))
    scenario = load_scenario(str(path))[1]
    for job in jobs_of("mine", scenario, "expert", range(1)):
        assert outcome_of(job, result(sides_passed=["left"])) == (True, ""), job.goal
        assert outcome_of(job, result(sides_passed=["right"])) == (False, "wrong side"), job.goal


def test_the_ranges_hold_what_the_stresses_need() -> None:
    for name, (low, high) in RANGES.items():
        for variation in (NOMINAL, HARD):
            assert low <= getattr(variation, name).low <= getattr(variation, name).high <= high
