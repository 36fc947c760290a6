"""Outcomes to tables: successes with intervals, what failed, and how to run a failure again."""

from __future__ import annotations

import json
import shlex
import statistics
from collections import Counter
from collections.abc import Callable
from typing import Any

from vla_bt.eval.stats import wilson

Outcome = dict[str, Any]

GROUPS: dict[str, Callable[[Outcome], str]] = {
    "cell": lambda outcome: str(outcome["job"]["cell"]),
    "distance": lambda outcome: str(outcome["job"]["distance"]),
    "position": lambda outcome: str(outcome["job"]["position"]),
    "pattern": lambda outcome: str(outcome["job"]["pattern"]),
}


def summarise(outcomes: list[Outcome]) -> dict[str, Any]:
    """Count successes, with the interval that holds the true share in 95 of 100 cases, and failures by reason."""
    good = sum(outcome["ok"] for outcome in outcomes)
    low, high = wilson(good, len(outcomes))
    failures = Counter(outcome["failure"] for outcome in outcomes if not outcome["ok"])
    done = [outcome["result"] for outcome in outcomes if outcome["ok"]]
    return {
        "runs": len(outcomes),
        "ok": good,
        "share": round(good / len(outcomes), 4) if outcomes else None,
        "interval": [round(low, 4), round(high, 4)],
        "failures": dict(sorted(failures.items())),
        "false_reached": sum(bool(outcome["result"] and outcome["result"]["false_reached"]) for outcome in outcomes),
        "median_time_s": round(statistics.median(result["time_s"] for result in done), 2) if done else None,
        "median_path_m": round(statistics.median(result["path_length_m"] for result in done), 2) if done else None,
    }


def report(name: str, policy: str, outcomes: list[Outcome], required: float) -> dict[str, Any]:
    """Return the reproducible part of an evaluation."""
    whole = summarise(outcomes)
    groups = {}
    for group, key in GROUPS.items():
        names = list(dict.fromkeys(key(outcome) for outcome in outcomes))
        groups[group] = {one: summarise([outcome for outcome in outcomes if key(outcome) == one]) for one in names}
    info = next((outcome["result"]["policy"] for outcome in outcomes if outcome["result"]), None)
    failed = [
        {"failure": outcome["failure"], "job": outcome["job"], **({"error": outcome["error"]} if "error" in outcome else {})}
        for outcome in outcomes
        if not outcome["ok"]
    ]
    passed = bool(outcomes) and whole["ok"] >= required * len(outcomes) - 1e-9
    entry = {"scenario": name, "policy": policy, "info": info, "required_share": required, "passed": passed}
    return {**entry, "all": whole, "by": groups, "failed": failed}


def in_words(entry: dict[str, Any], shown_failures: int = 5) -> str:
    """Write a report for a terminal."""
    label = f" ({entry['info']['label']})" if entry["info"] else ""
    lines = [f"{entry['scenario']}: policy {entry['policy']}{label}"]
    lines.append(f"  {'':44s}{'ok':>9s}{'share':>8s}  95 % interval   false reached  time   failures")
    for group, rows in entry["by"].items():
        if len(rows) > 1:
            lines.append(f"  by {group}")
            lines += [_row(one, row) for one, row in rows.items()]
    lines.append(_row("all", entry["all"]))
    for failure in entry["failed"][:shown_failures]:
        job = failure["job"]
        lines.append(f"  FAILED {failure['failure']}: {job['scene']} {job['distance']} {job['position']} {job['pattern']}")
        lines.append(f"    vla-bt eval --job {shlex.quote(json.dumps(job))}")
    if len(entry["failed"]) > shown_failures:
        lines.append(f"  and {len(entry['failed']) - shown_failures} more failures; --json lists all")
    verdict = "passed" if entry["passed"] else "NOT PASSED"
    lines.append(f"  required: {entry['required_share']:.0%} of the runs -> {verdict}")
    return "\n".join(lines)


def _row(name: str, row: dict[str, Any]) -> str:
    low, high = row["interval"]
    time = f"{row['median_time_s']:5.1f} s" if row["median_time_s"] is not None else "      -"
    reasons = ", ".join(f"{reason} {count}" for reason, count in row["failures"].items())
    count = f"{row['ok']}/{row['runs']}"
    shares = f"{count:>9s}{row['share']:>8.1%}  {low:6.1%}-{high:6.1%}"
    return f"  {name[:44]:44s}{shares}  {row['false_reached']:>11d} {time}   {reasons}".rstrip()
