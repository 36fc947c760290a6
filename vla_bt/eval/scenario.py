"""Scenario files: which scenes, under which stresses, told what, and what counts as success.

Promises: reading one needs neither simulator nor torch; a mistake is one line that names the file and the setting. Each run is a
:class:`Job` that says all of itself, so that it can be run again anywhere from its JSON alone.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vla_bt.settings import SettingsError, build, config_path, read_yaml, setting
from vla_bt.sim.scenes import DISTANCES, HARD, NOMINAL, PATTERNS, POSITIONS, SCENE_NAMES, Scene, Variation, make_scene

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

Push = tuple[float, float, float, float, float]
"""Time, force_x, force_y, torque, duration of a push from outside [s, N, N, N m, s]."""

STRESSED_LATENCY_S = 0.15
FIRST_TRAINING_SEED = 900_000
"""Scene seeds from here on are for training and validation (``vla_bt.train.settings``)."""


@dataclass(frozen=True)
class Scenario:
    """One file. Lists left empty mean everything there is."""

    about: str = setting("", "one line on what it asks")
    scenes: list[str] = setting([], "scenes; empty: all eight")
    distances: list[str] = setting([], "close, medium, far; empty: all")
    positions: list[str] = setting([], "left, center, right; empty: all")
    patterns: list[str] = setting([], "core, variant; empty: both")
    every_combination: bool = setting(False, "each seed runs every combination; else each seed draws one")
    stresses: list[str] = setting([], "stresses that act together")
    one_by_one: bool = setting(False, "each stress acts alone, in runs of its own")
    goals: list[str] = setting([], "sentences with {side} and {boxes}; empty: the scene's own")
    both_sides: bool = setting(False, "each world is driven twice: as the scene says, and told the other side")
    cup: bool = setting(True, "there is a cup")
    expect: str = setting("reached", "what counts", choices=("reached", "no_claim", "stands"))
    policy_latency_s: float = setting(0.1, "from frame to proposal [s]", 0.0, 2.0)
    time_limit_s: float = setting(45.0, "simulated time of a run [s]", 1.0, 600.0)
    seeds: str = setting("0:2", "seeds first:end when none are given")
    required_share: float = setting(0.0, "share of successes below which the exit code is 1", 0.0, 1.0)


@dataclass(frozen=True)
class Job:
    """One run, complete in itself; see :class:`Scenario` for what the fields mean.

    ``side`` is the side told, empty for none; ``cell`` names the part of the scenario it belongs to.
    """

    scenario: str
    cell: str
    policy: str
    scene: str
    distance: str
    position: str
    pattern: str
    seed: int
    stresses: tuple[str, ...]
    goal: str
    side: str
    cup: bool
    expect: str
    policy_latency_s: float
    time_limit_s: float

    def to_json(self) -> str:
        """Return one line that :meth:`from_json` reads."""
        return json.dumps(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as JSON would give them back."""
        return dataclasses.asdict(self) | {"stresses": list(self.stresses)}

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Read a job.

        Raises
        ------
        SettingsError
            When it isn't one.
        """
        try:
            values = json.loads(text)
            return cls(**{**values, "stresses": tuple(values["stresses"])})
        except (ValueError, TypeError, KeyError) as error:
            raise SettingsError(f"not a job: {error}") from None

    def make_scene(self) -> Scene:
        """Draw its scene; without a cup it stands behind the wall."""
        scene = make_scene(self.scene, self.distance, self.position, self.pattern, self.seed, variation_of(self.stresses))
        if not self.cup:
            scene = dataclasses.replace(scene, cup=dataclasses.replace(scene.cup, x=scene.room.x_max + 3.0))
        return scene

    def pushes(self) -> list[Push]:
        """Draw its pushes."""
        if "pushes" not in self.stresses:
            return []
        rng = np.random.default_rng([self.seed, 251])
        pushes = []
        for at in np.sort(rng.uniform(1.0, 10.0, 3)):
            force_x, force_y, torque = (float(value) for value in rng.normal(0.0, (70.0, 70.0, 3.0)))
            pushes.append((float(at), force_x, force_y, torque, float(rng.uniform(0.1, 0.4))))
        return pushes


def variation_of(stresses: tuple[str, ...]) -> Variation:
    """Return nominal conditions with the given stresses at full range."""
    names = [name for stress in stresses for name in STRESSES[stress]]
    return dataclasses.replace(NOMINAL, **{name: getattr(HARD, name) for name in names})


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
    scenario = build(Scenario, read_yaml(path), str(path))
    known = {"scenes": SCENE_NAMES, "distances": tuple(DISTANCES), "positions": tuple(POSITIONS), "patterns": PATTERNS}
    for what, words in (known | {"stresses": tuple(STRESSES)}).items():
        for word in getattr(scenario, what):
            if word not in words:
                raise SettingsError(f"{path}: {what}: unknown '{word}'; known: {', '.join(words)}")
    for goal in scenario.goals:
        try:
            goal.format(side="left", boxes="the box")
        except (KeyError, IndexError, ValueError):
            raise SettingsError(f"{path}: goals: '{goal}': only {{side}} and {{boxes}} can be filled in") from None
    parse_seeds(scenario.seeds, str(path))
    return path.stem, scenario


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


def jobs_of(name: str, scenario: Scenario, policy: str, seeds: range) -> Iterator[Job]:
    """Yield all runs of a scenario in a fixed order."""
    for seed in seeds:
        for kind, distance, position, pattern in _combinations(scenario, seed):
            own = kind.rsplit("_", 1)[1]
            sides = (own, _OTHER[own]) if scenario.both_sides else (own,)
            boxes = "the boxes" if kind.startswith("2box") else "the box"
            goals = scenario.goals or [f"go around {boxes} on the {{side}} to the cup"]
            for stresses in [(stress,) for stress in scenario.stresses] if scenario.one_by_one else [tuple(scenario.stresses)]:
                for goal, side in ((goal, side) for goal in goals for side in sides):
                    late = "latency" in stresses
                    yield Job(
                        scenario=name,
                        cell=_cell(scenario, kind, goal, stresses, side),
                        policy=policy,
                        scene=kind,
                        distance=distance,
                        position=position,
                        pattern=pattern,
                        seed=seed,
                        stresses=stresses,
                        goal=goal.format(side=side, boxes=boxes),
                        side=side if "{side}" in goal else "",
                        cup=scenario.cup,
                        expect=scenario.expect,
                        policy_latency_s=STRESSED_LATENCY_S if late else scenario.policy_latency_s,
                        time_limit_s=scenario.time_limit_s,
                    )


_OTHER = {"left": "right", "right": "left"}


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
    if scenario.one_by_one:
        return stresses[0]
    if scenario.both_sides:
        return f"told {side}"
    return goal.replace("{", "").replace("}", "") if scenario.goals else kind


def outcome_of(job: Job, result: dict[str, Any]) -> tuple[bool, str]:
    """Judge a run by the truth: success, and in a word what failed.

    Parameters
    ----------
    result : dict
        ``result`` of :func:`vla_bt.app.drive.drive`.
    """
    claimed = result["goal_state"] == "reached"
    if job.expect == "stands":
        return (False, "moved") if result["path_length_m"] > 0.05 or claimed else (True, "")
    if result["contact"]:
        return False, "contact"
    if job.expect == "no_claim":
        return (False, "false reached") if claimed else (True, "")
    if claimed and not result["reached_cup"]:
        return False, "false reached"
    if not claimed:
        return False, "not claimed" if result["cup_distance_m"] <= 0.4 else result["goal_state"].replace("active", "out of time")
    if job.side and any(side != job.side for side in result["sides_passed"]):
        return False, "wrong side"
    return True, ""
