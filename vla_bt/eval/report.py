"""Outcomes to tables: successes with intervals, what failed, how policies compare, and how to run each cell again."""

from __future__ import annotations

import json
import shlex
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vla_bt.eval.checks import Outcome, checks_of, grouped
from vla_bt.eval.scenario import Scenario
from vla_bt.eval.stats import wilson
from vla_bt.goals.ledger import Evidence

AXES = ("scene", "distance", "position", "pattern")
"""What a cell of the table is made of."""

_GROUPS = ("cell", "distance", "position", "pattern")


@dataclass(frozen=True)
class Part:
    """The outcomes of one scenario with one policy.

    Attributes
    ----------
    source : str
        The scenario as it was asked for: a name or a file.
    name : str
        Its name.
    """

    source: str
    name: str
    scenario: Scenario
    policy: str
    seeds: range
    camera: tuple[int, ...]
    outcomes: list[Outcome]

    @property
    def who(self) -> str:
        """The policy, and the size of its frames where that isn't its own."""
        return f"{self.policy} at {'x'.join(map(str, self.camera))}" if self.camera else self.policy

    def command(self, **where: Any) -> str:
        """Return the line that runs those of its runs again whose job has these values."""
        words = ["vla-bt", "eval", self.source, "--policy", self.policy, "--seeds", f"{self.seeds.start}:{self.seeds.stop}"]
        if self.camera:
            words += ["--camera", "x".join(map(str, self.camera))]
        if where:
            words += ["--where", *(f"{name}={value}" for name, value in where.items())]
        return shlex.join(words)


def job_command(job: dict[str, Any]) -> str:
    """Return the line that runs one job again and prints its outcome."""
    return f"vla-bt eval --job {shlex.quote(json.dumps(job))}"


def summarise(outcomes: list[Outcome]) -> dict[str, Any]:
    """Count successes, with the interval that holds the true share in 95 of 100 cases, and failures by reason."""
    good = sum(outcome["ok"] for outcome in outcomes)
    low, high = wilson(good, len(outcomes))
    failures = Counter(outcome["failure"] for outcome in outcomes if not outcome["ok"])
    results = [outcome["result"] for outcome in outcomes if outcome["result"]]
    done = [outcome["result"] for outcome in outcomes if outcome["ok"] and outcome["result"]]
    false = sum(bool(result["false_reached"]) for result in results)
    return {
        "runs": len(outcomes),
        "ok": good,
        "share": round(good / len(outcomes), 4) if outcomes else None,
        "interval": [round(low, 4), round(high, 4)],
        "failures": dict(sorted(failures.items())),
        "false_reached": false,
        "contacts": sum(bool(result["contact"]) for result in results),
        "interventions": sum(result.get("interventions", 0) for result in results),
        "median_time_s": _median(done, "time_s", 2),
        "median_path_m": _median(done, "path_length_m", 2),
        "median_path_ratio": _median(done, "path_ratio", 3),
        "median_smoothness": _median(done, "smoothness", 3),
        "mean_stops": round(statistics.fmean(result.get("stops", 0) for result in done), 2) if done else None,
    }


def _median(results: list[dict[str, Any]], name: str, digits: int) -> float | None:
    values = [result[name] for result in results if result.get(name) is not None]
    return round(statistics.median(values), digits) if values else None


def report(part: Part) -> dict[str, Any]:
    """Return the reproducible figures of one scenario with one policy."""
    outcomes = part.outcomes
    whole = summarise(outcomes)
    by = {
        name: {key: summarise(some) for key, some in grouped(outcomes, lambda outcome, name=name: outcome["job"][name]).items()}  # type: ignore[misc]
        for name in _GROUPS
    }
    cells = grouped(outcomes, lambda outcome: json.dumps([outcome["job"][axis] for axis in AXES]))
    rows = []
    for key, some in cells.items():
        where = dict(zip(AXES, json.loads(key), strict=True))
        rows.append(where | {"seeds": sorted({outcome["job"]["seed"] for outcome in some})} | summarise(some))
        rows[-1]["again"] = part.command(**where)
    info = next((outcome["result"]["policy"] for outcome in outcomes if outcome["result"]), None)
    failed = [
        {"failure": outcome["failure"], "job": outcome["job"], "again": job_command(outcome["job"])}
        | {name: outcome[name] for name in ("error", "tree", "sheet") if name in outcome}
        for outcome in outcomes
        if not outcome["ok"]
    ]
    checks = checks_of(part.scenario, outcomes)
    return {
        "scenario": part.name,
        "about": part.scenario.about,
        "policy": part.policy,
        "who": part.who,
        "info": info,
        "seeds": f"{part.seeds.start}:{part.seeds.stop}",
        "camera": list(part.camera),
        "required_share": part.scenario.required_share,
        "checks": checks,
        "passed": bool(outcomes) and all(check["passed"] for check in checks),
        "told_no_side": sum(_unjudged_side(outcome) for outcome in outcomes),
        "all": whole,
        "by": by,
        "cells": rows,
        "failed": failed,
        "versions": sorted({json.dumps(outcome["versions"]) for outcome in outcomes if "versions" in outcome}),
        "again": part.command(),
    }


def _unjudged_side(outcome: Outcome) -> bool:
    """Tell whether a run came to the cup and nobody asks on which side."""
    job = outcome["job"]
    asked = job.get("expect", "reached") == "reached" and job.get("counts", {}).get("side", True)
    arrived = any(claim["evidence"] == Evidence.POLICY.value for claim in (outcome["result"] or {}).get("claims", ()))
    return bool(asked and arrived and not job.get("side"))


def in_words(entry: dict[str, Any], shown_failures: int = 5) -> str:
    """Write a report for a terminal."""
    label = f" ({entry['info']['label']})" if entry["info"] else ""
    lines = [f"{entry['scenario']}: policy {entry['who']}{label}"]
    lines.append(f"  {'':44s}{'ok':>9s}{'share':>8s}  95 % interval   false reached  time   failures")
    for group, rows in entry["by"].items():
        if len(rows) > 1:
            lines.append(f"  by {group}")
            lines += [_row(one, row) for one, row in rows.items()]
    lines.append(_row("all", entry["all"]))
    for failure in entry["failed"][:shown_failures]:
        job = failure["job"]
        place = f"{job['scene']} {job['distance']} {job['position']} {job['pattern']} seed {job['seed']}"
        lines.append(f"  FAILED {failure['failure']}: {place}" + (f": {failure['error']}" if "error" in failure else ""))
        lines.append(f"    {failure['again']}")
    if len(entry["failed"]) > shown_failures:
        lines.append(f"  and {len(entry['failed']) - shown_failures} more failures; the report lists all")
    if len(entry["versions"]) > 1:
        lines.append(f"  NOTE: {len(entry['versions'])} versions of the code or the weights are mixed here")
    if entry["told_no_side"]:
        lines.append(f"  NOTE: {entry['told_no_side']} runs were told no side: on which one they passed is not judged")
    for check in entry["checks"]:
        lines.append(f"  required: {check['check']} -> {check['found']}: {'passed' if check['passed'] else 'NOT PASSED'}")
    lines.append(f"  {'passed' if entry['passed'] else 'NOT PASSED'}")
    return "\n".join(lines)


def _row(name: str, row: dict[str, Any]) -> str:
    low, high = row["interval"]
    time = f"{row['median_time_s']:5.1f} s" if row["median_time_s"] is not None else "      -"
    reasons = ", ".join(f"{reason} {count}" for reason, count in row["failures"].items())
    count = f"{row['ok']}/{row['runs']}"
    shares = f"{count:>9s}{row['share']:>8.1%}  {low:6.1%}-{high:6.1%}"
    return f"  {name[:44]:44s}{shares}  {row['false_reached']:>11d} {time}   {reasons}".rstrip()


def comparison(entries: Iterable[dict[str, Any]]) -> str:
    """Write the policies of several reports side by side, a scenario a line; empty when there is only one policy."""
    found = list(entries)
    policies = list(dict.fromkeys(entry["who"] for entry in found))
    if len(policies) < 2:
        return ""
    shown = [policy if len(policy) <= 24 else "..." + policy[-21:] for policy in policies]
    lines = ["side by side (share of successes, 95 % interval)", f"  {'':18s}" + "".join(f"{name:>26s}" for name in shown)]
    for scenario in dict.fromkeys(entry["scenario"] for entry in found):
        rows = {entry["who"]: entry["all"] for entry in found if entry["scenario"] == scenario}
        cells = []
        for policy in policies:
            row = rows.get(policy)
            cells.append(f"{row['share']:.1%} ({row['interval'][0]:.1%}-{row['interval'][1]:.1%})" if row else "-")
        lines.append(f"  {scenario:18s}" + "".join(f"{cell:>26s}" for cell in cells))
    return "\n".join(lines)
