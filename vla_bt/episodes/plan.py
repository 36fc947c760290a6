"""The collection plan: how many demonstrations of each kind are wanted, and how many are there.

Promises: a plan is plain data in ``config/plans/*.yaml``; a wrong word or number in it is one line. Progress is counted from what
the files' attributes say and from nothing else: a demonstration counts once however many linked episodes it has, partial
and augmented episodes don't count, and a file whose kind can't be told is named and counted apart, never guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from vla_bt.episodes.schema import DISTANCES, FRAMES, PATTERNS, POSITIONS
from vla_bt.settings import SettingsError, config_path, read_yaml
from vla_bt.sim.scenes import SCENE_NAMES

MOST = 1000
"""Highest number of demonstrations a plan may want of one kind."""

_DOCUMENT = ("planned", "collected", "augmented", "distance_aware")


class Cell(NamedTuple):
    """One kind of demonstration: a word of ``SCENE_NAMES``, ``PATTERNS``, ``DISTANCES``, ``POSITIONS`` each."""

    scenario: str
    pattern: str
    distance: str
    position: str


@dataclass(frozen=True)
class Plan:
    """What is wanted.

    Attributes
    ----------
    name, about : str
        Of the plan.
    targets : dict of Cell to int
        Demonstrations wanted, cells with none left out.
    document : dict of str to int
        What an outside document says: ``planned``, ``collected``, ``augmented``, ``distance_aware``; empty without one.
    """

    name: str
    about: str
    targets: dict[Cell, int]
    document: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Demonstrations wanted."""
        return sum(self.targets.values())


@dataclass(frozen=True)
class Progress:
    """What is there of a plan.

    Attributes
    ----------
    there : dict of Cell to int
        Complete demonstrations of each kind, wanted or not.
    episodes : int
        Complete episodes looked at, continuations included.
    partial : int
        Episodes cut short; they don't count.
    unplaced : tuple of str
        Complete episodes whose kind their attributes don't tell.
    """

    there: dict[Cell, int]
    episodes: int
    partial: int
    unplaced: tuple[str, ...]

    def missing(self, plan: Plan) -> dict[Cell, int]:
        """Return how many are still wanted of each kind, kinds with none left out."""
        left = {cell: wanted - self.there.get(cell, 0) for cell, wanted in plan.targets.items()}
        return {cell: count for cell, count in left.items() if count > 0}

    def done(self, plan: Plan) -> int:
        """Return how many of the wanted demonstrations are there; surplus doesn't count."""
        return plan.total - sum(self.missing(plan).values())


def plan_names() -> list[str]:
    """Names of the shipped plans, sorted."""
    return sorted(path.stem for path in config_path("robot.yaml").parent.joinpath("plans").glob("*.yaml"))


def load_plan(name: str) -> Plan:
    """Return a shipped plan by its name, or the one in a file.

    Raises
    ------
    SettingsError
        With one line, when there is none or something in it is wrong.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        if name not in plan_names():
            raise SettingsError(f"unknown plan '{name}'; known: {', '.join(plan_names())}, or a .yaml file")
        path = config_path(f"plans/{name}.yaml")
    content = read_yaml(path)
    _only(content, ("about", "document", "targets"), str(path))
    document = _mapping(content.get("document", {}), f"{path}: document")
    _only(document, _DOCUMENT, f"{path}: document")
    return Plan(
        name=path.stem,
        about=str(content.get("about", "")),
        targets=_targets(_mapping(content.get("targets"), f"{path}: targets"), f"{path}: targets"),
        document={word: _count(value, f"{path}: document: {word}", 10**9) for word, value in document.items()},
    )


def _targets(content: dict[str, Any], where: str) -> dict[Cell, int]:
    _only(content, SCENE_NAMES, where)
    targets: dict[Cell, int] = {}
    for scenario, patterns in content.items():
        _only(_mapping(patterns, f"{where}: {scenario}"), PATTERNS, f"{where}: {scenario}")
        for pattern, distances in patterns.items():
            here = f"{where}: {scenario}: {pattern}"
            _only(_mapping(distances, here), DISTANCES, here)
            for distance, counts in distances.items():
                if not isinstance(counts, list) or len(counts) != len(POSITIONS):
                    raise SettingsError(f"{here}: {distance} is {counts!r}; expected three numbers: {', '.join(POSITIONS)}")
                for position, count in zip(POSITIONS, counts, strict=True):
                    if _count(count, f"{here}: {distance}: {position}", MOST):
                        targets[Cell(scenario, pattern, distance, position)] = count
    if not targets:
        raise SettingsError(f"{where}: wants nothing")
    return targets


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SettingsError(f"{where}: expected a mapping, got {value!r}")
    return value


def _only(content: Mapping[Any, Any], known: tuple[str, ...], where: str) -> None:
    for word in content:
        if word not in known:
            raise SettingsError(f"{where}: unknown '{word}'; known: {', '.join(known)}")


def _count(value: Any, where: str, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise SettingsError(f"{where} is {value!r}; expected a whole number from 0 to {most}")
    return value


def cell_of(attributes: Mapping[str, Any]) -> Cell | None:
    """Return the kind an episode's attributes tell, None when a word is missing or unknown."""
    cell = Cell(*(str(attributes.get(name, "")) for name in Cell._fields))
    known = (SCENE_NAMES, PATTERNS, DISTANCES, POSITIONS)
    return cell if all(word in words for word, words in zip(cell, known, strict=True)) else None


def is_complete(attributes: Mapping[str, Any]) -> bool:
    """Tell whether an episode has all its frames; files of the original format say it by their number alone."""
    return bool(attributes.get("complete", True)) and int(attributes.get("num_frames", 0)) == FRAMES


def count_progress(episodes: Iterable[tuple[str, Mapping[str, Any]]]) -> Progress:
    """Count what is there.

    Parameters
    ----------
    episodes : iterable of (name, attributes)
        One for each file.
    """
    there: Counter[Cell] = Counter()
    seen: set[str] = set()
    unplaced: list[str] = []
    whole = partial = 0
    for name, attributes in episodes:
        if attributes.get("origin") == "augmented":
            continue
        if not is_complete(attributes):
            partial += 1
            continue
        whole += 1
        demonstration = str(attributes.get("demonstration_id") or name)
        if demonstration in seen:
            continue
        seen.add(demonstration)
        cell = cell_of(attributes)
        if cell is None:
            unplaced.append(name)
        else:
            there[cell] += 1
    return Progress(dict(there), whole, partial, tuple(unplaced))


def notes(plan: Plan) -> list[str]:
    """Say where a document's own figures don't add up, by arithmetic alone."""
    told, lines = plan.document, []
    cells = len(SCENE_NAMES) * len(PATTERNS) * len(DISTANCES) * len(POSITIONS)
    sizes = f"{len(SCENE_NAMES)} x {len(PATTERNS)} x {len(DISTANCES)} x {len(POSITIONS)}"
    planned, collected = told.get("planned"), told.get("collected")
    if planned is not None and planned != cells:
        lines.append(f"planned {planned}, but scenario x pattern x distance x position are {sizes} = {cells} kinds")
    if planned is not None and collected is not None and planned != collected:
        lines.append(f"planned {planned}, collected {collected}: {collected - planned:+d}; of which kind is not known")
    for word in ("augmented", "distance_aware"):
        made = told.get(word)
        for source in dict.fromkeys((planned, collected)):
            if made is not None and source and made % source:
                lines.append(
                    f"{word.replace('_', '-')} {made} is no multiple of {source}: {made // source} each and {made % source} over"
                )
    if planned is not None and planned != plan.total:
        lines.append(f"the document plans {planned}, the targets add up to {plan.total}")
    return lines
