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

from vla_bt.eval.job import EXPECTATIONS, GOAL_STATES, NO_COUNTS, RANGES, TARGETS, Counts, Extra, Job, Range
from vla_bt.eval.marked import Marked, read_marked
from vla_bt.eval.script import FAULTS, PEOPLE, Event, read_events
from vla_bt.settings import SettingsError, check, config_path, setting
from vla_bt.sim.scenes import DISTANCES, HARD, NOMINAL, PATTERNS, POSITIONS, SCENE_NAMES, Variation

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
FIRST_TRAINING_SEED = 900_000
"""Scene seeds from here on are for training and validation (``vla_bt.train.settings``)."""

_BLANKS = ("side", "other", "boxes", "goal")
_OTHER = {"left": "right", "right": "left"}


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
    both_sides: bool = setting(False, "each world is driven twice: as the scene says, and told the other side")
    cup: bool = setting(True, "there is a cup")
    targets: list[str] = setting(["cup"], "at which of them a claim of arrival is true", choices=TARGETS)
    expect: str = setting("reached", "what counts", choices=EXPECTATIONS)
    policy_latency_s: float = setting(0.1, "from frame to proposal [s]", 0.0, 2.0)
    time_limit_s: float = setting(45.0, "simulated time of a run [s]", 1.0, 600.0)
    seeds: str = setting("0:2", "seeds first:end when none are given")
    required_share: float = setting(0.0, "share of successes below which the exit code is 1", 0.0, 1.0)
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
    for name, entry in marks.items():
        if name not in _FIELDS:
            raise entry.error(f"unknown setting '{name}'; known: {', '.join(_FIELDS)}")
        values[name] = _PARTS[name](entry) if name in _PARTS else check(_FIELDS[name], entry.plain(), entry.where)
    scenario = Scenario(**values)
    for entry in marks["goals"].entries("goals") if "goals" in marks else []:
        _check_sentence(entry.value, entry, _BLANKS[:3])
    for index, event in enumerate(scenario.script):
        if event.do == "goal":
            _check_sentence(str(event.value), marks["script"].entries("script")[index], _BLANKS)
    if "seeds" in marks:
        parse_seeds(scenario.seeds, marks["seeds"].where)
    return scenario


def _check_sentence(sentence: str, at: Marked, blanks: tuple[str, ...]) -> None:
    try:
        found = [name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None]
    except ValueError:
        found = ["{"]
    if any(name not in blanks for name in found):
        raise at.error(f"goal '{sentence}': only {', '.join(f'{{{blank}}}' for blank in blanks)} can be filled in")


def _ranges(entry: Marked) -> tuple[Range, ...]:
    ranges = []
    for name, span in entry.items("ranges"):
        if name not in RANGES:
            raise span.error(f"ranges: unknown '{name}'; known: {', '.join(RANGES)}")
        low, high = span.numbers(f"ranges: {name}", 2, 1000.0)
        if low > high:
            raise span.error(f"ranges: {name} is [{low:g}, {high:g}]; expected [low, high]")
        ranges.append((name, low, high))
    return tuple(ranges)


def _boxes(entry: Marked) -> tuple[Extra, ...]:
    boxes = []
    for box in entry.entries("boxes"):
        x, y, half_x, half_y, half_z, yaw = box.numbers("a box", 6, 10.0)
        if min(half_x, half_y, half_z) < 0.02:
            raise box.error("a box's half sizes (the third to fifth number) are at least 0.02 m")
        boxes.append((x, y, half_x, half_y, half_z, yaw))
    if len(boxes) > 6:
        raise entry.error(f"{len(boxes)} boxes more; at most 6")
    return tuple(boxes)


def _counts(entry: Marked) -> Counts:
    values: dict[str, Any] = {}
    for name, value in entry.items("counts"):
        what = f"counts: {name}"
        if name == "side":
            if not isinstance(value.value, bool):
                raise value.error(f"{what} is {value.plain()!r}; expected true or false")
            values[name] = value.value
        elif name == "goal_ends":
            values[name] = tuple(end.word(what, GOAL_STATES) for end in value.entries(what))
        elif name == "motions":
            values[name] = tuple(motion.numbers(what, 3, 100.0) for motion in value.entries(what))
        elif name in {item.name for item in dataclasses.fields(Counts)}:
            values[name] = value.number(what, 0.0, 1000.0)
        else:
            known = ", ".join(item.name for item in dataclasses.fields(Counts))
            raise value.error(f"counts: unknown '{name}'; known: {known}")
    return Counts(**values)


_PARTS = {
    "ranges": _ranges,
    "start": lambda entry: entry.numbers("start (x, y, yaw)", 3, 10.0),
    "boxes": _boxes,
    "script": lambda entry: read_events(entry, "script", PEOPLE),
    "faults": lambda entry: read_events(entry, "faults", FAULTS),
    "counts": _counts,
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
            sides = (own, _OTHER[own]) if scenario.both_sides else (own,)
            boxes = "the boxes" if kind.startswith("2box") else "the box"
            goals = scenario.goals or [f"go around {boxes} on the {{side}} to the cup"]
            alone = scenario.one_by_one and scenario.stresses
            for stresses in [(stress,) for stress in scenario.stresses] if alone else [tuple(scenario.stresses)]:
                for goal, side in ((goal, side) for goal in goals for side in sides):
                    told = {"side": side, "other": _OTHER[side], "boxes": boxes}
                    events = _events(scenario, stresses, seed, told | {"goal": goal.format(**told)})
                    last = next((str(event.value) for event in reversed(events) if event.do == "goal"), "")
                    yield Job(
                        scenario=name,
                        cell=_cell(scenario, kind, goal, stresses, side),
                        policy=policy,
                        scene=kind,
                        distance=distance,
                        position=position,
                        pattern=pattern,
                        seed=seed,
                        goal=last,
                        events=events,
                        ranges=_all_ranges(scenario, stresses),
                        stresses=stresses,
                        start=scenario.start,
                        boxes=scenario.boxes,
                        cup=scenario.cup,
                        side=told_side(last),
                        expect=scenario.expect,
                        targets=tuple(scenario.targets),
                        counts=scenario.counts,
                        camera=camera,
                        policy_latency_s=STRESSED_LATENCY_S if "latency" in stresses else scenario.policy_latency_s,
                        time_limit_s=scenario.time_limit_s,
                    )


def told_side(goal: str) -> str:
    """Return the one side a sentence tells, empty for none or both."""
    words = goal.lower().replace(",", " ").replace(".", " ").split()
    told = [side for side in ("left", "right") if side in words]
    return told[0] if len(told) == 1 else ""


def _events(scenario: Scenario, stresses: tuple[str, ...], seed: int, told: dict[str, str]) -> tuple[Event, ...]:
    """Return everything that happens, in order; a script without a goal is given one at the beginning."""
    script = list(scenario.script)
    begun = [event for event in script if event.do == "mode" and event.at_s == 0.0]
    if not begun:
        script.insert(0, Event(0.0, "mode", "vla"))
    if not any(event.do == "goal" for event in script):
        script.append(Event(0.0, "goal", "{goal}"))
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
    if scenario.both_sides:
        return f"told {side}"
    return goal.replace("{", "").replace("}", "") if len(scenario.goals) > 1 else kind
