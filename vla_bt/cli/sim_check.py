"""``vla-bt sim check``: measures how often the expert reaches the cup, untouched and on the told side.

Promises: exit code 0 only if at least 95 % of the runs succeeded in everything; run number i of seed S is the run of seed S + i
alone, so each failure comes with the command that repeats it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from typing import Any

from vla_bt.parent import die_with_parent
from vla_bt.settings import SettingsError

REQUIRED_SHARE = 0.95

_EPILOG = """examples:
  vla-bt sim check --runs 100
  vla-bt sim check --runs 1 --seed 37        repeat run 37 of the above
  vla-bt sim check --runs 1000 --jobs 4 --json > check.json
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb ``check`` to the group ``sim``."""
    parser = subparsers.add_parser(
        "check",
        help="measure the expert in random scenes",
        description=(
            "Closed-loop runs of the expert (simulator truth, not vision) in random scenes, in simulated time, without pictures. "
            "A run succeeds if the robot claims arrival and stands within 0.4 m of the cup, has touched nothing, and has passed "
            "every box on the told side. Exit code 0 only if at least 95 % succeed."
        ),
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=_number(1, 1_000_000), default=100, metavar="N", help="how many runs (default 100)")
    parser.add_argument("--seed", type=_number(0, 2**31), default=0, metavar="S", help="seed of the first run (default 0)")
    parser.add_argument("--jobs", type=_number(1, 256), default=1, metavar="N", help="processes to share the work (default 1)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.set_defaults(run=run)


def _number(low: int, high: int) -> Any:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from {low} to {high}")
        return value

    return parse


def run(args: argparse.Namespace) -> int:
    """Run the check; returns the exit code."""
    from vla_bt.sim.engine import SimulatorError

    began = time.perf_counter()
    try:
        results = []
        for result in _results(range(args.seed, args.seed + args.runs), args.jobs):
            results.append(result)
            _progress(len(results), args.runs)
    except SimulatorError as error:
        raise SettingsError(str(error)) from None
    wall_s = time.perf_counter() - began
    good = sum(result.ok for result in results)
    passed = good >= REQUIRED_SHARE * len(results)
    if args.json:
        print(json.dumps(_report(args, results, good, passed, wall_s), indent=2))
    else:
        print(_table(results))
        print(f"\n{good} of {len(results)} runs succeeded in everything; required: {REQUIRED_SHARE:.0%}. Took {wall_s:.1f} s.")
    return 0 if passed else 1


def _results(seeds: range, jobs: int) -> Iterator[Any]:
    """Yield the results in the order of their seeds."""
    from vla_bt.sim.check import check_seed

    if jobs == 1:
        yield from map(check_seed, seeds)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=die_with_parent) as pool:
        yield from pool.map(check_seed, seeds, chunksize=4)


def _progress(done: int, total: int) -> None:
    """Show progress on a terminal's standard error."""
    if sys.stderr.isatty():
        print(f"\r{done} of {total} runs", end="\n" if done == total else "", file=sys.stderr, flush=True)


def _report(args: argparse.Namespace, results: list[Any], good: int, passed: bool, wall_s: float) -> dict[str, Any]:
    runs = [{**asdict(result), "ok": result.ok, "why": result.why()} for result in results]
    summary = {"policy": "expert", "label": "simulator truth, not vision", "seed": args.seed, "runs": len(results), "ok": good}
    return {
        "result": {**summary, "required_share": REQUIRED_SHARE, "passed": passed, "each": runs},
        "timing": {"wall_s": round(wall_s, 3), "jobs": args.jobs},
    }


def _table(results: list[Any]) -> str:
    """Write a line for each scene, and below it the failures with the command that repeats them."""
    from vla_bt.sim.scenes import SCENE_NAMES

    head = f"{'scene':<18}{'runs':>6}{'ok':>6}{'reached':>9}{'contact':>9}{'side':>6}{'closest':>9}{'time':>8}"
    lines = ["expert: simulator truth, not vision", head]
    for name in [*SCENE_NAMES, "all"]:
        part = [result for result in results if name in (result.scene, "all")]
        if not part:
            continue
        counts = (len(part), sum(r.ok for r in part), sum(r.reached for r in part), sum(bool(r.contact) for r in part))
        closest, longest = min(r.clearance_m for r in part), max(r.time_s for r in part)
        lines.append(
            f"{name:<18}{counts[0]:>6}{counts[1]:>6}{counts[2]:>9}{counts[3]:>9}{sum(r.side_as_told for r in part):>6}"
            f"{closest:>7.2f} m{longest:>6.1f} s"
        )
    lines.append("closest: least clearance to a box in any run; time: the longest run, simulated")
    for result in results:
        if not result.ok:
            where = f"{result.scene} {result.distance} {result.position} {result.pattern}"
            lines.append(f"FAILED {where}: {result.why()}\n       vla-bt sim check --runs 1 --seed {result.seed}")
    return "\n".join(lines)
