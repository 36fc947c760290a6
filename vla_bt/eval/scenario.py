"""Scenario files: which worlds, under which stresses, told what, what happens on the way, and what counts as success.

Promises: reading one needs neither simulator nor torch; a mistake is one line that names file and line. Each run is a
:class:`~vla_bt.eval.job.Job` that says all of itself.
"""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vla_bt.eval.job import FIRST_TRAINING_SEED, USUAL_LATENCY_S, Job
from vla_bt.eval.marked import Marked, read_marked
from vla_bt.eval.parts import (
    EXPECTATIONS,
    LATENCY_S,
    NO_COUNTS,
    TARGETS,
    TIME_LIMIT_S,
    Counts,
    Extra,
    Range,
    read_boxes,
    read_counts,
    read_ranges,
    read_start,
    read_targets,
    read_words,
)
from vla_bt.eval.script import FAULTS, PEOPLE, Event, read_events
from vla_bt.eval.told import SAID, UnclearSideError, blanks, told_side
from vla_bt.goals.plan import OTHER_SIDE
from vla_bt.settings import SettingsError, check, config_path, setting
from vla_bt.sim.scenes import DISTANCES, HARD, HOUSE, NOMINAL, PATTERNS, POSITIONS, SCENE_NAMES, SURFACES, Variation

STRESSES: dict[str, tuple[str, ...]] = {
    "yaw": ("yaw_rad",),
    "cup": ("cup_m",),
    "pitch": ("pitch_deg",),
    "field_of_view": ("fov_deg",),
    "dim": ("brightness",),
    "noise": ("noise",),
    "blur": ("blur",),
    "pushes": (),
    "latency": (),
}
"""Stress -> what of :data:`~vla_bt.sim.scenes.HARD` it takes over; the last two act outside the scene."""

STRESSED_LATENCY_S = 0.15
OWN_GOAL = "go around {boxes} on the {side} to the cup"
"""What is told where a file has no goals."""

_BLANKS = ("side", "other", "boxes", "goal")
_GROUPS = ("side", "cell", "scene", "distance", "position", "pattern")
_ONCE = ("scenes", "distances", "positions", "patterns", "stresses", "goals")


@dataclass(frozen=True)
class Scenario:
    """One file. Lists left empty mean everything there is."""

    about: str = setting("", "one line on what it asks")
    scenes: list[str] = setting([], "scenes; empty: all eight", choices=SCENE_NAMES)
    distances: list[str] = setting([], "close, medium, far; empty: all", choices=tuple(DISTANCES))
    positions: list[str] = setting([], "left, center, right; empty: all", choices=tuple(POSITIONS))
    patterns: list[str] = setting([], "core, variant; empty: both", choices=PATTERNS)
    every_combination: bool = setting(False, "each seed runs every combination; else each seed draws one")
    stresses: list[str] = setting([], "stresses that act together", choices=tuple(STRESSES))
    one_by_one: bool = setting(False, "each stress acts alone, in runs of its own")
    goals: list[str] = setting([], "sentences with {side}, {other} and {boxes}; empty: the scene's own")
    side: str = setting("", "the side that the last goal tells; empty: as it is filled in and understood", choices=("", *SAID))
    both_sides: bool = setting(False, "each world is driven twice: as the scene says, and told the other side")
    cup: bool = setting(True, "there is a cup")
    surfaces: str = setting(HOUSE, "what the room is painted with; apart: patterns no practice has", choices=SURFACES)
    targets: list[str] = setting(["cup"], "at which of them a claim of arrival is true", choices=TARGETS)
    expect: str = setting("reached", "what counts", choices=EXPECTATIONS)
    policy_latency_s: float = setting(USUAL_LATENCY_S, "from frame to proposal [s]", *LATENCY_S)
    time_limit_s: float = setting(45.0, "simulated time of a run [s]", *TIME_LIMIT_S)
    seeds: str = setting("0:2", "seeds first:end when none are given")
    required_share: float = setting(0.0, "share of successes below which the exit code is 1", 0.0, 1.0)
    required_share_each: str = setting("", "of which each kind must reach required_share by itself", choices=("", *_GROUPS))
    most_false_reached: float = setting(1.0, "share of runs that may claim arrival where they aren't, at most", 0.0, 1.0)
    most_drop_points: float = setting(100.0, "points by which the goals after the first may succeed less than it", 0.0, 100.0)
    ranges: tuple[Range, ...] = ()
    start: tuple[float, ...] = ()
    boxes: tuple[Extra, ...] = ()
    script: tuple[Event, ...] = ()
    faults: tuple[Event, ...] = ()
    counts: Counts = NO_COUNTS


_FIELDS = {item.name: item for item in dataclasses.fields(Scenario)}


def variation_of(stresses: tuple[str, ...]) -> Variation:
    """Return nominal conditions with the given stresses at full range."""
    names = [name for stress in stresses for name in STRESSES[stress]]
    return dataclasses.replace(NOMINAL, **{name: getattr(HARD, name) for name in names})


def pushes_of(seed: int) -> tuple[Event, ...]:
    """Draw the three pushes of the stress ``pushes``.

    They come on the way, and the strongest move the robot by some 0.1 m: more would shove it into the box it passes, however it
    drives. ``vla-bt eval hard --policy expert`` tells what share of them nobody could have helped.
    """
    rng = np.random.default_rng([seed, 251])
    pushes = []
    for at in np.sort(rng.uniform(0.5, 6.0, 3)):
        force_x, force_y, torque = (float(value) for value in rng.normal(0.0, (25.0, 25.0, 2.0)))
        pushes.append(Event(float(at), "push", (force_x, force_y, torque), float(rng.uniform(0.1, 0.3))))
    return tuple(pushes)


def scenario_names() -> list[str]:
    """Names of the shipped scenarios, sorted."""
    return sorted(path.stem for path in config_path("robot.yaml").parent.joinpath("scenarios").glob("*.yaml"))


def load_scenario(name: str) -> tuple[str, Scenario]:
    """Return name and content of a shipped scenario, or of a file.

    Raises
    ------
    SettingsError
        With one line, when there is none or something in it is wrong.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        if name not in scenario_names():
            raise SettingsError(f"unknown scenario '{name}'; known: {', '.join(scenario_names())}, or a .yaml file")
        path = config_path(f"scenarios/{name}.yaml")
    return path.stem, _scenario(read_marked(path))


def _scenario(content: Marked) -> Scenario:
    values: dict[str, Any] = {}
    marks = dict(content.items("a scenario"))
    if not marks:
        raise content.error(f"nothing is set; expected some of {', '.join(_FIELDS)}")
    for name, entry in marks.items():
        if name not in _FIELDS:
            raise entry.error(f"unknown setting '{name}'; known: {', '.join(_FIELDS)}")
        values[name] = _PARTS[name](entry) if name in _PARTS else check(_FIELDS[name], entry.plain(), entry.where)
        if name in _ONCE:
            read_words(entry, name)
    scenario = Scenario(**values)
    for entry in marks["goals"].entries("goals") if "goals" in marks else []:
        _check_sentence(entry.value, entry, _BLANKS[:3])
    for name, events in (("script", scenario.script), ("faults", scenario.faults)):
        for event, entry in zip(events, marks[name].entries(name) if name in marks else [], strict=True):
            if event.do == "goal":
                _check_sentence(str(event.value), entry, _BLANKS)
            if event.at_s >= scenario.time_limit_s:
                raise entry.error(f"{name}: at {event.at_s:g} s the run is over: time_limit_s is {scenario.time_limit_s:g}")
    if "seeds" in marks:
        parse_seeds(scenario.seeds, marks["seeds"].where)
    if scenario.most_drop_points < 100.0 and (len(scenario.goals) < 2 or scenario.one_by_one):
        raise marks["most_drop_points"].error(
            "most_drop_points holds the goals against the first: it needs two, and no one_by_one"
        )
    if scenario.required_share_each and scenario.required_share == 0.0:
        raise marks["required_share_each"].error("required_share_each needs a required_share")
    _check_sides(scenario, marks)
    return scenario


def _check_sides(scenario: Scenario, marks: dict[str, Marked]) -> None:
    """Refuse goals of which nobody could say whether they were obeyed."""
    told = [at for at, event in enumerate(scenario.script) if event.do == "goal"]
    last = str(scenario.script[told[-1]].value) if told else "{goal}"
    at = [marks["script"].entries("script")[told[-1]]] if told else []
    if "{goal}" in last and scenario.goals:
        at = marks["goals"].entries("goals")
    for entry, goal in zip(at, scenario.goals if "{goal}" in last and scenario.goals else [OWN_GOAL], strict=False):
        for side in OTHER_SIDE:
            try:
                _side(scenario, last.replace("{goal}", goal), blanks(side, "the box"))
            except UnclearSideError as error:
                raise entry.error(str(error)) from None


def _side(scenario: Scenario, template: str, told: dict[str, str]) -> str:
    """Return the told side; where nobody asks for it, it need not be settled."""
    try:
        return told_side(template, told, scenario.side)
    except UnclearSideError:
        if scenario.counts.side and scenario.expect == "reached":
            raise
        return ""


def _check_sentence(sentence: str, at: Marked, known: tuple[str, ...]) -> None:
    try:
        found = [part for part in string.Formatter().parse(sentence) if part[1] is not None]
    except ValueError:
        found = [("", "{", "", None)]
    if any(name not in known or form or conversion for _, name, form, conversion in found):
        raise at.error(f"goal '{sentence}': only {', '.join(f'{{{blank}}}' for blank in known)} can be filled in")


_PARTS = {
    "ranges": read_ranges,
    "start": read_start,
    "boxes": read_boxes,
    "targets": lambda entry: list(read_targets(entry)),
    "script": lambda entry: read_events(entry, "script", PEOPLE),
    "faults": lambda entry: read_events(entry, "faults", FAULTS),
    "counts": read_counts,
}


def parse_seeds(text: str, where: str) -> range:
    """Read ``first:end``, end not included."""
    first, _, end = text.partition(":")
    try:
        seeds = range(int(first), int(end))
    except ValueError:
        raise SettingsError(f"{where}: seeds are '{text}'; expected first:end such as 0:20") from None
    if not seeds or seeds.start < 0:
        raise SettingsError(f"{where}: seeds are '{text}'; expected first:end with 0 <= first < end")
    if seeds.stop > FIRST_TRAINING_SEED:
        raise SettingsError(f"{where}: seeds from {FIRST_TRAINING_SEED} on are for training; tests use those below")
    return seeds


def jobs_of(name: str, scenario: Scenario, policy: str, seeds: range, camera: tuple[int, ...] = ()) -> Iterator[Job]:
    """Yield all runs of a scenario in a fixed order.

    Parameters
    ----------
    camera : tuple of (width, height) or empty
        Size of the frames [px]; empty for the one the policy asks for.
    """
    for seed in seeds:
        for kind, distance, position, pattern in _combinations(scenario, seed):
            own = kind.rsplit("_", 1)[1]
            sides = (own, OTHER_SIDE[own]) if scenario.both_sides else (own,)
            boxes = "the boxes" if kind.startswith("2box") else "the box"
            goals = scenario.goals or [OWN_GOAL]
            alone = scenario.one_by_one and scenario.stresses
            for stresses in [(stress,) for stress in scenario.stresses] if alone else [tuple(scenario.stresses)]:
                for goal, side in ((goal, side) for goal in goals for side in sides):
                    told = blanks(side, boxes)
                    script = _script(scenario)
                    events = _events(scenario, script, stresses, seed, told | {"goal": goal.format(**told)})
                    last = next(str(event.value) for event in reversed(script) if event.do == "goal").replace("{goal}", goal)
                    yield Job(
                        scenario=name,
                        cell=_cell(scenario, kind, goal, stresses, side),
                        policy=policy,
                        scene=kind,
                        distance=distance,
                        position=position,
                        pattern=pattern,
                        seed=seed,
                        goal=last.format(**told),
                        events=events,
                        ranges=_all_ranges(scenario, stresses),
                        stresses=stresses,
                        start=scenario.start,
                        boxes=scenario.boxes,
                        cup=scenario.cup,
                        surfaces=scenario.surfaces,
                        side=_side(scenario, last, told),
                        expect=scenario.expect,
                        targets=tuple(scenario.targets),
                        counts=scenario.counts,
                        camera=camera,
                        policy_latency_s=STRESSED_LATENCY_S if "latency" in stresses else scenario.policy_latency_s,
                        time_limit_s=scenario.time_limit_s,
                    )


def _script(scenario: Scenario) -> list[Event]:
    """Return what people do; who is told nothing is told the goal at the beginning."""
    script = list(scenario.script)
    if not any(event.do == "mode" and event.at_s == 0.0 for event in script):
        script.insert(0, Event(0.0, "mode", "vla"))
    if not any(event.do == "goal" for event in script):
        script.append(Event(0.0, "goal", "{goal}"))
    return script


def _events(
    scenario: Scenario, script: list[Event], stresses: tuple[str, ...], seed: int, told: dict[str, str]
) -> tuple[Event, ...]:
    """Return everything that happens, in order."""
    filled = [
        dataclasses.replace(event, value=str(event.value).format(**told)) if event.do == "goal" else event for event in script
    ]
    pushes = pushes_of(seed) if "pushes" in stresses else ()
    return tuple(sorted((*filled, *scenario.faults, *pushes), key=lambda event: event.at_s))


def _all_ranges(scenario: Scenario, stresses: tuple[str, ...]) -> tuple[Range, ...]:
    stressed = {name: getattr(HARD, name) for stress in stresses for name in STRESSES[stress]}
    spans = {name: (span.low, span.high) for name, span in stressed.items()}
    spans |= {name: (low, high) for name, low, high in scenario.ranges}
    return tuple((name, *span) for name, span in spans.items())


def _combinations(scenario: Scenario, seed: int) -> list[tuple[str, str, str, str]]:
    options = [
        scenario.scenes or list(SCENE_NAMES),
        scenario.distances or list(DISTANCES),
        scenario.positions or list(POSITIONS),
        scenario.patterns or list(PATTERNS),
    ]
    if not scenario.every_combination:
        rng = np.random.default_rng([seed, 257])
        options = [[choices[int(rng.integers(len(choices)))]] for choices in options]
    return [(a, b, c, d) for a in options[0] for b in options[1] for c in options[2] for d in options[3]]


def _cell(scenario: Scenario, kind: str, goal: str, stresses: tuple[str, ...], side: str) -> str:
    if scenario.one_by_one and stresses:
        return stresses[0]
    if len(scenario.goals) > 1:
        return cell_of_goal(goal)
    return f"told {side}" if scenario.both_sides else kind


def cell_of_goal(goal: str) -> str:
    """Return the cell of the runs with one of several goals."""
    return goal.replace("{", "").replace("}", "")
