"""What a scenario requires of all its runs together, and what the size of the frames may change: checks that pass or fail.

Promises: pure; a check says what it asks for, what was found, and which of the two it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from vla_bt.eval.scenario import Scenario, cell_of_goal

if TYPE_CHECKING:
    from vla_bt.eval.report import Part

Outcome = dict[str, Any]


def grouped(outcomes: list[Outcome], key: Callable[[Outcome], str]) -> dict[str, list[Outcome]]:
    """Split outcomes by a key, in order of first appearance."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(key(outcome), []).append(outcome)
    return groups


def checks_of(scenario: Scenario, outcomes: list[Outcome]) -> list[dict[str, Any]]:
    """Hold the outcomes against what the scenario requires.

    Returns
    -------
    list of dict
        ``check`` (what is required), ``found``, ``passed``. A crash fails whatever share is required: it is the program's.
    """
    required = scenario.required_share
    checks = [_share_check("the runs", required, outcomes)]
    if scenario.required_share_each:
        name = scenario.required_share_each
        kinds = grouped(outcomes, lambda outcome: str(outcome["job"].get(name, "none")))
        checks += [_share_check(f"the runs with {name} {kind}", required, some) for kind, some in kinds.items()]
    if scenario.most_false_reached < 1.0:
        false = sum(bool(outcome["result"]["false_reached"]) for outcome in outcomes if outcome["result"])
        share = false / max(1, len(outcomes))
        words = f"false 'reached' in at most {scenario.most_false_reached:.1%} of the runs"
        checks.append(_check(words, f"{share:.1%} ({false} of {len(outcomes)})", share <= scenario.most_false_reached + 1e-9))
    if scenario.most_drop_points < 100.0:
        own = cell_of_goal(scenario.goals[0])
        first = [outcome for outcome in outcomes if outcome["job"]["cell"] == own]
        others = [outcome for outcome in outcomes if outcome["job"]["cell"] != own]
        if first and others:  # of a part of the runs, some have nothing to be compared with
            checks.append(_drop_check(first, others, scenario.most_drop_points))
    crashes = sum(outcome["failure"] == "crashed" for outcome in outcomes)
    if crashes:
        checks.append(_check("no run crashed", f"{crashes} did", False))
    return checks


def _drop_check(first: list[Outcome], others: list[Outcome], most_points: float) -> dict[str, Any]:
    shares = [100 * sum(outcome["ok"] for outcome in some) / len(some) for some in (first, others)]
    points = shares[1] - shares[0]
    found = f"{shares[0]:.1f} % of {len(first)} and {shares[1]:.1f} % of {len(others)}: {points:+.1f} points"
    words = f"the other goals at most {most_points:g} points below the first"
    return _check(words, found, -points <= most_points + 1e-9)


def _share_check(what: str, required: float, outcomes: list[Outcome]) -> dict[str, Any]:
    good = sum(outcome["ok"] for outcome in outcomes)
    found = f"{good / len(outcomes):.1%} ({good} of {len(outcomes)})" if outcomes else "no runs"
    return _check(f"{required:.0%} of {what} succeed", found, good >= required * len(outcomes) - 1e-9)


def _check(words: str, found: str, passed: bool) -> dict[str, Any]:
    return {"check": words, "found": found, "passed": passed}


MOST_POINTS_BETWEEN_SIZES = 5.0
"""Success may differ by so many points between sizes of the frames."""


def between_sizes(parts: Iterable[Part]) -> list[dict[str, Any]]:
    """Compare the sizes of frames that the same scenario and policy were run with, world by world.

    Returns
    -------
    list of dict
        A check for each size after the first: success may neither fall nor rise by more than
        :data:`MOST_POINTS_BETWEEN_SIZES`. ``scenario`` and ``policy`` say of what.
    """
    checks = []
    for some in grouped_parts(parts).values():
        first = {_world(outcome): outcome for outcome in some[0].outcomes}
        for part in some[1:]:
            pairs = [(first[key], outcome) for outcome in part.outcomes if (key := _world(outcome)) in first]
            counts = [sum(pair[index]["ok"] for pair in pairs) for index in (0, 1)]
            points = 100 * (counts[1] - counts[0]) / max(1, len(pairs))
            differ = sum(one["ok"] != other["ok"] for one, other in pairs)
            names = ["x".join(map(str, one.camera)) or "the policy's own size" for one in (some[0], part)]
            found = (
                f"{counts[0]} and {counts[1]} of the same {len(pairs)} runs: {points:+.1f} points; {differ} came to another end"
            )
            words = f"success at {names[1]} within {MOST_POINTS_BETWEEN_SIZES:g} points of that at {names[0]}"
            passed = bool(pairs) and abs(points) <= MOST_POINTS_BETWEEN_SIZES + 1e-9
            checks.append(_check(words, found, passed) | {"scenario": part.name, "policy": part.policy})
    return checks


def grouped_parts(parts: Iterable[Part]) -> dict[tuple[str, str], list[Part]]:
    """Split parts by scenario and policy: what is left apart are the sizes of the frames."""
    groups: dict[tuple[str, str], list[Part]] = {}
    for part in parts:
        groups.setdefault((part.source, part.policy), []).append(part)
    return groups


def _world(outcome: Outcome) -> str:
    return json.dumps({name: value for name, value in outcome["job"].items() if name != "camera"}, sort_keys=True)
