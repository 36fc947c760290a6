"""Whether a line of ``runs.jsonl`` is what a run of this program writes: the folder may be a foreign one, or edited by hand.

Promises: what passes can be put into every report; it is never a path outside the folder, and its verdict is what its own figures
come to.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

from vla_bt.eval.job import Job
from vla_bt.eval.judge import outcome_of

_SHEET = re.compile(r"sheets/[0-9a-f]{12}\.jpg")
_TRACE_COLUMNS = 8


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _number_or_none(value: Any) -> bool:
    return value is None or _number(value)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _bool(value: Any) -> bool:
    return isinstance(value, bool)


def _each(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _texts(*names: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(_text(value.get(name)) for name in names)


def _fields(checks: dict[str, Callable[[Any], bool]]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(name in value and check(value[name]) for name, check in checks.items())


_claim = _fields(
    {
        "evidence": _text,
        "at_s": _number,
        "distance_m": _number_or_none,
        "moved": lambda value: _each(_number)(value) and len(value) == 3,
        "true": _bool,
    }
)
_result = _fields(
    {
        **dict.fromkeys(("goal_state", "contact", "side_told"), _text),
        **dict.fromkeys(
            ("cup_distance_m", "time_s", "path_length_m", "smoothness", "stops", "interventions", "stood_s"), _number
        ),
        **dict.fromkeys(("path_ratio", "obeyed"), _number_or_none),
        **dict.fromkeys(("false_reached", "reached_cup"), _bool),
        "sides_passed": _each(_text),
        "goals": _each(_texts("text", "end", "reason")),
        "claims": _each(_claim),
        "policy": lambda value: value is None or _texts("name", "label", "weights_hash")(value),
    }
)
_outcome = _fields(
    {
        "ok": _bool,
        "failure": _text,
        "result": lambda value: value is None or _result(value),
        "timing": lambda value: isinstance(value, dict) and all(map(_number, value.values())),
        "versions": _texts("code", "policy"),
    }
)
_OPTIONAL: dict[str, Callable[[Any], bool]] = {
    "trace": _each(lambda line: _each(_number)(line) and len(line) >= _TRACE_COLUMNS),
    "tree": lambda value: isinstance(value, dict) and all(map(_text, value.values())),
    "sheet": lambda value: _text(value) and _SHEET.fullmatch(value) is not None,
    "error": _text,
}


def read_outcome(line: bytes) -> tuple[Job, dict[str, Any]] | None:
    """Return a run's job and outcome, None when the line is none."""
    try:
        outcome = json.loads(line)
        job = Job.from_json(json.dumps(outcome["job"]))
        optional = all(check(outcome[name]) for name, check in _OPTIONAL.items() if name in outcome)
        if not _outcome(outcome) or not optional:
            return None
        result = outcome["result"]
        verdict = (False, "crashed") if result is None else outcome_of(job, result)
        if verdict != (outcome["ok"], outcome["failure"]):
            return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return job, outcome
